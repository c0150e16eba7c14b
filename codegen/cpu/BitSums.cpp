//===- BitSums.cpp - sums of activations selected by bits ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The bits of a row tile lie in blocks of 16 words, a word a row, for 32
// columns; bit 8·j + b of a word is column 4·b + j (docs/artifact-format.md).
// Shifting right by b and keeping the lowest bit of each byte leaves the bits
// of columns 4·b to 4·b + 3 as bytes, 0 or 1: an operand of the byte dot
// products.
//
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Kernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mambit;

static constexpr int64_t kTileRows = 16;
static constexpr int64_t kBlockColumns = 32;

/// The number of blocks of a row tile.
static int64_t numBlocks(Val bits) {
  return cast<MemRefType>(bits.getType()).getDimSize(1);
}

/// The number of digits of an activation.
static int64_t numPlanes(Val digits) {
  return cast<MemRefType>(digits.getType()).getDimSize(1);
}

//===--------------------------------------------------------------------===//
// Byte dot products
//===--------------------------------------------------------------------===//

namespace {
/// Multiplies bytes that are 0 or 1 by signed bytes and adds up, over the
/// columns, in the lanes of 32 bits that the bytes lie in.
struct ByteDot {
  int64_t bytes; // of a vector
  /// acc + products of the bytes.
  std::function<Val(Val acc, Val ones, Val activations)> accumulate;
  Type partial; // of the accumulator
  /// An accumulator overflows after more blocks than this.
  int64_t maxBlocks;
  /// An accumulator as 32-bit lanes.
  std::function<Val(Val acc)> widen;
};
} // namespace

/// By pairs, in 16 bits: of 16 blocks each accumulator adds 8 · 16 pairs of at
/// most 2 · 128, which just fits.
static ByteDot getPairDot(KernelBuilder &b, int64_t bytes) {
  bool wide = bytes == 64;
  Type i16 = b.vector(b.getI16Type(), bytes / 2);
  ByteDot dot;
  dot.bytes = bytes;
  dot.partial = i16;
  dot.maxBlocks = 16;
  dot.accumulate = [=, &b](Val acc, Val ones, Val activations) {
    return acc + b.intrinsic(wide ? "llvm.x86.avx512.pmaddubs.w.512"
                                  : "llvm.x86.avx2.pmadd.ub.sw",
                             i16, {ones, activations});
  };
  dot.widen = [=, &b](Val acc) {
    return b.intrinsic(
        wide ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd",
        b.vector(b.getI32Type(), bytes / 4), {acc, b.constant(i16, 1)});
  };
  return dot;
}

/// By fours, in 32 bits, in one instruction.
static ByteDot getAccumulatingDot(KernelBuilder &b) {
  ByteDot dot;
  dot.bytes = 64;
  dot.partial = b.vector(b.getI32Type());
  dot.maxBlocks = std::numeric_limits<int64_t>::max();
  dot.accumulate = [&b](Val acc, Val ones, Val activations) {
    return b.intrinsic("llvm.x86.avx512.vpdpbusd.512", acc.getType(),
                       {acc, ones, activations});
  };
  dot.widen = [](Val acc) { return acc; };
  return dot;
}

/// A shift to the right that keeps the sign.
static Val shiftSigned(Val x, int64_t bits) {
  KernelBuilder &b = x.getBuilder();
  Val count = b.constant(x.getType(), double(bits));
  return b.wrap(b.createOrFold<arith::ShRSIOp>(x, count));
}

/// Adds up some of the vectors that a block of bits consists of, from
/// `firstWord` on, for all tokens and planes; the results in this order, planes
/// innermost. The bits of a byte take turns with `ways` accumulators; with one
/// each they stay where they are in the byte, and the sum is shifted instead.
static Vals emitByteDots(KernelBuilder &b, const ByteDot &dot, Val bits,
                         Val rowTile, Val digits, ArrayRef<Val> tokens,
                         int64_t firstWord, int64_t vectors, int64_t ways) {
  int64_t words = dot.bytes / 4, planes = numPlanes(digits);
  int64_t blocks = numBlocks(bits);
  size_t sums = vectors * tokens.size() * planes;
  bool inPlace = ways == 8;
  Type i8 = b.vector(b.getI8Type(), dot.bytes);

  auto block = [&](Val cb, ArrayRef<Val> carried) {
    Vals acc(carried);
    Vals packed;
    for (int64_t v = 0; v < vectors; ++v)
      packed.push_back(
          b.load(bits, {rowTile, cb, firstWord + v * words}, words));
    for (int64_t bit = 0; bit < 8; ++bit) {
      Vals ones;
      for (Val p : packed)
        ones.push_back(b.bitcast(inPlace ? p & int32_t(0x01010101u << bit)
                                         : (p >> bit) & 0x01010101,
                                 i8));
      Val column = cb * kBlockColumns + 4 * bit;
      auto *next = &acc[bit % ways * sums];
      for (int64_t v = 0; v < vectors; ++v)
        for (Val t : tokens)
          for (int64_t plane = 0; plane < planes; ++plane, ++next) {
            Val four = b.bitcast(b.load(digits, {t, plane, column}, 4),
                                 b.vector(b.getI32Type(), 1));
            Val activations =
                b.bitcast(b.broadcast(b.extract(four, 0), words), i8);
            *next = dot.accumulate(*next, ones[v], activations);
          }
    }
    return acc;
  };
  /// Blocks `begin` on, `count` of them, in 32-bit lanes, added to `totals`.
  auto group = [&](Val begin, int64_t count, ArrayRef<Val> totals) {
    Vals acc(sums * ways, b.constant(dot.partial, 0));
    if (count == 1)
      acc = block(begin, acc);
    else
      acc = b.loop(begin, begin + count, 1, acc, block);
    Vals next(totals);
    for (auto [i, a] : llvm::enumerate(acc)) {
      Val sum = dot.widen(a);
      if (inPlace)
        sum = shiftSigned(sum, i / sums);
      next[i % sums] = next[i % sums] + sum;
    }
    return next;
  };

  Vals totals(sums, b.zeros(b.getI32Type(), words));
  int64_t size = std::min(blocks, dot.maxBlocks);
  int64_t whole = blocks / size * size;
  totals =
      b.loop(0, whole, size, totals, [&](Val begin, ArrayRef<Val> carried) {
        return group(begin, size, carried);
      });
  if (whole < blocks)
    totals = group(b.index(whole), blocks - whole, totals);
  return totals;
}

static ByteDot getByteDot(KernelBuilder &b, const Target &target) {
  if (target.has(Capability::byteDotAccumulate512))
    return getAccumulatingDot(b);
  return getPairDot(b, target.has(Capability::byteDot512) ? 64 : 32);
}

Vals cpu::emitBitSumsByDots(KernelBuilder &b, const Target &target, Val bits,
                            Val rowTile, Val digits, ArrayRef<Val> tokens) {
  ByteDot dot = getByteDot(b, target);
  int64_t words = dot.bytes / 4, planes = numPlanes(digits);
  // Eight accumulators hide the latency and leave registers for the rest: for
  // few tokens all vectors of a tile at once, then several for a sum.
  int64_t chains = tokens.size() * planes, all = kTileRows / words;
  int64_t vectors = std::clamp<int64_t>(8 / chains, 1, all);
  int64_t ways = std::clamp<int64_t>(8 / (chains * vectors), 1, 4);
  // One token has few enough sums for one a bit, if those hold a byte's top.
  if (tokens.size() == 1 && target.has(Capability::byteDotAccumulate512))
    ways = 8;

  Vals sums(tokens.size());
  for (int64_t first = 0; first < all; first += vectors) {
    Vals totals = emitByteDots(b, dot, bits, rowTile, digits, tokens,
                               first * words, vectors, ways);
    auto *next = totals.begin();
    for (int64_t v = 0; v < vectors; ++v)
      for (Val &sum : sums) {
        Val total = *next++;
        if (planes == 2)
          total = total + (*next++ << 8);
        sum = sum ? b.concat(sum, total) : total;
      }
  }
  return sums;
}

//===--------------------------------------------------------------------===//
// Masks
//===--------------------------------------------------------------------===//

Vals cpu::emitBitSumsByMasks(KernelBuilder &b, Val bits, Val rowTile,
                             Val digits, ArrayRef<Val> tokens) {
  int64_t planes = numPlanes(digits);
  Vals init(tokens.size(), b.zeros(b.getI32Type(), kTileRows));
  return b.loop(
      0, numBlocks(bits), 1, init, [&](Val cb, ArrayRef<Val> carried) {
        Vals acc(carried);
        Val packed = b.load(bits, {rowTile, cb, 0}, kTileRows);
        for (int64_t column = 0; column < kBlockColumns; ++column) {
          // All ones where the bit is set.
          Val mask = 0 - ((packed >> (8 * (column % 4) + column / 4)) & 1);
          for (auto [sum, t] : llvm::zip(acc, tokens)) {
            Val at = cb * kBlockColumns + column;
            Val q = b.toInteger(b.load(digits, {t, 0, at}), 32);
            if (planes == 2)
              q = q + (b.toInteger(b.load(digits, {t, 1, at}), 32) << 8);
            sum = sum + (mask & q);
          }
        }
        return acc;
      });
}

Vals cpu::emitSignedSums(KernelBuilder &b, Val bits, Val rowTile, Val v,
                         int64_t k, ArrayRef<Val> tokens) {
  Type f32 = b.vector(b.getF32Type()), i32 = b.vector(b.getI32Type());
  // Even and odd columns apart: two chains of sums for each token.
  auto block = [&](Val cb, int64_t columns, ArrayRef<Val> carried) {
    Vals acc(carried);
    Val negative = b.load(bits, {rowTile, cb, 0}, kTileRows) ^ -1;
    for (int64_t column = 0; column < columns; ++column) {
      int64_t bit = 8 * (column % 4) + column / 4;
      Val sign = (negative << (31 - bit)) & std::numeric_limits<int32_t>::min();
      for (auto [i, t] : llvm::enumerate(tokens)) {
        Val term = b.broadcast(b.load(v, {t, cb * kBlockColumns + column}));
        Val &sum = acc[2 * i + column % 2];
        sum = sum + b.bitcast(b.bitcast(term, i32) ^ sign, f32);
      }
    }
    return acc;
  };
  Vals acc(2 * tokens.size(), b.zeros(b.getF32Type()));
  int64_t whole = k / kBlockColumns;
  acc = b.loop(0, whole, 1, acc, [&](Val cb, ArrayRef<Val> carried) {
    return block(cb, kBlockColumns, carried);
  });
  if (k % kBlockColumns != 0)
    acc = block(b.index(whole), k % kBlockColumns, acc);
  Vals sums;
  for (size_t i = 0; i < tokens.size(); ++i)
    sums.push_back(acc[2 * i] + acc[2 * i + 1]);
  return sums;
}

//===--------------------------------------------------------------------===//
// Planes of bits
//===--------------------------------------------------------------------===//

/// The bits of a digit, a plane of each.
static constexpr int64_t kDigitBits = 8;

/// Where a plane's word for a block is, in the order of the bits of a row: all
/// planes of a block lie together.
static Val getPlaneWord(Val block, int64_t digits, int64_t digit, int64_t bit) {
  return (block * digits + digit) * (kDigitBits * 4) + bit * 4;
}

void cpu::emitBitPlanes(KernelBuilder &b, Val digits, Val t, Val bitPlanes) {
  int64_t planes = numPlanes(digits);
  int64_t columns = cast<MemRefType>(digits.getType()).getDimSize(2);
  SmallVector<int64_t> order;
  for (int64_t bit = 0; bit < kBlockColumns; ++bit)
    order.push_back(bit % 8 * 4 + bit / 8);
  b.loop(0, columns / kBlockColumns, 1, [&](Val block) {
    for (int64_t digit = 0; digit < planes; ++digit) {
      Val q = b.load(digits, {t, digit, block * kBlockColumns}, kBlockColumns);
      q = b.shuffle(q, order);
      for (int64_t bit = 0; bit < kDigitBits; ++bit) {
        Val set = (q << (kDigitBits - 1 - bit)) < 0;
        b.store(b.bitcast(set, b.vector(b.getI8Type(), 4)), bitPlanes,
                {t, getPlaneWord(block, planes, digit, bit)});
      }
    }
  });
}

Vals cpu::emitBitSumsByPlanes(KernelBuilder &b, Val bits, Val rowTile,
                              Val bitPlanes, int64_t digits,
                              ArrayRef<Val> tokens) {
  Vals sums;
  // One token after another: each has as many sums as half the registers.
  for (Val t : tokens) {
    Vals counts(digits * kDigitBits, b.zeros(b.getI32Type(), kTileRows));
    counts = b.loop(
        0, numBlocks(bits), 1, counts, [&](Val block, ArrayRef<Val> carried) {
          Vals next(carried);
          Val packed = b.load(bits, {rowTile, block, 0}, kTileRows);
          for (int64_t digit = 0; digit < digits; ++digit)
            for (int64_t bit = 0; bit < kDigitBits; ++bit) {
              Val at = getPlaneWord(block, digits, digit, bit);
              Val word = b.bitcast(b.load(bitPlanes, {t, at}, 4),
                                   b.vector(b.getI32Type(), 1));
              Val both = packed & b.broadcast(b.extract(word, 0), kTileRows);
              Val &count = next[digit * kDigitBits + bit];
              count = count + countBits(both);
            }
          return next;
        });
    Val sum;
    for (int64_t digit = digits; digit-- > 0;) {
      // The highest bit of a digit is the sign's.
      Val value = 0 - counts[digit * kDigitBits + kDigitBits - 1];
      for (int64_t bit = kDigitBits - 1; bit-- > 0;)
        value = (value << 1) + counts[digit * kDigitBits + bit];
      sum = sum ? (sum << kDigitBits) + value : value;
    }
    sums.push_back(sum);
  }
  return sums;
}

//===--------------------------------------------------------------------===//
// The choice
//===--------------------------------------------------------------------===//

llvm::StringRef mambit::stringify(BitSums how) {
  switch (how) {
  case BitSums::automatic:
    return "auto";
  case BitSums::masks:
    return "masks";
  case BitSums::dots:
    return "dots";
  case BitSums::lookup:
    return "lookup";
  case BitSums::planes:
    return "planes";
  }
  llvm_unreachable("way without a name");
}

bool cpu::supports(const Target &target, BitSums how) {
  switch (how) {
  case BitSums::automatic:
  case BitSums::masks:
    return true;
  case BitSums::dots:
    return target.has(Capability::byteDotAccumulate512) ||
           target.has(Capability::byteDot512) ||
           target.has(Capability::byteDot256);
  case BitSums::lookup:
    return target.has(Capability::byteShuffle256) &&
           target.has(Capability::byteDot256);
  case BitSums::planes:
    return target.has(Capability::bitCount512);
  }
  llvm_unreachable("all ways are handled");
}

/// Vector instructions for a block of one row tile and one of some tokens,
/// which share what is made of the bits.
static double getCost(const Target &target, BitSums how, int64_t rows,
                      int64_t activationBits, double tokens) {
  int64_t planes = activationBits / 8;
  double vectors = 512.0 / target.vectorBits;
  double rowTiles = llvm::divideCeilSigned(rows, kTileRows);
  switch (how) {
  case BitSums::masks: // shift, and, negate; load, and, add
    return vectors * kBlockColumns * (3 / tokens + 3);
  case BitSums::dots: { // shift, and; multiply, add
    bool adds = target.has(Capability::byteDotAccumulate512);
    double unpack = adds && tokens == 1 ? 1 : 2;
    return vectors * 8 * (unpack / tokens + planes * (adds ? 1 : 2));
  }
  case BitSums::lookup: { // eight tables, for all rows
    // Those of several tokens are in the nearest cache for some rows; those of
    // one come from the next, by 32 bytes.
    bool alone = tokens == 1;
    if (target.has(Capability::wordPermute512)) { // shift, mask; look up, add
      double add = target.has(Capability::byteDotAccumulate512) ? 1 : 2;
      return 8 * 13 / rowTiles + (alone ? 8 : 0) + 8 / tokens + 4 * (1 + add);
    }
    double digits = planes + 1;
    return vectors * 8 * 20 / rowTiles + (alone ? 4 * digits : 0) +
           vectors * (6 / tokens + 5 * digits);
  }
  case BitSums::planes: // and, count, add
    return vectors * activationBits * 3;
  case BitSums::automatic:
    break;
  }
  llvm_unreachable("not a way");
}

BitSums cpu::chooseBitSums(const Target &target, int64_t rows,
                           int64_t activationBits, int64_t tokens) {
  auto cost = [&](BitSums how) {
    return getCost(target, how, rows, activationBits, double(tokens));
  };
  BitSums best = BitSums::masks;
  for (BitSums how : {BitSums::dots, BitSums::lookup, BitSums::planes})
    if (supports(target, how) && cost(how) < cost(best))
      best = how;
  return best;
}
