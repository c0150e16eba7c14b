//===- LookupSums.cpp - sums of activations looked up in tables ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// Half a byte of a row's word (see BitSums.cpp) selects among four columns:
// the low half of byte j among columns j, 4 + j, 8 + j and 12 + j of the block,
// the high half among those 16 further. So a table of 16 sums replaces four
// products, and a byte shuffle looks up many rows at once.
//
// A table's sums have an offset that makes them positive and are cut into
// digits of so few bits that bytes of several tables add up without a carry.
//
//===--------------------------------------------------------------------===//

#include "codegen/cpu/LookupSums.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::cpu;

static constexpr int64_t kTileRows = 16;
static constexpr int64_t kBlockColumns = 32;
static constexpr int64_t kEntries = 16; // of a table
static constexpr int64_t kHalves = 2;   // of a byte

/// Tables of a digit and half of a block: of the four bytes of a word.
static constexpr int64_t kTables = 4;

LookupSums::LookupSums(KernelBuilder &b, const Target &target,
                       int64_t activationBits, int64_t columns)
    : b(b), digits(activationBits == 16 ? 3 : 2),
      digitBits(activationBits == 16 ? 6 : 5),
      offset(int64_t(1) << (digits * digitBits - 1)),
      bytes(target.has(Capability::byteShuffle512) ? 64 : 32),
      anywhere(target.has(Capability::bytePermute512) &&
               target.has(Capability::byteDotAccumulate512)) {
  // Digits for sums of four, with their sign.
  blocks = llvm::divideCeilSigned(columns, kBlockColumns);
  // Sums in 16 bits hold this many additions of a byte.
  int64_t perBlock = kTables * kEntries / bytes * kHalves;
  int64_t additions = (1 << 16) / ((int64_t(1) << digitBits) - 1);
  atOnce = target.vectorRegisters / 8;
  maxBlocks = anywhere ? blocks : additions / perBlock / atOnce * atOnce;
}

//===--------------------------------------------------------------------===//
// Tables
//===--------------------------------------------------------------------===//

Val LookupSums::getTable(Val block, Val token, Val tokens) {
  int64_t size = digits * kHalves * kTables * kEntries;
  return (block * tokens + token) * size;
}

void LookupSums::emitTables(Val q, Val t, Val block, Val tables, Val first,
                            Val tokens) {
  int64_t planes = cast<MemRefType>(q.getType()).getDimSize(1);
  Type i32 = b.vector(b.getI32Type(), kEntries);
  // Of every column alone, as vectors are not easily broadcast from.
  Val columns = b.scratch(kBlockColumns, b.getI32Type(), llvm::Align(64));
  for (int64_t half = 0; half < kHalves; ++half) {
    Val column = block * kBlockColumns + 16 * half;
    Val x = b.toInteger(b.load(q, {t, 0, column}, 16), 32);
    if (planes == 2)
      x = x + (b.toInteger(b.load(q, {t, 1, column}, 16), 32) << 8);
    b.store(x, columns, {16 * half});
  }
  Vals selected;
  for (int bit = 0; bit < 4; ++bit) {
    SmallVector<int32_t> mask;
    for (int entry = 0; entry < kEntries; ++entry)
      mask.push_back(entry >> bit & 1 ? -1 : 0);
    selected.push_back(b.lanes(mask));
  }
  Val at = getTable(block, t - first, tokens);
  for (int64_t half = 0; half < kHalves; ++half)
    for (int64_t j = 0; j < kTables; ++j) {
      Val sums = b.constant(i32, double(offset));
      for (int64_t bit = 0; bit < 4; ++bit)
        sums = sums + (b.broadcast(b.load(columns, {16 * half + 4 * bit + j})) &
                       selected[bit]);
      for (int64_t digit = 0; digit < digits; ++digit) {
        Val low = b.toInteger(sums >> (digit * digitBits), 8);
        b.store(
            low & ((1 << digitBits) - 1), tables,
            {first, at + ((digit * kHalves + half) * kTables + j) * kEntries});
      }
    }
}

//===--------------------------------------------------------------------===//
// Look-ups
//===--------------------------------------------------------------------===//

Vals LookupSums::getIndices(Val bits, Val rowTile, Val block) {
  Vals words;
  for (int64_t v = 0; v < 64 / bytes; ++v)
    words.push_back(b.load(bits, {rowTile, block, v * (bytes / 4)}, bytes / 4));
  Type i8 = b.vector(b.getI8Type(), bytes);
  Vals low, high;
  if (anywhere) {
    // A byte's place in its word says which table it is for.
    auto index = [&](Val word) {
      return b.bitcast((word & 0x0f0f0f0f) + 0x30201000, i8);
    };
    return {index(words[0]), index(words[0] >> 4)};
  }
  // Bytes of the same place together, 16 rows in a lane of 128 bits.
  Vals lanes;
  if (bytes == 64) {
    SmallVector<int64_t> transposed;
    for (int64_t i = 0; i < bytes; ++i)
      transposed.push_back(i % 16 * 4 + i / 16);
    lanes = {b.shuffle(b.bitcast(words[0], i8), transposed)};
  } else {
    SmallVector<int64_t> inLane;
    for (int64_t i = 0; i < bytes; ++i)
      inLane.push_back(i / 16 * 16 + i % 4 * 4 + i / 4 % 4);
    Type i32 = b.vector(b.getI32Type(), bytes / 4);
    Type i64 = b.vector(b.getI64Type(), bytes / 8);
    for (Val &word : words)
      word = b.bitcast(b.shuffle(b.bitcast(word, i8), inLane), i32);
    auto join = [&](ArrayRef<int64_t> interleaved) {
      Val pairs = b.bitcast(b.shuffle(words[0], words[1], interleaved), i64);
      return b.bitcast(b.shuffle(pairs, {0, 2, 1, 3}), i8);
    };
    lanes = {join({0, 8, 1, 9, 4, 12, 5, 13}),
             join({2, 10, 3, 11, 6, 14, 7, 15})};
  }
  Type i16 = b.vector(b.getI16Type(), bytes / 2);
  for (Val lane : lanes) {
    low.push_back(lane & 0x0f);
    high.push_back(b.bitcast(b.bitcast(lane, i16) >> 4, i8) & 0x0f);
  }
  llvm::append_range(low, high);
  return low;
}

Type LookupSums::getPartial() {
  return anywhere ? b.vector(b.getI32Type(), bytes / 4)
                  : b.vector(b.getI16Type(), bytes / 2);
}

Vals LookupSums::accumulate(ArrayRef<Vals> indices, Val tables, Val first,
                            ArrayRef<Val> at, Vals acc) {
  Type i8 = b.vector(b.getI8Type(), bytes);
  auto lookUp = [&](Val index, Val block, int64_t digit, int64_t i) {
    int64_t offset = digit * kHalves * kTables * kEntries + i * bytes;
    Val table = b.load(tables, {first, block + offset}, bytes);
    StringRef name = anywhere      ? "llvm.x86.avx512.permvar.qi.512"
                     : bytes == 64 ? "llvm.x86.avx512.pshuf.b.512"
                                   : "llvm.x86.avx2.pshuf.b";
    return b.intrinsic(name, i8, {table, index});
  };
  Type partial = getPartial();
  Val odd =
      b.bitcast(b.constant(b.vector(b.getI16Type(), bytes / 2), 0x0100), i8);
  int64_t most = 255 / ((int64_t(1) << digitBits) - 1);
  for (int64_t digit = 0; digit < digits; ++digit) {
    Val sum;
    int64_t count = 0;
    Val *sums = &acc[digit * numPartials()];
    auto flush = [&] {
      if (anywhere) {
        // The four bytes of a row's word add up.
        sums[0] = b.intrinsic("llvm.x86.avx512.vpdpbusd.512", partial,
                              {sums[0], sum, b.constant(i8, 1)});
      } else {
        // Bytes are rows. Even and odd ones together, mod 2^16, and odd ones
        // alone.
        sums[0] = sums[0] + b.bitcast(sum, partial);
        sums[1] =
            sums[1] + b.intrinsic(bytes == 64 ? "llvm.x86.avx512.pmaddubs.w.512"
                                              : "llvm.x86.avx2.pmadd.ub.sw",
                                  partial, {sum, odd});
      }
      sum = {};
      count = 0;
    };
    for (auto [index, block] : llvm::zip(indices, at))
      for (auto [i, rows] : llvm::enumerate(index)) {
        Val value = lookUp(rows, block, digit, i);
        sum = sum ? sum + value : value;
        if (++count == most)
          flush();
      }
    if (count > 0)
      flush();
  }
  return acc;
}

/// The sum of the lanes of 128 bits, which are 8 rows each.
static Val addLanes(KernelBuilder &b, Val v) {
  for (int64_t half = cast<VectorType>(v.getType()).getNumElements() / 2;
       half >= 8; half /= 2)
    v = b.slice(v, 0, half) + b.slice(v, half, half);
  return v;
}

Val LookupSums::finish(ArrayRef<Val> acc) {
  Val total;
  for (int64_t digit = digits; digit-- > 0;) {
    Val sum = acc[digit * numPartials()];
    if (!anywhere) {
      Val other = acc[digit * numPartials() + 1];
      Type i32 = b.vector(b.getI32Type(), bytes / 2);
      Val even = addLanes(b, b.zeroExtend(sum - (other << 8), i32));
      Val odd = addLanes(b, b.zeroExtend(other, i32));
      // Pairs of rows in order, or in that which getIndices finds the easiest.
      static constexpr int64_t inOrder[] = {0, 1, 2, 3, 4, 5, 6, 7};
      static constexpr int64_t easiest[] = {0, 1, 4, 5, 2, 3, 6, 7};
      SmallVector<int64_t> rows;
      for (int64_t pair : bytes == 64 ? inOrder : easiest)
        rows.append({pair, 8 + pair});
      sum = b.shuffle(even, odd, rows);
    }
    total = total ? (total << digitBits) + sum : sum;
  }
  return total;
}

/// Calls body(begin, count) for groups of blocks whose sums do not overflow.
void LookupSums::groups(function_ref<void(int64_t, int64_t)> body) {
  for (int64_t begin = 0; begin < blocks; begin += maxBlocks)
    body(begin, std::min(maxBlocks, blocks - begin));
}

Val LookupSums::emitToken(Val bits, Val rowTile, Val tables, Val t) {
  // What the offsets of all tables add up to.
  Val total = b.constant(b.vector(b.getI32Type()),
                         double(int32_t(uint32_t(-offset * 8 * blocks))));
  Val one = b.index(1), zero = b.index(0);
  groups([&](int64_t begin, int64_t count) {
    auto some = [&](Val block, int64_t number, ArrayRef<Val> acc) {
      SmallVector<Vals> indices;
      Vals at;
      for (int64_t i = 0; i < number; ++i) {
        indices.push_back(getIndices(bits, rowTile, block + i));
        at.push_back(getTable(block + i, zero, one));
      }
      return accumulate(indices, tables, t, at, Vals(acc));
    };
    Vals acc(digits * numPartials(), b.constant(getPartial(), 0));
    int64_t rest = count % atOnce;
    acc = b.loop(begin, begin + count - rest, atOnce, acc,
                 [&](Val block, ArrayRef<Val> carried) {
                   return some(block, atOnce, carried);
                 });
    if (rest != 0)
      acc = some(b.index(begin + count - rest), rest, acc);
    total = total + finish(acc);
  });
  return total;
}

void LookupSums::emitTokens(Val bits, Val rowTile, Val rowTiles,
                            int64_t mostRowTiles, Val tables, Val first,
                            Val tokens, int64_t mostTokens,
                            function_ref<void(Val, Val, Val)> body) {
  auto partial = cast<VectorType>(getPartial());
  int64_t lanes = partial.getNumElements(), vectors = digits * numPartials();
  Val sums = b.scratch(mostRowTiles * mostTokens * vectors * lanes,
                       partial.getElementType(), llvm::Align(64));
  Val totals;
  if (maxBlocks < blocks)
    totals = b.scratch(mostRowTiles * mostTokens * kTileRows, b.getI32Type(),
                       llvm::Align(64));
  auto number = [&](Val r, Val t) { return r * mostTokens + t; };
  auto each = [&](function_ref<void(Val r, Val t)> inner) {
    b.loop(0, rowTiles, 1,
           [&](Val r) { b.loop(0, tokens, 1, [&](Val t) { inner(r, t); }); });
  };
  auto loadSums = [&](Val r, Val t) {
    Vals acc;
    for (int64_t v = 0; v < vectors; ++v)
      acc.push_back(
          b.load(sums, {(number(r, t) * vectors + v) * lanes}, lanes));
    return acc;
  };
  auto storeSums = [&](Val r, Val t, ArrayRef<Val> acc) {
    for (auto [v, value] : llvm::enumerate(acc))
      b.store(value, sums, {(number(r, t) * vectors + int64_t(v)) * lanes});
  };
  Val none = b.constant(b.vector(b.getI32Type()),
                        double(int32_t(uint32_t(-offset * 8 * blocks))));
  groups([&](int64_t begin, int64_t count) {
    Vals zeros(vectors, b.constant(partial, 0));
    each([&](Val r, Val t) { storeSums(r, t, zeros); });
    auto some = [&](Val block, int64_t number) {
      b.loop(0, rowTiles, 1, [&](Val r) {
        SmallVector<Vals> indices;
        for (int64_t i = 0; i < number; ++i)
          indices.push_back(getIndices(bits, rowTile + r, block + i));
        b.loop(0, tokens, 1, [&](Val t) {
          Vals at;
          for (int64_t i = 0; i < number; ++i)
            at.push_back(getTable(block + i, t, tokens));
          storeSums(r, t,
                    accumulate(indices, tables, first, at, loadSums(r, t)));
        });
      });
    };
    int64_t rest = count % atOnce;
    b.loop(begin, begin + count - rest, atOnce,
           [&](Val block) { some(block, atOnce); });
    if (rest != 0)
      some(b.index(begin + count - rest), rest);
    bool last = begin + count == blocks;
    each([&](Val r, Val t) {
      Val sum = finish(loadSums(r, t));
      Val at = number(r, t) * kTileRows;
      sum = sum + (begin == 0 ? none : b.load(totals, {at}, kTileRows));
      if (last)
        body(sum, rowTile + r, first + t);
      else
        b.store(sum, totals, {at});
    });
  });
}
