//===- WordLookup.cpp - sums of columns looked up as words --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The sums of four columns in 16 bits: two tables are a vector, in which a
// permutation looks up a pair of words for each of 16 rows. A dot product adds
// the pair to the sum of the row.
//
// The sums of four activations of 16 bits range over Σ |q|, which seldom needs
// more than 16 bits. Where it does, in some table of a block, the tables have
// half of the sums of its activations without their lowest bits, the product is
// by two, and the lowest bits are counted apart.
//
//===--------------------------------------------------------------------===//

#include "codegen/cpu/LookupSums.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::cpu;

/// Tables of a block, of which two are a vector.
static constexpr int64_t kTables = 8, kPairs = kTables / 2;
static constexpr int64_t kWords = 32; // of a vector

/// Bytes of the tables of a block, and of what is said about them.
static constexpr int64_t kTablesSize = kPairs * 64, kNoteSize = 8;
/// Added to sums that are not negative, so that words are signed.
static constexpr int64_t kOffset = -(1 << 15);

/// Blocks whose tables are in the nearest cache while some row tiles use them.
static constexpr int64_t kBlocks = 8;

namespace {
class WordLookup : public LookupSums {
public:
  WordLookup(KernelBuilder &b, const Target &target, int64_t activationBits,
             int64_t columns)
      : LookupSums(b, columns), target(target), wide(activationBits == 16) {}

  void emitTables(Val q, Val t, Val tile, Val tables, Val first,
                  Val tokens) final;
  Val emitToken(Val bits, Val rowTile, Val tables, Val t) final;
  int64_t getMostRowTiles() const final { return 16; }
  void emitTokens(Val bits, Val rowTile, Val rowTiles, Val tables, Val first,
                  Val tokens, int64_t mostTokens,
                  function_ref<void(Val, Val, Val)> body) final;

private:
  /// The tables of some tokens that lie together.
  struct Tables {
    Val buffer, first, tokens;
  };
  // Where in them things of a token are.
  Val getTable(const Tables &tables, Val block, Val token) {
    return (block * tables.tokens + token) * kTablesSize;
  }
  Val getNote(const Tables &tables, Val block, Val token) {
    return tables.tokens * (blocks * kTablesSize) +
           (block * tables.tokens + token) * kNoteSize;
  }
  Val getRest(const Tables &tables, Val tile, Val token) {
    return tables.tokens * (blocks * (kTablesSize + kNoteSize)) +
           (tile * tables.tokens + token) * 4;
  }
  Val loadWord(const Tables &tables, Val at);
  void storeWord(Val word, const Tables &tables, Val at);

  Vals getIndices(Val packed);
  Val lookUp(const Tables &tables, Val at, Val index);
  Val addProducts(Val acc, Val words, Val weights);
  /// The sums of some row tiles and tokens, on the stack.
  Val emitSums(Val bits, Val rowTile, Val rowTiles, int64_t most,
               const Tables &tables, int64_t mostTokens);
  /// Adds the sums of a block for `count` tokens from `token` on, to one or
  /// more accumulators of each in turn.
  Vals addBlock(Val packed, const Tables &tables, Val block, Val token,
                int64_t count, ArrayRef<Val> carried);

  const Target &target;
  /// Whether activations have 16 bits.
  bool wide;
};
} // namespace

std::unique_ptr<LookupSums> cpu::createWordLookup(KernelBuilder &b,
                                                  const Target &target,
                                                  int64_t activationBits,
                                                  int64_t columns) {
  return std::make_unique<WordLookup>(b, target, activationBits, columns);
}

Val WordLookup::loadWord(const Tables &tables, Val at) {
  Val bytes = b.load(tables.buffer, {tables.first, at}, 4);
  return b.extract(b.bitcast(bytes, b.vector(b.getI32Type(), 1)), 0);
}

void WordLookup::storeWord(Val word, const Tables &tables, Val at) {
  Val bytes = b.bitcast(b.broadcast(word, 1), b.vector(b.getI8Type(), 4));
  b.store(bytes, tables.buffer, {tables.first, at});
}

//===--------------------------------------------------------------------===//
// Tables
//===--------------------------------------------------------------------===//

/// The sums over the four columns of each table of half a block.
static Val addColumns(KernelBuilder &b, Val x) {
  x = b.slice(x, 0, 8) + b.slice(x, 8, 8);
  return b.slice(x, 0, 4) + b.slice(x, 4, 4);
}

void WordLookup::emitTables(Val q, Val t, Val tile, Val buffer, Val first,
                            Val tokens) {
  Tables tables{buffer, first, tokens};
  Val token = t - first, begin = tile * kTableBlocks;
  // Of every column and table alone, as vectors are not easily broadcast from.
  Type i32 = b.getI32Type();
  Val columns = b.scratch(kBlockColumns, i32, llvm::Align(64));
  Val bases = b.scratch(kTables, i32, llvm::Align(64));
  SmallVector<int64_t> inWords; // the columns, in the order of a row's bits
  for (int64_t bit = 0; bit < kBlockColumns; ++bit)
    inWords.push_back(bit % 8 * 4 + bit / 8);
  Vals entries;
  for (int64_t bit = 0; bit < 4; ++bit)
    entries.push_back(getEntries(bit));

  // What the words of all tables lack.
  Vals rest = b.loop(
      begin, min(begin + kTableBlocks, blocks), 1, {b.zeros(i32)},
      [&](Val block, ArrayRef<Val> carried) -> Vals {
        Vals x = {loadColumns(q, t, block, 0), loadColumns(q, t, block, 1)};
        Val lack = carried[0], halve;
        if (wide) {
          Val range = max(addColumns(b, max(x[0], 0 - x[0])),
                          addColumns(b, max(x[1], 0 - x[1])));
          range = b.reduce(range, [](Val a, Val c) { return max(a, c); });
          halve = b.toInteger(range, 32) >> 16; // 0 or 1
          Val low = b.shuffle(b.concat(x[0], x[1]) & halve, inWords);
          Val note = getNote(tables, block, token);
          storeWord((halve << 16) + halve + 0x10001, tables, note);
          b.store(b.bitcast(0 < low, b.vector(b.getI8Type(), 4)), tables.buffer,
                  {first, note + 4});
          lack = lack - ((kOffset / 2) << halve);
          for (Val &half : x)
            half = half - (half & halve);
        }
        for (int64_t half = 0; half < 2; ++half) {
          b.store(x[half], columns, {16 * half});
          if (!wide)
            continue;
          Val base = max(0 - x[half], 0);
          lack = lack - base;
          b.store(addColumns(b, base), bases, {4 * half});
        }
        Val at = getTable(tables, block, token);
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t j = 0; j < 4; ++j) {
            Val sums = wide ? b.broadcast(b.load(bases, {4 * half + j}))
                            : b.zeros(i32, kEntries);
            for (int64_t bit = 0; bit < 4; ++bit)
              sums = sums +
                     (b.broadcast(b.load(columns, {16 * half + 4 * bit + j})) &
                      entries[bit]);
            if (wide)
              sums = (sums >> halve) + kOffset;
            // Of bits 4·i on, and of those 16 further.
            int64_t i = 2 * j + half, pair = i % kPairs, second = i / kPairs;
            b.store(b.bitcast(b.toInteger(sums, 16),
                              b.vector(b.getI8Type(), 2 * kEntries)),
                    tables.buffer, {first, at + (pair * 64 + second * 32)});
          }
        return {lack};
      });
  if (wide)
    storeWord(b.sum(rest[0]), tables, getRest(tables, tile, token));
}

//===--------------------------------------------------------------------===//
// Look-ups
//===--------------------------------------------------------------------===//

/// Which words of each pair of tables the bits of a block select.
Vals WordLookup::getIndices(Val packed) {
  Vals indices;
  for (int64_t pair = 0; pair < kPairs; ++pair) {
    if (!target.has(Capability::bytePermute512)) {
      Val index = ((packed >> (4 * pair)) & 0x000f000f) | 0x00100000;
      indices.push_back(b.bitcast(index, b.vector(b.getI16Type(), kWords)));
      continue;
    }
    // The bytes of a word each, from eight bits of 64 from some bit on.
    SmallVector<int8_t> from;
    for (int64_t byte = 0; byte < 2 * kWords; ++byte)
      from.push_back((byte / 2 * 16 + 4 * pair - 1) & 63);
    Type i8 = b.vector(b.getI8Type(), 2 * kWords);
    Val bytes = b.intrinsic("llvm.x86.avx512.pmultishift.qb.512", i8,
                            {b.lanes(from), b.bitcast(packed, i8)});
    Val index = (b.bitcast(bytes, packed.getType()) & 0x1e1e1e1e) | 0x21200100;
    indices.push_back(b.bitcast(index, i8));
  }
  return indices;
}

Val WordLookup::lookUp(const Tables &tables, Val at, Val index) {
  Val pair = b.load(tables.buffer, {tables.first, at}, 2 * kWords);
  Type i16 = b.vector(b.getI16Type(), kWords);
  if (target.has(Capability::bytePermute512))
    return b.bitcast(b.intrinsic("llvm.x86.avx512.permvar.qi.512",
                                 pair.getType(), {pair, index}),
                     i16);
  return b.intrinsic("llvm.x86.avx512.permvar.hi.512", i16,
                     {b.bitcast(pair, i16), index});
}

/// acc + the sums of the products of pairs.
Val WordLookup::addProducts(Val acc, Val words, Val weights) {
  Type type = acc.getType();
  if (target.has(Capability::byteDotAccumulate512))
    return b.intrinsic("llvm.x86.avx512.vpdpwssd.512", type,
                       {acc, words, weights});
  return acc +
         b.intrinsic("llvm.x86.avx512.pmaddw.d.512", type, {words, weights});
}

Vals WordLookup::addBlock(Val packed, const Tables &tables, Val block,
                          Val token, int64_t count, ArrayRef<Val> carried) {
  Vals acc(carried), at, weights;
  Type i16 = b.vector(b.getI16Type(), kWords);
  for (int64_t i = 0; i < count; ++i) {
    at.push_back(getTable(tables, block, token + i));
    if (!wide)
      weights.push_back(b.constant(i16, 1));
    else
      weights.push_back(b.bitcast(
          b.broadcast(loadWord(tables, getNote(tables, block, token + i))),
          i16));
  }
  auto *next = acc.begin();
  for (auto [pair, index] : llvm::enumerate(getIndices(packed)))
    for (int64_t i = 0; i < count; ++i) {
      if (next == acc.end())
        next = acc.begin();
      Val words = lookUp(tables, at[i] + int64_t(pair * 64), index);
      *next = addProducts(*next, words, weights[i]);
      ++next;
    }
  return acc;
}

/// Where a row tile of a token has its sums.
static Val getSums(Val r, Val t, int64_t mostTokens) {
  return (r * mostTokens + t) * KernelBuilder::kLanes;
}

Val WordLookup::emitSums(Val bits, Val rowTile, Val rowTiles, int64_t most,
                         const Tables &tables, int64_t mostTokens) {
  Val tokens = tables.tokens;
  Val sums =
      b.scratch(most * mostTokens * kTileRows, b.getI32Type(), llvm::Align(64));
  auto loadSum = [&](Val r, Val t) {
    return b.load(sums, {getSums(r, t, mostTokens)}, kTileRows);
  };
  auto storeSum = [&](Val sum, Val r, Val t) {
    b.store(sum, sums, {getSums(r, t, mostTokens)});
  };
  auto loadBits = [&](Val r, Val block) {
    return b.load(bits, {rowTile + r, block, 0}, kTileRows);
  };

  b.loop(0, tokens, 1, [&](Val t) {
    Val rest = b.constant(b.getI32Type(), 0);
    for (int64_t tile = 0; wide && tile < numTableTiles(); ++tile)
      rest = rest + loadWord(tables, getRest(tables, b.index(tile), t));
    b.loop(0, rowTiles, 1, [&](Val r) { storeSum(b.broadcast(rest), r, t); });
  });
  b.loop(0, blocks, kBlocks, [&](Val begin) {
    Val end = min(begin + kBlocks, blocks);
    // As many tokens at once as there are, by powers of two.
    for (int64_t count = mostTokens; count > 0; count /= 2)
      b.loop(tokens - tokens % (2 * count), tokens - tokens % count, count,
             [&](Val t) {
               b.loop(0, rowTiles, 1, [&](Val r) {
                 // Enough accumulators to hide the latency.
                 Vals acc(std::max(count, kPairs), b.zeros(b.getI32Type()));
                 for (int64_t i = 0; i < count; ++i)
                   acc[i] = loadSum(r, t + i);
                 acc = b.loop(begin, end, 1, acc,
                              [&](Val block, ArrayRef<Val> carried) {
                                return addBlock(loadBits(r, block), tables,
                                                block, t, count, carried);
                              });
                 for (size_t i = count; i < acc.size(); ++i)
                   acc[i % count] = acc[i % count] + acc[i];
                 for (int64_t i = 0; i < count; ++i)
                   storeSum(acc[i], r, t + i);
               });
             });
    if (!wide)
      return;
    b.loop(begin, end, 1, [&](Val block) {
      b.loop(0, tokens, 1, [&](Val t) {
        Val low = loadWord(tables, getNote(tables, block, t) + 4);
        b.when(
            low == 0, [] {},
            [&] {
              b.loop(0, rowTiles, 1, [&](Val r) {
                Val count = countBits(loadBits(r, block) & low);
                storeSum(loadSum(r, t) + count, r, t);
              });
            });
      });
    });
  });
  return sums;
}

Val WordLookup::emitToken(Val bits, Val rowTile, Val buffer, Val t) {
  Val one = b.index(1);
  Val sums = emitSums(bits, rowTile, one, 1, {buffer, t, one}, 1);
  return b.load(sums, {0}, kTileRows);
}

void WordLookup::emitTokens(Val bits, Val rowTile, Val rowTiles, Val buffer,
                            Val first, Val tokens, int64_t mostTokens,
                            function_ref<void(Val, Val, Val)> body) {
  Val sums = emitSums(bits, rowTile, rowTiles, getMostRowTiles(),
                      {buffer, first, tokens}, mostTokens);
  b.loop(0, rowTiles, 1, [&](Val r) {
    b.loop(0, tokens, 1, [&](Val t) {
      Val sum = b.load(sums, {getSums(r, t, mostTokens)}, kTileRows);
      body(sum, rowTile + r, first + t);
    });
  });
}
