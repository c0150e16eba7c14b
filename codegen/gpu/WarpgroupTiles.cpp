//===- WarpgroupTiles.cpp - products of digits with wgmma ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// Two warpgroups multiply a tile of rows by a panel of tokens, and one copies
// ahead what they need, stage by stage. Where there are too few tiles for all
// multiprocessors the blocks of a cluster share K; sums of integers have no
// order.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

/// Rows of the shortest and the tallest tile of warpgroups, and the blocks of a
/// stage.
static constexpr int64_t kShortRows = 64, kTallRows = 256, kStageBlocks = 4;
/// Two warpgroups multiply, and one copies.
static constexpr int64_t kGroupThreads = 128, kGroups = 2;
static constexpr int64_t kConsumerThreads = kGroups * kGroupThreads;

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
