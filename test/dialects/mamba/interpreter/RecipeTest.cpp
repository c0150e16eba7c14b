//===- RecipeTest.cpp - weights made of checkpoint tensors ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "test/dialects/mamba/interpreter/Fixture.h"

#include <cmath>
#include <limits>

using namespace mambit::mamba;
using namespace mambit::mamba::interpreter;

namespace {
class RecipeTest : public InterpreterTest {
protected:
  /// A function that returns one weight.
  static std::string getter(const std::string &type, const std::string &sources,
                            const std::string &recipe) {
    return "mamba.weights @w { mamba.weight @x : " + type + " from [" +
           sources + "] as [" + recipe + "] }\nfunc.func @f() -> " + type +
           " { %x = mamba.get_weight @w::@x : " + type +
           "\n return %x : " + type + " }";
  }
  static std::string from(const std::string &key, const std::string &type) {
    return "#mamba.source<\"model.bin\", \"" + key + "\" : tensor<" + type +
           ">>";
  }
  std::vector<double> make(const std::string &type, const std::string &sources,
                           const std::string &recipe) {
    std::vector<Datum> results = run(getter(type, sources, recipe), {});
    return results.empty() ? std::vector<double>()
                           : asTensor(results[0]).values;
  }
};
using Values = std::vector<double>;
constexpr double infinity = std::numeric_limits<double>::infinity();
} // namespace

TEST_F(RecipeTest, SignOfZeroIsZero) {
  source.tensors["a"] = {0.0, -0.0, 1e-45, -1e-45, -3, infinity};
  Datum bits = run(
      getter("!mamba.bits<2x3>", from("a", "2x3xf32"), "#mamba.sign"), {})[0];
  EXPECT_EQ(asSigns(bits).rows, 2);
  EXPECT_EQ(asSigns(bits).columns, 3);
  EXPECT_EQ(asSigns(bits).values, (std::vector<int8_t>{0, 0, 1, -1, -1, 1}));
}

TEST_F(RecipeTest, SignOfSignsIsTheSame) {
  source.tensors["a"] = {1, -1, 0, 1};
  Datum bits = run(
      getter("!mamba.bits<2x2>", from("a", "2x2xi8"), "#mamba.sign"), {})[0];
  EXPECT_EQ(asSigns(bits).values, (std::vector<int8_t>{1, -1, 0, 1}));
}

TEST_F(RecipeTest, SignOfNaNIsAnError) {
  source.tensors["a"] = {1, std::nan("")};
  EXPECT_EQ(
      getError(getter("!mamba.bits<1x2>", from("a", "1x2xf32"), "#mamba.sign"),
               {}),
      "mamba.get_weight: @x: a: a weight is not a number");
}

TEST_F(RecipeTest, MultiplyElementwiseRoundsToF32) {
  source.tensors["a"] = {0.1f, 2, 3};
  source.tensors["b"] = {0.7f, -1, 0.5};
  EXPECT_EQ(make("tensor<3xf32>",
                 from("a", "3xf32") + ", " + from("b", "1x3xf32"),
                 "#mamba.multiply<1>"),
            (Values{double(0.1f * 0.7f), -2, 1.5}));
}

TEST_F(RecipeTest, MultiplyBroadcastsOneElement) {
  source.tensors["a"] = {1, 2, 3};
  source.tensors["b"] = {-2};
  EXPECT_EQ(make("tensor<3xf32>", from("a", "3xf32") + ", " + from("b", "f32"),
                 "#mamba.multiply<1>"),
            (Values{-2, -4, -6}));
}

TEST_F(RecipeTest, NegExpInDoubleThenF32) {
  source.tensors["a"] = {0, 1, -2.5};
  EXPECT_EQ(make("tensor<3xf32>", from("a", "3xf32"), "#mamba.neg_exp"),
            (Values{-1, double(float(-std::exp(1.0))),
                    double(float(-std::exp(-2.5)))}));
}

TEST_F(RecipeTest, TransposeDropsDimensionsOfOne) {
  source.tensors["a"] = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(make("tensor<3x2xf32>", from("a", "2x1x3xf32"), "#mamba.transpose"),
            (Values{1, 4, 2, 5, 3, 6}));
}

TEST_F(RecipeTest, CastToF16RoundsTiesToEven) {
  // At 2048 f16 holds even integers; the smallest subnormal is 2^-24.
  source.tensors["a"] = {2049,
                         2051,
                         65519,
                         std::ldexp(1.0, -25),
                         std::ldexp(1.5, -25),
                         std::ldexp(3.0, -25),
                         -0.0};
  Values expected = {
      2048, 2052, 65504, 0, std::ldexp(1.0, -24), std::ldexp(2.0, -24), 0};
  EXPECT_EQ(make("tensor<7xf16>", from("a", "7xf32"), "#mamba.cast<f16>"),
            expected);
}

TEST_F(RecipeTest, CastToF16OverflowNamesTheKey) {
  source.tensors["layers.0.weight"] = {1, 65520};
  EXPECT_EQ(getError(getter("tensor<2xf16>", from("layers.0.weight", "2xf32"),
                            "#mamba.cast<f16>"),
                     {}),
            "mamba.get_weight: @x: layers.0.weight: 65520 is out of the range "
            "of f16");
}

TEST_F(RecipeTest, CastKeepsInfinity) {
  source.tensors["a"] = {-infinity, 1};
  EXPECT_EQ(make("tensor<2xf16>", from("a", "2xf32"), "#mamba.cast<f16>"),
            (Values{-infinity, 1}));
}

TEST_F(RecipeTest, CastToBF16) {
  source.tensors["a"] = {257, 259, 1 + 1.0 / 512};
  EXPECT_EQ(make("tensor<3xbf16>", from("a", "3xf32"), "#mamba.cast<bf16>"),
            (Values{256, 260, 1}));
}

TEST_F(RecipeTest, F64SourcesRoundToF32First) {
  source.tensors["a"] = {0.1, 1 + std::ldexp(1.0, -30)};
  EXPECT_EQ(make("tensor<2xf32>", from("a", "2xf64"), ""),
            (Values{double(0.1f), 1}));
}

TEST_F(RecipeTest, WrongNumberOfElements) {
  source.tensors["a"] = {1, 2};
  EXPECT_EQ(getError(getter("tensor<3xf32>", from("a", "3xf32"), ""), {}),
            "mamba.get_weight: @x: a: expected 3 elements, found 2");
}

TEST_F(RecipeTest, MissingTensor) {
  EXPECT_EQ(getError(getter("tensor<3xf32>", from("a", "3xf32"), ""), {}),
            "mamba.get_weight: @x: no tensor a");
}

TEST_F(RecipeTest, WeightsAreMadeOnce) {
  source.tensors["a"] = {1, 2};
  run(R"(
    mamba.weights @w {
      mamba.weight @x : tensor<2xf32> from [#mamba.source<"m", "a" : tensor<2xf32>>] as []
    }
    func.func private @g() -> tensor<2xf32> {
      %x = mamba.get_weight @w::@x : tensor<2xf32>
      return %x : tensor<2xf32>
    }
    func.func @f() -> (tensor<2xf32>, tensor<2xf32>) {
      %x = func.call @g() : () -> tensor<2xf32>
      %y = mamba.get_weight @w::@x : tensor<2xf32>
      return %x, %y : tensor<2xf32>, tensor<2xf32>
    })",
      {});
  EXPECT_EQ(source.reads, 1);
}
