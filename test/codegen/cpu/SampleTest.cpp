//===- SampleTest.cpp - draws a token of a row of logits ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

using namespace mambit;
using namespace mambit::test;

namespace {

/// Of one row.
struct Parameters {
  uint64_t random = 0;
  float temperature = 1;
  int32_t topK = 1;
  float topP = 1, minP = 0;
};

/// By the definition; `state` becomes the generator's next.
int32_t drawn(const float *row, int64_t vocab, int64_t limit,
              const Parameters &parameters, uint64_t &state) {
  state = parameters.random + 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  double u = std::ldexp(double((z ^ (z >> 31)) >> 11), -53);

  std::vector<int32_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (std::isnan(row[a]) != std::isnan(row[b]))
      return std::isnan(row[a]);
    return row[a] > row[b] || (!(row[a] < row[b]) && a < b);
  });
  if (!std::isfinite(row[order[0]]))
    return order[0];
  order.resize(std::clamp<int64_t>(parameters.topK, 1, limit));
  std::vector<double> weights;
  for (int32_t token : order)
    weights.push_back(std::exp((double(row[token]) - row[order[0]]) /
                               parameters.temperature));
  double reach =
      parameters.topP * std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  size_t kept = 0;
  while (kept < weights.size() &&
         (kept == 0 || (sum < reach && weights[kept] >= parameters.minP)))
    sum += weights[kept++];
  double target = u * sum;
  for (size_t i = 0; i < kept; ++i)
    if ((target -= weights[i]) < 0)
      return order[i];
  return order[kept - 1];
}

/// Row `r` is drawn by parameters[r % their number].
void testSample(const std::vector<float> &logits, int64_t vocab, int64_t limit,
                const std::vector<Parameters> &parameters) {
  int64_t rows = logits.size() / vocab;
  std::string type = "tensor<?x" + std::to_string(vocab) + "xf32>";
  std::vector<uint64_t> random;
  std::vector<float> temperature, topP, minP;
  std::vector<int32_t> topK;
  for (int64_t r = 0; r < rows; ++r) {
    const Parameters &given = parameters[r % parameters.size()];
    random.push_back(given.random);
    temperature.push_back(given.temperature);
    topK.push_back(given.topK);
    topP.push_back(given.topP);
    minP.push_back(given.minP);
  }
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel(
        "%logits: " + type +
            ", %random: tensor<?x2xi32>, %temperature: tensor<?xf32>, "
            "%top_k: tensor<?xi32>, %top_p: tensor<?xf32>, "
            "%min_p: tensor<?xf32>",
        "%chosen, %highest, %next_random = mamba.sample %logits, %random, "
        "%temperature, %top_k, %top_p, %min_p limit " +
            std::to_string(limit) + " : " + type,
        target);
    std::vector<float> highest(rows);
    std::vector<int32_t> chosen(rows);
    std::vector<uint64_t> next(rows);
    CompiledKernel::Extents extents;
    extents.rows = rows;
    std::vector<float> given = logits;
    kernel.run({{"logits", given.data()},
                {"random", random.data()},
                {"temperature", temperature.data()},
                {"top_k", topK.data()},
                {"top_p", topP.data()},
                {"min_p", minP.data()},
                {"chosen", chosen.data()},
                {"highest", highest.data()},
                {"next_random", next.data()}},
               extents);
    for (int64_t r = 0; r < rows; ++r) {
      const float *row = logits.data() + r * vocab;
      uint64_t state;
      int32_t expected =
          drawn(row, vocab, limit, parameters[r % parameters.size()], state);
      std::string where = target.name + ", " + std::to_string(vocab) +
                          " logits, row " + std::to_string(r);
      EXPECT_EQ(chosen[r], expected) << where;
      EXPECT_EQ(next[r], state) << where;
      uint64_t unused;
      float best = row[drawn(row, vocab, limit, {}, unused)];
      if (std::isnan(best))
        EXPECT_TRUE(std::isnan(highest[r])) << where;
      else
        EXPECT_EQ(highest[r], best) << where;
    }
  }
}

TEST(Sample, OddSizes) {
  Random random(1);
  for (int64_t vocab : {1, 15, 16, 17, 2047, 2049, 6143})
    for (int64_t limit : {int64_t(1), std::min<int64_t>(vocab, 5),
                          vocab % 100 + (vocab % 100 == 0)}) {
      std::vector<Parameters> parameters;
      for (int32_t k : {0, 1, 2, 5, 1000, -3})
        parameters.push_back({uint64_t(random.integer(0, 1000)), 1.5f, k});
      testSample(random.reals(12 * vocab, -4, 4), vocab, limit, parameters);
    }
}

/// Many of each value, spread over several parts of the row.
TEST(Sample, Ties) {
  Random random(2);
  std::vector<float> logits(20 * 5000);
  for (float &logit : logits)
    logit = float(random.integer(-3, 3));
  std::vector<Parameters> parameters;
  for (uint64_t seed = 0; seed < 20; ++seed)
    parameters.push_back({seed << 56 | seed, 0.7f, 40});
  testSample(logits, 5000, 50, parameters);
  testSample(std::vector<float>(5000, -1.5f), 5000, 9, {{3, 1, 9}});
}

/// All that narrows the choice, in all of its combinations.
TEST(Sample, Parameters) {
  Random random(3);
  std::vector<Parameters> parameters;
  for (float temperature : {1e-6f, 0.3f, 0.8f, 5.0f, 1e30f})
    for (int32_t k : {1, 7, 40, 64})
      for (float topP : {1e-9f, 0.5f, 0.95f, 1.0f})
        for (float minP : {0.0f, 0.05f, 0.6f, 1.0f})
          parameters.push_back({uint64_t(random.integer(0, 1 << 30)) << 30,
                                temperature, k, topP, minP});
  testSample(random.reals(2 * parameters.size() * 300, -4, 4), 300, 64,
             parameters);
}

TEST(Sample, Extremes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kMost = std::numeric_limits<float>::max();
  std::vector<Parameters> parameters;
  for (uint64_t seed = 0; seed < 8; ++seed)
    parameters.push_back({seed, 1, int32_t(seed)});
  auto test = [&](std::vector<float> row) {
    std::vector<float> rows;
    for (size_t i = 0; i < parameters.size(); ++i)
      rows.insert(rows.end(), row.begin(), row.end());
    testSample(rows, row.size(), row.size(), parameters);
  };
  test({0.0f, -0.0f, 0.0f, -1, -0.0f, 0.0f, -2, -3});
  test({-0.0f, 0.0f, 1e-45f, -1e-45f});
  test({-kMost, kMost, 1, kMost});
  test({-kInfinity, 1, -kInfinity, 2, -800});
  test(std::vector<float>(20, -kInfinity));
  test({1, kInfinity, 3, kInfinity});
  test({1, kInfinity, -kNan, 3, kNan, -kInfinity, kNan, kInfinity});
  // Of no temperature is the likeliest alone.
  testSample({1, 3, 3, 2}, 4, 4, {{5, 0, 0}, {5, 0, 1}});
}

} // namespace
