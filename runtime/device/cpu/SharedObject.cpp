//===- SharedObject.cpp - code loaded from memory -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/device/cpu/SharedObject.h"

#include "runtime/Error.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mambit;
using namespace mambit::cpu;

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace {

int createMemoryFile() {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  // Newer kernels want to know that the file holds code; older ones refuse to.
  int descriptor = memfd_create("mambit-kernels", flags | MFD_EXEC);
  if (descriptor < 0 && errno == EINVAL)
    descriptor = memfd_create("mambit-kernels", flags);
  if (descriptor < 0)
    fail("cannot create a file in memory for the kernels: ", strerror(errno));
  return descriptor;
}

void writeAll(int descriptor, const char *data, size_t size) {
  while (size != 0) {
    ssize_t written = ::write(descriptor, data, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      fail("cannot write the kernels to memory: ", strerror(errno));
    data += written;
    size -= written;
  }
}

} // namespace

SharedObject::SharedObject(const void *data, size_t size)
    : descriptor(createMemoryFile()) {
  try {
    writeAll(descriptor, static_cast<const char *>(data), size);
    fcntl(descriptor, F_ADD_SEALS,
          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    std::string path = "/proc/self/fd/" + std::to_string(descriptor);
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      fail("cannot load the kernels: ", dlerror());
  } catch (...) {
    close(descriptor);
    throw;
  }
}

SharedObject::~SharedObject() {
  dlclose(handle);
  close(descriptor);
}

void *SharedObject::symbol(const std::string &name) const {
  void *address = dlsym(handle, name.c_str());
  if (!address)
    fail("the kernels have no symbol '", name, "'");
  return address;
}
