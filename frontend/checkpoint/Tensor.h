//===- Tensor.h - a tensor lying in a mapped file ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_TENSOR_H
#define MAMBIT_FRONTEND_CHECKPOINT_TENSOR_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambit::checkpoint {

/// Element types, little endian. `boolean` is a byte.
enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// "f32", "bf16", "i8", "bool", ...
const char *dtypeName(DType dtype);

/// Bytes of an element.
int64_t dtypeSize(DType dtype);

/// Dimensions or strides, outermost first. A scalar has none.
using Shape = std::vector<int64_t>;

/// "[1804, 384]"; "[]" for a scalar.
std::string toString(const Shape &shape);

/// Product of the sizes, none of which is negative; nothing if it overflows.
std::optional<int64_t> checkedElementCount(const Shape &shape);

/// A view of a file's bytes. Nothing is copied; it lives as long as the
/// Checkpoint it comes from. Every element was checked to lie in the file.
struct Tensor {
  std::string key;
  std::string file; // name inside the checkpoint's folder
  DType dtype = DType::f32;
  Shape shape;
  Shape strides; // in elements, never negative; one for each dimension
  const unsigned char *data = nullptr; // of element 0; need not be aligned

  int64_t elementCount() const;

  /// Whether the elements lie one after another, the last dimension fastest.
  bool isContiguous() const;
};

/// Strides of a contiguous tensor.
Shape contiguousStrides(const Shape &shape);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_TENSOR_H
