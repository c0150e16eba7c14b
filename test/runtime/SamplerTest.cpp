//===- SamplerTest.cpp ----------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Sampler.h"

#include "runtime/Error.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <set>

using namespace mambit;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

SamplerOptions options(float temperature, uint32_t topK, float topP,
                       uint64_t seed = 1) {
  SamplerOptions result;
  result.temperature = temperature;
  result.topK = topK;
  result.topP = topP;
  result.seed = seed;
  return result;
}

std::vector<int> countDraws(Sampler sampler, const std::vector<float> &logits,
                            int draws) {
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    ++counts[sampler.sample(logits.data(), logits.size())];
  return counts;
}

/// Pearson's statistic of draws against exact probabilities; tokens of no
/// probability must not be drawn.
double chiSquare(const std::vector<int> &counts,
                 const std::vector<double> &probabilities, int draws) {
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (probabilities[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
      continue;
    }
    double expected = probabilities[i] * draws;
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

TEST(Argmax, TakesTheLowestOfEqual) {
  std::vector<float> logits{1, 3, 3, 2, 3};
  EXPECT_EQ(argmax(logits.data(), logits.size()), 1);
  std::vector<float> same(5, -kInfinity);
  EXPECT_EQ(argmax(same.data(), same.size()), 0);
}

TEST(Argmax, RefusesNan) {
  std::vector<float> logits{1, std::nanf(""), 3};
  EXPECT_THROW(argmax(logits.data(), logits.size()), Error);
  std::swap(logits[0], logits[1]);
  EXPECT_THROW(argmax(logits.data(), logits.size()), Error);
}

TEST(Sampler, GreedyAtTemperatureZero) {
  std::vector<float> logits{0, 5, 5, 1};
  Sampler sampler(options(0, 3, 0.5f));
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(sampler.sample(logits.data(), logits.size()), 1);
}

TEST(Sampler, FollowsTheDistribution) {
  const std::vector<float> logits{1.0f, -0.5f, 2.0f, 0.25f, -kInfinity, 1.0f};
  constexpr int kDraws = 100000;
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    std::vector<double> probabilities;
    double total = 0;
    for (float logit : logits)
      total +=
          probabilities.emplace_back(std::exp(double(logit) / temperature));
    for (double &probability : probabilities)
      probability /= total;
    auto counts =
        countDraws(Sampler(options(temperature, 0, 0)), logits, kDraws);
    // 4 degrees of freedom: above 23.5 once in ten thousand.
    EXPECT_LT(chiSquare(counts, probabilities, kDraws), 23.5);
  }
}

TEST(Sampler, TopKKeepsTheBestAndRenormalises) {
  const std::vector<float> logits{0, 2, 1, 2, -1};
  constexpr int kDraws = 50000;
  double e2 = std::exp(2.0), e1 = std::exp(1.0), total = 2 * e2 + e1;
  auto counts = countDraws(Sampler(options(1, 3, 0)), logits, kDraws);
  EXPECT_LT(
      chiSquare(counts, {0, e2 / total, e1 / total, e2 / total, 0}, kDraws),
      18.4); // 2 degrees of freedom, one in ten thousand
}

TEST(Sampler, TopKOneIsGreedyWithTiesToTheLowest) {
  const std::vector<float> logits{0, 2, 1, 2, -1};
  EXPECT_EQ(countDraws(Sampler(options(5, 1, 0)), logits, 100)[1], 100);
}

TEST(Sampler, TopKBeyondTheVocabularyKeepsAll) {
  const std::vector<float> logits{1, 0.5f, 0}; // ranked as numbered
  auto all = countDraws(Sampler(options(1, 0, 0, 9)), logits, 1000);
  EXPECT_EQ(countDraws(Sampler(options(1, 100, 0, 9)), logits, 1000), all);
  EXPECT_EQ(countDraws(Sampler(options(1, 3, 1, 9)), logits, 1000), all);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.5, 0.25, 0.125, 0.125, exactly.
  const float ln2 = float(std::log(2.0));
  const std::vector<float> logits{-ln2, 0, -2 * ln2, -2 * ln2};
  auto kept = [&](uint32_t topK, float topP) {
    auto counts = countDraws(Sampler(options(1, topK, topP)), logits, 20000);
    std::set<int> tokens;
    for (size_t i = 0; i < counts.size(); ++i)
      if (counts[i])
        tokens.insert(i);
    return tokens;
  };
  using Set = std::set<int>;
  EXPECT_EQ(kept(0, 1e-9f), (Set{1}));
  EXPECT_EQ(kept(0, 0.49f), (Set{1}));
  EXPECT_EQ(kept(0, 0.51f), (Set{0, 1}));
  EXPECT_EQ(kept(0, 0.76f), (Set{0, 1, 2})); // of equal ones the lower id
  EXPECT_EQ(kept(0, 0.9f), (Set{0, 1, 2, 3}));
  EXPECT_EQ(kept(0, 1), (Set{0, 1, 2, 3}));
  EXPECT_EQ(kept(0, 0), (Set{0, 1, 2, 3}));
  // After top-k 2 the probabilities are 2/3 and 1/3.
  EXPECT_EQ(kept(2, 0.6f), (Set{1}));
  EXPECT_EQ(kept(2, 0.7f), (Set{0, 1}));
  EXPECT_EQ(kept(2, 0.9999f), (Set{0, 1}));
}

TEST(Sampler, MinPKeepsWhatIsLikelyEnough) {
  // Probabilities 0.5, 0.25, 0.125, 0.125, exactly.
  const float ln2 = float(std::log(2.0));
  const std::vector<float> logits{-ln2, 0, -2 * ln2, -2 * ln2};
  auto kept = [&](float minP, float topP = 0, float temperature = 1) {
    SamplerOptions wanted = options(temperature, 0, topP);
    wanted.minP = minP;
    auto counts = countDraws(Sampler(wanted), logits, 20000);
    std::set<int> tokens;
    for (size_t i = 0; i < counts.size(); ++i)
      if (counts[i])
        tokens.insert(i);
    return tokens;
  };
  using Set = std::set<int>;
  EXPECT_EQ(kept(0), (Set{0, 1, 2, 3}));
  EXPECT_EQ(kept(0.24f), (Set{0, 1, 2, 3}));
  EXPECT_EQ(kept(0.26f), (Set{0, 1}));
  EXPECT_EQ(kept(0.49f), (Set{0, 1}));
  EXPECT_EQ(kept(0.51f), (Set{1}));
  EXPECT_EQ(kept(1), (Set{1}));
  // After the temperature, as in transformers: at 2 a quarter becomes a half.
  EXPECT_EQ(kept(0.49f, 0, 2), (Set{0, 1, 2, 3}));
  EXPECT_EQ(kept(0.24f, 0.76f), (Set{0, 1, 2}));

  constexpr int kDraws = 50000;
  SamplerOptions wanted = options(1, 0, 0);
  wanted.minP = 0.3f;
  auto counts = countDraws(Sampler(wanted), logits, kDraws);
  EXPECT_LT(chiSquare(counts, {1.0 / 3, 2.0 / 3, 0, 0}, kDraws), 15.2);
}

TEST(Sampler, PenalisesRepetition) {
  SamplerOptions wanted = options(0, 0, 0);
  wanted.repetitionPenalty = 2;
  Sampler sampler(wanted);
  auto next = [&](std::vector<float> logits) {
    return sampler.sample(logits.data(), logits.size());
  };
  EXPECT_EQ(next({4, 3, 1, -1}), 0);
  EXPECT_EQ(next({4, 3, 1, -1}), 0); // sampling tells nothing by itself
  sampler.accept(0);
  sampler.accept(0);                 // once is enough
  EXPECT_EQ(next({4, 3, 1, -1}), 1); // 2 3 1 -1
  EXPECT_EQ(next({7, 3, 1, -1}), 0);
  sampler.accept(1);
  sampler.accept(3);
  EXPECT_EQ(next({1, 1, 0.75f, -1}), 2); // 0.5 0.5 0.75 -2
  EXPECT_EQ(next({-4, -3, -7, -3}), 1);  // -8 -6 -7 -6
  EXPECT_EQ(next({-4, -3, -5, -kInfinity}), 2);
  sampler.accept(5000); // beyond this row
  EXPECT_EQ(next({1, 1, 0.75f, -1}), 2);
}

TEST(Sampler, PenalisesWithinAWindow) {
  SamplerOptions wanted = options(0, 0, 0);
  wanted.repetitionPenalty = 2;
  wanted.repetitionWindow = 2;
  Sampler sampler(wanted);
  const std::vector<float> logits{4, 3};
  auto next = [&] { return sampler.sample(logits.data(), 2); };
  sampler.accept(0);
  EXPECT_EQ(next(), 1);
  sampler.accept(2);
  EXPECT_EQ(next(), 1);
  sampler.accept(0);
  sampler.accept(2); // the first 0 has left, the second has not
  EXPECT_EQ(next(), 1);
  sampler.accept(2);
  EXPECT_EQ(next(), 0);
}

TEST(Sampler, ASeedRepeats) {
  std::vector<float> logits;
  for (int i = 0; i < 1000; ++i)
    logits.push_back(float(i % 17) * 0.3f);
  auto draw = [&](uint64_t seed) {
    Sampler sampler(options(1, 50, 0.9f, seed));
    std::vector<int32_t> tokens;
    for (int i = 0; i < 100; ++i)
      tokens.push_back(sampler.sample(logits.data(), logits.size()));
    return tokens;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Sampler, RandomNumbersAreSplitMix64) {
  // Two equal tokens: the first number below a half takes token 0. From the
  // published generator with seed 1234567: 6457827717110365317,
  // 3203168211198807973, 9817491932198370423, 4593380528125082431,
  // 16408922859458223821.
  const std::vector<float> logits{0, 0};
  Sampler sampler(options(1, 0, 0, 1234567));
  for (int32_t expected : {0, 0, 1, 0, 1})
    EXPECT_EQ(sampler.sample(logits.data(), 2), expected);
}

TEST(Sampler, TellsADeviceHowToDraw) {
  SamplerOptions wanted = options(0.5f, 64, 0.25f, 5);
  wanted.minP = 0.125f;
  std::optional<Draw> draw = Sampler(wanted).draw(64);
  ASSERT_TRUE(draw);
  EXPECT_EQ(draw->random, 5u);
  EXPECT_EQ(draw->temperature, 0.5f);
  EXPECT_EQ(draw->topK, 64);
  EXPECT_EQ(draw->topP, 0.25f);
  EXPECT_EQ(draw->minP, 0.125f);
  EXPECT_FALSE(Sampler(wanted).draw(63));
  EXPECT_EQ(Sampler(options(1, 2, 0)).draw(64)->topP, 1); // all
  EXPECT_FALSE(Sampler(options(1, 0, 0.5f)).draw(64));
  // Greedy, whatever else is given.
  EXPECT_EQ(Sampler(options(0, 100, 0.5f)).draw(64)->topK, 1);
  wanted.repetitionPenalty = 1;
  EXPECT_TRUE(Sampler(wanted).draw(64));
  wanted.repetitionPenalty = 1.5f;
  EXPECT_FALSE(Sampler(wanted).draw(64));
}

TEST(Sampler, SkipsWhatADeviceSampled) {
  const std::vector<float> logits{0, 0.5f, 1};
  for (float temperature : {0.0f, 1.0f}) {
    Sampler sampler(options(temperature, 3, 0)), other = sampler;
    for (int i = 0; i < 5; ++i)
      sampler.sample(logits.data(), logits.size());
    other.skip(5);
    EXPECT_EQ(sampler.draw(64)->random, other.draw(64)->random);
  }
}

TEST(Sampler, ForbiddenTokensAreNeverDrawn) {
  const std::vector<float> logits{-kInfinity, 1, -kInfinity};
  EXPECT_EQ(countDraws(Sampler(options(100, 0, 0)), logits, 200)[1], 200);
  EXPECT_EQ(countDraws(Sampler(options(100, 2, 0.99f)), logits, 200)[1], 200);
}

TEST(Sampler, RefusesWhatMakesNoSense) {
  for (float temperature : {-1.0f, kInfinity, std::nanf("")})
    EXPECT_THROW(Sampler(options(temperature, 0, 0)), Error);
  for (float topP : {-0.1f, 1.1f, std::nanf("")})
    EXPECT_THROW(Sampler(options(1, 0, topP)), Error);
  for (float minP : {-0.1f, 1.1f, std::nanf("")}) {
    SamplerOptions wanted = options(1, 0, 0);
    wanted.minP = minP;
    EXPECT_THROW(Sampler{wanted}, Error);
  }
  for (float penalty : {-1.0f, kInfinity, std::nanf("")}) {
    SamplerOptions wanted = options(1, 0, 0);
    wanted.repetitionPenalty = penalty;
    EXPECT_THROW(Sampler{wanted}, Error);
  }
  Sampler sampler(options(1, 0, 0));
  for (std::vector<float> logits : {std::vector<float>{0, std::nanf("")},
                                    {kInfinity, 0},
                                    {-kInfinity, -kInfinity}})
    EXPECT_THROW(sampler.sample(logits.data(), 2), Error);
}

} // namespace
