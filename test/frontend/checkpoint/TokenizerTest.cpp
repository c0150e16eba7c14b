//===- TokenizerTest.cpp - what a SentencePiece model says -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Tokenizer.h"
#include "TestFiles.h"

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

TEST(Tokenizer, ReadsRealModel) {
  MappedFile file(MAMBIT_TEST_CHECKPOINTS "/bimamba/tokenizer.model");
  TokenizerInfo info = readTokenizer(file.bytes(0, file.size()), "t");
  EXPECT_EQ(info.pieces, 4096);
  EXPECT_EQ(info.bosId, 1);
  EXPECT_EQ(info.eosId, 2);
}

TEST(Tokenizer, RefusesOtherAndTruncatedFiles) {
  MappedFile file(MAMBIT_TEST_CHECKPOINTS "/bimamba/tokenizer.model");
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, file.size() - 1})
    expectError([&] { readTokenizer(file.bytes(0, size), "tokenizer.model"); },
                {"tokenizer.model: expected a SentencePiece model"});
  expectError([&] { readTokenizer(std::string(100 << 20, '\0'), "t"); },
              {"t: expected at most 67108864 bytes, found 104857600"});
  expectError([&] { readTokenizer("{\"model\": 1}", "tokenizer.model"); },
              {"tokenizer.model: expected a SentencePiece model"});
}
