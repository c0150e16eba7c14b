//===- DenseLinear.cpp - products in f32 --------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The columns of a row tile are dealt out to the warps and their lanes, each of
// which adds its own up in order. Then the lanes' sums are added up, then the
// warps'. The order depends on the shape of the matrix alone; with tensor cores
// too, where a token alone is one of eight.
//
// A block of many tokens has tall tiles where there is wgmma, and adds up what
// those warps would have one after the other. It is bound by memory: whatever
// it reads is copied several steps ahead, for activations too take longer than
// a step to come while weights are read.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Kernels.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

static constexpr int64_t kWarps = cuda::kFloatThreads / SimtBuilder::kWarp;

/// Adds up what the warps have of each row and token, and ends. `partial` is
/// [token][warp][row].
static void finish(SimtBuilder &b, Val partial, Val rowTile, Val first, Val end,
                   int64_t tokens, cuda::FloatEpilogue epilogue) {
  b.barrier();
  Val token = b.thread() / cuda::kTileRows, row = b.thread() % cuda::kTileRows;
  Val t = first + token;
  b.when(token < tokens, [&] {
    b.when(t < end, [&] {
      Val sum = b.load(partial, {token, 0, row});
      for (int64_t warp = 1; warp < kWarps; ++warp)
        sum = sum + b.load(partial, {token, warp, row});
      epilogue(rowTile * cuda::kTileRows + row, t, sum);
    });
  });
}

/// One token alone, as in a decode step, is not worth the work of several.
static void forTokens(SimtBuilder &b, Val first, Val end,
                      function_ref<void(int64_t tokens)> body) {
  b.when(first + 1 == end, [&] { body(1); }, [&] { body(cuda::kFloatTokens); });
}

/// The tokens of a block. Those past the end are computed as the last is.
static Vals getTokens(Val first, Val end, int64_t count) {
  Vals tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(i == 0 ? first : min(first + i, end - 1));
  return tokens;
}

void cuda::emitDenseSums(SimtBuilder &b, Val weight, Val rowTile, Val v,
                         int64_t k, Val first, Val end,
                         FloatEpilogue epilogue) {
  Type element = cast<MemRefType>(weight.getType()).getElementType();
  // A lane takes 16 bytes of a column.
  int64_t rows = 128 / element.getIntOrFloatBitWidth();
  int64_t parts = kTileRows / rows, columns = SimtBuilder::kWarp / parts;
  int64_t step = columns * kWarps;
  Val part = b.lane() % parts, own = b.warp() * columns + b.lane() / parts;

  Val partial = b.shared({kFloatTokens, kWarps, kTileRows}, b.getF32Type());
  forTokens(b, first, end, [&](int64_t count) {
    Vals tokens = getTokens(first, end, count);
    /// Several steps at once, so that their loads are under way together.
    auto group = [&](Val from, int64_t steps, bool whole,
                     ArrayRef<Val> carried) {
      Vals acc(carried), w, column, inside;
      for (int64_t i = 0; i < steps; ++i) {
        Val at = from + i * step + own;
        inside.push_back(whole ? Val() : at < k);
        column.push_back(whole ? at : min(at, k - 1));
        w.push_back(b.load(weight, {rowTile, column[i], part * rows}, rows,
                           llvm::Align(16)));
      }
      for (int64_t i = 0; i < steps; ++i) {
        Val wide = b.toF32(w[i]);
        if (!whole)
          wide = select(inside[i], wide, b.zeros(b.getF32Type(), rows));
        for (auto [sum, t] : llvm::zip(acc, tokens)) {
          Val x = b.load(v, {t, column[i]});
          sum = fma(wide, whole ? x : select(inside[i], x, 0.0), sum);
        }
      }
      return acc;
    };
    constexpr int64_t kUnrolled = 4;
    Vals acc(count, b.zeros(b.getF32Type(), rows));
    int64_t whole = k / (step * kUnrolled) * (step * kUnrolled);
    acc = b.loop(0, whole, step * kUnrolled, acc,
                 [&](Val from, ArrayRef<Val> carried) {
                   return group(from, kUnrolled, true, carried);
                 });
    if (whole < k)
      acc = group(b.index(whole), llvm::divideCeilSigned(k - whole, step),
                  false, acc);

    for (int64_t i = 0; i < count; ++i)
      for (int64_t r = 0; r < rows; ++r) {
        Val total = b.reduceLanes(
            b.extract(acc[i], r), [](Val a, Val c) { return a + c; }, parts);
        Val to = part * rows + r;
        b.when(b.lane() < parts,
               [&] { b.store(total, partial, {i, b.warp(), to}); });
      }
    finish(b, partial, rowTile, first, end, count, epilogue);
  });
}

/// Columns of a product of 16 bits on tensor cores.
static constexpr int64_t kTensorStep = 16;

/// Of how many terms of the type of weights an activation is the sum.
static int64_t countTerms(Type element) { return element.isF16() ? 2 : 3; }

/// The terms of four activations, two words each.
static Vals splitActivations(SimtBuilder &b, Val four, Type element) {
  Vals terms;
  for (int64_t term = 0; term < countTerms(element); ++term) {
    Val rounded = b.round(four, element);
    terms.push_back(b.bitcast(rounded, b.vector(b.getI32Type(), 2)));
    four = four - b.toF32(rounded);
  }
  return terms;
}

void cuda::emitTensorSums(SimtBuilder &b, Val weight, Val rowBlock, Val v,
                          int64_t k, Val first, Val end, int64_t tokens,
                          FloatEpilogue epilogue) {
  constexpr int64_t kStep = kTensorStep, kTiles = kTensorRows / kTileRows;
  constexpr int64_t kLowHalves = 0x5410, kHighHalves = 0x7632;
  auto type = cast<MemRefType>(weight.getType());
  Type element = type.getElementType(), i32 = b.getI32Type(),
       f32 = b.getF32Type();
  int64_t rowTiles = type.getDimSize(0), fragments = tokens / 8;
  int64_t terms = countTerms(element);
  int64_t perWarp =
      llvm::divideCeilSigned(llvm::divideCeilSigned(k, kStep), kWarps);
  int64_t group = std::min<int64_t>(perWarp, fragments == 1 ? 4 : 2);
  bool whole = perWarp * kWarps * kStep == k && perWarp % group == 0;

  // A lane's eight rows, of four adjacent columns of a step: rows 2j and 2j + 1
  // are its rows of fragment j.
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val rowTile = min(rowBlock * kTiles + g / 2, rowTiles - 1);
  auto columnOf = [&](Val step) {
    return (step * kWarps + b.warp()) * kStep + inQuad * 4;
  };
  auto loadWeights = [&](Val from) {
    Vals words;
    for (int64_t i = 0; i < 4 * group; ++i) {
      Val column = columnOf(from + i / 4) + i % 4;
      Val rows = b.load(
          weight, {rowTile, whole ? column : min(column, k - 1), g % 2 * 8}, 8,
          llvm::Align(16));
      words.push_back(b.bitcast(rows, b.vector(i32, 4)));
    }
    return words;
  };
  // Past the end the activations are zero.
  auto loadActivations = [&](Val t, Val column) {
    if (k % 4 == 0) {
      Val x = b.load(v, {t, whole ? column : min(column, k - 4)}, 4,
                     llvm::Align(16));
      return whole ? x : select(column < k, x, b.zeros(f32, 4));
    }
    Vals x;
    for (int64_t i = 0; i < 4; ++i)
      x.push_back(
          select(column + i < k, b.load(v, {t, min(column + i, k - 1)}), 0.0));
    return b.gather(x);
  };
  auto multiply = [&](Val from, ArrayRef<Val> words, ArrayRef<Val> carried) {
    Vals acc(carried);
    for (int64_t i = 0; i < group; ++i) {
      SmallVector<Vals> x;
      for (int64_t f = 0; f < fragments; ++f) {
        x.push_back(
            splitActivations(b,
                             loadActivations(min(first + (g + 8 * f), end - 1),
                                             columnOf(from + i)),
                             element));
      }
      for (int64_t j = 0; j < 4; ++j) {
        Vals a;
        for (int64_t pair = 0; pair < 4; pair += 2)
          for (int64_t halves : {kLowHalves, kHighHalves})
            a.push_back(b.intrinsic("llvm.nvvm.prmt", i32,
                                    {b.extract(words[4 * i + pair], j),
                                     b.extract(words[4 * i + pair + 1], j),
                                     b.constant(i32, halves)}));
        for (int64_t term = 0; term < terms; ++term)
          for (int64_t f = 0; f < fragments; ++f) {
            Val *sum = &acc[(j * fragments + f) * 4];
            Val both = x[f][term];
            Vals product =
                b.mmaHalves(a, {b.extract(both, 0), b.extract(both, 1)},
                            ArrayRef<Val>(sum, 4), element.isF16());
            std::copy(product.begin(), product.end(), sum);
          }
      }
    }
    return acc;
  };

  Val zero = b.index(0);
  Vals words = loadWeights(zero);
  b.waitForPrevious();
  Vals acc = multiply(zero, words, Vals(16 * fragments, b.constant(f32, 0)));
  acc = b.loop(group, perWarp, group, acc, [&](Val from, ArrayRef<Val> sums) {
    return multiply(from, loadWeights(from), sums);
  });

  // Element e of a fragment is row e / 2 of the lane's two, token
  // 2 · inQuad + e % 2. So many fragments at a time have room.
  int64_t atOnce = std::min<int64_t>(fragments, 4);
  Val partial = b.dynamicShared({kWarps, 8 * atOnce, kTensorRows + 4}, f32);
  for (int64_t firstFragment = 0; firstFragment < fragments;
       firstFragment += atOnce) {
    if (firstFragment > 0)
      b.barrier();
    for (int64_t i = 0; i < atOnce; ++i)
      for (int64_t of = 0; of < 2; ++of)
        for (int64_t half = 0; half < 2; ++half) {
          Vals rows;
          for (int64_t row = 0; row < 4; ++row) {
            int64_t j = half * 2 + row / 2, f = firstFragment + i;
            rows.push_back(acc[(j * fragments + f) * 4 + row % 2 * 2 + of]);
          }
          b.store(b.gather(rows), partial,
                  {b.warp(), inQuad * 2 + (8 * i + of), g * 8 + 4 * half},
                  llvm::Align(16));
        }
    b.barrier();
    Val t = first + 8 * firstFragment;
    b.loop(b.thread(), min(end - t, 8 * atOnce) * kTensorRows, kFloatThreads,
           [&](Val i) {
             Val row = i % kTensorRows, token = i / kTensorRows;
             Val sum = b.load(partial, {0, token, row});
             for (int64_t warp = 1; warp < kWarps; ++warp)
               sum = sum + b.load(partial, {warp, token, row});
             epilogue(rowBlock * kTensorRows + row, t + token, sum);
           });
  }
}

void cuda::emitWarpgroupSums(SimtBuilder &b, Val weight, Val rowBlock, Val v,
                             int64_t k, Val first, Val end,
                             FloatEpilogue epilogue) {
  constexpr int64_t kStep = kTensorStep, kTiles = kWarpgroupRows / kTileRows;
  constexpr int64_t kGroups = 2, kRows = kWarpgroupRows / kGroups;
  // Each warp copies eight tokens for both groups, and some tiles.
  constexpr int64_t kFragments = kWarpgroupTokens / 8;
  constexpr int64_t kTilesOfWarp = kTiles / kWarps;
  static_assert(kFragments == kWarps);
  // What a stage has: of so many steps the rows of a tile by columns, and
  // fragments of activations, 16 bytes a lane.
  constexpr int64_t kSteps = 2;
  constexpr int64_t kColumnBytes = kTileRows * 2;
  constexpr int64_t kTileBytes = kSteps * kStep * kColumnBytes;
  constexpr int64_t kWeightBytes = kTiles * kTileBytes;
  constexpr int64_t kFragmentBytes = SimtBuilder::kWarp * 16;
  constexpr int64_t kActivationBytes = kSteps * kFragments * kFragmentBytes;
  // As in WarpgroupTiles.cpp, the rest is cache, so that the kernels before and
  // behind overlap.
  constexpr int64_t kSharedBytes = 160 << 10;
  constexpr int64_t kStages = kSharedBytes / (kWeightBytes + kActivationBytes);
  auto type = cast<MemRefType>(weight.getType());
  Type element = type.getElementType(), i32 = b.getI32Type(),
       f32 = b.getF32Type();
  int64_t rowTiles = type.getDimSize(0), terms = countTerms(element);
  int64_t perPart =
      llvm::divideCeilSigned(llvm::divideCeilSigned(k, kStep), kWarps);
  int64_t runsOfPart = llvm::divideCeilSigned(perPart, kSteps);
  int64_t runs = runsOfPart * kWarps;
  bool whole = runs * kSteps * kStep == k;

  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val weights = b.dynamicShared({kStages, kWeightBytes}, b.getI8Type(), 1024);
  Val activations = b.dynamicShared(
      {kStages, kSteps, kFragments, SimtBuilder::kWarp, 4}, f32);

  // The first column of a step of a run: first come all that are the first
  // warp's in `emitTensorSums`, a part of K, then those of the next.
  auto columnOf = [&](Val run, int64_t step) {
    Val part = run / runsOfPart;
    return ((run % runsOfPart * kSteps + step) * kWarps + part) * kStep;
  };
  auto copyWeights = [&](Val run, Val stage) {
    // Columns lie as those of a fragment, of which a lane has four adjacent
    // ones: in places 2q, 2q + 1, 2q + 8 and 2q + 9.
    Val place = b.lane() / 2, piece = b.lane() % 2;
    Val inStep = place % 8 / 2 * 4 + place / 8 * 2 + place % 2;
    Val inTile = place * kColumnBytes + (piece ^ (place / 4 % 2)) * 16;
    for (int64_t i = 0; i < kTilesOfWarp; ++i)
      for (int64_t step = 0; step < kSteps; ++step) {
        Val column = columnOf(run, step) + inStep;
        if (!whole)
          column = min(column, k - 1);
        Val tile = b.warp() * kTilesOfWarp + i;
        Val rowTile = min(rowBlock * kTiles + tile, rowTiles - 1);
        b.startCopy(
            b.pointer(weights, stage * kWeightBytes + tile * kTileBytes +
                                   (inTile + step * kStep * kColumnBytes)),
            b.pointer(weight,
                      (rowTile * k + column) * kColumnBytes + piece * 16));
      }
  };
  // Tokens and columns past the end are zero. To read the last token again
  // would have all blocks ask for the same bytes at once.
  Val token = first + (b.warp() * 8 + g);
  auto copyActivations = [&](Val run, Val stage) {
    for (int64_t step = 0; step < kSteps; ++step) {
      Val column = columnOf(run, step) + inQuad * 4;
      Val exists = token < end;
      if (!whole)
        exists = exists & (column < k);
      b.startCopy(b.pointer(activations,
                            stage * kActivationBytes +
                                (b.warp() * kFragmentBytes + b.lane() * 16 +
                                 step * kFragments * kFragmentBytes)),
                  b.pointer(v, select(exists, (token * k + column) * 4, 0)),
                  select(exists, b.constant(i32, 16), 0));
    }
  };
  // A warpgroup has rows of its own of all tokens, of which a warp has 16.
  Val group = b.warp() / (kWarps / kGroups),
      fragment = b.warp() % (kWarps / kGroups) * 2;
  auto loadTerms = [&](Val stage, int64_t step) {
    SmallVector<Vals> halves, ofTerms;
    for (int64_t half = 0; half < 2; ++half)
      halves.push_back(splitActivations(
          b,
          b.load(activations, {stage, step, fragment + half, b.lane(), 0}, 4,
                 llvm::Align(16)),
          element));
    for (int64_t term = 0; term < terms; ++term) {
      ofTerms.emplace_back();
      for (int64_t word = 0; word < 2; ++word)
        for (int64_t half = 0; half < 2; ++half)
          ofTerms.back().push_back(b.extract(halves[half][term], word));
    }
    return ofTerms;
  };

  int64_t ahead = std::min(kStages - 1, runs);
  for (int64_t run = 0; run < ahead; ++run)
    copyWeights(b.index(run), b.index(run));
  b.waitForPrevious();
  for (int64_t run = 0; run < kStages - 1; ++run) {
    if (run < ahead)
      copyActivations(b.index(run), b.index(run));
    b.commitCopies();
  }

  // The sums of all runs of a part, then of all parts.
  constexpr int64_t kSums = kRows / 2;
  Vals totals(kSums, b.constant(f32, 0));
  totals.push_back(b.index(0)); // stage
  totals = b.loop(0, kWarps, 1, totals, [&](Val part, ArrayRef<Val> outer) {
    Vals state(kSums, b.constant(i32, 0));
    state.push_back(outer[kSums]);
    state = b.loop(0, runsOfPart, 1, state, [&](Val i, ArrayRef<Val> values) {
      Vals acc(values.take_front(kSums));
      Val stage = values[kSums], run = part * runsOfPart + i;
      b.waitForCopies(kStages - 2);
      b.fenceAsync();
      b.barrier();
      // The stage before is free: all warps have waited for its products.
      Val later = run + (kStages - 1);
      b.when(later < runs, [&] {
        Val free = select(stage == 0, b.index(kStages - 1), stage - 1);
        copyWeights(later, free);
        copyActivations(later, free);
      });
      b.commitCopies();
      SmallVector<Vals> x;
      for (int64_t step = 0; step < kSteps; ++step)
        x.append(loadTerms(stage, step));
      b.beginProducts();
      for (int64_t step = 0; step < kSteps; ++step) {
        Val matrix = b.describeColumns(
            b.pointer(weights, stage * kWeightBytes +
                                   group * (kWeightBytes / kGroups) +
                                   step * kStep * kColumnBytes),
            kTileBytes);
        for (int64_t term = 0; term < terms; ++term)
          acc = b.startMmaHalves(x[step * terms + term], matrix, acc,
                                 element.isF16());
      }
      b.commitProducts(0);
      acc = b.waitForProducts(acc);
      acc.push_back(select(stage == kStages - 1, b.index(0), stage + 1));
      return acc;
    });
    for (int64_t i = 0; i < kSums; ++i)
      state[i] = outer[i] + b.bitcast(state[i], f32);
    return state;
  });

  // Sum e of eight rows is of row 2 · inQuad + e % 2, token g + e / 2 · 8.
  for (int64_t half = 0; half < 2; ++half) {
    Val t = first + (fragment * 8 + g + half * 8);
    b.when(t < end, [&] {
      for (int64_t i = 0; i < kSums; i += 4)
        epilogue(rowBlock * kWarpgroupRows + group * kRows +
                     (inQuad * 2 + i * 2),
                 t, b.gather(ArrayRef<Val>(totals).slice(i + half * 2, 2)));
    });
  }
}

void cuda::emitSignedSums(SimtBuilder &b, Val bits, Val rowTile, Val v,
                          int64_t k, Val first, Val end,
                          FloatEpilogue epilogue) {
  constexpr int64_t kBlock = 32; // columns of a word
  int64_t blocks = cast<MemRefType>(bits.getType()).getDimSize(1);
  Val row = b.lane() % kTileRows;
  Val own = b.warp() * 2 + b.lane() / kTileRows;

  Val partial = b.shared({kFloatTokens, kWarps, kTileRows}, b.getF32Type());
  forTokens(b, first, end, [&](int64_t count) {
    Vals tokens = getTokens(first, end, count);
    auto block = [&](Val cb, int64_t columns, ArrayRef<Val> carried) {
      Vals acc(carried);
      Val negative = b.load(bits, {rowTile, cb, row}) ^ -1;
      for (int64_t column = 0; column < columns; ++column) {
        int64_t bit = 8 * (column % 4) + column / 4;
        Val sign =
            (negative << (31 - bit)) & std::numeric_limits<int32_t>::min();
        for (auto [i, t] : llvm::enumerate(tokens)) {
          Val term = b.load(v, {t, cb * kBlock + column});
          Val &sum = acc[2 * i + column % 2];
          sum = sum + b.bitcast(b.bitcast(term, b.getI32Type()) ^ sign,
                                b.getF32Type());
        }
      }
      return acc;
    };
    Val zero = b.constant(b.getF32Type(), 0);
    Vals acc(2 * count, zero);
    acc = b.loop(own, k / kBlock, 2 * kWarps, acc,
                 [&](Val cb, ArrayRef<Val> carried) {
                   return block(cb, kBlock, carried);
                 });
    if (k % kBlock != 0) {
      // The last block is short: the half warp does it whose turn it is.
      Val mine = own == (blocks - 1) % (2 * kWarps);
      Vals last = block(b.index(blocks - 1), k % kBlock, acc);
      for (auto [sum, with] : llvm::zip(acc, last))
        sum = select(mine, with, sum);
    }
    for (int64_t i = 0; i < count; ++i) {
      Val total = b.reduceLanes(
          acc[2 * i] + acc[2 * i + 1], [](Val a, Val c) { return a + c; },
          kTileRows);
      b.when(b.lane() < kTileRows,
             [&] { b.store(total, partial, {i, b.warp(), row}); });
    }
    finish(b, partial, rowTile, first, end, count, epilogue);
  });
}
