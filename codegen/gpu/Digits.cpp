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
// - Tiles of warpgroups, where there is wgmma (WarpgroupTiles.cpp).
// - Tiles of warps elsewhere.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

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

/// Stores the results of two or four adjacent rows of each of some tokens, as
/// many sums a token. A token past the end is not stored.
void FusedLinear::storeRows(ArrayRef<Val> ones, Val row, ArrayRef<Val> tokens) {
  int64_t rows = ones.size() / tokens.size();
  Val end = b.extent(extent);
  // All that is loaded is under way together.
  bool together = n % rows == 0;
  Row loaded =
      together ? loadRow(min(row, n - rows), rows) : loadRow(min(row, n - 1));
  Vals inside, qsums, scales, taus, residuals;
  for (Val t : tokens) {
    inside.push_back(min(t, end - 1));
    qsums.push_back(b.load(b.buffer("qsum"), {inside.back()}));
    scales.push_back(b.load(b.buffer("scale"), {inside.back()}));
    taus.push_back(loadTau(inside.back()));
    residuals.push_back(
        together ? loadResidual(inside.back(), loaded.number, rows) : Val());
  }
  if (together && op.getResidual())
    b.request(residuals);

  // A bit says 1 or 0 for a sign of 1 or -1.
  Vals exact;
  for (auto [i, one] : llvm::enumerate(ones))
    exact.push_back((one << 1) - qsums[i / rows]);
  Val zeros = b.buffer("weight.zeros");
  exact = b.loop(
      loaded.zerosBegin, loaded.zerosEnd, 1, exact,
      [&](Val entry, ArrayRef<Val> carried) {
        Val at = entry * 2 + (rowTiles + 1);
        Val zeroRow = b.toIndex(b.load(zeros, {at})) - row;
        Val column = b.toIndex(b.load(zeros, {at + 1}));
        Vals next;
        for (auto [i, t] : llvm::enumerate(inside)) {
          Val q =
              b.toInteger(getActivation(t, column, Form::digits), sumBits());
          for (int64_t r = 0; r < rows; ++r)
            next.push_back(carried[i * rows + r] + select(zeroRow == r, q, 0));
        }
        return next;
      });

  if (together) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      Val sums = b.toF32(b.gather(ArrayRef(exact).slice(i * rows, rows)));
      Val y = finish(sums * scales[i], loaded, taus[i], residuals[i]);
      b.when((row < n) & (tokens[i] < end), [&] {
        b.store(y, b.buffer("y"), {tokens[i], row}, llvm::Align(4 * rows));
      });
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r)
    b.when(row + r < n, [&] {
      for (size_t i = 0; i < tokens.size(); ++i)
        b.when(tokens[i] < end, [&] {
          b.store(finish(b.toF32(exact[i * rows + r]) * scales[i], row + r,
                         tokens[i]),
                  b.buffer("y"), {tokens[i], row + r});
        });
    });
}

/// Stores the sums of a warp's fragments, one or two of rows, from `row` on, by
/// the columns of tokens from `t` on: [of rows][of columns][element]. Element e
/// is row g + 8 · (e / 2), column 2 · inQuad + e % 2; the rows of the lane's
/// group, g, are two or four adjacent ones.
void FusedLinear::storeFragments(ArrayRef<Val> sums, int64_t ofRows, Val row,
                                 Val t) {
  // Tokens whose loads are under way together, as registers allow.
  const size_t kTogether = 4 * numAdjacent();
  int64_t fragments = sums.size() / (4 * ofRows), rows = 2 * ofRows;
  // Of a fragment; and the lanes that have digits of one token.
  int64_t tokensOfLane = 2 / numAdjacent(),
          lanesOfToken = numDigits() / numAdjacent();
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  row = row + g * rows;
  Vals ones, tokens;
  for (int64_t fragment = 0; fragment < fragments; ++fragment)
    for (int64_t of = 0; of < tokensOfLane; ++of) {
      tokens.push_back(t + (inQuad / lanesOfToken * tokensOfLane +
                            (fragment * kFragment / numDigits() + of)));
      Vals ofRow;
      for (int64_t half = 0; half < ofRows; ++half)
        for (int64_t e = 0; e < 4; e += 2) {
          const Val *sum = &sums[(half * fragments + fragment) * 4 + e];
          ofRow.push_back(numAdjacent() == 2 ? sum[0] + (sum[1] << 8)
                                             : sum[of]);
        }
      ones.append(bits == 32 ? joinLanes(ofRow) : ofRow);
    }
  if (bits == 32) {
    rows /= 2;
    row = row + inQuad % 2 * rows;
  }
  for (size_t i = 0; i < tokens.size(); i += kTogether) {
    size_t count = std::min(kTogether, tokens.size() - i);
    storeRows(ArrayRef(ones).slice(rows * i, rows * count), row,
              ArrayRef(tokens).slice(i, count));
  }
}

/// Of some rows an even lane has the sums of the lower halves, the next that of
/// the upper ones: gives the even one all of the first half of the rows, the
/// odd one all of the others.
Vals FusedLinear::joinLanes(ArrayRef<Val> sums) {
  Val isEven = b.lane() % 2 == 0;
  size_t count = sums.size() / 2;
  Vals joined;
  for (size_t i = 0; i < count; ++i) {
    Val kept = select(isEven, sums[i], sums[count + i]);
    Val got = b.shuffleXor(select(isEven, sums[count + i], sums[i]), 1);
    joined.push_back(
        joinHalves(select(isEven, kept, got), select(isEven, got, kept)));
  }
  return joined;
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
/// 0.8 µs, whatever the number of tokens. Of tiles of warpgroups the fastest
/// for a panel takes what `getTileTime` says; a block of columns takes a short
/// tile 3/4 of its unit, and what both take besides does not count.
int64_t FusedLinear::splitTokens() const {
  constexpr int64_t kBesides = kLaunchTime + kStartTime + kExchangeTime;
  int64_t rowBlocks = llvm::divideCeilSigned(n, splitRows());
  int64_t columnBlocks = std::clamp<int64_t>(800 / rowBlocks, 1, 16);
  if (b.targetHas(Capability::wgmma))
    columnBlocks = std::clamp<int64_t>(
        (*getTileTime(chooseTile(1), 1) - kBesides) * 4 *
            b.getTarget().gpu.multiprocessors / (3 * rowBlocks * blocks),
        1, kPanelColumns / kSplitColumns);
  return columnBlocks * kSplitColumns / numDigits();
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
  int64_t ahead = std::min<int64_t>(perWarp, pairs == 1 ? 3 : 1);
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

  // Of the digits of one sum. A row is longer than it need be, against
  // conflicts of banks.
  int64_t sumsOfBlock = kSplitColumns / numAdjacent();
  Val partial = b.dynamicShared({warps, sumsOfBlock, rows + 8}, i32);
  int64_t perPair = 2 / numAdjacent(); // sums of two columns
  for (int64_t pair = 0; pair < pairs; ++pair)
    for (int64_t f = 0; f < kFragments; ++f)
      for (int64_t of = 0; of < perPair; ++of) {
        Vals ones;
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t e = 0; e < 4; e += 2) {
            const Val *sum = &acc[((pair * 2 + half) * kFragments + f) * 4 + e];
            ones.push_back(numAdjacent() == 2 ? sum[0] + (sum[1] << 8)
                                              : sum[of]);
          }
        Val ofBlock = inQuad * perPair + (f * kFragment / numAdjacent() + of);
        b.store(b.gather(ones), partial, {b.warp(), ofBlock, g * 4 + 32 * pair},
                llvm::Align(16));
      }
  b.barrier();
  b.loop(b.thread(), tokensOfBlock * rows / 4, warps * SimtBuilder::kWarp,
         [&](Val i) {
           Val row = i % (rows / 4) * 4, token = i / (rows / 4);
           auto getSum = [&](Val ofBlock) {
             auto load = [&](Operand warp) {
               return b.load(partial, {warp, ofBlock, row}, 4, llvm::Align(16));
             };
             Val sum = load(0);
             for (int64_t warp = 1; warp < warps; ++warp)
               sum = sum + load(warp);
             return sum;
           };
           Val sum = bits == 32
                         ? joinHalves(getSum(token * 2), getSum(token * 2 + 1))
                         : getSum(token);
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
/// 16 + 4 · inQuad of a block. `rows` are rows 2g and 2g + 1 of 16, or rows
/// 4g … 4g + 3 of 32, which two fragments share.
Vals FusedLinear::getOnes(Val rows, int64_t half) {
  Val shift = b.toInteger(b.lane() % 4, 32);
  Vals ones;
  for (int64_t part = 0; part < 8; part += 4)
    for (int64_t row = 0; row < 2; ++row)
      ones.push_back((b.extract(rows, half * 2 + row) >> (shift + part)) &
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
  storeFragments(acc, 2, rowBlock * kTileRowsOfBlock + firstRow,
                 panel.first + firstColumn / numDigits());
}
