//===- OutputFile.h - a file written from front to back ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBITSYNTH_OUTPUTFILE_H
#define MAMBIT_TOOLS_MAMBITSYNTH_OUTPUTFILE_H

#include <cstdint>
#include <cstdio>
#include <string>

namespace mambit::tools {

/// Goes away unless it is finished. Throws Error.
class OutputFile {
public:
  explicit OutputFile(const std::string &path);
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  uint64_t position() const { return written; }
  void write(const void *data, uint64_t size);
  void write(const std::string &bytes) { write(bytes.data(), bytes.size()); }
  void finish();

private:
  [[noreturn]] void failWriting() const;

  std::string path;
  std::FILE *file;
  uint64_t written = 0;
};

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBITSYNTH_OUTPUTFILE_H
