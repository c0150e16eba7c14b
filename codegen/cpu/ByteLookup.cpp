//===- ByteLookup.cpp - sums of columns looked up as bytes --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// A byte shuffle looks up many rows at once, in tables of 16 bytes. So the sums
// of four columns have an offset that makes them positive and are cut into
// digits, of so few bits that bytes of several tables add up without a carry.
//
//===--------------------------------------------------------------------===//

#include "codegen/cpu/LookupSums.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::cpu;

static constexpr int64_t kBytes = 32; // of a vector
static constexpr int64_t kHalves = 2; // of a byte

/// Tables of a digit and half of a block: of the four bytes of a word.
static constexpr int64_t kTables = 4;
/// Partial sums of a digit: of even and odd rows, in 16 bits.
static constexpr int64_t kPartials = 2;

namespace {
class ByteLookup : public LookupSums {
public:
  ByteLookup(KernelBuilder &b, const Target &target, int64_t activationBits,
             int64_t columns);

  void emitTables(Val q, Val t, Val tile, Val tables, Val first,
                  Val tokens) final;
  Val emitToken(Val bits, Val rowTile, Val tables, Val t) final;
  int64_t getMostRowTiles() const final { return 4; }
  void emitTokens(Val bits, Val rowTile, Val rowTiles, Val tables, Val first,
                  Val tokens, int64_t mostTokens,
                  function_ref<void(Val, Val, Val)> body) final;

private:
  Val getTable(Val block, Val token, Val tokens);
  /// Which entries the bits of a block select, low halves of bytes first.
  Vals getIndices(Val bits, Val rowTile, Val block);
  /// Adds what is looked up in the tables `at` of some blocks, to the partial
  /// sums of each digit.
  Vals accumulate(ArrayRef<Vals> indices, Val tables, Val first,
                  ArrayRef<Val> at, Vals acc);
  VectorType getPartial() { return b.vector(b.getI16Type(), kBytes / 2); }
  /// Partial sums as a sum for each row.
  Val finish(ArrayRef<Val> acc);
  void groups(function_ref<void(int64_t, int64_t)> body);

  int64_t digits, digitBits;
  int64_t offset; // of the sums in a table
  int64_t maxBlocks;
  /// Blocks whose indices are in registers at once.
  int64_t atOnce;
};
} // namespace

ByteLookup::ByteLookup(KernelBuilder &b, const Target &target,
                       int64_t activationBits, int64_t columns)
    : LookupSums(b, columns), digits(activationBits == 16 ? 3 : 2),
      digitBits(activationBits == 16 ? 6 : 5),
      offset(int64_t(1) << (digits * digitBits - 1)),
      atOnce(target.vectorRegisters / 8) {
  // Sums in 16 bits hold this many additions of a byte.
  int64_t perBlock = kTables * kEntries / kBytes * kHalves;
  int64_t additions = (1 << 16) / ((int64_t(1) << digitBits) - 1);
  maxBlocks = additions / perBlock / atOnce * atOnce;
}

std::unique_ptr<LookupSums> cpu::createByteLookup(KernelBuilder &b,
                                                  const Target &target,
                                                  int64_t activationBits,
                                                  int64_t columns) {
  return std::make_unique<ByteLookup>(b, target, activationBits, columns);
}

//===--------------------------------------------------------------------===//
// Tables
//===--------------------------------------------------------------------===//

Val ByteLookup::getTable(Val block, Val token, Val tokens) {
  int64_t size = digits * kHalves * kTables * kEntries;
  return (block * tokens + token) * size;
}

void ByteLookup::emitTables(Val q, Val t, Val tile, Val tables, Val first,
                            Val tokens) {
  Val begin = tile * kTableBlocks;
  // Of every column alone, as vectors are not easily broadcast from.
  Val columns = b.scratch(kBlockColumns, b.getI32Type(), llvm::Align(64));
  b.loop(begin, min(begin + kTableBlocks, blocks), 1, [&](Val block) {
    for (int64_t half = 0; half < kHalves; ++half)
      b.store(loadColumns(q, t, block, half), columns, {16 * half});
    Val at = getTable(block, t - first, tokens);
    for (int64_t half = 0; half < kHalves; ++half)
      for (int64_t j = 0; j < kTables; ++j) {
        Val sums =
            b.constant(b.vector(b.getI32Type(), kEntries), double(offset));
        for (int64_t bit = 0; bit < 4; ++bit)
          sums =
              sums + (b.broadcast(b.load(columns, {16 * half + 4 * bit + j})) &
                      getEntries(bit));
        for (int64_t digit = 0; digit < digits; ++digit) {
          Val low = b.toInteger(sums >> (digit * digitBits), 8);
          int64_t table = (digit * kHalves + half) * kTables + j;
          b.store(low & ((1 << digitBits) - 1), tables,
                  {first, at + table * kEntries});
        }
      }
  });
}

//===--------------------------------------------------------------------===//
// Look-ups
//===--------------------------------------------------------------------===//

Vals ByteLookup::getIndices(Val bits, Val rowTile, Val block) {
  // Bytes of the same place together, 16 rows in a lane of 128 bits.
  SmallVector<int64_t> inLane;
  for (int64_t i = 0; i < kBytes; ++i)
    inLane.push_back(i / 16 * 16 + i % 4 * 4 + i / 4 % 4);
  Type i8 = b.vector(b.getI8Type(), kBytes);
  Type i16 = b.vector(b.getI16Type(), kBytes / 2);
  Type i32 = b.vector(b.getI32Type(), kBytes / 4);
  Type i64 = b.vector(b.getI64Type(), kBytes / 8);
  Vals words;
  for (int64_t v = 0; v < 2; ++v) {
    Val word = b.load(bits, {rowTile, block, v * (kBytes / 4)}, kBytes / 4);
    words.push_back(b.bitcast(b.shuffle(b.bitcast(word, i8), inLane), i32));
  }
  auto join = [&](ArrayRef<int64_t> interleaved) {
    Val pairs = b.bitcast(b.shuffle(words[0], words[1], interleaved), i64);
    return b.bitcast(b.shuffle(pairs, {0, 2, 1, 3}), i8);
  };
  Vals lanes = {join({0, 8, 1, 9, 4, 12, 5, 13}),
                join({2, 10, 3, 11, 6, 14, 7, 15})};
  Vals low, high;
  for (Val lane : lanes) {
    low.push_back(lane & 0x0f);
    high.push_back(b.bitcast(b.bitcast(lane, i16) >> 4, i8) & 0x0f);
  }
  llvm::append_range(low, high);
  return low;
}

Vals ByteLookup::accumulate(ArrayRef<Vals> indices, Val tables, Val first,
                            ArrayRef<Val> at, Vals acc) {
  Type i8 = b.vector(b.getI8Type(), kBytes);
  auto lookUp = [&](Val index, Val block, int64_t digit, int64_t i) {
    int64_t offset = digit * kHalves * kTables * kEntries + i * kBytes;
    Val table = b.load(tables, {first, block + offset}, kBytes);
    return b.intrinsic("llvm.x86.avx2.pshuf.b", i8, {table, index});
  };
  Val odd = b.bitcast(b.constant(getPartial(), 0x0100), i8);
  int64_t most = 255 / ((int64_t(1) << digitBits) - 1);
  for (int64_t digit = 0; digit < digits; ++digit) {
    Val sum;
    int64_t count = 0;
    Val *sums = &acc[digit * kPartials];
    auto flush = [&] {
      // Bytes are rows. Even and odd ones together, mod 2^16, and odd ones
      // alone.
      sums[0] = sums[0] + b.bitcast(sum, getPartial());
      sums[1] = sums[1] + b.intrinsic("llvm.x86.avx2.pmadd.ub.sw", getPartial(),
                                      {sum, odd});
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

/// The sum of the two lanes of 128 bits, which are 8 rows each.
static Val addLanes(KernelBuilder &b, Val v) {
  return b.slice(v, 0, 8) + b.slice(v, 8, 8);
}

Val ByteLookup::finish(ArrayRef<Val> acc) {
  Val total;
  for (int64_t digit = digits; digit-- > 0;) {
    Val sum = acc[digit * kPartials], other = acc[digit * kPartials + 1];
    Type i32 = b.vector(b.getI32Type(), kBytes / 2);
    Val even = addLanes(b, b.zeroExtend(sum - (other << 8), i32));
    Val odd = addLanes(b, b.zeroExtend(other, i32));
    // Pairs of rows in the order that getIndices finds the easiest.
    SmallVector<int64_t> rows;
    for (int64_t pair : {0, 1, 4, 5, 2, 3, 6, 7})
      rows.append({pair, 8 + pair});
    sum = b.shuffle(even, odd, rows);
    total = total ? (total << digitBits) + sum : sum;
  }
  return total;
}

/// Calls body(begin, count) for groups of blocks whose sums do not overflow.
void ByteLookup::groups(function_ref<void(int64_t, int64_t)> body) {
  for (int64_t begin = 0; begin < blocks; begin += maxBlocks)
    body(begin, std::min(maxBlocks, blocks - begin));
}

Val ByteLookup::emitToken(Val bits, Val rowTile, Val tables, Val t) {
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
    Vals acc(digits * kPartials, b.constant(getPartial(), 0));
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

void ByteLookup::emitTokens(Val bits, Val rowTile, Val rowTiles, Val tables,
                            Val first, Val tokens, int64_t mostTokens,
                            function_ref<void(Val, Val, Val)> body) {
  VectorType partial = getPartial();
  int64_t lanes = partial.getNumElements(), vectors = digits * kPartials;
  Val sums = b.scratch(getMostRowTiles() * mostTokens * vectors * lanes,
                       partial.getElementType(), llvm::Align(64));
  Val totals;
  if (maxBlocks < blocks)
    totals = b.scratch(getMostRowTiles() * mostTokens * kTileRows,
                       b.getI32Type(), llvm::Align(64));
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
