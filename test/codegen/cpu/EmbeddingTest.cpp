//===- EmbeddingTest.cpp - the embedding kernel -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include "runtime/artifact/Half.h"

#include <gtest/gtest.h>

using namespace mambit;
using namespace mambit::test;

static constexpr int64_t kRows = 37, kWidth = 21;

template <typename T>
static void testEmbedding(const char *element, T (*round)(float),
                          float (*widen)(T), bool interleaved) {
  Random random(1);
  std::vector<T> table;
  for (float value : random.reals(kRows * kWidth, -3, 3))
    table.push_back(round(value));
  std::vector<T> laid = interleaved ? interleave(table, kRows, kWidth) : table;
  std::string type = "tensor<37x21x" + std::string(element) +
                     (interleaved ? ", #mamba.interleave<rows = 16>>" : ">");
  std::vector<int32_t> ids = {0, 36, 16, 15, 15};
  for (const Target &target : getHostTargets()) {
    CompiledKernel kernel(
        "%ids: tensor<?xi32>, %table: " + type,
        "%y = mamba.embedding %ids, %table : tensor<?xi32>, " + type +
            " -> tensor<?x21xf32>",
        target);
    std::vector<float> y(ids.size() * kWidth);
    kernel.run({{"ids", ids.data()}, {"table", laid.data()}, {"y", y.data()}},
               {int64_t(ids.size())});
    for (size_t t = 0; t < ids.size(); ++t)
      for (int64_t k = 0; k < kWidth; ++k)
        EXPECT_EQ(y[t * kWidth + k], widen(table[ids[t] * kWidth + k]))
            << target.name << " token " << t << " column " << k;
  }
}

static float same(float value) { return value; }

TEST(Embedding, f16) {
  testEmbedding<uint16_t>("f16", artifact::f16FromF32, artifact::f32FromF16,
                          false);
  testEmbedding<uint16_t>("f16", artifact::f16FromF32, artifact::f32FromF16,
                          true);
}

TEST(Embedding, bf16) {
  testEmbedding<uint16_t>("bf16", artifact::bf16FromF32, artifact::f32FromBF16,
                          false);
  testEmbedding<uint16_t>("bf16", artifact::bf16FromF32, artifact::f32FromBF16,
                          true);
}

TEST(Embedding, f32) {
  testEmbedding<float>("f32", same, same, false);
  testEmbedding<float>("f32", same, same, true);
}
