//===- Digits.cpp - products of bytes, for many tokens ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The prologue leaves digits of 8 bits. Weights become bytes 0 or 1 in
// registers.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

static constexpr int64_t kThreads = 256;
/// Of a block.
static constexpr int64_t kRows = 128, kTokens = 64;

void FusedLinear::emitDigits(const Condition &condition) {
  b.phase(
      "matmul_digits", {{extent, 0, kTokens}, {plan::Dim::none, n, kRows}},
      kThreads,
      [&](ArrayRef<Val> tile) {
        b.waitForPrevious();
        // A row is longer than it need be, against conflicts of banks.
        Val sums = b.shared({kTokens, kRows + 4}, b.getI32Type());
        emitDigits(tile[1], tile[0] * kTokens, sums);
      },
      condition);
}

/// A warp makes 32 rows of 32 tokens. The digits go through shared memory, 64
/// columns at a time. The order of columns in a fragment is ours to choose: a
/// lane has 16 adjacent ones, half a block.
void FusedLinear::emitDigits(Val rowBlock, Val first, Val sums) {
  constexpr int64_t kColumns = 64, kWarpRows = 4; // warps along the rows
  int64_t numDigits = bits / 8, steps = llvm::divideCeilSigned(blocks, 2);
  Type i32 = b.getI32Type();
  Val weight = b.buffer("weight"), digits = b.buffer("digits");
  Val end = b.extent(extent);
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val firstTile = rowBlock * (kRows / kTileRows) + b.warp() % kWarpRows * 2;
  Val firstToken = b.warp() / kWarpRows * 32;

  Val tile = b.shared({numDigits, kTokens, kColumns / 4}, i32);

  // A thread brings 16 bytes of a token, of each digit.
  Val token = b.thread() / 4, piece = b.thread() % 4;
  Val from = min(first + token, end - 1);
  auto loadDigits = [&](Val step) {
    Vals words;
    // Past the last block the weights are zero, the digits any.
    Val byte = min(step * kColumns + piece * 16, blocks * kBlock - 16);
    for (int64_t digit = 0; digit < numDigits; ++digit)
      words.push_back(
          b.loadWords(digits, from, byte + digit * blocks * kBlock, 4));
    return words;
  };
  auto loadWeights = [&](Val step) {
    Vals words;
    Val block = step * 2 + inQuad / 2;
    for (int64_t m = 0; m < 2; ++m)
      for (int64_t half = 0; half < 2; ++half) {
        Val word = b.load(weight, {min(firstTile + m, rowTiles - 1),
                                   min(block, blocks - 1), g + 8 * half});
        words.push_back(blocks % 2 == 0 ? word
                                        : select(block < blocks, word, 0));
      }
    return words;
  };

  constexpr int64_t kFragments = 4; // of eight tokens
  Vals carried(2 * kFragments * numDigits * 4, b.constant(i32, 0));
  size_t numSums = carried.size();
  carried.append(loadDigits(b.index(0)));
  carried.append(loadWeights(b.index(0)));
  Val shift = b.toInteger(inQuad % 2 * 4, 32);
  carried = b.loop(0, steps, 1, carried, [&](Val step, ArrayRef<Val> values) {
    ArrayRef<Val> staged = values.slice(numSums, numDigits);
    ArrayRef<Val> words = values.drop_front(numSums + numDigits);
    b.barrier();
    for (int64_t digit = 0; digit < numDigits; ++digit)
      b.store(staged[digit], tile, {digit, token, piece * 4}, llvm::Align(16));
    b.barrier();
    Val next = min(step + 1, steps - 1);
    Vals nextDigits = loadDigits(next), nextWeights = loadWeights(next);

    Vals acc(values.take_front(numSums));
    // Bytes 0 or 1: of 4 blocks of 4 columns, of rows g and g + 8.
    auto ones = [&](Val word, int64_t i) {
      return (word >> (shift + i)) & 0x01010101;
    };
    for (int64_t fragment = 0; fragment < kFragments; ++fragment)
      for (int64_t digit = 0; digit < numDigits; ++digit) {
        Val x =
            b.load(tile, {digit, firstToken + (g + 8 * fragment), inQuad * 4},
                   4, llvm::Align(16));
        for (int64_t m = 0; m < 2; ++m) {
          Val *sum =
              &acc[((m * kFragments + fragment) * numDigits + digit) * 4];
          for (int64_t i = 0; i < 4; i += 2) {
            Val top = words[2 * m], bottom = words[2 * m + 1];
            Vals product = b.mmaBytes({ones(top, i), ones(bottom, i),
                                       ones(top, i + 1), ones(bottom, i + 1)},
                                      {b.extract(x, i), b.extract(x, i + 1)},
                                      ArrayRef<Val>(sum, 4));
            std::copy(product.begin(), product.end(), sum);
          }
        }
      }
    acc.append(nextDigits);
    acc.append(nextWeights);
    return acc;
  });

  // Element e of a fragment is row g + 8 · (e / 2), token 2 · inQuad + e % 2.
  for (int64_t m = 0; m < 2; ++m)
    for (int64_t fragment = 0; fragment < kFragments; ++fragment)
      for (int64_t e = 0; e < 4; ++e) {
        const Val *sum =
            &carried[(m * kFragments + fragment) * numDigits * 4 + e];
        Val total = numDigits == 2 ? sum[0] + (sum[4] << 8) : sum[0];
        Val row = (b.warp() % kWarpRows * 2 + m) * kTileRows + (g + e / 2 * 8);
        Val t = firstToken + (inQuad * 2 + (fragment * 8 + e % 2));
        b.store(total, sums, {t, row});
      }
  b.barrier();
  Val inTile = b.thread() % kRows, row = rowBlock * kRows + inTile;
  b.when(row < n, [&] {
    b.loop(b.thread() / kRows, min(end - first, kTokens), kThreads / kRows,
           [&](Val t) {
             emitIntegerEpilogue(b.load(sums, {t, inTile}), row, first + t,
                                 Form::digits);
           });
  });
}
