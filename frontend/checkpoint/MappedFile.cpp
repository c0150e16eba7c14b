//===- MappedFile.cpp - a file mapped read-only ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/MappedFile.h"
#include "frontend/checkpoint/Error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mambit::checkpoint {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0)
      close(fd);
  }
};

} // namespace

MappedFile::MappedFile(const std::string &path) : filePath(path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info;
  if (file.fd < 0 || fstat(file.fd, &info) != 0)
    fail(path, ": cannot open: ", std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    fail(path, ": expected a regular file");
  length = static_cast<uint64_t>(info.st_size);
  if (length == 0)
    return;
  void *address = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED)
    fail(path, ": cannot map: ", std::strerror(errno));
  begin = static_cast<const unsigned char *>(address);
}

MappedFile::~MappedFile() {
  if (begin)
    munmap(const_cast<unsigned char *>(begin), length);
}

void MappedFile::release(const unsigned char *address, uint64_t count) const {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t offset = static_cast<uint64_t>(address - begin);
  uint64_t first = (offset + page - 1) / page * page;
  uint64_t last = (offset + count) / page * page;
  // Advice only: failure changes nothing.
  if (first < last)
    madvise(const_cast<unsigned char *>(begin) + first, last - first,
            MADV_DONTNEED);
}

} // namespace mambit::checkpoint
