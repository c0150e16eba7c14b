//===- BitPlanes.cpp - products of bits, for few tokens -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The bits of the activations, a plane of them for each, are words like the
// weights'. and.popc of bits counts for each plane the weights that are set,
// and the counts are added up, each with the weight of its plane. Weights are
// never unpacked: a warp loads its spans of columns of all rows of the block
// before the phase before has ended.
//
// For a token or two every block makes the planes itself, which takes less time
// than another launch: a warp makes those of its own spans, and they stay in
// its registers. For more a prologue leaves them in memory.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

/// Words of a column of blocks, that is half a span, in a fragment.
static constexpr int64_t kHalfBlocks = 4;
/// Bytes of counts in a block's shared memory, and words of weights in a
/// thread's registers, at most.
static constexpr int64_t kCountBytes = 40 << 10, kWeightWords = 64;
/// Spans of tokens whose planes a thread reads at once, and tokens.
static constexpr int64_t kSpansTogether = 16, kTokensTogether = 4;

/// Row tiles of a block. The time is that of the busiest multiprocessor: for
/// each of its blocks what making the planes takes, in units of what a tile
/// takes (about 160 and 40 instructions of a warp, span by span), and the
/// tiles.
int64_t FusedLinear::chooseRowTiles(bool fused, int64_t tokens) const {
  int64_t most =
      std::min({kWeightWords / (4 * spansOfWarp),
                kCountBytes / (tokens * warps * kTileRows * sumBits() / 8),
                warps * SimtBuilder::kWarp / kTileRows, rowTiles});
  if (fused) // an element of the result a thread
    most = std::min(most, warps * SimtBuilder::kWarp / kTileRows / tokens);
  int64_t best = 1, least = std::numeric_limits<int64_t>::max();
  for (int64_t tiles = 1; tiles <= most; ++tiles) {
    int64_t ofBlock = (fused ? 4 : 1) + tiles;
    int64_t time = ofBlock * llvm::divideCeilSigned(
                                 llvm::divideCeilSigned(rowTiles, tiles),
                                 b.getTarget().gpu.multiprocessors);
    if (time < least) {
      least = time;
      best = tiles;
    }
  }
  return best;
}

void FusedLinear::emitBitPlanes(StringRef suffix, bool fused,
                                const Condition &condition) {
  int64_t tokens = condition.high, tiles = chooseRowTiles(fused, tokens);
  int64_t rows = tiles * kTileRows, threads = warps * SimtBuilder::kWarp;
  int64_t numEights = bits / 8;
  int64_t together =
      std::clamp<int64_t>(kSpansTogether / spansOfWarp, 1, kTokensTogether);
  bool whole = warps * spansOfWarp * Activations::kSpan == k;
  Type i32 = b.getI32Type();

  auto body = [&](ArrayRef<Val> tile) {
    Val g = b.lane() / 4, inQuad = b.lane() % 4;
    Val weight = b.buffer("weight");
    Val counts = b.shared({tokens * warps, rows}, b.getIntegerType(sumBits()));
    std::optional<Activations> activations;
    if (fused)
      activations.emplace(*this, tokens);

    // Rows 2g and 2g + 1 of a tile are rows g and g + 8 of a fragment.
    SmallVector<Vals> fragments;
    for (int64_t r = 0; r < tiles; ++r)
      for (int64_t i = 0; i < spansOfWarp; ++i) {
        Vals &a = fragments.emplace_back();
        Val rowTile = min(tile[0] * tiles + r, rowTiles - 1);
        for (int64_t half = 0; half < 2; ++half) {
          Val block = (b.warp() + i * warps) * (2 * kHalfBlocks) +
                      (inQuad + half * kHalfBlocks);
          Val two = b.load(
              weight, {rowTile, whole ? block : min(block, blocks - 1), g * 2},
              2, llvm::Align(8));
          if (!whole)
            two = select(block < blocks, two, b.zeros(i32, 2));
          a.push_back(b.extract(two, 0));
          a.push_back(b.extract(two, 1));
        }
      }
    // Of the epilogue a thread has a row, of every so many-th token.
    Val rowInBlock = b.thread() % rows, firstToken = b.thread() / rows;
    int64_t tokensAtOnce = threads / rows;
    Val rowNumber = tile[0] * rows + rowInBlock;
    Row row = loadRow(min(rowNumber, n - 1));

    b.waitForPrevious();
    Val count = b.extent(extent), residual;
    if (op.getResidual() && tokensAtOnce >= tokens)
      residual = loadResidual(max(min(firstToken, count - 1), 0), row.number);
    auto countToken = [&](Val t, ArrayRef<Vals> planes) {
      for (int64_t r = 0; r < tiles; ++r) {
        SmallVector<Vals> sums(numEights, Vals(4, b.constant(i32, 0)));
        for (int64_t i = 0; i < spansOfWarp; ++i)
          for (int64_t eight = 0; eight < numEights; ++eight)
            sums[eight] = b.mmaBits(
                fragments[r * spansOfWarp + i],
                {planes[i][2 * eight], planes[i][2 * eight + 1]}, sums[eight]);
        Val sum = combinePlanes(sums);
        b.when(inQuad < 2, [&] {
          b.store(sum, counts,
                  {t * warps + b.warp(), g * 2 + inQuad + r * kTileRows});
        });
      }
    };
    auto makeAndCount = [&](Val t) {
      SmallVector<Vals> planes; // by span
      activations->quantise(
          t, t, [&](Val, Val q) { planes.push_back(getPlanes(q)); });
      countToken(t, planes);
    };
    if (fused && tokens == 1)
      makeAndCount(b.index(0));
    else if (fused)
      b.loop(0, count, 1, makeAndCount);
    else
      // The planes of some tokens are under way together. What is past the last
      // token is the last again.
      b.loop(0, count, together, [&](Val first) {
        SmallVector<Val> ts;
        SmallVector<SmallVector<Vals>> planes(together);
        for (int64_t j = 0; j < together; ++j) {
          ts.push_back(j == 0 ? first : min(first + j, count - 1));
          for (int64_t i = 0; i < spansOfWarp; ++i)
            planes[j].push_back(loadPlanes(ts[j], b.warp() + i * warps));
        }
        for (int64_t j = 0; j < together; ++j)
          countToken(ts[j], planes[j]);
      });
    b.barrier();

    auto finish = [&](Val t) {
      Val ones = b.load(counts, {t * warps, rowInBlock});
      for (int64_t warp = 1; warp < warps; ++warp)
        ones = ones + b.load(counts, {t * warps + warp, rowInBlock});
      Val last = residual ? residual : loadResidual(t, row.number);
      if (!fused)
        return emitIntegerEpilogue(
            ones, row, t, b.load(b.buffer("qsum"), {t}),
            b.load(b.buffer("scale"), {t}), loadTau(t), last,
            [&](Val column) { return getActivation(t, column, Form::planes); });
      Activations::Totals totals = activations->getTotals(t);
      emitIntegerEpilogue(
          ones, row, t, totals.qsum, totals.scale, totals.tau, last,
          [&](Val column) { return activations->getActivation(t, t, column); });
    };
    b.when(rowNumber < n, [&] {
      if (tokensAtOnce >= tokens)
        b.when(firstToken < count, [&] { finish(firstToken); });
      else
        b.when(firstToken < tokensAtOnce,
               [&] { b.loop(firstToken, count, tokensAtOnce, finish); });
    });
  };
  b.phase(suffix, {{plan::Dim::none, rowTiles, tiles}}, threads, body,
          condition);
}

/// A lane has the counts of planes 2·inQuad and the next of each eight, of two
/// rows; the last plane of all is negative. The four lanes of a row add up: the
/// first and third get the first row's, the others the second's.
Val FusedLinear::combinePlanes(ArrayRef<Vals> counts) {
  if (bits < 32)
    return combinePlanes(counts, true);
  return joinHalves(combinePlanes(counts.take_front(2), false),
                    combinePlanes(counts.drop_front(2), true));
}

Val FusedLinear::combinePlanes(ArrayRef<Vals> counts, bool isLast) {
  Val inQuad = b.lane() % 4;
  Val even = b.constant(b.getI32Type(), 1) << b.toInteger(inQuad * 2, 32);
  Val ofRow[2];
  for (int64_t row = 0; row < 2; ++row)
    for (size_t eight = 0; eight < counts.size(); ++eight) {
      Val evens = counts[eight][2 * row],
          odds = counts[eight][2 * row + 1] << 1;
      if (isLast && eight + 1 == counts.size())
        odds = select(inQuad == 3, 0 - odds, odds);
      Val sum = (evens + odds) << (8 * eight);
      ofRow[row] = eight == 0 ? sum : ofRow[row] + sum;
    }
  Val isFirst = inQuad % 2 == 0;
  Val own = select(isFirst, ofRow[0], ofRow[1]) * even;
  Val other = select(isFirst, ofRow[1], ofRow[0]) * even;
  own = own + b.shuffleXor(other, 1);
  return own + b.shuffleXor(own, 2);
}

//===--------------------------------------------------------------------===//
// Planes
//===--------------------------------------------------------------------===//

/// Lane 4·g + i has four bytes, its bit p and byte j of them that of column
/// 4·g + j. Afterwards lane 4·p + i has plane p: bit g of byte j is that of the
/// same column.
static Val transposeBits(SimtBuilder &b, Val x) {
  Val g = b.lane() / 4;
  for (auto [distance, kept] : {std::pair<int64_t, int64_t>{4, 0x0f0f0f0f},
                                {2, 0x33333333},
                                {1, 0x55555555}}) {
    // The half of the bits that goes is where the partner's half belongs.
    Val isLow = g / distance % 2 == 0;
    Val amount =
        b.toInteger(select(isLow, b.index(distance), 32 - distance), 32);
    Val mask =
        b.toInteger(select(isLow, b.index(kept), ~kept & 0xffffffff), 32);
    Val from = b.rotateLeft(b.shuffleXor(x, 4 * distance), amount);
    x = (x & mask) | (from & (mask ^ -1));
  }
  return x;
}

/// The words of the planes that the lane has in fragments: of each eight planes
/// plane g of blocks inQuad and inQuad + 4.
Vals FusedLinear::getPlanes(Val q) {
  Vals planes;
  for (int64_t eight = 0; eight < bits / 8; ++eight) {
    Val bytes = b.packBytes(q, eight);
    for (int64_t half = 0; half < 2; ++half)
      planes.push_back(transposeBits(b, b.extract(bytes, half)));
  }
  return planes;
}

/// In memory the planes of a block lie together.
static Val getPlaneByte(SimtBuilder &b, Val block, int64_t bits,
                        int64_t eight) {
  return (block * bits + (b.lane() / 4 + eight * 8)) * 4;
}

void FusedLinear::storePlanes(Val t, Val span, Val q) {
  Vals planes = getPlanes(q);
  for (int64_t half = 0; half < 2; ++half) {
    Val block = span * (2 * kHalfBlocks) + (b.lane() % 4 + half * kHalfBlocks);
    b.when(block < blocks, [&] {
      for (int64_t eight = 0; eight < bits / 8; ++eight)
        b.storeWord(planes[2 * eight + half], b.buffer("digits"), t,
                    getPlaneByte(b, block, bits, eight));
    });
  }
}

/// Where there is no block the weights are zero, the planes any.
Vals FusedLinear::loadPlanes(Val t, Val span) {
  Vals planes;
  for (int64_t eight = 0; eight < bits / 8; ++eight)
    for (int64_t half = 0; half < 2; ++half) {
      Val block =
          span * (2 * kHalfBlocks) + (b.lane() % 4 + half * kHalfBlocks);
      Val byte = getPlaneByte(b, min(block, blocks - 1), bits, eight);
      planes.push_back(
          b.extract(b.loadWords(b.buffer("digits"), t, byte, 1), 0));
    }
  return planes;
}
