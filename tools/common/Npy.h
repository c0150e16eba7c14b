//===- Npy.h - reads and writes NumPy's .npy files ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_NPY_H
#define MAMBIT_TOOLS_COMMON_NPY_H

#include "runtime/artifact/TemporaryFile.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mambit::tools {

/// Element types that are read and written, little endian.
enum class NpyType { I8, U8, I16, U16, I32, U32, I64, U64, F32, F64 };

using NpyShape = std::vector<uint64_t>;

/// An array in C order.
struct NpyArray {
  NpyType type = NpyType::F32;
  NpyShape shape;
  std::vector<uint8_t> data;

  uint64_t count() const;
  /// All elements, converted exactly or (64-bit integers) rounded.
  std::vector<double> toDoubles() const;
};

/// Reads versions 1 to 3 of the format. Throws Error.
NpyArray readNpy(const std::string &path);

/// Reads token ids: integers of any width, of which at most one dimension is
/// not 1. An id that is negative or does not fit int32 is an error.
std::vector<int32_t> readIds(const std::string &path);

/// Writes an array whose shape is known piece by piece. The file appears under
/// its name when it is finished. Throws Error.
class NpyWriter {
public:
  NpyWriter(const std::string &path, NpyType type, const NpyShape &shape);

  /// The next elements, `size` bytes.
  void write(const void *data, uint64_t size);
  /// After the last element.
  void finish();

private:
  std::string path;
  artifact::TemporaryFile file;
  uint64_t remaining; // bytes
};

void writeNpy(const std::string &path, const NpyShape &shape,
              const int32_t *data);
void writeNpy(const std::string &path, const NpyShape &shape,
              const float *data);
void writeNpy(const std::string &path, const NpyShape &shape,
              const double *data);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_NPY_H
