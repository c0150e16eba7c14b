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
// - Tiles of warpgroups, where there is wgmma. Where there are too few of them,
//   the blocks of a cluster share K; sums of integers have no order.
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
/// Rows of the shortest and the tallest tile of warpgroups, and the blocks of a
/// stage.
static constexpr int64_t kShortRows = 64, kTallRows = 256, kStageBlocks = 4;
/// Two warpgroups multiply, and one copies.
static constexpr int64_t kGroupThreads = 128, kGroups = 2;
static constexpr int64_t kConsumerThreads = kGroups * kGroupThreads;
/// What a tile of warpgroups takes besides the product, as `getTileTime`
/// counts: the launch, with filling stages and storing results; each tile of a
/// block; and the exchange of sums in a cluster.
static constexpr int64_t kLaunchTime = 110, kStartTime = 25, kExchangeTime = 15;

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

//===--------------------------------------------------------------------===//
// Tiles of warpgroups
//===--------------------------------------------------------------------===//

/// What the product of so many panels takes; none if there cannot be such
/// tiles. Tall tiles read the digits less often; short ones leave no
/// multiprocessor without some, as clusters do whose blocks share K. The unit
/// is what a block of columns takes 64 rows of a taller tile, 40 ns on an H100.
std::optional<int64_t> FusedLinear::getTileTime(const WarpgroupTile &tile,
                                                int64_t panels) const {
  bool isShort = tile.rows == kShortRows;
  // Of the shortest the warpgroups take every second step along K each. Who
  // shares K has as many whole steps as the others.
  int64_t sharers = tile.parts * (isShort ? kGroups : 1);
  if (sharers > 1 && blocks % (kStageBlocks * sharers) != 0)
    return std::nullopt;
  int64_t multiprocessors = b.getTarget().gpu.multiprocessors;
  int64_t units = panels * llvm::divideCeilSigned(n, tile.rows) * tile.parts;
  int64_t work = tile.rows / 64 * blocks / tile.parts;
  // A short tile waits for digits, of which it needs as many as a taller one.
  if (isShort)
    work = work * 5 / 4;
  if (tile.parts == 1)
    return llvm::divideCeilSigned(units, multiprocessors) *
               (work + kStartTime) +
           kLaunchTime;
  // All clusters run at once, in parts of the chip of which each may have some
  // multiprocessors left, too few for one more.
  constexpr int64_t kChipParts = 8;
  if (!b.targetHas(Capability::cluster) ||
      units > multiprocessors - kChipParts * (tile.parts - 1))
    return std::nullopt;
  return work + kStartTime + kExchangeTime + kLaunchTime;
}

/// The fastest for so many panels. `fewer`, which is for fewer panels, stays as
/// long as it is nearly the fastest, and what follows it leaves a block no less
/// to do: so no tile comes twice.
FusedLinear::WarpgroupTile
FusedLinear::chooseTile(int64_t panels,
                        std::optional<WarpgroupTile> fewer) const {
  WarpgroupTile best = {kTallRows, 1};
  int64_t least = *getTileTime(best, panels);
  if (fewer)
    if (std::optional<int64_t> time = getTileTime(*fewer, panels);
        time && *time - *time / 16 < least) {
      best = *fewer;
      least = *time - *time / 16;
    }
  for (int64_t parts : {1, 2, 4})
    for (int64_t rows = kTallRows; rows >= kShortRows; rows /= 2) {
      WarpgroupTile tile = {rows, parts};
      std::optional<int64_t> time = getTileTime(tile, panels);
      bool leavesLess = fewer && rows * fewer->parts < fewer->rows * parts;
      if (time && *time < least && !leavesLess) {
        best = tile;
        least = *time;
      }
    }
  return best;
}

void FusedLinear::emitWarpgroupTiles(const Condition &condition) {
  assert(condition.high == Condition::kNoLimit &&
         "the last tiles are for more");
  constexpr WarpgroupTile kTallest = {kTallRows, 1};
  // More panels give every multiprocessor two tiles of any height.
  int64_t most = 2 * b.getTarget().gpu.multiprocessors /
                 llvm::divideCeilSigned(n, kTallRows);
  WarpgroupTile shape = chooseTile(1);
  int64_t low = condition.low;
  for (int64_t panels = 1; panels <= most; ++panels) {
    WarpgroupTile next =
        panels < most ? chooseTile(panels + 1, shape) : kTallest;
    int64_t high = panels * panelTokens();
    if (next != shape && low <= high) {
      emitWarpgroupTiles(shape, Condition::between(extent, low, high));
      low = high + 1;
    }
    shape = next;
  }
  emitWarpgroupTiles(kTallest, Condition::moreThan(extent, low - 1));
}

/// The blocks stay and take tile after tile; those of a cluster have one, of
/// which each multiplies a part of K and stores the results of some tokens. A
/// warpgroup copies weights and digits, many steps ahead and into the next
/// tile; two make half of the rows each, or all of 64 rows of half of the
/// steps. Of tall tiles the second starts late: while one stores results, the
/// other multiplies.
void FusedLinear::emitWarpgroupTiles(const WarpgroupTile &shape,
                                     const Condition &condition) {
  int64_t rows = shape.rows, parts = shape.parts;
  constexpr int64_t kThreads = kConsumerThreads + kGroupThreads;
  // Warps.
  constexpr int64_t kProducers = kGroupThreads / SimtBuilder::kWarp;
  constexpr int64_t kConsumers = kConsumerThreads / SimtBuilder::kWarp;
  constexpr int64_t kStep = kStageBlocks;
  constexpr int64_t kLate = 4;
  constexpr int64_t kStageBytes = kStep * kBlock * kPanelColumns;
  constexpr int64_t kFragments = kPanelColumns / kFragment;
  bool sharesColumns = rows == kShortRows;
  // Of 16 rows of a warp.
  int64_t ofRows = rows == kTallRows ? 2 : 1, warpRows = ofRows * kTileRows;
  int64_t rowTilesOfBlock = rows / kTileRows;
  int64_t stepsAtOnce = sharesColumns ? kGroups : 1;
  // There is room, too, for what other blocks and warpgroups have of the sums.
  int64_t tileBytes = rows * kPanelColumns * 4,
          othersBytes = tileBytes / parts * (parts - 1);
  constexpr int64_t kMostStages = 11, kBarrierBytes = 1024;
  // What a multiprocessor does not share out is its cache, and how much that is
  // changes only where it is idle. So in a step of decoding, whose kernels are
  // short, some remains to those before and behind, which then overlap. Such a
  // step has as many tokens as sequences, by default at most 64.
  constexpr int64_t kDecoding = 64, kStepBytes = 160 << 10;
  int64_t available = condition.low <= kDecoding
                          ? kStepBytes
                          : b.getTarget().gpu.sharedBytes - kBarrierBytes;
  int64_t room = available - othersBytes - (sharesColumns ? tileBytes : 0);
  int64_t fitting =
      room / (kStageBytes + rowTilesOfBlock * kStep * kTileRows * 4);
  // Warpgroups that take every second step must each keep to stages of their
  // own: a barrier tells one phase from the next but one only by who has seen
  // the phase between.
  int64_t stages = std::min(kMostStages, fitting) / stepsAtOnce * stepsAtOnce;
  int64_t steps = llvm::divideCeilSigned(blocks, kStep) / parts;
  int64_t rowBlocks = llvm::divideCeilSigned(n, rows);
  int64_t grid = b.getTarget().gpu.multiprocessors;
  b.require(Capability::wgmma, "wgmma of bytes");
  if (b.isRefused())
    return;
  Type i32 = b.getI32Type();

  auto body = [&](ArrayRef<Val> tile) {
    Val weight = b.buffer("weight"), digits = b.buffer("digits");
    // The block's number in its cluster.
    Val rank = parts > 1 ? tile[2] : b.index(0), firstStep = rank * steps;
    if (parts > 1)
      b.joinBlocks(parts);
    Val full = b.shared({stages}, b.getI64Type()),
        empty = b.shared({stages}, b.getI64Type());
    Val columns = b.dynamicShared({stages, kStageBytes}, b.getI8Type(), 1024);
    Val bits =
        b.dynamicShared({stages, rowTilesOfBlock, kStep, kTileRows}, i32);
    Val arrived, others;
    if (parts > 1) {
      arrived = b.shared({1}, b.getI64Type());
      int64_t fours = othersBytes / (16 * kConsumerThreads * (parts - 1));
      others = b.dynamicShared({parts - 1, fours, kConsumerThreads, 4}, i32);
    }
    b.when(b.thread() == 0, [&] {
      b.loop(0, stages, 1, [&](Val stage) {
        b.initBarrier(b.pointer(full, stage * 8), 1);
        // Each thread says for itself that it has read.
        b.initBarrier(b.pointer(empty, stage * 8),
                      kConsumerThreads / stepsAtOnce);
      });
      if (parts > 1) {
        b.initBarrier(b.pointer(arrived), 1);
        b.arriveExpecting(b.pointer(arrived), b.index(othersBytes));
      }
      b.fenceBarriers();
    });
    b.barrier();
    if (parts > 1)
      b.arriveAtCluster();

    Val panels = (b.extent(extent) + (panelTokens() - 1)) / panelTokens();
    Val end = panels * rowBlocks, producer = b.warp() - kConsumers;
    Val firstTile = parts > 1 ? tile[0] * rowBlocks + tile[1] : tile[0];
    using TileBody = function_ref<Vals(Val tile, ArrayRef<Val> carried)>;
    auto forTiles = [&](ArrayRef<Val> start, TileBody body) {
      if (parts > 1)
        body(firstTile, start);
      else
        b.loop(firstTile, end, grid, start, body);
    };
    // Which stage is next but some, and the parity of the barrier's phase
    // there.
    auto advance = [&](Val stage, Val parity, int64_t by) -> Vals {
      Val wraps = stage > stages - 1 - by;
      return {select(wraps, stage - (stages - by), stage + by),
              select(wraps, parity ^ 1, parity)};
    };
    auto getTilePanel = [&](Val tile) {
      return getPanel(tile / rowBlocks * panelTokens());
    };
    auto countBlocks = [&](Val step) {
      return blocks % kStep == 0 ? b.index(kStep)
                                 : min(blocks - step * kStep, kStep);
    };
    auto copyWeights = [&](Val tile, Val step, Val stage) {
      Val filled = b.pointer(full, stage * 8);
      Val count = countBlocks(step), rowBytes = count * (kTileRows * 4);
      Val columnBytes = count * kBlock * getTilePanel(tile).columns;
      b.when((producer == 0) & (b.lane() == 0), [&] {
        b.arriveExpecting(filled, columnBytes + rowBytes * rowTilesOfBlock);
      });
      // Copies of one warp start one after the other.
      int64_t ofWarp = rowTilesOfBlock / kProducers;
      b.when(b.lane() < ofWarp, [&] {
        Val inBlock = producer * ofWarp + b.lane();
        Val rowTile =
            min(tile % rowBlocks * rowTilesOfBlock + inBlock, rowTiles - 1);
        b.startBulkCopy(
            b.pointer(bits, (stage * rowTilesOfBlock + inBlock) *
                                (kStep * kTileRows * 4)),
            b.pointer(weight, (rowTile * blocks + (firstStep + step) * kStep) *
                                  (kTileRows * 4)),
            rowBytes, filled);
      });
    };
    auto copyDigits = [&](const Panel &panel, Val step, Val stage) {
      b.when((producer == 0) & (b.lane() == 0), [&] {
        b.startBulkCopy(
            b.pointer(columns, stage * kStageBytes),
            b.pointer(digits,
                      getByte(panel, b.index(0),
                              (firstStep + step) * (kStep * kBlock / kPiece))),
            countBlocks(step) * kBlock * panel.columns,
            b.pointer(full, stage * 8));
      });
    };

    // The weights of the first tile do not depend on the phase before.
    int64_t ahead = std::min(steps, stages);
    b.when(b.warp() > kConsumers - 1, [&] {
      b.when(firstTile < end, [&] {
        b.loop(0, ahead, 1,
               [&](Val step) { copyWeights(firstTile, step, step); });
      });
    });
    b.waitForPrevious();
    if (parts > 1)
      b.waitForCluster();

    auto produce = [&] {
      Vals start = {b.index(0), b.constant(i32, 1)};
      forTiles(start, [&](Val current, ArrayRef<Val> outer) {
        Panel panel = getTilePanel(current);
        Val copied = select(current == firstTile, b.index(ahead), b.index(0));
        return b.loop(0, steps, 1, outer, [&](Val step, ArrayRef<Val> inner) {
          Val stage = inner[0];
          b.waitForPhase(b.pointer(empty, stage * 8), inner[1]);
          b.when(copied < step + 1, [&] {
            // The weights before were read by loads, unlike the digits.
            b.fenceAsync();
            copyWeights(current, step, stage);
          });
          copyDigits(panel, step, stage);
          return advance(stage, inner[1], 1);
        });
      });
    };

    Val group = b.warp() / (kConsumers / kGroups);
    auto consume = [&] {
      Val firstRow = (sharesColumns ? b.warp() % 4 : b.warp()) * warpRows;
      Val g = b.lane() / 4;
      int64_t rowsOfLane = 2 * ofRows;
      if (rows == kTallRows && parts == 1 && steps > kLate)
        b.when(group == 1, [&] {
          b.when(firstTile < end, [&] {
            b.waitForPhase(b.pointer(full, b.index(kLate * 8)),
                           b.constant(i32, 0));
          });
        });
      // Stage, parity, stage before.
      Vals start = {sharesColumns ? group : b.index(0), b.constant(i32, 0),
                    b.index(0)};
      forTiles(start, [&](Val tile, ArrayRef<Val> outer) {
        Panel panel = getTilePanel(tile);
        Val stepPieces = b.toInteger(panel.columns * 2, 64);
        size_t numSums = ofRows * kFragments * 4;
        Vals carried(numSums, b.constant(i32, 0));
        carried.append(outer.begin(), outer.end());
        auto multiply = [&](int64_t count, ArrayRef<Val> values, bool isFirst) {
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
              Val row = firstRow % kTileRows + g * rowsOfLane;
              Val words = b.load(bits,
                                 {stage, firstRow / kTileRows + row / kTileRows,
                                  block, row % kTileRows},
                                 rowsOfLane, llvm::Align(4 * rowsOfLane));
              for (int64_t half = 0; half < ofRows; ++half)
                a.push_back(getOnes(words, half));
            }
            b.beginProducts();
            for (int64_t block = run; block < last; ++block)
              for (int64_t half = 0; half < ofRows; ++half) {
                Val *sum = &acc[half * kFragments * 4];
                Vals product =
                    b.startMmaBytes(a[(block - run) * ofRows + half],
                                    matrix + stepPieces * block,
                                    ArrayRef<Val>(sum, kFragments * 4));
                std::copy(product.begin(), product.end(), sum);
              }
            b.commitProducts(1);
            // All of the step before has ended.
            if (run == 0 && !isFirst)
              b.arrive(b.pointer(empty, before * 8));
          }
          acc.append(advance(stage, parity, stepsAtOnce));
          acc.push_back(stage);
          return acc;
        };
        int64_t whole = blocks / (kStep * stepsAtOnce * parts);
        if (whole > 0)
          carried = multiply(kStep, carried, /*isFirst=*/true);
        carried = b.loop(1, whole, 1, carried, [&](Val, ArrayRef<Val> values) {
          return multiply(kStep, values, /*isFirst=*/false);
        });
        if (blocks % kStep != 0)
          carried = multiply(blocks % kStep, carried, whole == 0);
        Vals sums =
            b.waitForProducts(ArrayRef<Val>(carried).take_front(numSums));
        Vals next(ArrayRef<Val>(carried).drop_front(numSums));
        b.arrive(b.pointer(empty, next[2] * 8));
        Val row = tile % rowBlocks * rows + firstRow, t = panel.first;
        if (sharesColumns) {
          sums = addOtherGroup(sums, group);
          t = t + group * (panelTokens() / 2);
        }
        if (parts > 1) {
          sums = addOtherBlocks(sums, ofRows, rank, others, arrived);
          t = t + rank * (panelTokens() / (parts * stepsAtOnce));
        }
        storeFragments(sums, ofRows, row, t);
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
          produce();
        });
  };
  std::string suffix = "matmul_digits_wgmma" + std::to_string(rows);
  if (parts == 1)
    return b.phase(suffix, {{plan::Dim::none, grid}}, kThreads, body,
                   condition);
  b.phase(suffix + "_of" + std::to_string(parts),
          {{extent, 0, panelTokens()},
           {plan::Dim::none, n, rows},
           {plan::Dim::none, parts}},
          kThreads, body, condition);
}

/// Of two warpgroups that have sums of the same elements each gets half of the
/// elements, summed up.
Vals FusedLinear::addOtherGroup(ArrayRef<Val> sums, Val group) {
  int64_t half = sums.size() / 2;
  Val given =
      b.dynamicShared({kGroups, half / 4, kGroupThreads, 4}, b.getI32Type());
  Val thread = b.thread() % kGroupThreads;
  Vals own;
  for (int64_t i = 0; i < half; i += 4) {
    Vals others;
    for (int64_t j = i; j < i + 4; ++j) {
      own.push_back(select(group == 0, sums[j], sums[half + j]));
      others.push_back(select(group == 0, sums[half + j], sums[j]));
    }
    b.store(b.gather(others), given, {group, i / 4, thread, 0},
            llvm::Align(16));
  }
  b.barrier(kConsumerThreads);
  for (int64_t i = 0; i < half; i += 4) {
    Val four = b.load(given, {1 - group, i / 4, thread, 0}, 4, llvm::Align(16));
    for (int64_t j = 0; j < 4; ++j)
      own[i + j] = own[i + j] + b.extract(four, j);
  }
  // Before the next tile's are given.
  b.barrier(kConsumerThreads);
  return own;
}

/// Of the blocks of a cluster, which have sums of the same elements, each gets
/// those of some of the columns, summed up. `others` has room for what the
/// others have of them, and `arrived` ends a phase when it is there.
Vals FusedLinear::addOtherBlocks(ArrayRef<Val> sums, int64_t ofRows, Val rank,
                                 Val others, Val arrived) {
  auto type = cast<MemRefType>(others.getType());
  int64_t parts = type.getDimSize(0) + 1, fours = type.getDimSize(1);
  int64_t ofHalf = fours / ofRows; // fragments of a part
  // Part i is that of the block i behind this one: for each bit of the rank,
  // they move by as many.
  SmallVector<Vals> moved(parts);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t half = 0; half < ofRows; ++half)
      llvm::append_range(
          moved[part],
          sums.slice((half * parts + part) * ofHalf * 4, ofHalf * 4));
  for (int64_t by = 1; by < parts; by *= 2) {
    Val moves = (rank & by) > 0;
    SmallVector<Vals> before = moved;
    for (int64_t part = 0; part < parts; ++part)
      for (size_t i = 0; i < before[part].size(); ++i)
        moved[part][i] =
            select(moves, before[(part + by) % parts][i], before[part][i]);
  }
  Val thread = b.thread();
  for (int64_t part = 1; part < parts; ++part) {
    Val to = (rank + part) % parts;
    Val room = b.inBlock(b.pointer(others), to),
        barrier = b.inBlock(b.pointer(arrived), to);
    for (int64_t i = 0; i < fours; ++i) {
      Val four = b.gather(ArrayRef(moved[part]).slice(4 * i, 4));
      Val at = (((part - 1) * fours + i) * kConsumerThreads + thread) * 16;
      b.startStore(four, b.advance(room, at), barrier);
    }
  }
  b.waitForPhase(b.pointer(arrived), b.constant(b.getI32Type(), 0));
  Vals own = moved[0];
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t i = 0; i < fours; ++i) {
      Val four = b.load(others, {part - 1, i, thread, 0}, 4, llvm::Align(16));
      for (int64_t j = 0; j < 4; ++j)
        own[4 * i + j] = own[4 * i + j] + b.extract(four, j);
    }
  return own;
}
