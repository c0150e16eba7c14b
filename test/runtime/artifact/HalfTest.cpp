//===- HalfTest.cpp - conversions of 16-bit floats ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Half.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace mambit::artifact;

namespace {

/// The value of a finite f16, by its definition.
double valueOfF16(uint16_t half) {
  int exponent = (half >> 10) & 31, fraction = half & 1023;
  double magnitude = exponent ? std::ldexp(1024 + fraction, exponent - 25)
                              : std::ldexp(fraction, -24);
  return half & 0x8000 ? -magnitude : magnitude;
}

TEST(Half, everyF16ConvertsExactlyAndBack) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    float value = f32FromF16(uint16_t(half));
    if ((half & 0x7c00) != 0x7c00) {
      EXPECT_EQ(double(value), valueOfF16(uint16_t(half)));
      EXPECT_EQ(std::signbit(value), half >= 0x8000);
    } else if (half & 0x3ff) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(f32FromF16(f16FromF32(value))));
      continue;
    } else {
      EXPECT_TRUE(std::isinf(value));
    }
    EXPECT_EQ(f16FromF32(value), half);
  }
}

TEST(Half, f16RoundsToNearestTiesToEven) {
  // Around the middle between all neighbours, the subnormal ones included.
  for (uint32_t half = 0; half < 0x7bff; ++half) {
    double low = valueOfF16(uint16_t(half));
    double high = valueOfF16(uint16_t(half + 1));
    float middle = float((low + high) / 2); // exact
    uint32_t even = half % 2 ? half + 1 : half;
    EXPECT_EQ(f16FromF32(middle), even);
    EXPECT_EQ(f16FromF32(-middle), even | 0x8000);
    EXPECT_EQ(f16FromF32(std::nextafter(middle, 0.0f)), half);
    EXPECT_EQ(f16FromF32(std::nextafter(middle, 1e9f)), half + 1);
  }
  EXPECT_EQ(f16FromF32(65519.996f), 0x7bff);
  EXPECT_EQ(f16FromF32(65520.0f), 0x7c00);
  EXPECT_EQ(f16FromF32(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(f16FromF32(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Half, bf16RoundsToNearestTiesToEven) {
  for (uint32_t half = 0; half < 0x7f7f; ++half) {
    float exact = f32FromBF16(uint16_t(half));
    EXPECT_EQ(bitsFromFloat(exact), half << 16);
    EXPECT_EQ(bf16FromF32(exact), half);
    float middle = floatFromBits(half << 16 | 0x8000);
    EXPECT_EQ(bf16FromF32(middle), half % 2 ? half + 1 : half);
    EXPECT_EQ(bf16FromF32(floatFromBits(half << 16 | 0x7fff)), half);
    EXPECT_EQ(bf16FromF32(floatFromBits(half << 16 | 0x8001)), half + 1);
  }
  EXPECT_EQ(bf16FromF32(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(f32FromBF16(bf16FromF32(floatFromBits(0x7f800001)))));
}

} // namespace
