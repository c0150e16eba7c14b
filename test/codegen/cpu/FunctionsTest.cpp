//===- FunctionsTest.cpp - errors of the transcendental functions -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include "codegen/Functions.h"
#include "codegen/cpu/Lower.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

using namespace mambit;
using namespace mambit::test;

/// A kernel in name, for its two buffers.
static const char *kernelText = R"(
plan.kernel @function params [
    <"x" read tensor<16xf32>, 0 + 64 * tokens>,
    <"y" write tensor<16xf32>, 0 + 64 * tokens>] {
^bb0(%ids: tensor<?xi32>, %table: tensor<1x16xf32>):
  %y = mamba.embedding %ids, %table
     : tensor<?xi32>, tensor<1x16xf32> -> tensor<?x16xf32>
  plan.return %y : tensor<?x16xf32>
})";

/// Applies a function to many values.
static std::vector<float> apply(Val (*function)(Val), const Target &target,
                                std::vector<float> x) {
  mlir::DialectRegistry registry;
  registerCodegenDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto parsed = mlir::parseSourceString<mlir::ModuleOp>(kernelText, &context);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  KernelBuilder b(*module, *parsed->getOps<plan::KernelOp>().begin());
  b.phase("apply", {{plan::Dim::tokens}}, [&](llvm::ArrayRef<Val> tile) {
    Val values = b.load(b.buffer("x"), {tile[0], 0}, 16);
    b.store(function(values), b.buffer("y"), {tile[0], 0});
  });
  auto image = cpu::compileToImage(*module, target, nullptr);
  EXPECT_TRUE(succeeded(image));
  LoadedImage loaded(*image);

  x.resize((x.size() + 15) / 16 * 16);
  std::vector<float> y(x.size());
  void *buffers[] = {x.data(), y.data()};
  int64_t tiles = x.size() / 16, extents[] = {tiles, 0, 0};
  for (int64_t i = 0; i < tiles; ++i)
    loaded.find("function_apply")(buffers, extents, i);
  return y;
}

/// The distance to the exact value in units of the last place, subnormal
/// results' being that of the smallest normal number.
static double ulps(float found, double wanted) {
  if (float(wanted) == found)
    return 0;
  int exponent;
  std::frexp(wanted, &exponent);
  return std::fabs(found - wanted) /
         std::ldexp(1.0, std::max(exponent, -125) - 24);
}

/// The largest error over floats spread over all exponents from `low` to
/// `high`.
static double largestError(Val (*function)(Val), double (*exact)(double),
                           float low, float high) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += 4099) {
    uint32_t word = uint32_t(bits);
    float value;
    std::memcpy(&value, &word, 4);
    if (value >= low && value <= high)
      x.push_back(value);
  }
  double largest = 0;
  for (const Target &target : getHostTargets()) {
    std::vector<float> y = apply(function, target, x);
    for (size_t i = 0; i < x.size(); ++i)
      largest = std::max(largest, ulps(y[i], exact(x[i])));
  }
  return largest;
}

TEST(Functions, ErrorOfExp) {
  EXPECT_LE(largestError(mambit::exp, std::exp, -110, 88.72f), 2);
}

TEST(Functions, LimitsOfExp) {
  const float inf = INFINITY;
  std::vector<float> y = apply(mambit::exp, getHostTargets().front(),
                               {0, -0.0f, inf, -inf, 89, -104, NAN});
  EXPECT_EQ(y[0], 1);
  EXPECT_EQ(y[1], 1);
  EXPECT_EQ(y[2], inf);
  EXPECT_EQ(y[3], 0);
  EXPECT_EQ(y[4], inf);
  EXPECT_EQ(y[5], 0);
  EXPECT_TRUE(std::isnan(y[6]));
}

TEST(Functions, ErrorOfSoftplus) {
  EXPECT_LE(largestError(
                mambit::softplus,
                [](double x) {
                  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
                },
                -87, 3e38f),
            4);
}

TEST(Functions, ErrorOfSilu) {
  EXPECT_LE(largestError(
                mambit::silu, [](double x) { return x / (1 + std::exp(-x)); },
                -85, 3e38f),
            4);
}
