//===- FusedLinearTest.cpp - the kernels of linears ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// Random cases against scalar code: the quantised activations are checked
// against the definition, the sums of integers made from them must be exact,
// and the rest close.
//
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include "codegen/cpu/Kernels.h"
#include "runtime/artifact/Half.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace mambit;
using namespace mambit::test;

namespace {
struct Case {
  int64_t n, k;
  int64_t activationBits = 16;
  std::string weight = "bits"; // or f16, bf16, f32
  int64_t normGroups = 0;
  bool rows = false, normWeight = false, shiftWeight = false, rowScale = false,
       rowShift = false, bias = false, residual = false;
  double zeros = 0; // the part of the signs that is
};

/// The inputs of a case for some tokens.
struct Data {
  Data(const Case &c, int64_t tokens, unsigned seed) {
    Random random(seed);
    x = random.reals(tokens * c.k, -1, 1);
    for (int64_t t = 0; t < tokens; ++t) {
      float scale = std::exp2(float(random.integer(-8, 8)));
      for (int64_t i = 0; i < c.k; ++i)
        x[t * c.k + i] *= scale;
    }
    for (int64_t i = 0; i < c.n * c.k; ++i) {
      bool zero = random.real(0, 1) < c.zeros;
      signs.push_back(zero ? 0 : random.integer(0, 1) * 2 - 1);
    }
    dense = random.reals(c.n * c.k, -1, 1);
    outputs = tokens;
    if (c.rows) {
      outputs = tokens + 1;
      for (int64_t i = 0; i < outputs; ++i)
        rows.push_back(int32_t(random.integer(0, tokens - 1)));
    }
    normWeight = random.reals(c.k, -2, 2);
    shiftWeight = random.reals(c.k, -2, 2);
    rowScale = random.reals(c.n, -2, 2);
    rowShift = random.reals(c.n, -2, 2);
    bias = random.reals(c.n, -2, 2);
    residual = random.reals(outputs * c.n, -2, 2);
    y.assign(outputs * c.n, NAN);
  }
  int64_t outputs;
  std::vector<int> signs;
  std::vector<int32_t> rows;
  std::vector<float> x, dense, normWeight, shiftWeight, rowScale, rowShift,
      bias, residual, y;
};

constexpr float kEps = 1e-5f;
} // namespace

static std::string typeOf(int64_t a) {
  return "tensor<" + std::to_string(a) + "xf32>";
}
static std::string packedOf(int64_t a) {
  return "tensor<?x" + std::to_string(a) + "xf32>";
}

static CompiledKernel compile(const Case &c, const Target &target,
                              BitSums how = BitSums::automatic) {
  std::string shape = std::to_string(c.n) + "x" + std::to_string(c.k);
  std::string weight =
      c.weight == "bits"
          ? "!mamba.bits<" + shape + ", #mamba.bit_tile<rows = 16>>"
          : "tensor<" + shape + "x" + c.weight +
                ", #mamba.interleave<rows = 16>>";
  std::string arguments = "%x: " + packedOf(c.k) + ", %w: " + weight;
  std::string operands = "%x, %w", types = packedOf(c.k) + ", " + weight;
  auto add = [&](bool present, const std::string &name,
                 const std::string &type) {
    if (!present)
      return;
    arguments += ", %" + name + ": " + type;
    operands += " " + name + " %" + name;
    types += ", " + type;
  };
  add(c.rows, "rows", "tensor<?xi32>");
  add(c.normWeight, "norm_weight", typeOf(c.k));
  add(c.shiftWeight, "shift_weight", typeOf(c.k));
  add(c.rowScale, "row_scale", typeOf(c.n));
  add(c.rowShift, "row_shift", typeOf(c.n));
  add(c.bias, "bias", typeOf(c.n));
  add(c.residual, "residual", packedOf(c.n));
  std::string attributes =
      "{activation_bits = " + std::to_string(c.activationBits) +
      " : i64, norm_groups = " + std::to_string(c.normGroups) +
      " : i64, eps = 1.0e-5 : f32}";
  return CompiledKernel(arguments,
                        "%y = mamba.fused_linear " + operands + " " +
                            attributes + " : (" + types + ") -> " +
                            packedOf(c.n),
                        target, 0, summingBy(how));
}

/// Runs a kernel on the data; the weights laid out as it wants them.
static void run(CompiledKernel &kernel, const Case &c, Data &d,
                bool reverse = false) {
  PackedSigns packed(d.signs, c.n, c.k);
  std::vector<float> f32 = interleave(d.dense, c.n, c.k);
  std::vector<uint16_t> half;
  for (float value : f32)
    half.push_back(c.weight == "bf16" ? artifact::bf16FromF32(value)
                                      : artifact::f16FromF32(value));
  void *weight = packed.bits.data();
  if (c.weight == "f32")
    weight = f32.data();
  else if (c.weight != "bits")
    weight = half.data();
  int64_t tokens = d.x.size() / c.k;
  kernel.run({{"x", d.x.data()},
              {"weight", weight},
              {"weight.zeros", packed.zeros.data()},
              {"rows", d.rows.data()},
              {"norm_weight", d.normWeight.data()},
              {"shift_weight", d.shiftWeight.data()},
              {"row_scale", d.rowScale.data()},
              {"row_shift", d.rowShift.data()},
              {"bias", d.bias.data()},
              {"residual", d.residual.data()},
              {"y", d.y.data()}},
             {tokens, 1, c.rows ? d.outputs : 0}, reverse);
}

/// A dense weight as the kernel sees it.
static double denseAt(const Case &c, const Data &d, int64_t i) {
  float value = d.dense[i];
  if (c.weight == "f16")
    return artifact::f32FromF16(artifact::f16FromF32(value));
  if (c.weight == "bf16")
    return artifact::f32FromBF16(artifact::bf16FromF32(value));
  return value;
}

/// Compares a run with scalar code.
static void check(const CompiledKernel &kernel, const Case &c, const Data &d) {
  int64_t planes = c.activationBits / 8, padded = (c.k + 31) / 32 * 32;
  int64_t top = c.activationBits == 8 ? 127 : 32639;
  bool exact = c.normGroups == 0 && !c.normWeight;
  for (int64_t t = 0; t < d.outputs; ++t) {
    const float *x = &d.x[(c.rows ? d.rows[t] : t) * c.k];
    std::vector<double> xh(x, x + c.k), v;
    if (c.normGroups > 0) {
      int64_t size = c.k / c.normGroups;
      for (int64_t g = 0; g < c.normGroups; ++g) {
        double squares = 0;
        for (int64_t i = g * size; i < (g + 1) * size; ++i)
          squares += double(x[i]) * x[i];
        for (int64_t i = g * size; i < (g + 1) * size; ++i)
          xh[i] /= std::sqrt(squares / size + kEps);
      }
    }
    double tau = 0;
    for (int64_t i = 0; i < c.k; ++i) {
      v.push_back(c.normWeight ? xh[i] * d.normWeight[i] : xh[i]);
      tau += xh[i] * d.shiftWeight[i];
    }

    std::vector<int32_t> q;
    float scale = 0;
    if (c.activationBits < 32) {
      float largest = 0;
      for (double value : v)
        largest = std::max(largest, std::fabs(float(value)));
      float inverse = float(top) / largest;
      scale = kernel.scratch<float>("scale")[t];
      ASSERT_NEAR(scale, largest / float(top), exact ? 0 : 1e-6 * largest);
      int32_t sum = 0;
      for (int64_t i = 0; i < padded; ++i) {
        const int8_t *digits =
            kernel.scratch<int8_t>("digits") + t * planes * padded + i;
        q.push_back(digits[0] + (planes == 2 ? 256 * digits[padded] : 0));
        sum += q.back();
        float wanted = i < c.k ? float(v[i]) * inverse : 0;
        if (exact)
          ASSERT_EQ(q[i], int32_t(std::nearbyint(wanted)));
        else
          ASSERT_NEAR(q[i], wanted, 0.5 + 0.02);
        ASSERT_LE(std::abs(q[i]), top);
      }
      ASSERT_EQ(kernel.scratch<int32_t>("qsum")[t], sum);
    }
    for (int64_t o = 0; o < c.n; ++o) {
      double a = 0, size = 0;
      int64_t integer = 0;
      for (int64_t i = 0; i < c.k; ++i) {
        if (c.activationBits < 32) {
          integer += int64_t(d.signs[o * c.k + i]) * q[i];
        } else {
          double w = c.weight == "bits" ? d.signs[o * c.k + i]
                                        : denseAt(c, d, o * c.k + i);
          a += w * v[i];
          size += std::fabs(w * v[i]);
        }
      }
      if (c.activationBits < 32)
        a = float(integer) * scale;
      bool epilogue = c.rowScale || c.shiftWeight || c.bias || c.residual;
      float y = d.y[t * c.n + o];
      if (c.activationBits < 32 && !epilogue) {
        // Nothing but the conversion and one product comes after the integers.
        ASSERT_EQ(y, float(integer) * scale) << "token " << t << " row " << o;
        continue;
      }
      double wanted = a * (c.rowScale ? d.rowScale[o] : 1);
      size = std::max(size, std::fabs(wanted)) * 2;
      if (c.shiftWeight) {
        wanted += tau * (c.rowShift ? d.rowShift[o] : 1);
        for (int64_t i = 0; i < c.k; ++i)
          size += std::fabs(xh[i] * d.shiftWeight[i]) * 2;
      }
      wanted += c.bias ? d.bias[o] : 0;
      wanted += c.residual ? d.residual[t * c.n + o] : 0;
      ASSERT_NEAR(y, wanted, 1e-6 * (size + 4))
          << "token " << t << " row " << o;
    }
  }
}

static std::string describe(const Case &c) {
  return std::to_string(c.n) + "x" + std::to_string(c.k) + " " + c.weight +
         " bits " + std::to_string(c.activationBits) + " groups " +
         std::to_string(c.normGroups) + " options " + std::to_string(c.rows) +
         std::to_string(c.normWeight) + std::to_string(c.shiftWeight) +
         std::to_string(c.rowScale) + std::to_string(c.rowShift) +
         std::to_string(c.bias) + std::to_string(c.residual);
}

/// Some numbers of tokens, tiles in both orders, and each token on its own:
/// all must give the same bits.
static void testKernel(CompiledKernel &kernel, const Case &c, unsigned seed) {
  for (int64_t tokens : {1, 3, 9, 17}) {
    Data d(c, tokens, seed);
    run(kernel, c, d);
    check(kernel, c, d);
    if (testing::Test::HasFatalFailure())
      return;
    std::vector<float> y = d.y;
    run(kernel, c, d, /*reverse=*/true);
    ASSERT_EQ(y, d.y);
    if (c.rows)
      continue;
    for (int64_t t = 0; t < tokens; ++t) {
      Data one = d;
      one.outputs = 1;
      one.x.assign(&d.x[t * c.k], &d.x[t * c.k] + c.k);
      one.residual.assign(&d.residual[t * c.n], &d.residual[t * c.n] + c.n);
      one.y.assign(c.n, NAN);
      run(kernel, c, one);
      ASSERT_EQ(one.y, std::vector<float>(&y[t * c.n], &y[t * c.n] + c.n))
          << "token " << t << " of " << tokens;
    }
  }
}

/// Calls body(target, how) for all ways that the targets have to sum.
template <typename Body>
static void forAllWays(const Body &body) {
  for (const Target &target : getHostTargets())
    for (BitSums how :
         {BitSums::masks, BitSums::dots, BitSums::lookup, BitSums::planes})
      if (cpu::supports(target, how) && !testing::Test::HasFatalFailure()) {
        SCOPED_TRACE(target.name + " " + stringify(how).str());
        body(target, how);
      }
}

static void testCase(Case c, std::initializer_list<double> zeros,
                     unsigned seed = 1) {
  forAllWays([&](const Target &target, BitSums how) {
    bool matters = c.weight == "bits" && c.activationBits < 32;
    if (!matters && how != BitSums::masks)
      return;
    CompiledKernel kernel = compile(c, target, how);
    for (double part : zeros) {
      c.zeros = part;
      SCOPED_TRACE(describe(c));
      testKernel(kernel, c, seed);
      if (testing::Test::HasFatalFailure())
        return;
    }
  });
}

TEST(FusedLinear, ExactSumsAtOddShapes) {
  for (int64_t bits : {8, 16})
    for (auto [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {17, 33}, {16, 32}, {1, 1}, {33, 31}, {64, 512}, {130, 1100}})
      testCase({n, k, bits}, {0, 0.05, 1.1});
}

TEST(FusedLinear, SomeLargeActivations) {
  // Of some blocks the sums of four activations need more than 16 bits.
  Case c{40, 330};
  forAllWays([&](const Target &target, BitSums how) {
    CompiledKernel kernel = compile(c, target, how);
    for (int64_t tokens : {1, 2, 15}) {
      Data d(c, tokens, 3);
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t i = 0; i < c.k; ++i)
          d.x[t * c.k + i] = (i / 32 + t) % 3 == 0
                                 ? (i % 5 == 0 ? -1.0f : 1.0f)
                                 : d.x[t * c.k + i] * 0x1p-12f;
      run(kernel, c, d);
      check(kernel, c, d);
    }
  });
}

TEST(FusedLinear, LargestSums) {
  // All products of one sign and size: partial sums at their limits.
  for (int64_t k : {2080, 8416})
    for (int64_t bits : {8, 16})
      forAllWays([&](const Target &target, BitSums how) {
        Case c{16, k, bits};
        CompiledKernel kernel = compile(c, target, how);
        for (int64_t tokens : {1, 5}) {
          Data d(c, tokens, 1);
          for (float value : {-1.0f, 1.0f})
            for (int sign : {-1, 1}) {
              std::fill(d.x.begin(), d.x.end(), value);
              std::fill(d.signs.begin(), d.signs.end(), sign);
              run(kernel, c, d);
              check(kernel, c, d);
            }
        }
      });
}

TEST(FusedLinear, ActivationsWithoutAScale) {
  // Zero, and so small that the inverse of the scale is infinite.
  Case c{17, 33};
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel = compile(c, target);
    for (float value : {0.0f, 1e-39f}) {
      Data d(c, 1, 1);
      std::fill(d.x.begin(), d.x.end(), value);
      run(kernel, c, d);
      for (float y : d.y)
        EXPECT_EQ(y, 0);
      EXPECT_EQ(kernel.scratch<float>("scale")[0], 0);
      EXPECT_EQ(kernel.scratch<int32_t>("qsum")[0], 0);
    }
  }
}

TEST(FusedLinear, WhatIsNoNumberStaysNone) {
  Case c{17, 33};
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel = compile(c, target);
    for (int64_t column : {0, 16, 32}) {
      Data d(c, 1, 1);
      d.x[column] = -NAN;
      run(kernel, c, d);
      for (float y : d.y)
        EXPECT_TRUE(std::isnan(y)) << target.name << ", column " << column;
    }
  }
}

TEST(FusedLinear, TiesAndLimitsOfQuantisation) {
  // The largest value fixes the scale; halves round to even.
  Case c{4, 8, 8};
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel = compile(c, target);
    Data d(c, 1, 1);
    d.x = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f};
    run(kernel, c, d);
    const int8_t wanted[] = {127, -127, 0, 2, 2, 0, -2, -126};
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(kernel.scratch<int8_t>("digits")[i], wanted[i]) << i;
  }
}

TEST(FusedLinear, RandomCases) {
  Random random(7);
  for (unsigned i = 0; i < 24; ++i) {
    Case c{random.integer(1, 90), random.integer(1, 150)};
    const char *weights[] = {"bits", "bits", "bits", "f16", "bf16", "f32"};
    c.weight = weights[i % 6];
    const int64_t bits[] = {16, 8, 32};
    c.activationBits = c.weight == "bits" ? bits[i % 3] : 32;
    c.normGroups = random.integer(0, 5);
    if (c.normGroups > 0)
      c.k = (c.k + c.normGroups - 1) / c.normGroups * c.normGroups;
    c.rows = random.integer(0, 3) == 0;
    c.normWeight = random.integer(0, 1);
    c.shiftWeight = random.integer(0, 1);
    c.rowScale = random.integer(0, 1);
    c.rowShift = c.shiftWeight && random.integer(0, 1);
    c.bias = random.integer(0, 1);
    c.residual = random.integer(0, 1);
    testCase(c, {0.02}, i);
    if (HasFatalFailure())
      return;
  }
}

TEST(FusedLinear, OneTokenAndMoreInDifferentWays) {
  // Where bytes have dot products, tables pay for several tokens alone.
  Case c{200, 70};
  for (const Target &target : getHostTargets()) {
    SCOPED_TRACE(target.name);
    CompiledKernel kernel = compile(c, target);
    testKernel(kernel, c, 1);
  }
}

TEST(FusedLinear, NothingToDo) {
  Case c{17, 33};
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel = compile(c, target);
    Data d(c, 0, 1);
    run(kernel, c, d);
  }
}
