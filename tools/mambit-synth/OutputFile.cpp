//===- OutputFile.cpp - a file written from front to back --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-synth/OutputFile.h"

#include "runtime/Error.h"

#include <cerrno>
#include <cstring>
#include <utility>

using namespace mambit;
using namespace mambit::tools;

OutputFile::OutputFile(const std::string &path)
    : path(path), file(std::fopen(path.c_str(), "wb")) {
  if (!file)
    failWriting();
}

OutputFile::~OutputFile() {
  if (!file)
    return;
  std::fclose(file);
  std::remove(path.c_str());
}

void OutputFile::failWriting() const {
  fail("cannot write '", path, "': ", std::strerror(errno));
}

void OutputFile::write(const void *data, uint64_t size) {
  if (std::fwrite(data, 1, size, file) != size)
    failWriting();
  written += size;
}

void OutputFile::finish() {
  if (std::fflush(file) != 0)
    failWriting();
  std::fclose(std::exchange(file, nullptr));
}
