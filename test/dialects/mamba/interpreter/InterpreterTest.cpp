//===- InterpreterTest.cpp - operations against plain formulas --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Expected values are computed by hand, or by formulas written down element by
// element and apart from the interpreter's code.
//
//===----------------------------------------------------------------------===//

#include "test/dialects/mamba/interpreter/Fixture.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace mambit::mamba;
using namespace mambit::mamba::interpreter;

namespace {
double silu(double x) { return x / (1 + std::exp(-x)); }
double softplus(double x) { return std::log1p(std::exp(x)); }

/// Tokens `begin` to `end` of activations.
Tensor slice(const Tensor &x, int64_t begin, int64_t end) {
  return Tensor({end - begin, x.rowSize()}, {x.row(begin), x.row(end)});
}

std::string replaceAll(std::string text,
                       std::vector<std::pair<std::string, std::string>> pairs) {
  for (auto &[from, to] : pairs)
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;
         at += to.size())
      text.replace(at, from.size(), to);
  return text;
}

/// Runs of several sequences, and the same alone.
Sequences sequence(int64_t tokens, int64_t slot) {
  return {{0, tokens}, {slot}};
}
} // namespace

//===----------------------------------------------------------------------===//
// Rows and elements
//===----------------------------------------------------------------------===//

static const char *embeddingText = R"(
  func.func @f(%ids: tensor<?xi32>, %table: tensor<3x2xf16>) -> tensor<?x2xf32> {
    %y = mamba.embedding %ids, %table : tensor<?xi32>, tensor<3x2xf16> -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })";

TEST_F(InterpreterTest, Embedding) {
  Datum table = makeDatum(Tensor({3, 2}, {1, 2, 3, 4, 5, 6}));
  Datum ids = makeDatum(Tensor({4}, {2, 0, 2, 1}));
  expectNear(run(embeddingText, {ids, table})[0],
             Tensor({4, 2}, {5, 6, 1, 2, 5, 6, 3, 4}));
}

TEST_F(InterpreterTest, EmbeddingOfNoTokens) {
  Datum table = makeDatum(Tensor({3, 2}));
  expectNear(run(embeddingText, {makeDatum(Tensor({0}, {})), table})[0],
             Tensor({0, 2}, {}));
}

TEST_F(InterpreterTest, EmbeddingIdOutOfRange) {
  Datum table = makeDatum(Tensor({3, 2}));
  EXPECT_EQ(getError(embeddingText, {makeDatum(Tensor({2}, {0, 3})), table}),
            "mamba.embedding: id 3 at 1 is out of range, expected less than 3");
  EXPECT_EQ(
      getError(embeddingText, {makeDatum(Tensor({1}, {-1})), table}),
      "mamba.embedding: id -1 at 0 is out of range, expected less than 3");
}

TEST_F(InterpreterTest, SelectRows) {
  const char *text = R"(
    func.func @f(%x: tensor<?x2xf32>, %rows: tensor<?xi32>) -> tensor<?x2xf32> {
      %y = mamba.select_rows %x, %rows : tensor<?x2xf32>, tensor<?xi32>
      return %y : tensor<?x2xf32>
    })";
  Datum x = makeDatum(Tensor({3, 2}, {1, 2, 3, 4, 5, 6}));
  expectNear(run(text, {x, makeDatum(Tensor({2}, {2, 2}))})[0],
             Tensor({2, 2}, {5, 6, 5, 6}));
  EXPECT_EQ(
      getError(text, {x, makeDatum(Tensor({1}, {3}))}),
      "mamba.select_rows: row 3 at 0 is out of range, expected less than 3");
}

TEST_F(InterpreterTest, AddAndSplit) {
  std::vector<Datum> results =
      run(R"(
    func.func @f(%x: tensor<?x3xf32>, %y: tensor<?x3xf32>) -> (tensor<?x1xf32>, tensor<?x2xf32>) {
      %s = mamba.add %x, %y : tensor<?x3xf32>
      %a, %b = mamba.split %s : tensor<?x3xf32> -> tensor<?x1xf32>, tensor<?x2xf32>
      return %a, %b : tensor<?x1xf32>, tensor<?x2xf32>
    })",
          {makeDatum(Tensor({2, 3}, {1, 2, 3, 4, 5, 6})),
           makeDatum(Tensor({2, 3}, {10, 20, 30, 40, 50, 60}))});
  expectNear(results[0], Tensor({2, 1}, {11, 44}));
  expectNear(results[1], Tensor({2, 2}, {22, 33, 55, 66}));
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

TEST_F(InterpreterTest, RMSNormByGroupsWithShift) {
  // Mean squares 12.5 and 50, eps 3.5 and so 16 and 53.5.
  std::vector<Datum> results = run(R"(
    func.func @f(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %s: tensor<4xf32>) -> (tensor<?x4xf32>, tensor<?xf32>) {
      %y, %shift = mamba.rms_norm %x, %w shift %s {eps = 3.5 : f32, groups = 2 : i64}
        : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<?x4xf32>, tensor<?xf32>)
      return %y, %shift : tensor<?x4xf32>, tensor<?xf32>
    })",
                                   {makeDatum(Tensor({1, 4}, {3, 4, 6, 8})),
                                    makeDatum(Tensor({4}, {1, -2, 1, 0.5})),
                                    makeDatum(Tensor({4}, {10, 0, 0, 1}))});
  double r = 1 / std::sqrt(53.5);
  expectNear(results[0], Tensor({1, 4}, {0.75, -2, 6 * r, 4 * r}));
  expectNear(results[1], Tensor({1}, {7.5 + 8 * r}));
}

TEST_F(InterpreterTest, GatedRMSNormGatesFirst) {
  std::vector<Datum> results = run(R"(
    func.func @f(%x: tensor<?x2xf32>, %z: tensor<?x2xf32>, %w: tensor<2xf32>) -> tensor<?x2xf32> {
      %y = mamba.gated_rms_norm %x, %z, %w {eps = 0.0 : f32}
        : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    })",
                                   {makeDatum(Tensor({1, 2}, {3, -1})),
                                    makeDatum(Tensor({1, 2}, {0.5, 2})),
                                    makeDatum(Tensor({2}, {1, 2}))});
  double a = 3 * silu(0.5), b = -silu(2),
         r = 1 / std::sqrt((a * a + b * b) / 2);
  expectNear(results[0], Tensor({1, 2}, {a * r, 2 * b * r}));
}

//===----------------------------------------------------------------------===//
// Quantisation
//===----------------------------------------------------------------------===//

namespace {
class QuantizeTest : public InterpreterTest {
protected:
  /// q of one token, then its scale.
  std::vector<double> quantize(unsigned bits, std::vector<double> x) {
    std::string columns = std::to_string(x.size());
    std::vector<Datum> results =
        run(replaceAll(
                R"(
      func.func @f(%x: tensor<?xKxf32>) -> (tensor<?xKxiBITS>, tensor<?xf32>) {
        %q, %scale = mamba.quantize %x : tensor<?xKxf32> -> tensor<?xKxiBITS>, tensor<?xf32>
        return %q, %scale : tensor<?xKxiBITS>, tensor<?xf32>
      })",
                {{"xKx", "x" + columns + "x"}, {"BITS", std::to_string(bits)}}),
            {makeDatum(Tensor({1, int64_t(x.size())}, x))});
    std::vector<double> values = asTensor(results[0]).values;
    values.push_back(asTensor(results[1]).values[0]);
    return values;
  }
};
using Values = std::vector<double>;
} // namespace

TEST_F(QuantizeTest, TiesToEven) {
  EXPECT_EQ(quantize(16, {32639, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.50001}),
            (Values{32639, 0, 2, 2, 0, -2, -2, 1, 1}));
  EXPECT_EQ(quantize(8, {-127, 0.5, 1.5, 126.5, -125.5}),
            (Values{-127, 0, 2, 126, -126, 1}));
}

TEST_F(QuantizeTest, ScaleIsMaxOverTopInF32) {
  Values values = quantize(16, {0.3f, -0.7f});
  EXPECT_EQ(values[1], -32639);
  EXPECT_EQ(values[2], double(0.7f / 32639.0f));
}

TEST_F(QuantizeTest, WhatIsNoNumberStaysNone) {
  for (size_t i = 0; i < 3; ++i) {
    Values x = {1, -2, 3};
    x[i] = NAN;
    EXPECT_TRUE(std::isnan(quantize(16, x).back())) << i;
  }
}

TEST_F(QuantizeTest, Zeros) {
  EXPECT_EQ(quantize(16, {0, -0.0, 0}), (Values{0, 0, 0, 0}));
}

TEST_F(QuantizeTest, InfiniteInverseGivesZeros) {
  // top / 1e-39 is beyond f32; top / 1e-33 is not.
  EXPECT_EQ(quantize(16, {1e-39, -1e-40}), (Values{0, 0, 0}));
  EXPECT_EQ(quantize(16, {1e-33, -1e-33})[1], -32639);
  EXPECT_EQ(quantize(8, {1e-37, 0})[0], 0);
  EXPECT_EQ(quantize(8, {1e-36, 0})[0], 127);
}

TEST_F(QuantizeTest, InputIsRoundedToF32First) {
  EXPECT_EQ(quantize(16, {32639, 0.5 + std::ldexp(1.0, -40)}),
            (Values{32639, 0, 1}));
}

TEST_F(QuantizeTest, ProductIsRoundedToF32First) {
  // The exact product is 1022.50002, its f32 rounding the tie 1022.5.
  EXPECT_EQ(quantize(16, {0x1.a30fecp+0, 0x1.a41a2ap-5})[1], 1022);
}

TEST_F(QuantizeTest, TheLargestReachesTopExactly) {
  std::uniform_real_distribution<float> mantissa(1, 2);
  std::uniform_int_distribution<int> exponent(-100, 100);
  for (int i = 0; i < 1000; ++i) {
    double m = std::ldexp(mantissa(generator), exponent(generator));
    Tensor x({1, 2}, {m, -m});
    std::vector<double> q = quantize(i % 2 ? 16 : 8, x.values);
    double top = i % 2 ? 32639 : 127;
    ASSERT_EQ(q[0], top) << m;
    ASSERT_EQ(q[1], -top) << m;
  }
}

//===----------------------------------------------------------------------===//
// Linear
//===----------------------------------------------------------------------===//

namespace {
/// scale and shift of a 5 x 9 matrix: by column, by row, single or none.
struct Pattern {
  const char *name;
  llvm::SmallVector<int64_t> shape;
  bool present = true;
};
const Pattern patterns[] = {
    {"column", {1, 9}}, {"row", {5, 1}}, {"single", {}}, {"none", {}, false}};
double at(const Tensor &scale, int64_t o, int64_t k) {
  if (scale.shape.empty())
    return scale.values[0];
  return scale.shape[0] == 1 ? scale.values[k] : scale.values[o];
}
std::string typeOf(const Pattern &pattern) {
  std::string type = "tensor<";
  for (int64_t size : pattern.shape)
    type += std::to_string(size) + "x";
  return type + "f32>";
}
} // namespace

TEST_F(InterpreterTest, BitLinearIsTheEffectiveWeight) {
  for (const Pattern &scalePattern : patterns)
    for (const Pattern &shiftPattern : patterns) {
      SCOPED_TRACE(std::string("scale ") + scalePattern.name + ", shift " +
                   shiftPattern.name);
      Tensor x = random({3, 9}), scale = random(scalePattern.shape),
             shift = random(shiftPattern.shape), bias = random({5});
      Signs signs = randomSigns(5, 9);
      Tensor expected({3, 5});
      for (int64_t t = 0; t < 3; ++t)
        for (int64_t o = 0; o < 5; ++o) {
          double sum = bias.values[o];
          for (int64_t k = 0; k < 9; ++k)
            sum += x.row(t)[k] * ((scalePattern.present ? at(scale, o, k) : 1) *
                                      signs.row(o)[k] +
                                  (shiftPattern.present ? at(shift, o, k) : 0));
          expected.row(t)[o] = sum;
        }
      std::string text = replaceAll(
          R"(
        func.func @f(%x: tensor<?x9xf32>, %w: !mamba.bits<5x9>, %scale: SCALE, %shift: SHIFT, %b: tensor<5xf32>) -> tensor<?x5xf32> {
          %y = mamba.bit_linear %x, %w USES bias %b : (tensor<?x9xf32>, !mamba.bits<5x9>, TYPES tensor<5xf32>) -> tensor<?x5xf32>
          return %y : tensor<?x5xf32>
        })",
          {{"USES", std::string(scalePattern.present ? "scale %scale " : "") +
                        (shiftPattern.present ? "shift %shift" : "")},
           {"TYPES",
            (scalePattern.present ? typeOf(scalePattern) + ", " : "") +
                (shiftPattern.present ? typeOf(shiftPattern) + "," : "")},
           {"SCALE", typeOf(scalePattern)},
           {"SHIFT", typeOf(shiftPattern)}});
      expectNear(run(text, {makeDatum(x), makeDatum(signs), makeDatum(scale),
                            makeDatum(shift), makeDatum(bias)})[0],
                 expected);
    }
}

TEST_F(InterpreterTest, BitLinearTokenShift) {
  // Without a row shift the token's shift is added as it is.
  const char *text = R"(
    func.func @f(%x: tensor<?x2xf32>, %w: !mamba.bits<2x2>, %t: tensor<?xf32>, %s: tensor<2x1xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
      %y = mamba.bit_linear %x, %w token_shift %t : (tensor<?x2xf32>, !mamba.bits<2x2>, tensor<?xf32>) -> tensor<?x2xf32>
      %z = mamba.bit_linear %x, %w shift %s token_shift %t : (tensor<?x2xf32>, !mamba.bits<2x2>, tensor<2x1xf32>, tensor<?xf32>) -> tensor<?x2xf32>
      return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
    })";
  std::vector<Datum> results = run(text, {makeDatum(Tensor({1, 2}, {3, 5})),
                                          makeDatum(Signs{2, 2, {1, -1, 0, 1}}),
                                          makeDatum(Tensor({1}, {100})),
                                          makeDatum(Tensor({2, 1}, {2, -3}))});
  expectNear(results[0], Tensor({1, 2}, {98, 105}));
  expectNear(results[1], Tensor({1, 2}, {198, -295}));
}

TEST_F(InterpreterTest, BitLinearOfIntegersIsExact) {
  // The largest sum of 16-bit activations over 4096 columns.
  constexpr int64_t columns = 4096;
  const char *text = R"(
    func.func @f(%q: tensor<?x4096xi16>, %w: !mamba.bits<1x4096>, %s: tensor<?xf32>) -> tensor<?x1xf32> {
      %y = mamba.bit_linear %q, %w act_scale %s : (tensor<?x4096xi16>, !mamba.bits<1x4096>, tensor<?xf32>) -> tensor<?x1xf32>
      return %y : tensor<?x1xf32>
    })";
  Tensor q({2, columns});
  std::fill_n(q.row(0), columns, 32639);
  std::fill_n(q.row(1), columns, -32639);
  q.row(1)[columns - 1] = 1;
  Signs signs{1, columns, std::vector<int8_t>(columns, 1)};
  Tensor y = asTensor(run(text, {makeDatum(q), makeDatum(signs),
                                 makeDatum(Tensor({2}, {1, 2}))})[0]);
  EXPECT_EQ(y.values[0], 32639.0 * columns);
  EXPECT_EQ(y.values[1], 2 * (-32639.0 * (columns - 1) + 1));
}

TEST_F(InterpreterTest, LinearAndLMHead) {
  std::vector<Datum> results =
      run(R"(
    func.func @f(%x: tensor<?x3xf32>, %w: tensor<2x3xbf16>, %b: tensor<2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
      %y = mamba.linear %x, %w bias %b : (tensor<?x3xf32>, tensor<2x3xbf16>, tensor<2xf32>) -> tensor<?x2xf32>
      %l = mamba.lm_head %x, %w : tensor<?x3xf32>, tensor<2x3xbf16> -> tensor<?x2xf32>
      return %y, %l : tensor<?x2xf32>, tensor<?x2xf32>
    })",
          {makeDatum(Tensor({2, 3}, {1, 2, 3, 0, -1, 1})),
           makeDatum(Tensor({2, 3}, {1, 1, 1, 2, 0, -1})),
           makeDatum(Tensor({2}, {10, 20}))});
  expectNear(results[0], Tensor({2, 2}, {16, 19, 10, 19}));
  expectNear(results[1], Tensor({2, 2}, {6, -1, 0, -1}));
}

TEST_F(InterpreterTest, Sample) {
  double infinity = std::numeric_limits<double>::infinity();
  double nan = std::numeric_limits<double>::quiet_NaN();
  double ln2 = std::log(2.0);
  // The published generator gives 6457827717110365317 first from 1234567, which
  // is 0.35008 of 2^64, and its state is then 0x9e3779b97f4a7c15 more.
  const double low = 1234567, high = 0;
  struct Row {
    std::vector<double> logits;
    double temperature, topK, topP, minP;
    double chosen, highest;
  };
  const std::vector<Row> cases = {
      // The likeliest, of equal ones the lowest; NaN before all.
      {{1, 3, 2, 3, -1}, 0, 0, 0, 0, 1, 3},
      {{-2, -3, -0.0, 0, -infinity}, 1, 1, 1, 0, 2, 0},
      {{1, nan, 5, nan, infinity}, 1, 3, 1, 0, 1, nan},
      {{1, 2, infinity, infinity, 0}, 1, 3, 1, 0, 2, infinity},
      {std::vector<double>(5, -infinity), 1, 3, 1, 0, 0, -infinity},
      // Three equal ones: 1.05 of 3; of two, 0.7; no more than the limit.
      {{0, -9, 0, 0, 0}, 1, 3, 1, 0, 2, 0},
      {{0, -9, 0, 0, 0}, 1, 2, 1, 0, 0, 0},
      {{0, -9, 0, 0, 0}, 1, 100, 1, 0, 2, 0},
      // Weights 1, 0.9, 0.25: 0.75 of 2.15.
      {{std::log(0.25), 0, std::log(0.9), -99, -99}, 1, 3, 1, 0, 1, 0},
      // Weights 1, 1, 1 at a temperature without bounds: 1.05.
      {{-2 * ln2, -ln2, 0, -9, -9}, 1e300, 3, 1, 0, 1, 0},
      // Weights 1, 0.5, of which the first reaches 0.99.
      {{-ln2, 0, -9, -9, -9}, 1, 2, 0.66, 0, 1, 0},
      // Of three equal ones top_p keeps two, 0.7 of 2; or all, 1.05 of 3.
      {{-9, 5, 5, 5, -9}, 1, 3, 0.6, 0, 1, 5},
      {{-9, 5, 5, 5, -9}, 1, 3, 0.7, 0, 2, 5},
      // min_p keeps the first alone; or weights 1, 0.5, 0.5, 0.7 of 2.
      {{0, std::log(0.99), -9, -9, -9}, 1, 2, 1, 0.995, 0, 0},
      {{std::log(0.5), std::log(0.5), 0, -9, -9}, 1, 3, 1, 0.4, 2, 0},
  };
  Tensor logits({int64_t(cases.size()), 5});
  Tensor random({int64_t(cases.size()), 2});
  Tensor temperature(llvm::ArrayRef<int64_t>{int64_t(cases.size())});
  Tensor topK = temperature, topP = temperature, minP = temperature;
  for (auto [i, row] : llvm::enumerate(cases)) {
    llvm::copy(row.logits, logits.row(i));
    random.row(i)[0] = low;
    random.row(i)[1] = high;
    temperature.values[i] = row.temperature;
    topK.values[i] = row.topK;
    topP.values[i] = row.topP;
    minP.values[i] = row.minP;
  }
  std::vector<Datum> results =
      run(R"(
    func.func @f(%x: tensor<?x5xf32>, %r: tensor<?x2xi32>, %t: tensor<?xf32>, %k: tensor<?xi32>, %p: tensor<?xf32>, %m: tensor<?xf32>)
        -> (tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>) {
      %0:3 = mamba.sample %x, %r, %t, %k, %p, %m limit 3 : tensor<?x5xf32>
      return %0#0, %0#1, %0#2 : tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>
    })",
          {makeDatum(logits), makeDatum(random), makeDatum(temperature),
           makeDatum(topK), makeDatum(topP), makeDatum(minP)});
  uint64_t state = 1234567 + 0x9e3779b97f4a7c15;
  Tensor chosen = asTensor(results[0]), highest = asTensor(results[1]),
         next = asTensor(results[2]);
  for (auto [i, row] : llvm::enumerate(cases)) {
    EXPECT_EQ(chosen.values[i], row.chosen) << "case " << i;
    if (std::isnan(row.highest))
      EXPECT_TRUE(std::isnan(highest.values[i])) << "case " << i;
    else
      EXPECT_EQ(highest.values[i], row.highest) << "case " << i;
    EXPECT_EQ(next.row(i)[0], double(int32_t(state)));
    EXPECT_EQ(next.row(i)[1], double(int32_t(state >> 32)));
  }
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

namespace {
const char *convText = R"(
  func.func @f(%x: tensor<?x2xf32>, %state: tensor<?x3x2xf32>, %w: tensor<4x2xf32>, %b: tensor<2xf32>, %seqs: !mamba.sequences)
      -> (tensor<?x2xf32>, tensor<?x3x2xf32>) {
    %y, %s = mamba.causal_conv %x, %state, %w, %seqs bias %b
      : (tensor<?x2xf32>, tensor<?x3x2xf32>, tensor<4x2xf32>, !mamba.sequences, tensor<2xf32>)
      -> (tensor<?x2xf32>, tensor<?x3x2xf32>)
    return %y, %s : tensor<?x2xf32>, tensor<?x3x2xf32>
  })";
}

TEST_F(InterpreterTest, CausalConvPackedSequences) {
  // Sequences of 5, 1 and 2 tokens (fewer than the state's 3) at slots 2, 0, 3
  // of 4; slot 1 stays as it is.
  Tensor x = random({8, 2}), state = random({4, 3, 2}), w = random({4, 2}),
         b = random({2});
  Sequences seqs{{0, 5, 6, 8}, {2, 0, 3}};
  std::vector<Datum> results =
      run(convText, {makeDatum(x), makeDatum(state), makeDatum(w), makeDatum(b),
                     makeDatum(seqs)});
  Tensor y({8, 2}), after = state;
  for (int i = 0; i < 3; ++i)
    for (int c = 0; c < 2; ++c) {
      int64_t begin = seqs.offsets[i], length = seqs.offsets[i + 1] - begin;
      // The channel's history: the state, then the sequence.
      std::vector<double> history;
      for (int64_t j = 0; j < 3; ++j)
        history.push_back(state.row(seqs.slots[i])[j * 2 + c]);
      for (int64_t t = 0; t < length; ++t)
        history.push_back(x.row(begin + t)[c]);
      for (int64_t t = 0; t < length; ++t) {
        double sum = b.values[c];
        for (int j = 0; j < 4; ++j)
          sum += history[t + j] * w.row(j)[c];
        y.row(begin + t)[c] = silu(sum);
      }
      for (int64_t j = 0; j < 3; ++j)
        after.row(seqs.slots[i])[j * 2 + c] = history[length + j];
    }
  expectNear(results[0], y);
  expectNear(results[1], after, 0);
}

TEST_F(InterpreterTest, SequenceWithoutTokensKeepsItsState) {
  Tensor state = random({2, 3, 2});
  std::vector<Datum> results =
      run(convText, {makeDatum(random({1, 2})), makeDatum(state),
                     makeDatum(random({4, 2})), makeDatum(random({2})),
                     makeDatum(Sequences{{0, 0, 1}, {1, 0}})});
  const Tensor &after = asTensor(results[1]);
  EXPECT_TRUE(std::equal(state.row(1), state.row(1) + 6, after.row(1)));
  EXPECT_FALSE(std::equal(state.row(0), state.row(0) + 6, after.row(0)));
}

TEST_F(InterpreterTest, SequencesAreChecked) {
  auto error = [&](Sequences seqs) {
    return getError(convText,
                    {makeDatum(Tensor({3, 2})), makeDatum(Tensor({2, 3, 2})),
                     makeDatum(Tensor({4, 2})), makeDatum(Tensor({2})),
                     makeDatum(seqs)});
  };
  EXPECT_EQ(error({{0, 3}, {0}}), "no error");
  EXPECT_EQ(error({{0, 3}, {2}}),
            "mamba.causal_conv: slot 2 is out of range, expected less than 2");
  EXPECT_EQ(error({{0, 3}, {-1}}),
            "mamba.causal_conv: slot -1 is out of range, expected less than 2");
  EXPECT_EQ(error({{0, 1, 3}, {1, 1}}),
            "mamba.causal_conv: slot 1 is named twice");
  EXPECT_EQ(error({{0, 2}, {0}}),
            "mamba.causal_conv: expected offsets from 0 to 3, found 0 to 2");
  EXPECT_EQ(error({{1, 3}, {0}}),
            "mamba.causal_conv: expected offsets from 0 to 3, found 1 to 3");
  EXPECT_EQ(error({{0, 4, 3}, {0, 1}}),
            "mamba.causal_conv: expected ascending offsets");
  EXPECT_EQ(error({{0, 3}, {0, 1}}),
            "mamba.causal_conv: expected 3 offsets for 2 sequences, found 2");
  EXPECT_EQ(error({{}, {}}),
            "mamba.causal_conv: expected 1 offsets for 0 sequences, found 0");
}

//===----------------------------------------------------------------------===//
// Scan
//===----------------------------------------------------------------------===//

namespace {
/// 4 heads of 3, 2 groups, d_state 2: xBC has 20 channels, zxbcdt 36.
const char *scanText = R"(
  func.func @f(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>,
               %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>) {
    %y, %s = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs
      {groups = 2 : i64, dt_min = MIN : f32, dt_max = MAX : f32}
      : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
         !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
    return %y, %s : tensor<?x12xf32>, tensor<?x4x2x3xf32>
  })";
std::string withLimits(const std::string &min, const std::string &max) {
  return replaceAll(scanText, {{"MIN", min}, {"MAX", max}});
}
const std::string unlimited = withLimits("0.0", "0x7F800000");
} // namespace

TEST_F(InterpreterTest, SelectiveScanByHand) {
  // One head, group, state and channel; δ = 20.5 (above 20) then softplus(0).
  std::vector<Datum> results =
      run(R"(
    func.func @f(%xbc: tensor<?x3xf32>, %dt: tensor<?x1xf32>, %state: tensor<?x1x1x1xf32>, %bias: tensor<1xf32>,
                 %A: tensor<1xf32>, %D: tensor<1xf32>, %seqs: !mamba.sequences) -> (tensor<?x1xf32>, tensor<?x1x1x1xf32>) {
      %y, %s = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs
        {groups = 1 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
        : (tensor<?x3xf32>, tensor<?x1xf32>, tensor<?x1x1x1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>,
           !mamba.sequences) -> (tensor<?x1xf32>, tensor<?x1x1x1xf32>)
      return %y, %s : tensor<?x1xf32>, tensor<?x1x1x1xf32>
    })",
          {makeDatum(Tensor({2, 3}, {3, 5, 7, 2, 1, -1})),
           makeDatum(Tensor({2, 1}, {20, -0.5})),
           makeDatum(Tensor({1, 1, 1, 1}, {4})), makeDatum(Tensor({1}, {0.5})),
           makeDatum(Tensor({1}, {-0.125})), makeDatum(Tensor({1}, {10})),
           makeDatum(sequence(2, 0))});
  double s0 = std::exp(20.5 * -0.125) * 4 + 20.5 * 3 * 5;
  double s1 = std::exp(std::log(2) * -0.125) * s0 + std::log(2) * 2 * 1;
  expectNear(results[0], Tensor({2, 1}, {s0 * 7 + 30, -s1 + 20}), 1e-9);
  expectNear(results[1], Tensor({1, 1, 1, 1}, {s1}), 1e-9);
}

TEST_F(InterpreterTest, SelectiveScanGroupsAndLimits) {
  // One token: y = Σ_n (decay·s + δ·x·B)·C + D·x, heads 0, 1 in group 0.
  Tensor xbc = random({1, 20}), dt = random({1, 4}, 3),
         state = random({1, 4, 2, 3}), bias = random({4}), A = random({4}),
         D = random({4});
  for (double &a : A.values)
    a = -std::fabs(a);
  std::vector<Datum> results =
      run(withLimits("0.25", "1.5"),
          {makeDatum(xbc), makeDatum(dt), makeDatum(state), makeDatum(bias),
           makeDatum(A), makeDatum(D), makeDatum(sequence(1, 0))});
  Tensor y({1, 12});
  bool low = false, high = false;
  for (int h = 0; h < 4; ++h) {
    double delta = softplus(dt.values[h] + bias.values[h]);
    low |= delta < 0.25;
    high |= delta > 1.5;
    delta = std::min(std::max(delta, 0.25), 1.5);
    for (int p = 0; p < 3; ++p) {
      double x = xbc.values[h * 3 + p];
      y.values[h * 3 + p] = D.values[h] * x;
      for (int n = 0; n < 2; ++n) {
        double B = xbc.values[12 + (h / 2) * 2 + n],
               C = xbc.values[16 + (h / 2) * 2 + n];
        double s =
            std::exp(delta * A.values[h]) * state.values[(h * 2 + n) * 3 + p] +
            delta * x * B;
        y.values[h * 3 + p] += s * C;
      }
    }
  }
  EXPECT_TRUE(low && high) << "both limits should apply";
  expectNear(results[0], y);
}

TEST_F(InterpreterTest, SelectiveScanPackedIsEachAlone) {
  Tensor xbc = random({7, 20}), dt = random({7, 4}),
         state = random({3, 4, 2, 3});
  Datum bias = makeDatum(random({4})), A = makeDatum(random({4})),
        D = makeDatum(random({4}));
  std::vector<Datum> packed =
      run(unlimited, {makeDatum(xbc), makeDatum(dt), makeDatum(state), bias, A,
                      D, makeDatum(Sequences{{0, 4, 7}, {2, 0}})});
  std::vector<Datum> first =
      run(unlimited, {makeDatum(slice(xbc, 0, 4)), makeDatum(slice(dt, 0, 4)),
                      makeDatum(state), bias, A, D, makeDatum(sequence(4, 2))});
  std::vector<Datum> both =
      run(unlimited, {makeDatum(slice(xbc, 4, 7)), makeDatum(slice(dt, 4, 7)),
                      first[1], bias, A, D, makeDatum(sequence(3, 0))});
  EXPECT_EQ(slice(asTensor(packed[0]), 0, 4).values, asTensor(first[0]).values);
  EXPECT_EQ(slice(asTensor(packed[0]), 4, 7).values, asTensor(both[0]).values);
  EXPECT_EQ(asTensor(packed[1]).values, asTensor(both[1]).values);
}

// A state of 16 bits: the arithmetic of one of f32, rounded at the end of each
// sequence. Other slots stay as they are.
TEST_F(InterpreterTest, SelectiveScanRoundsAStateOf16Bits) {
  Tensor xbc = random({7, 20}), dt = random({7, 4}),
         state = random({3, 4, 2, 3});
  for (double &value : state.values) // in both types
    value = std::nearbyint(value * 64) / 64;
  std::vector<Datum> arguments = {makeDatum(xbc),
                                  makeDatum(dt),
                                  makeDatum(state),
                                  makeDatum(random({4})),
                                  makeDatum(random({4})),
                                  makeDatum(random({4})),
                                  makeDatum(Sequences{{0, 4, 7}, {2, 0}})};
  std::vector<Datum> wide = run(unlimited, arguments);
  for (auto [type, bits] : {std::pair("xf16>", 11), std::pair("xbf16>", 8)}) {
    std::vector<Datum> narrow =
        run(replaceAll(unlimited, {{"x2x3xf32>", std::string("x2x3") + type}}),
            arguments);
    EXPECT_EQ(asTensor(narrow[0]).values, asTensor(wide[0]).values);
    Tensor rounded = asTensor(wide[1]);
    for (double &value : rounded.values) {
      int exponent;
      double mantissa = std::frexp(value, &exponent);
      value = std::ldexp(std::nearbyint(std::ldexp(mantissa, bits)),
                         exponent - bits);
    }
    EXPECT_EQ(asTensor(narrow[1]).values, rounded.values);
    EXPECT_NE(asTensor(narrow[1]).values, asTensor(wide[1]).values);
  }
}

// By hand, one head: too large becomes the largest finite value, a tie goes to
// the even value, not a number stays it.
TEST_F(InterpreterTest, SelectiveScanSaturatesAStateOf16Bits) {
  auto scanned = [&](const char *type, std::vector<double> states) {
    int64_t size = states.size();
    std::string text = replaceAll(
        R"(
      func.func @f(%xbc: tensor<?xWxf32>, %dt: tensor<?x1xf32>, %state: tensor<?x1x1xPxT>, %h: tensor<1xf32>,
                   %zero: tensor<1xf32>, %seqs: !mamba.sequences) -> tensor<?x1x1xPxT> {
        %y, %s = mamba.selective_scan %xbc, %dt, %state, %h, %zero, %h, %seqs
          {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 1.0 : f32}
          : (tensor<?xWxf32>, tensor<?x1xf32>, tensor<?x1x1xPxT>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>,
             !mamba.sequences) -> (tensor<?xPxf32>, tensor<?x1x1xPxT>)
        return %s : tensor<?x1x1xPxT>
      })",
        {{"xT>", std::string("x") + type + ">"},
         {"xP", "x" + std::to_string(size)},
         {"xW", "x" + std::to_string(size + 2)}});
    // x is what the state becomes: it was zero, δ = 1 and B = 1.
    states.push_back(1);
    states.push_back(1);
    return asTensor(run(text, {makeDatum(Tensor({1, size + 2}, states)),
                               makeDatum(Tensor({1, 1})),
                               makeDatum(Tensor({1, 1, 1, size})),
                               makeDatum(Tensor({1})), makeDatum(Tensor({1})),
                               makeDatum(sequence(1, 0))})[0])
        .values;
  };
  EXPECT_EQ(scanned("f16", {65519, 65520, -1e9, INFINITY, 2049, 2051, 3e-8}),
            (std::vector<double>{65504, 65504, -65504, 65504, 2048, 2052,
                                 std::ldexp(1, -24)}));
  double largest = std::ldexp(255, 120);
  EXPECT_EQ(scanned("bf16", {1e39, -INFINITY, 257, 259, 65520}),
            (std::vector<double>{largest, -largest, 256, 260, 65536}));
  EXPECT_TRUE(std::isnan(scanned("f16", {NAN})[0]));
}

namespace {
const char *fusedScanText = R"(
  func.func @f(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>,
               %cb: tensor<20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences)
      -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>) {
    %y, %c, %s = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb
      {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>,
         tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
    return %y, %c, %s : tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  })";
} // namespace

TEST_F(InterpreterTest, ScanIsItsParts) {
  Tensor zxbcdt = random({5, 36});
  Datum conv = makeDatum(random({2, 3, 20})),
        ssm = makeDatum(random({2, 4, 2, 3})), cw = makeDatum(random({4, 20})),
        cb = makeDatum(random({20})), bias = makeDatum(random({4})),
        A = makeDatum(random({4})), D = makeDatum(random({4})),
        seqs = makeDatum(Sequences{{0, 2, 5}, {1, 0}});
  std::vector<Datum> fused = run(
      fusedScanText, {makeDatum(zxbcdt), conv, ssm, cw, cb, bias, A, D, seqs});
  std::vector<Datum> parts = run(
      R"(
    func.func @f(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>,
                 %cb: tensor<20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences)
        -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<?x12xf32>) {
      %z, %xbc, %dt = mamba.split %zxbcdt : tensor<?x36xf32> -> tensor<?x12xf32>, tensor<?x20xf32>, tensor<?x4xf32>
      %u, %c = mamba.causal_conv %xbc, %conv, %cw, %seqs bias %cb
        : (tensor<?x20xf32>, tensor<?x3x20xf32>, tensor<4x20xf32>, !mamba.sequences, tensor<20xf32>)
        -> (tensor<?x20xf32>, tensor<?x3x20xf32>)
      %y, %s = mamba.selective_scan %u, %dt, %ssm, %bias, %A, %D, %seqs
        {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
        : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
           !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
      return %y, %c, %s, %z : tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<?x12xf32>
    })",
      {makeDatum(zxbcdt), conv, ssm, cw, cb, bias, A, D, seqs});
  Tensor gated = asTensor(parts[0]);
  for (size_t i = 0; i < gated.values.size(); ++i)
    gated.values[i] *= silu(asTensor(parts[3]).values[i]);
  expectNear(fused[0], gated);
  expectNear(fused[1], asTensor(parts[1]), 0);
  expectNear(fused[2], asTensor(parts[2]), 0);
}

TEST_F(InterpreterTest, ScanInAnyPiecesIsTheWhole) {
  Tensor zxbcdt = random({9, 36});
  Datum cw = makeDatum(random({4, 20})), cb = makeDatum(random({20})),
        bias = makeDatum(random({4})), A = makeDatum(random({4})),
        D = makeDatum(random({4}));
  Datum conv0 = makeDatum(random({1, 3, 20})),
        ssm0 = makeDatum(random({1, 4, 2, 3}));
  std::vector<Datum> whole =
      run(fusedScanText, {makeDatum(zxbcdt), conv0, ssm0, cw, cb, bias, A, D,
                          makeDatum(sequence(9, 0))});
  for (int64_t piece : {1, 2, 4, 8}) {
    Datum conv = conv0, ssm = ssm0;
    for (int64_t begin = 0; begin < 9; begin += piece) {
      int64_t end = std::min<int64_t>(begin + piece, 9);
      std::vector<Datum> results = run(
          fusedScanText, {makeDatum(slice(zxbcdt, begin, end)), conv, ssm, cw,
                          cb, bias, A, D, makeDatum(sequence(end - begin, 0))});
      EXPECT_EQ(asTensor(results[0]).values,
                slice(asTensor(whole[0]), begin, end).values);
      conv = results[1];
      ssm = results[2];
    }
    EXPECT_EQ(asTensor(conv).values, asTensor(whole[1]).values);
    EXPECT_EQ(asTensor(ssm).values, asTensor(whole[2]).values);
  }
}

//===----------------------------------------------------------------------===//
// Fused linear
//===----------------------------------------------------------------------===//

TEST_F(InterpreterTest, FusedLinearIsItsParts) {
  for (int bits : {8, 16}) {
    std::string text = replaceAll(
        R"(
      func.func @f(%x: tensor<?x6xf32>, %w: !mamba.bits<5x6>, %nw: tensor<6xf32>, %sw: tensor<6xf32>, %rows: tensor<?xi32>,
                   %rs: tensor<5xf32>, %rs2: tensor<5x1xf32>, %b: tensor<5xf32>, %r: tensor<?x5xf32>)
          -> (tensor<?x5xf32>, tensor<?x5xf32>) {
        %fused = mamba.fused_linear %x, %w rows %rows norm_weight %nw shift_weight %sw row_scale %rs row_shift %rs bias %b residual %r
          {activation_bits = BITS : i64, norm_groups = 2 : i64, eps = 1.0e-3 : f32}
          : (tensor<?x6xf32>, !mamba.bits<5x6>, tensor<?xi32>, tensor<6xf32>, tensor<6xf32>, tensor<5xf32>, tensor<5xf32>,
             tensor<5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
        %s = mamba.select_rows %x, %rows : tensor<?x6xf32>, tensor<?xi32>
        %u, %shift = mamba.rms_norm %s, %nw shift %sw {eps = 1.0e-3 : f32, groups = 2 : i64}
          : (tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<?x6xf32>, tensor<?xf32>)
        %q, %scale = mamba.quantize %u : tensor<?x6xf32> -> tensor<?x6xiBITS>, tensor<?xf32>
        %y = mamba.bit_linear %q, %w scale %rs2 shift %rs2 bias %b act_scale %scale token_shift %shift
          : (tensor<?x6xiBITS>, !mamba.bits<5x6>, tensor<5x1xf32>, tensor<5x1xf32>, tensor<5xf32>, tensor<?xf32>, tensor<?xf32>)
          -> tensor<?x5xf32>
        %parts = mamba.add %y, %r : tensor<?x5xf32>
        return %fused, %parts : tensor<?x5xf32>, tensor<?x5xf32>
      })",
        {{"BITS", std::to_string(bits)}});
    Tensor rowScale = random({5});
    std::vector<Datum> results =
        run(text, {makeDatum(random({4, 6})), makeDatum(randomSigns(5, 6)),
                   makeDatum(random({6})), makeDatum(random({6})),
                   makeDatum(Tensor({3}, {3, 0, 3})), makeDatum(rowScale),
                   makeDatum(Tensor({5, 1}, rowScale.values)),
                   makeDatum(random({5})), makeDatum(random({3, 5}))});
    expectNear(results[0], asTensor(results[1]));
  }
}

TEST_F(InterpreterTest, FusedLinearDense) {
  std::vector<Datum> results =
      run(R"(
    func.func @f(%x: tensor<?x6xf32>, %w: tensor<5x6xf16>, %b: tensor<5xf32>) -> (tensor<?x5xf32>, tensor<?x5xf32>) {
      %fused = mamba.fused_linear %x, %w bias %b : (tensor<?x6xf32>, tensor<5x6xf16>, tensor<5xf32>) -> tensor<?x5xf32>
      %linear = mamba.linear %x, %w bias %b : (tensor<?x6xf32>, tensor<5x6xf16>, tensor<5xf32>) -> tensor<?x5xf32>
      return %fused, %linear : tensor<?x5xf32>, tensor<?x5xf32>
    })",
          {makeDatum(random({4, 6})), makeDatum(random({5, 6})),
           makeDatum(random({5}))});
  expectNear(results[0], asTensor(results[1]), 0);
}

TEST_F(InterpreterTest, FusedLinearChecksTokens) {
  const char *text = R"(
    func.func @f(%x: tensor<?x2xf32>, %w: tensor<2x2xf32>, %rows: tensor<?xi32>, %r: tensor<?x2xf32>) -> tensor<?x2xf32> {
      %y = mamba.fused_linear %x, %w rows %rows residual %r
        : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<?xi32>, tensor<?x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    })";
  Datum w = makeDatum(Tensor({2, 2})), x = makeDatum(Tensor({3, 2}));
  EXPECT_EQ(getError(text, {x, w, makeDatum(Tensor({1}, {0})), x}),
            "mamba.fused_linear: expected 1 tokens, found 3");
  EXPECT_EQ(
      getError(text,
               {x, w, makeDatum(Tensor({1}, {3})), makeDatum(Tensor({1, 2}))}),
      "mamba.fused_linear: row 3 at 0 is out of range, expected less than 3");
}

//===----------------------------------------------------------------------===//
// Block
//===----------------------------------------------------------------------===//

namespace {
const char *blockText = R"(
  mamba.weights @w {
    mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
    mamba.weight @in_proj : IN_TYPE from [#mamba.source<"m", "in_proj" : tensor<36x8xf32>>] as [IN_RECIPE]
    MAYBE
    mamba.weight @in_proj_bias : tensor<36xf32> from [#mamba.source<"m", "in_bias" : tensor<36xf32>>] as []
    mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv" : tensor<20x1x4xf32>>] as [#mamba.transpose]
    mamba.weight @conv_bias : tensor<20xf32> from [#mamba.source<"m", "conv_bias" : tensor<20xf32>>] as []
    mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
    mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A_log" : tensor<4xf32>>] as [#mamba.neg_exp]
    mamba.weight @D : tensor<4xf32> from [#mamba.source<"m", "D" : tensor<4xf32>>] as []
    mamba.weight @gated_norm : tensor<12xf32> from [#mamba.source<"m", "gated_norm" : tensor<12xf32>>] as []
    mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
  }
  func.func @f(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences)
      -> (tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>) {
    %y, %c, %s = mamba.block %x, %conv, %ssm, %seqs weights @w
        config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
                eps = 1.0e-3 : f32, gated_eps = 1.0e-2 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
        : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
    return %y, %c, %s : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  }
  func.func @expanded(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences)
      -> (tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>) {
    %norm = mamba.get_weight @w::@norm : tensor<8xf32>
    %u = mamba.rms_norm %x, %norm {eps = 1.0e-3 : f32} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    %in = mamba.get_weight @w::@in_proj : IN_TYPE
    %inb = mamba.get_weight @w::@in_proj_bias : tensor<36xf32>
    PROJECT
    %z, %xbc, %dt = mamba.split %p : tensor<?x36xf32> -> tensor<?x12xf32>, tensor<?x20xf32>, tensor<?x4xf32>
    %cw = mamba.get_weight @w::@conv_weight : tensor<4x20xf32>
    %cb = mamba.get_weight @w::@conv_bias : tensor<20xf32>
    %a, %c = mamba.causal_conv %xbc, %conv, %cw, %seqs bias %cb
      : (tensor<?x20xf32>, tensor<?x3x20xf32>, tensor<4x20xf32>, !mamba.sequences, tensor<20xf32>)
      -> (tensor<?x20xf32>, tensor<?x3x20xf32>)
    %bias = mamba.get_weight @w::@dt_bias : tensor<4xf32>
    %A = mamba.get_weight @w::@A : tensor<4xf32>
    %D = mamba.get_weight @w::@D : tensor<4xf32>
    %v, %s = mamba.selective_scan %a, %dt, %ssm, %bias, %A, %D, %seqs
      {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
         !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
    %gn = mamba.get_weight @w::@gated_norm : tensor<12xf32>
    %g = mamba.gated_rms_norm %v, %z, %gn {eps = 1.0e-2 : f32, groups = 2 : i64}
      : (tensor<?x12xf32>, tensor<?x12xf32>, tensor<12xf32>) -> tensor<?x12xf32>
    %out = mamba.get_weight @w::@out_proj : tensor<8x12xf32>
    %o = mamba.linear %g, %out : (tensor<?x12xf32>, tensor<8x12xf32>) -> tensor<?x8xf32>
    %y = mamba.add %x, %o : tensor<?x8xf32>
    return %y, %c, %s : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  })";
} // namespace

TEST_F(InterpreterTest, BlockIsItsExpansion) {
  for (auto [key, size] :
       std::initializer_list<std::pair<const char *, int64_t>>{
           {"norm", 8},
           {"in_proj", 36 * 8},
           {"scale", 8},
           {"in_bias", 36},
           {"conv", 80},
           {"conv_bias", 20},
           {"dt_bias", 4},
           {"A_log", 4},
           {"D", 4},
           {"gated_norm", 12},
           {"out_proj", 96}})
    source.tensors[key] = random({size}).values;
  std::string packed = replaceAll(
      blockText,
      {{"IN_TYPE", "!mamba.bits<36x8>"},
       {"IN_RECIPE", "#mamba.sign"},
       {"MAYBE",
        R"(mamba.weight @in_proj_scale : tensor<1x8xf32> from [#mamba.source<"m", "scale" : tensor<1x8xf32>>] as []
         mamba.weight @in_proj_shift : tensor<1x8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as [])"},
       {"PROJECT", R"(
         %scale = mamba.get_weight @w::@in_proj_scale : tensor<1x8xf32>
         %shift = mamba.get_weight @w::@in_proj_shift : tensor<1x8xf32>
         %p = mamba.bit_linear %u, %in scale %scale shift %shift bias %inb
           : (tensor<?x8xf32>, !mamba.bits<36x8>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<36xf32>) -> tensor<?x36xf32>)"}});
  std::string dense =
      replaceAll(blockText, {{"IN_TYPE", "tensor<36x8xf32>"},
                             {"IN_RECIPE", ""},
                             {"MAYBE", ""},
                             {"PROJECT", R"(%p = mamba.linear %u, %in bias %inb
           : (tensor<?x8xf32>, tensor<36x8xf32>, tensor<36xf32>) -> tensor<?x36xf32>)"}});
  for (const std::string &text : {packed, dense}) {
    std::vector<Datum> arguments = {makeDatum(random({6, 8})),
                                    makeDatum(random({3, 3, 20})),
                                    makeDatum(random({3, 4, 2, 3})),
                                    makeDatum(Sequences{{0, 1, 6}, {2, 1}})};
    std::vector<Datum> block = run(text, arguments);
    ASSERT_EQ(block.size(), 3u);
    Interpreter interpreter(*module, source);
    llvm::Expected<std::vector<Datum>> expanded =
        interpreter.run("expanded", arguments);
    ASSERT_TRUE(bool(expanded)) << llvm::toString(expanded.takeError());
    for (int i = 0; i < 3; ++i)
      expectNear(block[i], asTensor((*expanded)[i]));
  }
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

TEST_F(InterpreterTest, ObserverSeesEveryValueAndCallsAreFollowed) {
  std::vector<std::string> names;
  observer = [&](mlir::OpResult, llvm::StringRef name, const Datum &) {
    names.push_back(name.str());
  };
  std::vector<Datum> results =
      run(R"(
    func.func private @kernel(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
      %y = mamba.add %x, %x : tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    }
    func.func @f(%x: tensor<?x2xf32>) -> (tensor<?x2xi8>, tensor<?xf32>) {
      %y = func.call @kernel(%x) : (tensor<?x2xf32>) -> tensor<?x2xf32>
      %z = func.call @kernel(%y) : (tensor<?x2xf32>) -> tensor<?x2xf32>
      %q, %scale = mamba.quantize %z : tensor<?x2xf32> -> tensor<?x2xi8>, tensor<?xf32>
      return %q, %scale : tensor<?x2xi8>, tensor<?xf32>
    })",
          {makeDatum(Tensor({1, 2}, {0.25, 127.0 / 4}))});
  expectNear(results[0], Tensor({1, 2}, {1, 127}));
  EXPECT_EQ(llvm::join(names, " "),
            "kernel.add.x f.call.0 kernel.add.x f.call.0 "
            "f.quantize.q f.quantize.scale");
}

TEST_F(InterpreterTest, ArgumentsAreChecked) {
  const char *text = R"(
    func.func @f(%x: tensor<?x2xf32>, %w: !mamba.bits<3x2>, %s: !mamba.sequences) {
      return
    })";
  Datum x = makeDatum(Tensor({4, 2})),
        w = makeDatum(Signs{3, 2, std::vector<int8_t>(6)}),
        s = makeDatum(Sequences());
  EXPECT_EQ(getError(text, {x, w, s}), "no error");
  EXPECT_EQ(getError(text, {x, w}), "@f: expected 3 arguments, found 2");
  auto misfit = [&](std::vector<Datum> arguments) {
    return getError(text, arguments);
  };
  EXPECT_EQ(misfit({makeDatum(Tensor({4, 3})), w, s}),
            "@f: argument 0 does not fit its type tensor<?x2xf32>");
  EXPECT_EQ(misfit({makeDatum(Tensor({4, 2}, {1})), w, s}),
            "@f: argument 0 does not fit its type tensor<?x2xf32>");
  EXPECT_EQ(misfit({Datum(), w, s}),
            "@f: argument 0 does not fit its type tensor<?x2xf32>");
  EXPECT_EQ(misfit({x, x, s}),
            "@f: argument 1 does not fit its type !mamba.bits<3x2>");
  EXPECT_EQ(misfit({x, makeDatum(Signs{3, 2, {}}), s}),
            "@f: argument 1 does not fit its type !mamba.bits<3x2>");
  EXPECT_EQ(misfit({x, w, x}),
            "@f: argument 2 does not fit its type !mamba.sequences");
}

TEST_F(InterpreterTest, WhatCannotRunIsAnError) {
  EXPECT_EQ(getError("func.func @g() { return }", {}),
            "there is no function @f");
  EXPECT_EQ(getError("func.func private @f()", {}),
            "expected @f to have a body of one block");
  EXPECT_EQ(
      getError("func.func @f() { func.call @f() : () -> ()\n return }", {}),
      "func.call: @f calls itself");
  EXPECT_EQ(
      getError("func.func @f() { %f = func.constant @f : () -> ()\n return }",
               {}),
      "func.constant: the interpreter does not execute this operation");
}
