//===- Link.cpp - links an object to a shared object, in process --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Lower.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

/// A file in memory, which lld reads by the path of its descriptor.
static Expected<int> writeToMemory(ArrayRef<char> bytes) {
  int fd = memfd_create("kernels.o", MFD_CLOEXEC);
  if (fd < 0)
    return createStringError(errnoAsErrorCode(), "cannot create a memory file");
  raw_fd_ostream stream(fd, /*shouldClose=*/false);
  stream.write(bytes.data(), bytes.size());
  stream.flush();
  std::error_code error = stream.error();
  stream.clear_error();
  if (error) {
    close(fd);
    return createStringError(error, "cannot write a memory file");
  }
  return fd;
}

Expected<std::vector<uint8_t>>
mambit::cpu::linkSharedObject(ArrayRef<char> object) {
  Expected<int> input = writeToMemory(object);
  if (!input)
    return input.takeError();
  scope_exit closeInput([&] { close(*input); });
  // lld replaces its output by renaming, which memory files do not allow.
  SmallString<128> output;
  if (std::error_code error =
          sys::fs::createTemporaryFile("mambit-kernels", "so", output))
    return createStringError(error, "cannot create a temporary file");
  FileRemover remover(output);

  std::string inputPath = "/proc/self/fd/" + std::to_string(*input);
  const char *arguments[] = {
      "ld.lld",      "-shared",         "--no-undefined",
      "--strip-all", "--build-id=none", "--hash-style=gnu",
      "-z",          "noexecstack",     "--threads=1",
      "-o",          output.c_str(),    inputPath.c_str()};
  std::string messages;
  raw_string_ostream stream(messages);
  // lld's state is global. It also resets every option of LLVM's command line.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  lld::Result result =
      lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return createStringError("cannot link the kernels: " +
                             StringRef(messages).trim());
  ErrorOr<std::unique_ptr<MemoryBuffer>> linked = MemoryBuffer::getFile(output);
  if (!linked)
    return createStringError(linked.getError(), "cannot read " + output);
  StringRef bytes = (*linked)->getBuffer();
  return std::vector<uint8_t>(bytes.bytes_begin(), bytes.bytes_end());
}
