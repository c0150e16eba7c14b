//===- Half.h - conversions of 16-bit floats ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_HALF_H
#define MAMBIT_RUNTIME_ARTIFACT_HALF_H

#include <cstdint>
#include <cstring>

namespace mambit::artifact {

inline float floatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t bitsFromFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/// Exact, subnormals, infinities and NaN included.
inline float f32FromF16(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16;
  uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
  // The exponents' biases differ by 112; the product normalises subnormals.
  uint32_t bits = bitsFromFloat(floatFromBits(magnitude) * 0x1p112f);
  bits |= magnitude >= 0x0f800000 ? 0x7f800000 : 0;
  return floatFromBits(bits | sign);
}

/// Rounds to nearest, ties to even; too large becomes infinite. Without
/// branches, so that loops vectorise.
inline uint16_t f16FromF32(float value) {
  uint32_t bits = bitsFromFloat(value);
  int32_t magnitude = int32_t(bits & 0x7fffffff);
  // The exponents' biases differ by 112.
  int32_t normal =
      (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // Below 2^-14: an addition rounds to units of 2^-24.
  int32_t subnormal =
      int32_t(bitsFromFloat(floatFromBits(uint32_t(magnitude)) + 0.5f)) -
      0x3f000000;
  int32_t nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
  int32_t result = magnitude < 0x38800000 ? subnormal : normal;
  // From 65520, halfway to what would follow 65504.
  result = magnitude >= 0x477ff000 ? 0x7c00 : result;
  result = magnitude > 0x7f800000 ? nan : result;
  return uint16_t(result | ((bits >> 16) & 0x8000));
}

/// Exact.
inline float f32FromBF16(uint16_t half) {
  return floatFromBits(uint32_t(half) << 16);
}

/// Rounds to nearest, ties to even; too large becomes infinite.
inline uint16_t bf16FromF32(float value) {
  uint32_t bits = bitsFromFloat(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_HALF_H
