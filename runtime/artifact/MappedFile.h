//===- MappedFile.h - a file mapped for reading ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_MAPPEDFILE_H
#define MAMBIT_RUNTIME_ARTIFACT_MAPPEDFILE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace mambit::artifact {

/// A range of bytes that someone else owns.
struct Bytes {
  const uint8_t *data = nullptr;
  size_t size = 0;
};

/// Maps a whole file read-only; an empty one gives no bytes.
class MappedFile {
public:
  explicit MappedFile(const std::string &path);
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  Bytes bytes() const { return mapping; }

private:
  Bytes mapping;
};

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_MAPPEDFILE_H
