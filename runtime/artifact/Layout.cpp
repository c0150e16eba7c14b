//===- Layout.cpp - sizes of tensors in their layouts ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Layout.h"

#include "runtime/Error.h"

namespace mambit::artifact {

uint64_t elementBytes(DType dtype) {
  switch (dtype) {
  case DType::i8:
  case DType::u8:
    return 1;
  case DType::f16:
  case DType::bf16:
  case DType::i16:
  case DType::u16:
    return 2;
  case DType::f32:
  case DType::i32:
  case DType::u32:
    return 4;
  case DType::f64:
  case DType::i64:
    return 8;
  case DType::bits:
    return 0;
  }
  fail("unknown element type ", unsigned(dtype));
}

/// Product of all factors, or nothing if it does not fit.
static std::optional<uint64_t> product(std::initializer_list<uint64_t> factors,
                                       uint64_t result = 1) {
  for (uint64_t factor : factors)
    if (__builtin_mul_overflow(result, factor, &result))
      return std::nullopt;
  return result;
}

std::optional<uint64_t> elementCount(const Shape &shape) {
  std::optional<uint64_t> result = 1;
  for (uint64_t dim : shape)
    if (result)
      result = product({dim}, *result);
  return result;
}

static uint64_t ceilDiv(uint64_t value, uint64_t divisor) {
  return value / divisor + (value % divisor != 0);
}

uint64_t layoutBytes(DType dtype, const Shape &shape, LayoutKind kind,
                     uint32_t rows) {
  if (kind > LayoutKind::MAX)
    fail("unknown layout ", unsigned(kind));
  const char *name = EnumNameLayoutKind(kind);
  uint64_t bytes = elementBytes(dtype);
  std::optional<uint64_t> result;
  if (kind == LayoutKind::row_major) {
    if (dtype == DType::bits || rows != 0)
      fail("layout row_major takes no bits and no tile rows, found ",
           EnumNameDType(dtype), " and ", rows, " rows");
    if (auto count = elementCount(shape))
      result = product({*count, bytes});
  } else {
    if (shape.size() != 2)
      fail("layout ", name, " needs a matrix, found rank ", shape.size());
    if (rows == 0)
      fail("layout ", name, " has tiles of 0 rows");
    uint64_t tiles = ceilDiv(shape[0], rows);
    bool ofBits = kind != LayoutKind::interleave;
    if (ofBits && rows % 16 != 0)
      fail("layout ", name, " needs tile rows a multiple of 16, found ", rows);
    // Entries of a list of zeros are int32.
    if (ofBits && (shape[0] > INT32_MAX || shape[1] > INT32_MAX))
      fail("layout ", name, " holds no matrix of ", shape[0], "x", shape[1]);
    if (kind == LayoutKind::bit_tile) {
      if (dtype != DType::bits)
        fail("layout bit_tile holds bits, found ", EnumNameDType(dtype));
      result = product({tiles, ceilDiv(shape[1], 32), rows, 4});
    } else if (kind == LayoutKind::zeros) {
      if (dtype != DType::i32)
        fail("layout zeros holds i32, found ", EnumNameDType(dtype));
      result = product({tiles + 1, 4});
    } else {
      if (dtype == DType::bits)
        fail("layout interleave takes no bits");
      result = product({tiles, shape[1], rows, bytes});
    }
  }
  if (!result || *result > uint64_t(INT64_MAX))
    fail("a tensor in layout ", name, " has more than 2^63 bytes");
  return *result;
}

} // namespace mambit::artifact
