//===- TemporaryFile.cpp - a file that appears when complete -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-------------------------------------------------------------------===//

#include "runtime/artifact/TemporaryFile.h"

#include "runtime/Error.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mambit;
using namespace mambit::artifact;

/// Of this process, so that its threads may write a file of one name.
static std::string uniqueSuffix() {
  static std::atomic<unsigned> count{0};
  return std::to_string(::getpid()) + "-" + std::to_string(count++);
}

/// A file, or nothing, that a new file can take the place of.
static bool isReplaceable(const std::string &path) {
  struct stat status;
  return ::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode) ||
         S_ISDIR(status.st_mode);
}

TemporaryFile::TemporaryFile(std::string name) : finalPath(std::move(name)) {
  temporary = isReplaceable(finalPath);
  if (temporary) {
    path = finalPath + ".partial-" + uniqueSuffix();
    // Left by a process that was killed and had our number.
    ::unlink(path.c_str());
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } else {
    path = finalPath;
    fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  }
  if (fd < 0)
    failWriting();
}

TemporaryFile::~TemporaryFile() {
  if (fd >= 0)
    ::close(fd);
  if (temporary)
    ::unlink(path.c_str());
}

/// Writes all of `data` by calls that may each write a part of it.
template <typename Write>
static bool writeParts(const void *data, size_t size, Write write) {
  const char *bytes = static_cast<const char *>(data);
  while (size > 0) {
    ssize_t count = write(bytes, size);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return false;
    bytes += count;
    size -= size_t(count);
  }
  return true;
}

void TemporaryFile::writeAt(uint64_t offset, const void *data, size_t size) {
  if (!writeParts(data, size, [&](const char *bytes, size_t left) {
        return ::pwrite(fd, bytes, left, off_t(offset + size - left));
      }))
    failWriting();
}

void TemporaryFile::append(const void *data, size_t size) {
  if (!writeParts(data, size, [&](const char *bytes, size_t left) {
        return ::write(fd, bytes, left);
      }))
    failWriting();
  end += size;
}

void TemporaryFile::truncate(uint64_t size) {
  if (::ftruncate(fd, off_t(size)) != 0)
    failWriting();
}

void TemporaryFile::commit() {
  if (!temporary)
    return;
  if (::fsync(fd) != 0 || ::rename(path.c_str(), finalPath.c_str()) != 0)
    failWriting();
  temporary = false;
  // The name is durable once its folder is; not every file system can.
  size_t slash = finalPath.rfind('/');
  std::string folder =
      slash == std::string::npos ? "." : finalPath.substr(0, slash + 1);
  int folderFd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folderFd >= 0) {
    ::fsync(folderFd);
    ::close(folderFd);
  }
}

void TemporaryFile::failWriting() {
  int error = errno;
  fail("cannot write '", finalPath, "': ", std::strerror(error));
}
