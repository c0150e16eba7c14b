//===- Hash.h - checksums of sections and input files ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_HASH_H
#define MAMBIT_RUNTIME_ARTIFACT_HASH_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace mambit::artifact {

/// XXH3-64.
uint64_t checksum(const void *data, size_t size);

/// XXH3-64 of bytes that come in pieces.
class Checksum {
public:
  Checksum();
  ~Checksum();
  void update(const void *data, size_t size);
  uint64_t value() const;

  struct State;

private:
  std::unique_ptr<State> state;
};

/// Size of a file and its XXH3-128 as 32 hexadecimal digits.
struct FileHash {
  uint64_t size;
  std::string hash;
};
FileHash hashFile(const std::string &path);

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_HASH_H
