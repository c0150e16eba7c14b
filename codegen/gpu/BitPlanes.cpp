//===- BitPlanes.cpp - products of bits, for few tokens -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The prologue leaves the bits of the activations, a plane of them for each, as
// words like the weights'. and.popc of bits counts for each plane the weights
// that are set, and the counts are added up, each with the weight of its plane.
// Weights are never unpacked.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

static constexpr int64_t kThreads = 256;
static constexpr int64_t kWarps = kThreads / SimtBuilder::kWarp;
/// Rows of a block.
static constexpr int64_t kRows = 32;
/// Tokens at most: a warp finishes one.
static constexpr int64_t kTokens = kWarps;

void FusedLinear::emitBitPlanes(const Condition &condition) {
  assert(condition.high <= kTokens);
  b.phase(
      "matmul_planes", {{plan::Dim::none, n, kRows}}, kThreads,
      [&](ArrayRef<Val> tile) {
        Val sums = b.shared({kTokens * kWarps, kRows}, b.getI32Type());
        emitBitPlanes(tile[0], sums);
      },
      condition);
}

/// Each warp counts some of the columns of two row tiles. A lane's 16 bytes are
/// four rows of one block of columns: two fragments of weights, a and c.
void FusedLinear::emitBitPlanes(Val rowBlock, Val sums) {
  constexpr int64_t kStep = 8; // blocks of columns of a fragment
  Val weight = b.buffer("weight"), digits = b.buffer("digits");
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val rowTile = min(rowBlock * 2 + g / 4, rowTiles - 1), rows = g % 4 * 4;
  Val count = b.extent(extent);
  Type i32 = b.getI32Type();

  int64_t steps = llvm::divideCeilSigned(blocks, kStep);
  int64_t perWarp = llvm::divideCeilSigned(steps, kWarps);
  int64_t group = std::min<int64_t>(perWarp, 4);
  bool whole = perWarp * kWarps * kStep == blocks;

  auto blockOf = [&](Val step, int64_t half) {
    return (step * kWarps + b.warp()) * kStep + (inQuad + 4 * half);
  };
  auto clamped = [&](Val block) {
    return whole ? block : min(block, blocks - 1);
  };
  auto loadWeights = [&](Val from) {
    Vals words;
    for (int64_t i = 0; i < group; ++i)
      for (int64_t half = 0; half < 2; ++half) {
        Val block = blockOf(from + i, half);
        Val w =
            b.load(weight, {rowTile, clamped(block), rows}, 4, llvm::Align(16));
        if (!whole)
          w = select(block < blocks, w, b.zeros(i32, 4));
        words.push_back(w);
      }
    return words;
  };
  auto countToken = [&](Val t, Val from, ArrayRef<Val> words, bool isFirst) {
    // By fragment of weights and by eight planes.
    SmallVector<Vals> acc(2 * (bits / 8), Vals(4, b.constant(i32, 0)));
    for (int64_t i = 0; i < group; ++i) {
      Val low = words[2 * i], high = words[2 * i + 1];
      for (int64_t eight = 0; eight < bits / 8; ++eight) {
        Vals x;
        for (int64_t half = 0; half < 2; ++half) {
          Val block = clamped(blockOf(from + i, half));
          Val byte = (block * bits + eight * 8 + g) * 4;
          x.push_back(b.extract(b.loadWords(digits, t, byte, 1), 0));
        }
        for (int64_t f = 0; f < 2; ++f) {
          Vals a = {b.extract(low, 2 * f), b.extract(low, 2 * f + 1),
                    b.extract(high, 2 * f), b.extract(high, 2 * f + 1)};
          Vals &sum = acc[2 * eight + f];
          sum = b.mmaBits(a, x, sum);
        }
      }
    }
    // A lane has planes 2·inQuad and the next; the last plane of all is
    // negative. Then the four lanes of a row add up.
    Val shift = b.toInteger(inQuad * 2, 32);
    Val even = b.constant(i32, 1) << shift, odd = even << 1;
    Val mine;
    for (int64_t row = 0; row < 4; ++row) {
      Val sum = b.constant(i32, 0);
      for (int64_t eight = 0; eight < bits / 8; ++eight) {
        Val weightOfOdd = odd << (8 * eight);
        if (eight == bits / 8 - 1)
          weightOfOdd = select(inQuad == 3, 0 - weightOfOdd, weightOfOdd);
        const Vals &counts = acc[2 * eight + row / 2];
        sum = sum + counts[row % 2 * 2] * (even << (8 * eight)) +
              counts[row % 2 * 2 + 1] * weightOfOdd;
      }
      sum = b.reduceLanes(sum, [](Val a, Val c) { return a + c; }, 1, 4);
      mine = row == 0 ? sum : select(inQuad == row, sum, mine);
    }
    SmallVector<Operand> at = {t * kWarps + b.warp(), b.lane()};
    b.store(isFirst ? mine : b.load(sums, at) + mine, sums, at);
  };

  Val zero = b.index(0);
  Vals words = loadWeights(zero);
  b.waitForPrevious();
  b.loop(0, count, 1, [&](Val t) { countToken(t, zero, words, true); });
  b.loop(group, perWarp, group, [&](Val from) {
    Vals more = loadWeights(from);
    b.loop(0, count, 1, [&](Val t) { countToken(t, from, more, false); });
  });
  b.barrier();

  Val t = b.warp(), row = rowBlock * kRows + b.lane();
  b.when(t < count, [&] {
    b.when(row < n, [&] {
      Val sum = b.load(sums, {t * kWarps, b.lane()});
      for (int64_t warp = 1; warp < kWarps; ++warp)
        sum = sum + b.load(sums, {t * kWarps + warp, b.lane()});
      emitIntegerEpilogue(sum, row, t, Form::planes);
    });
  });
}
