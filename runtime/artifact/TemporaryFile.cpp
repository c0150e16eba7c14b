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
#include <unistd.h>

using namespace mambit;
using namespace mambit::artifact;

/// Of this process, so that its threads may write a file of one name.
static std::string uniqueSuffix() {
  static std::atomic<unsigned> count{0};
  return std::to_string(::getpid()) + "-" + std::to_string(count++);
}

TemporaryFile::TemporaryFile(std::string path)
    : finalPath(std::move(path)),
      path(finalPath + ".partial-" + uniqueSuffix()) {
  // Left by a process that was killed and had our number.
  ::unlink(this->path.c_str());
  fd = ::open(this->path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    failTo("create");
}

TemporaryFile::~TemporaryFile() {
  if (fd >= 0)
    ::close(fd);
  if (!committed)
    ::unlink(path.c_str());
}

void TemporaryFile::writeAt(uint64_t offset, const void *data, size_t size) {
  const char *bytes = static_cast<const char *>(data);
  while (size > 0) {
    ssize_t count = ::pwrite(fd, bytes, size, off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      failTo("write");
    bytes += count;
    offset += uint64_t(count);
    size -= size_t(count);
  }
}

void TemporaryFile::truncate(uint64_t size) {
  if (::ftruncate(fd, off_t(size)) != 0)
    failTo("resize");
}

void TemporaryFile::commit() {
  if (::fsync(fd) != 0)
    failTo("write");
  if (::rename(path.c_str(), finalPath.c_str()) != 0)
    failTo("rename");
  committed = true;
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

void TemporaryFile::failTo(const char *action) {
  int error = errno;
  fail(path, ": cannot ", action, ": ", std::strerror(error));
}
