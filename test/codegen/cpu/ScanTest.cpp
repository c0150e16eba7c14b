//===- ScanTest.cpp - the kernel of the scan ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include "runtime/artifact/Half.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace mambit;
using namespace mambit::test;

namespace {
struct Case {
  int64_t heads, headdim, groups, stateSize, taps;
  bool bias = true;
  float dtMin = 0, dtMax = INFINITY;
  std::string stateType = "f32";

  bool isWide() const { return stateType == "f32"; }
  int64_t inner() const { return heads * headdim; }
  int64_t channels() const { return inner() + 2 * groups * stateSize; }
  int64_t width() const { return inner() + channels() + heads; }
  int64_t convSize() const { return (taps - 1) * channels(); }
  int64_t ssmSize() const { return heads * stateSize * headdim; }
  int64_t ssmAt() const { return (convSize() + 15) / 16 * 16; }
  /// Of a slot that has more than these two states.
  int64_t slotFloats() const {
    return ssmAt() + (ssmSize() + 15) / 16 * 16 + 32;
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

/// The elements of the SSM state in a slot.
static std::vector<float> readState(const Case &c, const float *slot) {
  const float *state = slot + c.ssmAt();
  if (c.isWide())
    return {state, state + c.ssmSize()};
  std::vector<float> values;
  const auto *halves = reinterpret_cast<const uint16_t *>(state);
  for (int64_t i = 0; i < c.ssmSize(); ++i)
    values.push_back(c.stateType == "f16" ? artifact::f32FromF16(halves[i])
                                          : artifact::f32FromBF16(halves[i]));
  return values;
}

static void writeState(const Case &c, float *slot,
                       const std::vector<float> &values) {
  if (c.isWide()) {
    std::copy(values.begin(), values.end(), slot + c.ssmAt());
    return;
  }
  auto *halves = reinterpret_cast<uint16_t *>(slot + c.ssmAt());
  for (size_t i = 0; i < values.size(); ++i)
    halves[i] = c.stateType == "f16" ? artifact::f16FromF32(values[i])
                                     : artifact::bf16FromF32(values[i]);
}

/// What is left of a value in a state: of 11 or 8 bits.
static double keep(const Case &c, double x) {
  if (c.isWide() || x == 0)
    return x;
  int bits = c.stateType == "f16" ? 11 : 8;
  double least = c.stateType == "f16" ? -13 : -125;
  int exponent;
  std::frexp(x, &exponent);
  int step = std::max<int>(exponent, int(least)) - bits;
  return std::ldexp(std::nearbyint(std::ldexp(x, -step)), step);
}

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
      {"ssm", "tensor<?x" + s(c.heads) + "x" + s(c.stateSize) + "x" +
                  s(c.headdim) + "x" + c.stateType + ">"},
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
              {"ssm_state", pool.data() + c.ssmAt()},
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

/// Rounding near a tie may go either way.
static double getTolerance(const Case &c) {
  return c.isWide() ? 1e-6 : c.stateType == "f16" ? 5e-5 : 4e-4;
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
    for (int64_t slot = 0; slot < kSlots; ++slot)
      writeState(c, &pool[slot * c.slotFloats()],
                 random.reals(c.ssmSize(), -1, 1));
    std::vector<float> before = pool;
    std::vector<float> y = run(kernel, c, w, pool, zxbcdt, lengths, slots);

    // Against double precision.
    int64_t first = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const float *slot = &before[slots[i] * c.slotFloats()];
      std::vector<double> conv(slot, slot + c.convSize());
      std::vector<float> start = readState(c, slot);
      std::vector<double> ssm(start.begin(), start.end());
      std::vector<double> wanted;
      for (int64_t t = first; t < first + lengths[i]; ++t)
        for (double value : step(c, w, conv, ssm, &zxbcdt[t * c.width()]))
          wanted.push_back(value);
      if (lengths[i] != 0)
        for (double &s : ssm)
          s = keep(c, s);
      std::vector<float> found(y.begin() + first * c.inner(),
                               y.begin() + first * c.inner() + wanted.size());
      EXPECT_LT(relativeError(found, wanted), 1e-6) << "sequence " << i;
      const float *after = &pool[slots[i] * c.slotFloats()];
      for (int64_t j = 0; j < c.convSize(); ++j)
        ASSERT_EQ(after[j], float(conv[j]));
      EXPECT_LT(relativeError(readState(c, after), ssm), getTolerance(c));
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
    if (!c.isWide())
      continue; // rounded after every token, the state is another
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

// A state of 16 bits is widened, and rounded once a call.
TEST(Scan, StatesOf16Bits) {
  for (const char *type : {"f16", "bf16"}) {
    unsigned seed = 20;
    for (Case c : {Case{4, 64, 1, 128, 4}, Case{6, 24, 2, 16, 4},
                   Case{2, 19, 2, 7, 3}, Case{3, 1, 1, 1, 2}}) {
      c.stateType = type;
      testCase(c, seed++);
    }
  }
}

// Token by token, it is rounded after each.
TEST(Scan, StatesOf16BitsAreRoundedEveryCall) {
  for (const char *type : {"f16", "bf16"}) {
    Case c{4, 24, 2, 16, 4};
    c.stateType = type;
    for (const Target &target : getHostTargets()) {
      SCOPED_TRACE(target.name + " " + type);
      CompiledKernel kernel = compile(c, target);
      Weights w(c, 1);
      Random random(2);
      std::vector<float> pool(kSlots * c.slotFloats());
      std::vector<double> conv(c.convSize()), ssm(c.ssmSize()), unrounded(ssm),
          conv2(conv);
      for (int t = 0; t < 30; ++t) {
        std::vector<float> in = random.reals(c.width(), -3, 3);
        std::vector<double> wanted = step(c, w, conv, ssm, in.data());
        for (double &s : ssm)
          s = keep(c, s);
        step(c, w, conv2, unrounded, in.data());
        EXPECT_LT(relativeError(run(kernel, c, w, pool, in, {1}, {3}), wanted),
                  getTolerance(c));
      }
      std::vector<float> state = readState(c, &pool[3 * c.slotFloats()]);
      EXPECT_LT(relativeError(state, ssm), getTolerance(c));
      EXPECT_GT(relativeError(state, unrounded), getTolerance(c));
    }
  }
}

TEST(Scan, StatesOf16BitsSaturate) {
  for (const char *type : {"f16", "bf16"}) {
    Case c{1, 16, 1, 4, 2};
    c.stateType = type;
    float largest = type[0] == 'f' ? 65504 : artifact::f32FromBF16(0x7f7f);
    for (const Target &target : getHostTargets())
      for (int64_t tokens : {1, 3}) {
        SCOPED_TRACE(target.name + " " + type);
        CompiledKernel kernel = compile(c, target);
        Weights w(c, 1);
        // Nothing decays; x, B and C are the input, but x of channel 1 is 0.
        w.a = {0};
        w.bias.assign(c.channels(), 0);
        std::fill(w.conv.begin(), w.conv.begin() + c.channels(), 0);
        std::fill(w.conv.begin() + c.channels(), w.conv.end(), 1);
        w.conv[c.channels() + 1] = -1;
        std::vector<float> state(c.ssmSize());
        for (int64_t n = 0; n < c.stateSize; ++n) {
          state[n * c.headdim] = largest;
          state[n * c.headdim + 1] = -largest;
          state[n * c.headdim + 2] = NAN;
        }
        std::vector<float> pool(kSlots * c.slotFloats());
        writeState(c, pool.data(), state);
        float big = type[0] == 'f' ? 1e3f : 1e18f;
        std::vector<float> in(tokens * c.width(), big);
        run(kernel, c, w, pool, in, {tokens}, {0});
        std::vector<float> after = readState(c, pool.data());
        for (int64_t n = 0; n < c.stateSize; ++n) {
          EXPECT_EQ(after[n * c.headdim], largest);
          EXPECT_EQ(after[n * c.headdim + 1], -largest);
          EXPECT_TRUE(std::isnan(after[n * c.headdim + 2]));
          EXPECT_EQ(after[n * c.headdim + 3], largest);
        }
      }
  }
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
