//===- ScanTest.cpp - the kernel of the scan ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace mambit;
using namespace mambit::test;

namespace {
struct Case {
  int64_t heads, headdim, groups, stateSize, taps;
  bool bias = true;
  float dtMin = 0, dtMax = INFINITY;

  int64_t inner() const { return heads * headdim; }
  int64_t channels() const { return inner() + 2 * groups * stateSize; }
  int64_t width() const { return inner() + channels() + heads; }
  int64_t convSize() const { return (taps - 1) * channels(); }
  int64_t ssmSize() const { return heads * stateSize * headdim; }
  /// Of a slot that has more than these two states.
  int64_t slotFloats() const {
    return (convSize() + 15) / 16 * 16 + (ssmSize() + 15) / 16 * 16 + 32;
  }
};

struct Weights {
  Weights(const Case &c, unsigned seed) {
    Random random(seed);
    conv = random.reals(c.taps * c.channels(), -1, 1);
    bias = random.reals(c.channels(), -1, 1);
    dtBias = random.reals(c.heads, -4, 2);
    a = random.reals(c.heads, -8, -0.1f);
    d = random.reals(c.heads, -1, 1);
  }
  std::vector<float> conv, bias, dtBias, a, d;
};

constexpr int64_t kSlots = 5;
} // namespace

static CompiledKernel compile(const Case &c, const Target &target) {
  auto tensor = [](std::initializer_list<std::string> dims) {
    std::string text = "tensor<";
    for (const std::string &dim : dims)
      text += dim + "x";
    return text + "f32>";
  };
  auto s = [](int64_t value) { return std::to_string(value); };
  std::vector<std::pair<std::string, std::string>> operands = {
      {"zxbcdt", tensor({"?", s(c.width())})},
      {"conv", tensor({"?", s(c.taps - 1), s(c.channels())})},
      {"ssm", tensor({"?", s(c.heads), s(c.stateSize), s(c.headdim)})},
      {"w", tensor({s(c.taps), s(c.channels())})},
      {"dt_bias", tensor({s(c.heads)})},
      {"a", tensor({s(c.heads)})},
      {"d", tensor({s(c.heads)})},
      {"seqs", "!mamba.sequences"}};
  if (c.bias)
    operands.push_back({"cb", tensor({s(c.channels())})});
  std::string arguments, types;
  for (auto &[name, type] : operands) {
    arguments += (arguments.empty() ? "%" : ", %") + name + ": " + type;
    types += (types.empty() ? "" : ", ") + type;
  }
  auto f32 = [](float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    char text[16];
    snprintf(text, sizeof(text), "0x%08X", bits);
    return std::string(text) + " : f32";
  };
  std::string op =
      "%y, %c1, %s1 = mamba.scan %zxbcdt, %conv, %ssm, %w, %dt_bias, %a, %d, "
      "%seqs" +
      std::string(c.bias ? " conv_bias %cb" : "") +
      " {groups = " + s(c.groups) + " : i64, dt_min = " + f32(c.dtMin) +
      ", dt_max = " + f32(c.dtMax) + "} : (" + types + ") -> (" +
      tensor({"?", s(c.inner())}) + ", " + operands[1].second + ", " +
      operands[2].second + ")";
  return CompiledKernel(arguments, op, target, c.slotFloats() * 4);
}

/// Runs over sequences of the given lengths in the given slots of a pool.
static std::vector<float>
run(CompiledKernel &kernel, const Case &c, Weights &w, std::vector<float> &pool,
    std::vector<float> zxbcdt, const std::vector<int64_t> &lengths,
    std::vector<int32_t> slots, bool reverse = false) {
  std::vector<int32_t> offsets = {0};
  for (int64_t length : lengths)
    offsets.push_back(offsets.back() + int32_t(length));
  std::vector<float> y(offsets.back() * c.inner(), NAN);
  kernel.run({{"zxbcdt", zxbcdt.data()},
              {"conv_state", pool.data()},
              {"ssm_state", pool.data() + (c.convSize() + 15) / 16 * 16},
              {"tickets", pool.data() + c.slotFloats() - 32},
              {"conv_weight", w.conv.data()},
              {"dt_bias", w.dtBias.data()},
              {"A", w.a.data()},
              {"D", w.d.data()},
              {"offsets", offsets.data()},
              {"slots", slots.data()},
              {"conv_bias", w.bias.data()},
              {"y", y.data()}},
             {offsets.back(), int64_t(lengths.size())}, reverse);
  return y;
}

static double silu(double x) { return x / (1 + std::exp(-x)); }

/// One token in double precision, the state in place.
static std::vector<double> step(const Case &c, const Weights &w,
                                std::vector<double> &conv,
                                std::vector<double> &ssm, const float *in) {
  int64_t inner = c.inner(), channels = c.channels();
  std::vector<double> xbc(channels), y(inner);
  for (int64_t i = 0; i < channels; ++i) {
    double sum = c.bias ? w.bias[i] : 0, raw = in[inner + i];
    for (int64_t tap = 0; tap + 1 < c.taps; ++tap)
      sum += conv[tap * channels + i] * w.conv[tap * channels + i];
    sum += raw * w.conv[(c.taps - 1) * channels + i];
    for (int64_t tap = 0; tap + 2 < c.taps; ++tap)
      conv[tap * channels + i] = conv[(tap + 1) * channels + i];
    conv[(c.taps - 2) * channels + i] = raw;
    xbc[i] = silu(sum);
  }
  for (int64_t h = 0; h < c.heads; ++h) {
    double v = double(in[inner + channels + h]) + w.dtBias[h];
    double dt = v > 20 ? v : std::log1p(std::exp(v));
    dt = std::min<double>(std::max<double>(dt, c.dtMin), c.dtMax);
    double decay = std::exp(dt * w.a[h]);
    int64_t b = inner + h / (c.heads / c.groups) * c.stateSize;
    int64_t cAt = b + c.groups * c.stateSize;
    for (int64_t p = 0; p < c.headdim; ++p) {
      double x = xbc[h * c.headdim + p], sum = w.d[h] * x;
      for (int64_t n = 0; n < c.stateSize; ++n) {
        double &s = ssm[(h * c.stateSize + n) * c.headdim + p];
        s = decay * s + dt * x * xbc[b + n];
        sum += s * xbc[cAt + n];
      }
      y[h * c.headdim + p] = sum * silu(in[h * c.headdim + p]);
    }
  }
  return y;
}

static double relativeError(const std::vector<float> &found,
                            const std::vector<double> &wanted) {
  double error = 0, size = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    error += (found[i] - wanted[i]) * (found[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::sqrt(error / (size + 1e-30));
}

static void testCase(const Case &c, unsigned seed) {
  for (const Target &target : getHostTargets()) {
    SCOPED_TRACE(target.name + " heads " + std::to_string(c.heads) + "x" +
                 std::to_string(c.headdim) + " groups " +
                 std::to_string(c.groups) + " state " +
                 std::to_string(c.stateSize) + " taps " +
                 std::to_string(c.taps));
    CompiledKernel kernel = compile(c, target);
    Weights w(c, seed);
    Random random(seed + 1);
    // One sequence has no tokens, one fewer than the convolution's window.
    std::vector<int64_t> lengths = {7, 0, 1, 12};
    std::vector<int32_t> slots = {3, 0, 4, 1};
    std::vector<float> zxbcdt = random.reals(20 * c.width(), -3, 3);
    std::vector<float> pool = random.reals(kSlots * c.slotFloats(), -1, 1);
    std::vector<float> before = pool;
    std::vector<float> y = run(kernel, c, w, pool, zxbcdt, lengths, slots);

    // Against double precision.
    int64_t first = 0, ssmAt = (c.convSize() + 15) / 16 * 16;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const float *slot = &before[slots[i] * c.slotFloats()];
      std::vector<double> conv(slot, slot + c.convSize());
      std::vector<double> ssm(slot + ssmAt, slot + ssmAt + c.ssmSize());
      std::vector<double> wanted;
      for (int64_t t = first; t < first + lengths[i]; ++t)
        for (double value : step(c, w, conv, ssm, &zxbcdt[t * c.width()]))
          wanted.push_back(value);
      std::vector<float> found(y.begin() + first * c.inner(),
                               y.begin() + first * c.inner() + wanted.size());
      EXPECT_LT(relativeError(found, wanted), 1e-6) << "sequence " << i;
      const float *after = &pool[slots[i] * c.slotFloats()];
      for (int64_t j = 0; j < c.convSize(); ++j)
        ASSERT_EQ(after[j], float(conv[j]));
      EXPECT_LT(
          relativeError({after + ssmAt, after + ssmAt + c.ssmSize()}, ssm),
          1e-6);
      first += lengths[i];
    }
    // Slot 2 belongs to no sequence; slot 0's has no tokens.
    for (int64_t slot : {0, 2})
      for (int64_t j = slot * c.slotFloats(); j < (slot + 1) * c.slotFloats();
           ++j)
        ASSERT_EQ(pool[j], before[j]);

    // Tiles in the other order, and each sequence on its own, a token at a
    // time: the same bits.
    std::vector<float> again = before;
    ASSERT_EQ(y, run(kernel, c, w, again, zxbcdt, lengths, slots, true));
    ASSERT_EQ(pool, again);
    again = before;
    first = 0;
    for (size_t i = 0; i < lengths.size(); ++i)
      for (int64_t t = 0; t < lengths[i]; ++t, ++first) {
        std::vector<float> one = run(kernel, c, w, again,
                                     {&zxbcdt[first * c.width()],
                                      &zxbcdt[first * c.width()] + c.width()},
                                     {1}, {slots[i]});
        ASSERT_EQ(one, std::vector<float>(y.begin() + first * c.inner(),
                                          y.begin() + (first + 1) * c.inner()));
      }
    ASSERT_EQ(pool, again);
  }
}

TEST(Scan, ShapesOfRealModels) { testCase({4, 64, 1, 128, 4}, 1); }

TEST(Scan, OddShapes) {
  testCase({6, 24, 2, 16, 4}, 2);
  testCase({5, 40, 5, 24, 4}, 3);
  testCase({3, 1, 1, 1, 2}, 4);
  testCase({2, 19, 2, 7, 3}, 5);
  testCase({20, 32, 1, 16, 7}, 6);
}

TEST(Scan, WithoutBias) {
  Case c{4, 16, 2, 16, 4};
  c.bias = false;
  testCase(c, 7);
}

TEST(Scan, LimitsOfStepSizes) {
  Case c{4, 16, 2, 16, 4};
  c.dtMin = 0.1f;
  c.dtMax = 1.5f;
  testCase(c, 8);
}

TEST(Scan, NoSequences) {
  Case c{4, 16, 2, 16, 4};
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel = compile(c, target);
    Weights w(c, 1);
    std::vector<float> pool(kSlots * c.slotFloats());
    run(kernel, c, w, pool, {}, {}, {});
  }
}
