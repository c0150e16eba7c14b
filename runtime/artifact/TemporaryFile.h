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
/// had the name before stays until then. Throws Error.
class TemporaryFile {
public:
  explicit TemporaryFile(std::string path);
  TemporaryFile(const TemporaryFile &) = delete;
  TemporaryFile &operator=(const TemporaryFile &) = delete;
  ~TemporaryFile();

  void writeAt(uint64_t offset, const void *data, size_t size);
  void truncate(uint64_t size);
  void commit();

  const std::string &temporaryPath() const { return path; }

private:
  [[noreturn]] void failTo(const char *action);

  std::string finalPath, path;
  int fd = -1;
  bool committed = false;
};

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_TEMPORARYFILE_H
