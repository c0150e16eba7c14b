//===- MappedFile.cpp - a file mapped for reading ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/MappedFile.h"

#include "runtime/Error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace mambit::artifact {

MappedFile::MappedFile(const std::string &path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    fail(path, ": cannot open: ", std::strerror(errno));
  struct stat info;
  int error = 0;
  if (::fstat(fd, &info) != 0) {
    error = errno;
  } else if (!S_ISREG(info.st_mode)) {
    error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  } else if (info.st_size > 0) {
    void *data =
        ::mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
      error = errno;
    else
      mapping = {static_cast<const uint8_t *>(data), size_t(info.st_size)};
  }
  ::close(fd);
  if (error)
    fail(path, ": cannot map: ", std::strerror(error));
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : mapping(std::exchange(other.mapping, Bytes())) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(mapping, other.mapping);
  return *this;
}

MappedFile::~MappedFile() {
  if (mapping.data)
    ::munmap(const_cast<uint8_t *>(mapping.data), mapping.size);
}

} // namespace mambit::artifact
