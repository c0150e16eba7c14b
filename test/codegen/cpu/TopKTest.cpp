//===- TopKTest.cpp - the best logits of a row --------------------------===//
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

/// By the definition.
static std::vector<int32_t> best(const float *row, int64_t vocab,
                                 int64_t count) {
  std::vector<int32_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (std::isnan(row[a]) != std::isnan(row[b]))
      return std::isnan(row[a]);
    return row[a] > row[b] || (!(row[a] < row[b]) && a < b);
  });
  order.resize(count);
  return order;
}

static void testTopK(const std::vector<float> &logits, int64_t vocab,
                     int64_t count) {
  int64_t rows = logits.size() / vocab;
  std::string v = std::to_string(vocab), k = std::to_string(count);
  std::string type = "tensor<?x" + v + "xf32>";
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel("%logits: " + type,
                          "%values, %tokens = mamba.top_k %logits : " + type +
                              " -> tensor<?x" + k + "xf32>, tensor<?x" + k +
                              "xi32>",
                          target);
    std::vector<float> values(rows * count);
    std::vector<int32_t> tokens(rows * count);
    CompiledKernel::Extents extents;
    extents.rows = rows;
    std::vector<float> given = logits;
    kernel.run({{"logits", given.data()},
                {"values", values.data()},
                {"tokens", tokens.data()}},
               extents);
    for (int64_t r = 0; r < rows; ++r) {
      const float *row = logits.data() + r * vocab;
      std::vector<int32_t> expected = best(row, vocab, count);
      for (int64_t i = 0; i < count; ++i) {
        EXPECT_EQ(tokens[r * count + i], expected[i])
            << target.name << ", " << vocab << " logits, row " << r << " place "
            << i;
        EXPECT_EQ(
            memcmp(&values[r * count + i], row + expected[i], sizeof(float)), 0)
            << target.name << ", " << vocab << " logits, row " << r << " place "
            << i;
      }
    }
  }
}

TEST(TopK, OddSizes) {
  Random random(1);
  for (int64_t vocab : {1, 15, 16, 17, 2047, 2049, 6143})
    for (int64_t count : {int64_t(1), std::min<int64_t>(vocab, 5),
                          vocab % 100 + (vocab % 100 == 0)})
      testTopK(random.reals(2 * vocab, -9, 9), vocab, count);
}

/// Many of each value, spread over several parts of the row.
TEST(TopK, Ties) {
  Random random(2);
  std::vector<float> logits(3 * 5000);
  for (float &logit : logits)
    logit = float(random.integer(-3, 3));
  testTopK(logits, 5000, 9);
  testTopK(std::vector<float>(5000, -1.5f), 5000, 1);
}

TEST(TopK, Extremes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  testTopK({0.0f, -0.0f, 0.0f, -1, -0.0f, 0.0f, -2, -3}, 8, 6);
  testTopK({-0.0f, 0.0f, 1e-45f, -1e-45f}, 4, 4);
  testTopK(std::vector<float>(20, -kInfinity), 20, 3);
  testTopK({1, kInfinity, -kNan, 3, kNan, -kInfinity, kNan, kInfinity}, 8, 8);
}
