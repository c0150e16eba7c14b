//===- Tensor.cpp - a tensor lying in a mapped file --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Tensor.h"

#include <functional>
#include <numeric>

namespace mambit::checkpoint {

const char *dtypeName(DType dtype) {
  switch (dtype) {
  case DType::f64:
    return "f64";
  case DType::f32:
    return "f32";
  case DType::f16:
    return "f16";
  case DType::bf16:
    return "bf16";
  case DType::i64:
    return "i64";
  case DType::i32:
    return "i32";
  case DType::i16:
    return "i16";
  case DType::i8:
    return "i8";
  case DType::u8:
    return "u8";
  case DType::boolean:
    return "bool";
  }
  return "unknown";
}

int64_t dtypeSize(DType dtype) {
  switch (dtype) {
  case DType::f64:
  case DType::i64:
    return 8;
  case DType::f32:
  case DType::i32:
    return 4;
  case DType::f16:
  case DType::bf16:
  case DType::i16:
    return 2;
  case DType::i8:
  case DType::u8:
  case DType::boolean:
    return 1;
  }
  return 0;
}

std::string toString(const Shape &shape) {
  std::string result = "[";
  for (int64_t size : shape) {
    if (result.size() > 1)
      result += ", ";
    result += std::to_string(size);
  }
  return result + "]";
}

std::optional<int64_t> checkedElementCount(const Shape &shape) {
  // A dimension of no size makes the others harmless, in any order.
  int64_t count = 1;
  bool overflows = false;
  for (int64_t size : shape) {
    if (size == 0)
      return 0;
    overflows |= __builtin_mul_overflow(count, size, &count);
  }
  if (overflows)
    return std::nullopt;
  return count;
}

int64_t Tensor::elementCount() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1},
                         std::multiplies<>());
}

bool Tensor::isContiguous() const {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected)
      return false;
    expected *= shape[i];
  }
  return true;
}

Shape contiguousStrides(const Shape &shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

} // namespace mambit::checkpoint
