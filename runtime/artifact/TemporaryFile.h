//===- TemporaryFile.h - a file that appears when complete -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_TEMPORARYFILE_H
#define MAMBIT_RUNTIME_ARTIFACT_TEMPORARYFILE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace mambit::artifact {

/// A file that gets its name when it is committed and goes away otherwise; what
/// had the name before stays until then. A device or a pipe of that name is
/// written as it is. Throws Error.
class TemporaryFile {
public:
  explicit TemporaryFile(std::string path);
  TemporaryFile(const TemporaryFile &) = delete;
  TemporaryFile &operator=(const TemporaryFile &) = delete;
  ~TemporaryFile();

  void writeAt(uint64_t offset, const void *data, size_t size);
  /// Behind all that was appended.
  void append(const void *data, size_t size);
  uint64_t appended() const { return end; }
  void truncate(uint64_t size);
  void commit();

  const std::string &temporaryPath() const { return path; }

private:
  [[noreturn]] void failWriting();

  std::string finalPath, path;
  int fd = -1;
  uint64_t end = 0;
  bool temporary = true; // has not got its name
};

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_TEMPORARYFILE_H
