//===- RecipeTest.cpp - recipes against plain code ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "Synthetic.h"
#include "runtime/artifact/Half.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace mambit::artifact;
using namespace mambit::artifact::test;

namespace {

/// Values of any sign, some of them zeros of either sign and subnormals.
std::vector<float> randomValues(size_t count, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values) {
    switch (random() % 16) {
    case 0:
      value = 0.0f;
      break;
    case 1:
      value = -0.0f;
      break;
    case 2:
      value = random() % 2 ? 1e-41f : -1e-41f;
      break;
    default:
      value = normal(random);
    }
  }
  return values;
}

TensorView viewOf(const std::vector<float> &values, Shape shape) {
  TensorView view;
  view.shape = std::move(shape);
  view.data = values.data();
  return view;
}

template <typename T>
std::vector<T> execute(const WeightT &weight,
                       const std::vector<TensorView> &views) {
  MemorySink sink;
  uint64_t elements = 0;
  executeRecipe(weight, views, sink, [&](uint64_t n) { elements += n; });
  EXPECT_EQ(elements, *elementCount(weight.shape));
  EXPECT_EQ(sink.bytes.size() % sizeof(T), 0u);
  return sink.as<T>();
}

std::unique_ptr<WeightT> signs(uint64_t n, uint64_t k, LayoutKind kind,
                               uint32_t rows) {
  auto weight = makeWeight(
      "w", "w", kind == LayoutKind::zeros ? DType::i32 : DType::bits, {n, k});
  weight->layout = makeLayout(kind, rows);
  weight->steps.push_back(makeStep(StepKind::sign));
  return weight;
}

/// The bit of an element by the words of the format's definition.
bool bitAt(const std::vector<uint32_t> &words, uint64_t k, uint64_t rows,
           uint64_t row, uint64_t column) {
  uint64_t blocks = (k + 31) / 32;
  uint64_t word = (row / rows * blocks + column / 32) * rows + row % rows;
  uint64_t b = column % 32 / 4, j = column % 4;
  return words[word] >> (8 * j + b) & 1;
}

struct Size {
  uint64_t n, k;
};

class Recipe : public testing::TestWithParam<Size> {
protected:
  uint64_t n = GetParam().n, k = GetParam().k;
  std::vector<float> matrix = randomValues(n * k);
};

INSTANTIATE_TEST_SUITE_P(Sizes, Recipe,
                         testing::Values(Size{17, 33}, Size{1, 1}, Size{16, 32},
                                         Size{15, 31}, Size{48, 64},
                                         Size{1, 100}, Size{100, 1},
                                         Size{40, 515}));

TEST_P(Recipe, bitTile) {
  for (uint32_t rows : {16, 32}) {
    auto words = execute<uint32_t>(*signs(n, k, LayoutKind::bit_tile, rows),
                                   {viewOf(matrix, {n, k})});
    uint64_t paddedRows = (n + rows - 1) / rows * rows;
    uint64_t paddedColumns = (k + 31) / 32 * 32;
    ASSERT_EQ(words.size() * 32, paddedRows * paddedColumns);
    for (uint64_t r = 0; r < paddedRows; ++r)
      for (uint64_t c = 0; c < paddedColumns; ++c)
        EXPECT_EQ(bitAt(words, k, rows, r, c),
                  r < n && c < k && matrix[r * k + c] > 0)
            << r << ", " << c;
  }
}

TEST_P(Recipe, zeros) {
  for (uint32_t rows : {16, 32}) {
    std::vector<int32_t> expected, pairs;
    for (uint64_t r = 0; r < n; ++r) {
      if (r % rows == 0)
        expected.push_back(int32_t(pairs.size() / 2));
      for (uint64_t c = 0; c < k; ++c)
        if (matrix[r * k + c] == 0)
          pairs.insert(pairs.end(), {int32_t(r), int32_t(c)});
    }
    expected.push_back(int32_t(pairs.size() / 2));
    expected.insert(expected.end(), pairs.begin(), pairs.end());
    auto weight = signs(n, k, LayoutKind::zeros, rows);
    EXPECT_EQ(execute<int32_t>(*weight, {viewOf(matrix, {n, k})}), expected);
    MemorySink sink;
    EXPECT_EQ(executeRecipe(*weight, {viewOf(matrix, {n, k})}, sink),
              pairs.size() / 2);
  }
}

TEST_P(Recipe, allZeros) {
  for (float zero : {0.0f, -0.0f}) {
    std::vector<float> none(n * k, zero);
    auto words = execute<uint32_t>(*signs(n, k, LayoutKind::bit_tile, 16),
                                   {viewOf(none, {n, k})});
    EXPECT_EQ(words, std::vector<uint32_t>(words.size()));
    auto list = execute<int32_t>(*signs(n, k, LayoutKind::zeros, 16),
                                 {viewOf(none, {n, k})});
    EXPECT_EQ(list.size(), (n + 15) / 16 + 1 + 2 * n * k);
  }
}

TEST_P(Recipe, interleave) {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    auto weight = makeWeight("w", "w", dtype, {n, k});
    weight->layout = makeLayout(LayoutKind::interleave, 16);
    weight->steps.push_back(makeStep(StepKind::cast, 0, dtype));
    uint64_t padded = (n + 15) / 16 * 16;
    auto expect = [&](auto found, auto encode) {
      ASSERT_EQ(found.size(), padded * k);
      for (uint64_t r = 0; r < padded; ++r)
        for (uint64_t c = 0; c < k; ++c)
          EXPECT_EQ(found[(r / 16 * k + c) * 16 + r % 16],
                    encode(r < n ? matrix[r * k + c] : 0.0f));
    };
    std::vector<TensorView> views = {viewOf(matrix, {n, k})};
    if (dtype == DType::f32)
      expect(execute<uint32_t>(*weight, views), bitsFromFloat);
    else if (dtype == DType::f16)
      expect(execute<uint16_t>(*weight, views), f16FromF32);
    else
      expect(execute<uint16_t>(*weight, views), bf16FromF32);
  }
}

TEST_P(Recipe, transpose) {
  // As conv1d.weight (C, 1, 4), which becomes [4][C].
  auto weight = makeWeight("w", "w", DType::f32, {k, n});
  weight->sources[0]->shape = {n, 1, k};
  weight->steps.push_back(makeStep(StepKind::transpose));
  auto found = execute<float>(*weight, {viewOf(matrix, {n, 1, k})});
  std::vector<float> expected;
  for (uint64_t c = 0; c < k; ++c)
    for (uint64_t r = 0; r < n; ++r)
      expected.push_back(matrix[r * k + c]);
  EXPECT_EQ(found, expected);
}

TEST_P(Recipe, multiplyBetweenTransposes) {
  // Each factor is taken in the order the matrix has at its step.
  std::vector<float> before = randomValues(n * k, 2);
  std::vector<float> after = randomValues(n * k, 3);
  auto weight = makeWeight("w", "w", DType::f32, {k, n});
  weight->sources[0]->shape = {n, k};
  weight->sources.push_back(makeSource("before", {n, k}));
  weight->sources.push_back(makeSource("after", {k * n}));
  weight->steps.push_back(makeStep(StepKind::multiply, 1));
  weight->steps.push_back(makeStep(StepKind::transpose));
  weight->steps.push_back(makeStep(StepKind::multiply, 2));
  auto found =
      execute<float>(*weight, {viewOf(matrix, {n, k}), viewOf(before, {n, k}),
                               viewOf(after, {k * n})});
  for (uint64_t c = 0; c < k; ++c)
    for (uint64_t r = 0; r < n; ++r)
      EXPECT_EQ(found[c * n + r],
                matrix[r * k + c] * before[r * k + c] * after[c * n + r]);
}

TEST_P(Recipe, signsOfATransposedMatrix) {
  auto weight = signs(k, n, LayoutKind::bit_tile, 16);
  weight->sources[0]->shape = {n, k};
  weight->steps.push_back(makeStep(StepKind::transpose));
  auto words = execute<uint32_t>(*weight, {viewOf(matrix, {n, k})});
  for (uint64_t c = 0; c < k; ++c)
    for (uint64_t r = 0; r < n; ++r)
      EXPECT_EQ(bitAt(words, n, 16, c, r), matrix[r * k + c] > 0);
}

TEST_P(Recipe, stridedSources) {
  // The same matrix as a column-major storage and as part of a wider one.
  std::vector<float> columnMajor(n * k), wide(n * (2 * k + 3), NAN);
  for (uint64_t r = 0; r < n; ++r)
    for (uint64_t c = 0; c < k; ++c) {
      columnMajor[c * n + r] = matrix[r * k + c];
      wide[r * (2 * k + 3) + 2 * c + 1] = matrix[r * k + c];
    }
  TensorView first = viewOf(columnMajor, {n, k});
  first.strides = {1, int64_t(n)};
  TensorView second = viewOf(wide, {n, k});
  second.data = wide.data() + 1;
  second.strides = {int64_t(2 * k + 3), 2};
  for (const TensorView &view : {first, second}) {
    for (LayoutKind kind : {LayoutKind::bit_tile, LayoutKind::zeros}) {
      auto weight = signs(n, k, kind, 16);
      EXPECT_EQ(execute<uint32_t>(*weight, {view}),
                execute<uint32_t>(*weight, {viewOf(matrix, {n, k})}));
    }
    auto plain = makeWeight("w", "w", DType::f32, {n, k});
    EXPECT_EQ(execute<float>(*plain, {view}), matrix);
    auto transposed = makeWeight("w", "w", DType::f32, {k, n});
    transposed->sources[0]->shape = {n, k};
    transposed->steps.push_back(makeStep(StepKind::transpose));
    EXPECT_EQ(execute<float>(*transposed, {view}),
              execute<float>(*transposed, {viewOf(matrix, {n, k})}));
  }
}

TEST(RecipeSteps, stridesOfHigherRank) {
  // A [3][4][5] tensor stored as [5][3][4], read whole and at rank 1.
  std::vector<float> storage = randomValues(60), expected;
  for (size_t a = 0; a < 3; ++a)
    for (size_t b = 0; b < 4; ++b)
      for (size_t c = 0; c < 5; ++c)
        expected.push_back(storage[c * 12 + a * 4 + b]);
  TensorView view = viewOf(storage, {3, 4, 5});
  view.strides = {4, 1, 12};
  auto weight = makeWeight("w", "w", DType::f32, {60});
  weight->sources[0]->shape = {3, 4, 5};
  EXPECT_EQ(execute<float>(*weight, {view}), expected);
}

TEST(RecipeSteps, multiplyByNegativeScalesAndOneElement) {
  std::vector<float> x = randomValues(33), y = randomValues(33, 2);
  std::vector<float> one = {-1.7f};
  auto weight = makeWeight("w", "w", DType::f32, {33});
  weight->sources.push_back(makeSource("column", {1, 33}));
  weight->sources.push_back(makeSource("single", {}));
  weight->steps.push_back(makeStep(StepKind::multiply, 1));
  weight->steps.push_back(makeStep(StepKind::multiply, 2));
  auto found = execute<float>(
      *weight, {viewOf(x, {33}), viewOf(y, {1, 33}), viewOf(one, {})});
  for (size_t i = 0; i < 33; ++i)
    EXPECT_EQ(found[i], float(float(x[i] * y[i]) * one[0]));
}

TEST(RecipeSteps, negExp) {
  std::vector<float> x = randomValues(20000); // more than one chunk
  auto weight = makeWeight("A", "A_log", DType::f32, {20000});
  weight->steps.push_back(makeStep(StepKind::neg_exp));
  auto found = execute<float>(*weight, {viewOf(x, {20000})});
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_EQ(found[i], float(-std::exp(double(x[i]))));
}

TEST(RecipeSteps, signsAsNumbers) {
  std::vector<float> x = {2, -0.5f, 0.0f, -0.0f, 1e-45f, -1e-45f};
  auto weight = makeWeight("w", "w", DType::f16, {2, 3});
  weight->steps.push_back(makeStep(StepKind::sign));
  weight->steps.push_back(makeStep(StepKind::cast, 0, DType::f16));
  EXPECT_EQ(execute<uint16_t>(*weight, {viewOf(x, {2, 3})}),
            (std::vector<uint16_t>{0x3c00, 0xbc00, 0, 0, 0x3c00, 0xbc00}));
}

TEST(RecipeSteps, castInTheMiddleRounds) {
  std::vector<float> x = {1.0f + 0x1p-12f}, y = {3};
  for (DType dtype : {DType::f16, DType::bf16}) {
    auto weight = makeWeight("w", "w", DType::f32, {1});
    weight->sources.push_back(makeSource("y", {1}));
    weight->steps.push_back(makeStep(StepKind::cast, 0, dtype));
    weight->steps.push_back(makeStep(StepKind::multiply, 1));
    EXPECT_EQ(execute<float>(*weight, {viewOf(x, {1}), viewOf(y, {1})}),
              std::vector<float>{3});
  }
}

TEST(RecipeSteps, f16SubnormalsHaveASign) {
  std::vector<uint16_t> x = {0x0001, 0x8001, 0x0000, 0x8000, 0x03ff, 0x7bff};
  TensorView view;
  view.dtype = DType::f16;
  view.shape = {2, 3};
  view.data = x.data();
  auto words =
      execute<uint32_t>(*signs(2, 3, LayoutKind::bit_tile, 16), {view});
  EXPECT_EQ(words[0], 0x00000001u); // columns 0, 1, 2: +, -, 0
  EXPECT_EQ(words[1], 0x00010100u); // columns 0, 1, 2: 0, +, +
  auto list = execute<int32_t>(*signs(2, 3, LayoutKind::zeros, 16), {view});
  EXPECT_EQ(list, (std::vector<int32_t>{0, 2, 0, 2, 1, 0}));
}

template <typename T>
void expectNumbers(DType dtype, std::vector<T> values,
                   const std::vector<float> &expected) {
  // At an odd address, as checkpoints have it.
  std::vector<char> bytes(values.size() * sizeof(T) + 1);
  std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
  TensorView view;
  view.dtype = dtype;
  view.shape = {values.size()};
  view.data = bytes.data() + 1;
  auto weight = makeWeight("w", "w", DType::f32, {values.size()});
  EXPECT_EQ(execute<float>(*weight, {view}), expected);
}

TEST(RecipeSteps, sourcesOfEveryType) {
  expectNumbers<float>(DType::f32, {1.5f, -2}, {1.5f, -2});
  expectNumbers<double>(DType::f64, {0.1, -1e30}, {0.1f, -1e30f});
  expectNumbers<uint16_t>(DType::f16, {0x3e00, 0x8001}, {1.5f, -0x1p-24f});
  expectNumbers<uint16_t>(DType::bf16, {0x3fc0, 0xff7f}, {1.5f, -0x1.fep127f});
  expectNumbers<int8_t>(DType::i8, {-128, 127}, {-128, 127});
  expectNumbers<uint8_t>(DType::u8, {0, 255}, {0, 255});
  expectNumbers<int16_t>(DType::i16, {-32768, 7}, {-32768, 7});
  expectNumbers<uint16_t>(DType::u16, {65535, 7}, {65535, 7});
  expectNumbers<int32_t>(DType::i32, {INT32_MIN, 7}, {-0x1p31f, 7});
  expectNumbers<uint32_t>(DType::u32, {1u << 31, 7}, {0x1p31f, 7});
  expectNumbers<int64_t>(DType::i64, {INT64_MIN, 7}, {-0x1p63f, 7});
}

TEST(RecipeSteps, emptyTensors) {
  auto weight = makeWeight("w", "w", DType::f32, {0, 5});
  EXPECT_TRUE(execute<float>(*weight, {viewOf({}, {0, 5})}).empty());
  EXPECT_EQ(execute<int32_t>(*signs(0, 5, LayoutKind::zeros, 16),
                             {viewOf({}, {0, 5})}),
            std::vector<int32_t>{0});
  EXPECT_TRUE(execute<uint32_t>(*signs(5, 0, LayoutKind::bit_tile, 16),
                                {viewOf({}, {5, 0})})
                  .empty());
}

//===-----------------------------------------------------------------===//
// Errors
//===-----------------------------------------------------------------===//

std::string executeError(const WeightT &weight,
                         const std::vector<TensorView> &views) {
  MemorySink sink;
  return errorOf([&] { executeRecipe(weight, views, sink); });
}

TEST(RecipeErrors, valuesThatAreNotFinite) {
  for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    std::vector<float> matrix = randomValues(17 * 33);
    matrix[540] = bad;
    std::string expected =
        std::string("key 'w' in 'model.safetensors': element 540 is ") +
        (std::isnan(bad) ? "NaN" : "infinite");
    std::vector<TensorView> views = {viewOf(matrix, {17, 33})};
    for (LayoutKind kind : {LayoutKind::bit_tile, LayoutKind::zeros})
      EXPECT_EQ(executeError(*signs(17, 33, kind, 16), views), expected);
    EXPECT_EQ(executeError(*makeWeight("w", "w", DType::f32, {17, 33}), views),
              expected);
    auto scaled = makeWeight("w", "w", DType::f32, {17, 33});
    scaled->sources.push_back(makeSource("scale", {}));
    scaled->steps.push_back(makeStep(StepKind::multiply, 1));
    std::vector<float> ones(17 * 33, 1.0f), one = {bad};
    EXPECT_EQ(executeError(*scaled, {viewOf(ones, {17, 33}), viewOf(one, {})})
                  .find("key 'scale' in 'model.safetensors': element 0 is "),
              0u);
  }
}

TEST(RecipeErrors, resultsThatAreNotFinite) {
  std::vector<float> x = {1, 100};
  auto weight = makeWeight("A", "A_log", DType::f32, {2});
  weight->steps.push_back(makeStep(StepKind::neg_exp));
  EXPECT_EQ(executeError(*weight, {viewOf(x, {2})}),
            "key 'A_log' in 'model.safetensors': element 1 becomes infinite");
}

TEST(RecipeErrors, castThatOverflows) {
  std::vector<float> x = {65519, -65520};
  auto weight = makeWeight("e", "embedding", DType::f16, {2});
  weight->steps.push_back(makeStep(StepKind::cast, 0, DType::f16));
  EXPECT_EQ(
      executeError(*weight, {viewOf(x, {2})}),
      "key 'embedding' in 'model.safetensors': element 1, -65520, does not "
      "fit into f16");
  weight->dtype = DType::f32; // the same inside the chain
  weight->steps.push_back(makeStep(StepKind::cast, 0, DType::f32));
  EXPECT_EQ(
      executeError(*weight, {viewOf(x, {2})}),
      "key 'embedding' in 'model.safetensors': element 1 becomes infinite");
}

TEST(RecipeErrors, sourcesThatDoNotFit) {
  std::vector<float> x(6);
  auto weight = makeWeight("w", "w", DType::f32, {2, 3});
  EXPECT_EQ(executeError(*weight, {}), "expected 1 sources, found 0");
  EXPECT_EQ(
      executeError(*weight, {viewOf(x, {3, 2})}),
      "key 'w' in 'model.safetensors': expected shape [2, 3], found [3, 2]");
  TensorView view = viewOf(x, {2, 3});
  view.strides = {1};
  EXPECT_EQ(executeError(*weight, {view}),
            "key 'w' in 'model.safetensors': 1 strides of rank 2");
  view = viewOf(x, {2, 3});
  view.dtype = DType::bits;
  EXPECT_EQ(executeError(*weight, {view}),
            "key 'w' in 'model.safetensors' holds no numbers");
}

} // namespace
