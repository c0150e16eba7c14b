//===- RandomWeightsTest.cpp - weights of a realistic scale -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#include "tools/common/RandomWeights.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace mambit::tools;

namespace {

const std::string kMixer = "backbone.layers.0.mixer.";

RandomWeights makeWeights(uint64_t seed) {
  return RandomWeights(seed, {{"backbone.embedding.weight", {100, 64}},
                              {kMixer + "in_proj.weight", {300, 64}},
                              {kMixer + "in_proj.wscale", {1, 64}},
                              {kMixer + "A_log", {1000}},
                              {kMixer + "dt_bias", {1000}},
                              {kMixer + "norm.weight", {128}}});
}

std::vector<float> generate(const RandomWeights &weights,
                            const std::string &key) {
  uint64_t count = 1;
  for (uint64_t size : weights.shape(key))
    count *= size;
  std::vector<float> values(count);
  weights.generate(key, 0, count, values.data());
  return values;
}

TEST(RandomWeights, sameInAnyPieces) {
  RandomWeights weights = makeWeights(1);
  std::string key = "backbone.embedding.weight";
  std::vector<float> whole = generate(weights, key), pieces(whole.size());
  for (uint64_t begin = 0, n = 1; begin < pieces.size(); begin += n, ++n) {
    n = std::min<uint64_t>(n, pieces.size() - begin);
    weights.generate(key, begin, n, pieces.data() + begin);
  }
  EXPECT_EQ(whole, pieces);
}

/// Models made from a seed stay what they were.
TEST(RandomWeights, arePinned) {
  RandomWeights weights(
      1, {{"m.in_proj.weight", {4, 4}}, {"m.in_proj.wscale", {1, 4}}});
  float values[4];
  weights.generate("m.in_proj.weight", 0, 4, values);
  const float expected[] = {-0x1.5dc376p-7f, -0x1.0002d4p-5f, -0x1.65b11p-6f,
                            -0x1.23cd84p-6f};
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(values[i], expected[i]) << i;
}

TEST(RandomWeights, dependOnSeedAndKey) {
  RandomWeights weights = makeWeights(1);
  std::vector<float> first = generate(weights, kMixer + "A_log");
  EXPECT_EQ(first, generate(makeWeights(1), kMixer + "A_log"));
  EXPECT_NE(first, generate(makeWeights(2), kMixer + "A_log"));
  EXPECT_NE(first, generate(weights, kMixer + "dt_bias"));
}

TEST(RandomWeights, haveTheScalesOfTrainedOnes) {
  RandomWeights weights = makeWeights(7);
  double sum = 0, squares = 0;
  std::vector<float> embedding = generate(weights, "backbone.embedding.weight");
  for (float value : embedding) {
    sum += value;
    squares += double(value) * value;
  }
  EXPECT_NEAR(sum / embedding.size(), 0, 0.01);
  EXPECT_NEAR(std::sqrt(squares / embedding.size()), 0.25, 0.01);

  int positive = 0;
  std::vector<float> signs = generate(weights, kMixer + "in_proj.weight");
  for (float value : signs) {
    EXPECT_GT(std::fabs(value), 0.004f);
    EXPECT_LT(std::fabs(value), 0.04f);
    positive += value > 0;
  }
  EXPECT_NEAR(double(positive) / signs.size(), 0.5, 0.02);
  for (float value : generate(weights, kMixer + "in_proj.wscale"))
    EXPECT_NEAR(std::log(value * 8), 0, 0.6);
  for (float value : generate(weights, kMixer + "A_log")) {
    EXPECT_GE(value, 0);
    EXPECT_LE(value, std::log(16.0f));
  }
  for (float value : generate(weights, kMixer + "dt_bias")) {
    double dt = std::log1p(std::exp(double(value)));
    EXPECT_GE(dt, 0.00099);
    EXPECT_LE(dt, 0.101);
  }
}

TEST(RandomWeights, refuseUnknownKeys) {
  RandomWeights weights(1, {{"mixer.x_proj.tensor", {4}}});
  float values[4];
  EXPECT_THROW(weights.shape("nothing"), mambit::Error);
  EXPECT_THROW(weights.generate("mixer.x_proj.tensor", 0, 4, values),
               mambit::Error);
}

} // namespace
