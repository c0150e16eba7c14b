//===- Digits.cpp - products of bytes, for more than few tokens ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The prologue leaves digits of 8 bits; a token's digits are columns of the
// product. Weights become bytes 0 or 1 in registers. In `digits` the columns of
// a panel of tokens lie together, 16 bytes of each, then the next 16 of each:
// what a block needs for a step along K is one run of bytes, which tensor cores
// read without conflicts of banks.
//
// - Split: for some dozens of tokens. A block has a short tile, and its warps
//   share K, so that all its bytes are asked for at once.
// - Tiles of warpgroups, where there is wgmma.
// - Tiles of warps elsewhere.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

static constexpr int64_t kPanelColumns = 128;
/// Columns of a fragment.
static constexpr int64_t kFragment = 8;
static constexpr int64_t kOnes = 0x01010101;

//===--------------------------------------------------------------------===//
// Digits in memory
//===--------------------------------------------------------------------===//

int64_t FusedLinear::panelTokens() const { return kPanelColumns / numDigits(); }

FusedLinear::Panel FusedLinear::getPanel(Val first) {
  Val tokens = min(b.extent(extent) - first, panelTokens());
  return {first, tokens * numDigits(), first * (numDigits() * blocks * kBlock)};
}

/// The first byte of a piece of a column.
Val FusedLinear::getByte(const Panel &panel, Val column, Val piece) {
  return panel.start + (piece * panel.columns + column) * kPiece;
}

/// The byte of a token's digit.
Val FusedLinear::getByte(Val t, int64_t digit, Val column) {
  Panel panel = getPanel(t / panelTokens() * panelTokens());
  return getByte(panel, (t - panel.first) * numDigits() + digit,
                 column / kPiece) +
         column % kPiece;
}

//===--------------------------------------------------------------------===//
// Strategies
//===--------------------------------------------------------------------===//

void FusedLinear::emitDigits(const Condition &condition) {
  switch (strategy) {
  case MatmulStrategy::automatic:
    break;
  case MatmulStrategy::split:
    return emitSplit(condition);
  case MatmulStrategy::mma:
    return emitTiles(condition);
  case MatmulStrategy::wgmma:
    return emitWarpgroupTiles(condition);
  }
  Condition some = condition, many = condition;
  some.dim = many.dim = extent;
  some.high = splitTokens();
  many.low = splitTokens() + 1;
  emitSplit(some);
  if (b.targetHas(Capability::wgmma))
    emitWarpgroupTiles(many);
  else
    emitTiles(many);
}

//===--------------------------------------------------------------------===//
// Results
//===--------------------------------------------------------------------===//

/// Stores the results of four adjacent rows of each of some tokens, four sums
/// a token. A token past the end is not stored.
void FusedLinear::storeRows(ArrayRef<Val> ones, Val row, ArrayRef<Val> tokens) {
  constexpr int64_t kRows = 4;
  Val end = b.extent(extent);
  Vals inside;
  for (Val t : tokens)
    inside.push_back(min(t, end - 1));

  // A bit says 1 or 0 for a sign of 1 or -1.
  Vals exact, scales;
  for (auto [i, t] : llvm::enumerate(inside)) {
    Val qsum = b.load(b.buffer("qsum"), {t});
    scales.push_back(b.load(b.buffer("scale"), {t}));
    for (int64_t r = 0; r < kRows; ++r)
      exact.push_back((ones[i * kRows + r] << 1) - qsum);
  }
  Val zeros = b.buffer("weight.zeros"),
      rowTile = min(row / kTileRows, rowTiles - 1);
  exact = b.loop(b.toIndex(b.load(zeros, {rowTile})),
                 b.toIndex(b.load(zeros, {rowTile + 1})), 1, exact,
                 [&](Val entry, ArrayRef<Val> carried) {
                   Val at = entry * 2 + (rowTiles + 1);
                   Val zeroRow = b.toIndex(b.load(zeros, {at})) - row;
                   Val column = b.toIndex(b.load(zeros, {at + 1}));
                   Vals next;
                   for (auto [i, t] : llvm::enumerate(inside)) {
                     Val q = getActivation(t, column, Form::digits);
                     for (int64_t r = 0; r < kRows; ++r)
                       next.push_back(carried[i * kRows + r] +
                                      select(zeroRow == r, q, 0));
                   }
                   return next;
                 });

  bool together = n % kRows == 0;
  if (together) {
    b.when(row < n, [&] {
      Vals y;
      for (auto [i, t] : llvm::enumerate(inside))
        y.push_back(
            finish(b.toF32(b.gather(ArrayRef(exact).slice(i * kRows, kRows))) *
                       scales[i],
                   row, t));
      for (size_t i = 0; i < y.size(); ++i)
        b.when(tokens[i] < end, [&] {
          b.store(y[i], b.buffer("y"), {tokens[i], row},
                  llvm::Align(4 * kRows));
        });
    });
    return;
  }
  for (int64_t r = 0; r < kRows; ++r)
    b.when(row + r < n, [&] {
      for (size_t i = 0; i < tokens.size(); ++i)
        b.when(tokens[i] < end, [&] {
          b.store(finish(b.toF32(exact[i * kRows + r]) * scales[i], row + r,
                         tokens[i]),
                  b.buffer("y"), {tokens[i], row + r});
        });
    });
}

/// Stores the sums of fragments of 32 rows, from `row` on, and the columns of
/// tokens from `t` on: [row half][fragment of 8 columns][element]. Element e
/// is row g + 8 · (e / 2), column 2 · inQuad + e % 2; the rows of the lane's
/// group, g, are 4g … 4g + 3.
void FusedLinear::storeFragments(ArrayRef<Val> sums, Val row, Val t) {
  // Tokens whose loads are under way together, as registers allow.
  const size_t kTogether = 4 * numDigits();
  int64_t fragments = sums.size() / 8;
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Vals ones, tokens;
  for (int64_t fragment = 0; fragment < fragments; ++fragment)
    for (int64_t of = 0; of < 2 / numDigits(); ++of) {
      tokens.push_back(t + (inQuad * (2 / numDigits()) +
                            (fragment * kFragment / numDigits() + of)));
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t e = 0; e < 4; e += 2) {
          const Val *sum = &sums[(half * fragments + fragment) * 4 + e];
          ones.push_back(bits == 16 ? sum[0] + (sum[1] << 8) : sum[of]);
        }
    }
  for (size_t i = 0; i < tokens.size(); i += kTogether) {
    size_t count = std::min(kTogether, tokens.size() - i);
    storeRows(ArrayRef(ones).slice(4 * i, 4 * count), row + g * 4,
              ArrayRef(tokens).slice(i, count));
  }
}

//===--------------------------------------------------------------------===//
// Split
//===--------------------------------------------------------------------===//

/// Columns of a block.
static constexpr int64_t kSplitColumns = 32;

/// Long tiles read the digits less often, but all multiprocessors should have
/// some.
int64_t FusedLinear::splitRows() const {
  constexpr int64_t kEnough = 64; // blocks
  return llvm::divideCeilSigned(n, 64) < kEnough ? 32 : 64;
}

/// The most tokens for which that is worth while. On an H100 a short tile takes
/// 1 ns for 128 columns of K, many of them at once, and a wave of tall ones
/// 0.8 µs, whatever the number of tokens.
int64_t FusedLinear::splitTokens() const {
  int64_t rowBlocks = llvm::divideCeilSigned(n, splitRows());
  return std::clamp<int64_t>(800 / rowBlocks, 1, 16) * kSplitColumns /
         numDigits();
}

void FusedLinear::emitSplit(const Condition &condition) {
  int64_t rows = splitRows(), warps = rows == 32 ? 16 : 8;
  b.phase(
      "matmul_digits_split",
      {{extent, 0, kSplitColumns / numDigits()}, {plan::Dim::none, n, rows}},
      warps * SimtBuilder::kWarp,
      [&](ArrayRef<Val> tile) {
        b.fitBlocks(512 / (warps * SimtBuilder::kWarp));
        emitSplit(warps, tile[1], tile[0]);
      },
      condition);
}

/// The order of columns in a fragment is ours to choose: a lane has a piece,
/// half a block, of the four of a step.
void FusedLinear::emitSplit(int64_t warps, Val rowBlock, Val columnBlock) {
  constexpr int64_t kFragments = kSplitColumns / kFragment;
  constexpr int64_t kUnrolled = 16;              // steps
  int64_t rows = splitRows(), pairs = rows / 32; // of row tiles
  int64_t steps = llvm::divideCeilSigned(blocks, 2);
  int64_t perWarp = llvm::divideCeilSigned(steps, warps);
  // Steps that are loaded ahead, as registers allow.
  int64_t ahead = std::min<int64_t>(perWarp, 4 - pairs);
  bool whole = perWarp * warps * 2 == blocks;
  int64_t blocksOfPanel = kPanelColumns / kSplitColumns;
  int64_t tokensOfBlock = kSplitColumns / numDigits();
  Type i32 = b.getI32Type();

  Val weight = b.buffer("weight"), digits = b.bytes(b.buffer("digits"));
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val shift = b.toInteger(inQuad % 2 * 4, 32);
  Panel panel = getPanel(columnBlock / blocksOfPanel * panelTokens());
  Val firstColumn = columnBlock % blocksOfPanel * kSplitColumns;
  // Past the end, the weights are zero and the digits any.
  auto blockOf = [&](Val step) {
    return (step * warps + b.warp()) * 2 + inQuad / 2;
  };
  auto loadWeights = [&](Val step) {
    Vals words;
    Val block = blockOf(step);
    for (int64_t pair = 0; pair < pairs; ++pair) {
      Val rowTile =
          min(rowBlock * (rows / kTileRows) + (g / 4 + 2 * pair), rowTiles - 1);
      Val four = b.load(
          weight, {rowTile, whole ? block : min(block, blocks - 1), g % 4 * 4},
          4, llvm::Align(16));
      words.push_back(whole ? four
                            : select(block < blocks, four, b.zeros(i32, 4)));
    }
    return words;
  };
  auto loadDigits = [&](Val step) {
    Vals x;
    Val block = blockOf(step);
    Val piece = (whole ? block : min(block, blocks - 1)) * 2 + inQuad % 2;
    for (int64_t f = 0; f < kFragments; ++f) {
      Val column = min(firstColumn + (g + f * kFragment), panel.columns - 1);
      x.push_back(b.loadFour(digits, getByte(panel, column, piece)));
    }
    return x;
  };
  auto multiply = [&](ArrayRef<Val> words, ArrayRef<Val> x,
                      MutableArrayRef<Val> acc) {
    for (int64_t pair = 0; pair < pairs; ++pair)
      for (int64_t half = 0; half < 4; half += 2)
        for (int64_t m = 0; m < 2; ++m) {
          Vals a;
          for (int64_t part = half; part < half + 2; ++part)
            for (int64_t row = 0; row < 2; ++row)
              a.push_back(
                  (b.extract(words[pair], m * 2 + row) >> (shift + part)) &
                  kOnes);
          for (int64_t f = 0; f < kFragments; ++f) {
            Val *sum = &acc[((pair * 2 + m) * kFragments + f) * 4];
            Vals product = b.mmaBytes(
                a, {b.extract(x[f], half), b.extract(x[f], half + 1)},
                ArrayRef<Val>(sum, 4));
            std::copy(product.begin(), product.end(), sum);
          }
        }
  };

  // The sums, then what was loaded ahead: weights, digits of each step.
  Vals carried(2 * pairs * kFragments * 4, b.constant(i32, 0));
  size_t numSums = carried.size(), numLoaded = pairs + kFragments;
  SmallVector<Vals> words;
  for (int64_t step = 0; step < ahead; ++step)
    words.push_back(loadWeights(b.index(step)));
  b.waitForPrevious();
  for (int64_t step = 0; step < ahead; ++step) {
    carried.append(words[step]);
    carried.append(loadDigits(b.index(step)));
  }
  auto next = [&](Val later, ArrayRef<Val> values) {
    Vals acc(values.take_front(numSums));
    ArrayRef<Val> loaded = values.drop_front(numSums);
    multiply(loaded.take_front(pairs), loaded.slice(pairs, kFragments), acc);
    acc.append(loaded.begin() + numLoaded, loaded.end());
    if (later) {
      acc.append(loadWeights(later));
      acc.append(loadDigits(later));
    }
    return acc;
  };
  if (perWarp <= kUnrolled)
    for (int64_t step = ahead; step < perWarp; ++step)
      carried = next(b.index(step), carried);
  else
    carried = b.loop(ahead, perWarp, 1, carried, next);
  for (int64_t step = 0; step < ahead; ++step)
    carried = next(Val(), carried);
  ArrayRef<Val> acc = carried;

  // A row is longer than it need be, against conflicts of banks.
  Val partial = b.dynamicShared({warps, tokensOfBlock, rows + 8}, i32);
  int64_t perPair = 2 / numDigits(); // tokens of two columns
  for (int64_t pair = 0; pair < pairs; ++pair)
    for (int64_t f = 0; f < kFragments; ++f)
      for (int64_t of = 0; of < perPair; ++of) {
        Vals ones;
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t e = 0; e < 4; e += 2) {
            const Val *sum = &acc[((pair * 2 + half) * kFragments + f) * 4 + e];
            ones.push_back(bits == 16 ? sum[0] + (sum[1] << 8) : sum[of]);
          }
        Val token = inQuad * perPair + (f * kFragment / numDigits() + of);
        b.store(b.gather(ones), partial, {b.warp(), token, g * 4 + 32 * pair},
                llvm::Align(16));
      }
  b.barrier();
  b.loop(b.thread(), tokensOfBlock * rows / 4, warps * SimtBuilder::kWarp,
         [&](Val i) {
           Val row = i % (rows / 4) * 4, token = i / (rows / 4);
           auto load = [&](Operand warp) {
             return b.load(partial, {warp, token, row}, 4, llvm::Align(16));
           };
           Val sum = load(0);
           for (int64_t warp = 1; warp < warps; ++warp)
             sum = sum + load(warp);
           Vals ones;
           for (int64_t r = 0; r < 4; ++r)
             ones.push_back(b.extract(sum, r));
           storeRows(ones, rowBlock * rows + row,
                     {columnBlock * tokensOfBlock + token});
         });
}

//===--------------------------------------------------------------------===//
// Tiles
//===--------------------------------------------------------------------===//

/// The lane's part of a fragment of weights: of each row, bytes 4 · inQuad and
/// 16 + 4 · inQuad of a block. `four` are rows 4g … 4g + 3 of 32; two fragments
/// share them.
Vals FusedLinear::getOnes(Val four, int64_t half) {
  Val shift = b.toInteger(b.lane() % 4, 32);
  Vals ones;
  for (int64_t part = 0; part < 8; part += 4)
    for (int64_t row = 0; row < 2; ++row)
      ones.push_back((b.extract(four, half * 2 + row) >> (shift + part)) &
                     kOnes);
  return ones;
}

static constexpr int64_t kTileThreads = 256, kTileRowsOfBlock = 128;

void FusedLinear::emitTiles(const Condition &condition) {
  b.phase(
      "matmul_digits_mma",
      {{extent, 0, panelTokens()}, {plan::Dim::none, n, kTileRowsOfBlock}},
      kTileThreads, [&](ArrayRef<Val> tile) { emitTile(tile[1], tile[0]); },
      condition);
}

/// A warp makes 32 rows of 64 columns. Weights and digits go through shared
/// memory, some steps ahead.
void FusedLinear::emitTile(Val rowBlock, Val panelIndex) {
  constexpr int64_t kStages = 4, kStep = 2; // blocks of columns
  constexpr int64_t kPieces = kStep * kBlock / kPiece;
  constexpr int64_t kTiles = kTileRowsOfBlock / kTileRows;
  constexpr int64_t kWarpColumns = 64, kWarpRows = 32;
  constexpr int64_t kFragments = kWarpColumns / kFragment;
  int64_t steps = llvm::divideCeilSigned(blocks, kStep);
  Type i32 = b.getI32Type();
  Val bits = b.shared({kStages, kTiles, kStep, kTileRows}, i32);
  Val columns =
      b.shared({kStages, kPieces, kPanelColumns * kPiece}, b.getI8Type());
  Val weight = b.buffer("weight"), digits = b.buffer("digits");
  constexpr int64_t kAlong = kTileRowsOfBlock / kWarpRows; // warps
  Val firstRow = b.warp() % kAlong * kWarpRows,
      firstColumn = b.warp() / kAlong * kWarpColumns;
  Val g = b.lane() / 4;

  Panel panel = getPanel(panelIndex * panelTokens());
  // A piece past the end is another instead, and its products are not used.
  auto copyStep = [&](Val step, Val stage) {
    constexpr int64_t kBitPieces = kTiles * kStep * kTileRows * 4 / kPiece;
    b.when(b.thread() < kBitPieces, [&] {
      constexpr int64_t kOfBlock = kTileRows * 4 / kPiece;
      Val rows = b.thread() % kOfBlock * (kPiece / 4);
      Val inStep = b.thread() / kOfBlock % kStep;
      Val tile = b.thread() / (kOfBlock * kStep);
      Val block = min(step * kStep + inStep, blocks - 1);
      Val rowTile = min(rowBlock * kTiles + tile, rowTiles - 1);
      b.startCopy(
          b.pointer(bits, stage * (kBitPieces * kPiece) + b.thread() * kPiece),
          b.pointer(weight,
                    ((rowTile * blocks + block) * kTileRows + rows) * 4));
    });
    for (int64_t i = 0; i < kPieces * kPanelColumns; i += kTileThreads) {
      Val column = b.thread() % kPanelColumns,
          inStep = b.thread() / kPanelColumns + i / kPanelColumns;
      Val piece = min(step * kPieces + inStep, blocks * (kBlock / kPiece) - 1);
      b.startCopy(
          b.pointer(columns,
                    ((stage * kPieces + inStep) * kPanelColumns + column) *
                        kPiece),
          b.pointer(digits,
                    getByte(panel, min(column, panel.columns - 1), piece)));
    }
  };
  auto multiply = [&](Val stage, int64_t count, ArrayRef<Val> carried) {
    Vals acc(carried);
    for (int64_t block = 0; block < count; ++block) {
      Val four =
          b.load(bits, {stage, firstRow / kTileRows + g / 4, block, g % 4 * 4},
                 4, llvm::Align(16));
      Vals x;
      // A lane says where one row is: of two pieces of two fragments.
      Val inStep = b.lane() / kFragment % 2 + block * 2;
      for (int64_t f = 0; f < kFragments; f += 2) {
        Val column = firstColumn + (b.lane() / 16 * kFragment +
                                    b.lane() % kFragment + f * kFragment);
        x.append(b.loadMatrices(b.pointer(
            columns,
            ((stage * kPieces + inStep) * kPanelColumns + column) * kPiece)));
      }
      for (int64_t half = 0; half < 2; ++half) {
        Vals a = getOnes(four, half);
        for (int64_t f = 0; f < kFragments; ++f) {
          Val *sum = &acc[(half * kFragments + f) * 4];
          Vals product =
              b.mmaBytes(a, {x[2 * f], x[2 * f + 1]}, ArrayRef<Val>(sum, 4));
          std::copy(product.begin(), product.end(), sum);
        }
      }
    }
    return acc;
  };

  b.waitForPrevious();
  for (int64_t step = 0; step < kStages - 1; ++step) {
    copyStep(b.index(step), b.index(step));
    b.commitCopies();
  }
  auto nextStep = [&](Val step) {
    b.waitForCopies(kStages - 2);
    b.barrier();
    copyStep(step + (kStages - 1), (step + (kStages - 1)) % kStages);
    b.commitCopies();
  };
  Vals acc(2 * kFragments * 4, b.constant(i32, 0));
  acc = b.loop(0, blocks / kStep, 1, acc, [&](Val step, ArrayRef<Val> sums) {
    nextStep(step);
    return multiply(step % kStages, kStep, sums);
  });
  if (blocks % kStep != 0) {
    Val step = b.index(steps - 1);
    nextStep(step);
    acc = multiply(step % kStages, blocks % kStep, acc);
  }
  storeFragments(acc, rowBlock * kTileRowsOfBlock + firstRow,
                 panel.first + firstColumn / numDigits());
}

//===--------------------------------------------------------------------===//
// Tiles of warpgroups
//===--------------------------------------------------------------------===//

/// The blocks stay and take tile after tile. A warp copies weights and digits,
/// many steps ahead and into the next tile; two warpgroups make 128 rows each.
/// The second starts late: while one stores results, the other multiplies.
void FusedLinear::emitWarpgroupTiles(const Condition &condition) {
  constexpr int64_t kRows = 256, kWarpRows = 32, kConsumers = 8; // warps
  constexpr int64_t kThreads = 384;          // three warpgroups
  constexpr int64_t kStages = 11, kStep = 4; // blocks of columns
  constexpr int64_t kLate = 4;
  constexpr int64_t kTiles = kRows / kTileRows;
  constexpr int64_t kStageBytes = kStep * kBlock * kPanelColumns;
  constexpr int64_t kFragments = kPanelColumns / kFragment;
  int64_t steps = llvm::divideCeilSigned(blocks, kStep);
  int64_t rowBlocks = llvm::divideCeilSigned(n, kRows);
  int64_t grid = b.getTarget().gpu.multiprocessors;
  b.require(Capability::wgmma, "wgmma of bytes");
  if (b.isRefused())
    return;
  Type i32 = b.getI32Type();

  auto body = [&](ArrayRef<Val> tile) {
    Val weight = b.buffer("weight"), digits = b.buffer("digits");
    Val full = b.shared({kStages}, b.getI64Type()),
        empty = b.shared({kStages}, b.getI64Type());
    Val columns = b.dynamicShared({kStages, kStageBytes}, b.getI8Type(), 1024);
    Val bits = b.dynamicShared({kStages, kTiles, kStep, kTileRows}, i32);
    b.when(b.thread() == 0, [&] {
      b.loop(0, kStages, 1, [&](Val stage) {
        b.initBarrier(b.pointer(full, stage * 8), 1);
        b.initBarrier(b.pointer(empty, stage * 8), kConsumers);
      });
      b.fenceBarriers();
    });
    b.barrier();
    b.waitForPrevious();

    Val panels = (b.extent(extent) + (panelTokens() - 1)) / panelTokens();
    Val end = panels * rowBlocks;
    // Which stage is next, and the parity of the barrier's phase there.
    auto advance = [&](Val stage, Val parity) -> Vals {
      Val last = stage == kStages - 1;
      return {select(last, 0, stage + 1), select(last, parity ^ 1, parity)};
    };
    auto getTilePanel = [&](Val tile) {
      return getPanel(tile / rowBlocks * panelTokens());
    };

    auto produce = [&] {
      Vals start = {b.index(0), b.constant(i32, 1)};
      b.loop(tile[0], end, grid, start, [&](Val tile, ArrayRef<Val> outer) {
        Panel panel = getTilePanel(tile);
        Val rowTile = min(tile % rowBlocks * kTiles + b.lane(), rowTiles - 1);
        return b.loop(0, steps, 1, outer, [&](Val step, ArrayRef<Val> inner) {
          Val stage = inner[0], filled = b.pointer(full, stage * 8);
          b.waitForPhase(b.pointer(empty, stage * 8), inner[1]);
          Val count = blocks % kStep == 0 ? b.index(kStep)
                                          : min(blocks - step * kStep, kStep);
          Val columnBytes = count * kBlock * panel.columns,
              rowBytes = count * (kTileRows * 4);
          b.when(b.lane() == 0, [&] {
            b.arriveExpecting(filled, columnBytes + rowBytes * kTiles);
            b.startBulkCopy(
                b.pointer(columns, stage * kStageBytes),
                b.pointer(digits, getByte(panel, b.index(0),
                                          step * (kStep * kBlock / kPiece))),
                columnBytes, filled);
          });
          b.when(b.lane() < kTiles, [&] {
            b.startBulkCopy(
                b.pointer(bits, (stage * kTiles + b.lane()) *
                                    (kStep * kTileRows * 4)),
                b.pointer(weight,
                          (rowTile * blocks + step * kStep) * (kTileRows * 4)),
                rowBytes, filled);
          });
          return advance(stage, inner[1]);
        });
      });
    };

    auto consume = [&] {
      Val firstRow = b.warp() * kWarpRows, g = b.lane() / 4;
      Val firstLane = b.lane() == 0;
      if (steps > kLate)
        b.when(b.warp() > kConsumers / 2 - 1, [&] {
          b.when(tile[0] < end, [&] {
            b.waitForPhase(b.pointer(full, b.index(kLate * 8)),
                           b.constant(i32, 0));
          });
        });
      // Stage, parity, stage before.
      Vals start = {b.index(0), b.constant(i32, 0), b.index(0)};
      b.loop(tile[0], end, grid, start, [&](Val tile, ArrayRef<Val> outer) {
        Panel panel = getTilePanel(tile);
        Val stepPieces = b.toInteger(panel.columns * 2, 64);
        size_t numSums = 2 * kFragments * 4;
        Vals carried(numSums, b.constant(i32, 0));
        carried.append(outer.begin(), outer.end());
        auto multiply = [&](Val step, int64_t count, ArrayRef<Val> values) {
          Vals acc(values.take_front(numSums));
          Val stage = values[numSums], parity = values[numSums + 1],
              before = values[numSums + 2];
          b.waitForPhase(b.pointer(full, stage * 8), parity);
          Val matrix = b.describeMatrix(b.pointer(columns, stage * kStageBytes),
                                        panel.columns);
          for (int64_t run = 0; run < count; run += 2) {
            SmallVector<Vals> a;
            int64_t last = std::min(run + 2, count);
            for (int64_t block = run; block < last; ++block) {
              Val four = b.load(
                  bits, {stage, firstRow / kTileRows + g / 4, block, g % 4 * 4},
                  4, llvm::Align(16));
              for (int64_t half = 0; half < 2; ++half)
                a.push_back(getOnes(four, half));
            }
            b.beginProducts();
            for (int64_t block = run; block < last; ++block)
              for (int64_t half = 0; half < 2; ++half) {
                Val *sum = &acc[half * kFragments * 4];
                Vals product = b.startMmaBytes(
                    a[(block - run) * 2 + half], matrix + stepPieces * block,
                    ArrayRef<Val>(sum, kFragments * 4));
                std::copy(product.begin(), product.end(), sum);
              }
            b.commitProducts(1);
            // All of the step before has ended.
            if (run == 0)
              b.arrive(b.pointer(empty, before * 8),
                       select(step > 0, firstLane, 0));
          }
          acc.append(advance(stage, parity));
          acc.push_back(stage);
          return acc;
        };
        carried = b.loop(0, blocks / kStep, 1, carried,
                         [&](Val step, ArrayRef<Val> values) {
                           return multiply(step, kStep, values);
                         });
        if (blocks % kStep != 0)
          carried = multiply(b.index(steps - 1), blocks % kStep, carried);
        Vals sums =
            b.waitForProducts(ArrayRef<Val>(carried).take_front(numSums));
        Vals next(ArrayRef<Val>(carried).drop_front(numSums));
        b.arrive(b.pointer(empty, next[2] * 8), firstLane);
        storeFragments(sums, tile % rowBlocks * kRows + firstRow, panel.first);
        return next;
      });
    };
    b.when(
        b.warp() < kConsumers,
        [&] {
          b.takeRegisters(232);
          consume();
        },
        [&] {
          b.giveRegisters(40);
          b.when(b.warp() == kConsumers, produce);
        });
  };
  b.phase("matmul_digits_wgmma", {{plan::Dim::none, grid}}, kThreads, body,
          condition);
}
