//===- PiecesTest.cpp -----------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Pieces.h"

#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>

using namespace mambit;

namespace {

constexpr Capacity kPrefill{8, 3, 8}, kDecode{4, 4, 4};

/// Where a sequence is cut and by which program each part is run.
using Cuts = std::vector<std::pair<size_t, bool>>;

std::map<size_t, Cuts> cutsOf(const std::vector<Piece> &pieces) {
  std::map<size_t, Cuts> cuts;
  for (const Piece &piece : pieces)
    for (const Segment &segment : piece.segments)
      cuts[segment.sequence].push_back({segment.count, piece.decode});
  return cuts;
}

TEST(Pieces, CoverAllTokensInOrderWithinCapacity) {
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 500; ++repeat) {
    std::vector<size_t> offsets{0};
    size_t sequences = 1 + random() % 9;
    for (size_t i = 0; i < sequences; ++i)
      offsets.push_back(offsets.back() + 1 + random() % (repeat % 30 + 1));
    Capacity prefill{8, 3, repeat % 2 ? size_t(8) : size_t(5)};
    for (mambit_logits which :
         {MAMBIT_LOGITS_NONE, MAMBIT_LOGITS_LAST, MAMBIT_LOGITS_ALL}) {
      std::vector<size_t> next(offsets.begin(), offsets.end() - 1);
      std::set<size_t> rows;
      for (const Piece &piece :
           dividePieces(offsets, which, prefill, kDecode)) {
        const Capacity &capacity = piece.decode ? kDecode : prefill;
        Capacity used{0, 0, 0};
        std::set<size_t> present;
        for (const Segment &segment : piece.segments) {
          EXPECT_TRUE(present.insert(segment.sequence).second);
          EXPECT_EQ(segment.begin, next[segment.sequence]);
          EXPECT_GT(segment.count, 0u);
          next[segment.sequence] += segment.count;
          size_t length =
              offsets[segment.sequence + 1] - offsets[segment.sequence];
          EXPECT_EQ(piece.decode, length == 1);
          for (size_t row = 0; row < segment.rows; ++row) {
            EXPECT_TRUE(rows.insert(segment.firstRow + row).second);
            EXPECT_LT(segment.firstRow + row, next[segment.sequence]);
          }
          used.tokens += segment.count;
          used.sequences += 1;
          used.rows += segment.rows;
        }
        EXPECT_LE(used.tokens, capacity.tokens);
        EXPECT_LE(used.sequences, capacity.sequences);
        EXPECT_LE(used.rows, capacity.rows);
      }
      std::set<size_t> expected;
      for (size_t i = 0; i < sequences; ++i) {
        EXPECT_EQ(next[i], offsets[i + 1]);
        if (which == MAMBIT_LOGITS_LAST)
          expected.insert(offsets[i + 1] - 1);
        for (size_t t = offsets[i];
             which == MAMBIT_LOGITS_ALL && t < offsets[i + 1]; ++t)
          expected.insert(t);
      }
      EXPECT_EQ(rows, expected);
    }
  }
}

TEST(Pieces, CutsDependOnTheSequenceAlone) {
  const std::vector<size_t> lengths{20, 1, 5, 8, 9, 1, 3, 16};
  std::vector<size_t> offsets{0};
  for (size_t length : lengths)
    offsets.push_back(offsets.back() + length);
  for (mambit_logits which :
       {MAMBIT_LOGITS_NONE, MAMBIT_LOGITS_LAST, MAMBIT_LOGITS_ALL}) {
    auto together = cutsOf(dividePieces(offsets, which, kPrefill, kDecode));
    for (size_t i = 0; i < lengths.size(); ++i)
      EXPECT_EQ(together[i], cutsOf(dividePieces({0, lengths[i]}, which,
                                                 kPrefill, kDecode))[0]);
  }
}

TEST(Pieces, RestsShareARun) {
  EXPECT_EQ(
      dividePieces({0, 3, 6, 8}, MAMBIT_LOGITS_LAST, kPrefill, kDecode).size(),
      1u);
  EXPECT_EQ(dividePieces({0, 1, 2, 3, 4}, MAMBIT_LOGITS_LAST, kPrefill, kDecode)
                .size(),
            1u);
  // 9 = 8 + 1, twice: the ones share.
  EXPECT_EQ(
      dividePieces({0, 9, 18}, MAMBIT_LOGITS_LAST, kPrefill, kDecode).size(),
      3u);
}

} // namespace
