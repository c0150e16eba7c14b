//===- FusedLinear.cpp - a linear with its prologue and epilogue --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The product of quantised activations is exact in int32, by one of two
// strategies for the number of tokens that there are at run time:
//
// - Few: the prologue leaves the bits of the activations, a plane of them for
//   each, as words like the weights'; and.popc of bits counts for each plane
//   the weights that are set, and the counts are added up, each with the weight
//   of its plane. Weights are never unpacked.
// - Many: the prologue leaves digits of 8 bits. Weights become bytes 0 or 1 in
//   registers.
//
// Both have the same epilogue, so that a token's result is the same to the bit.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Kernels.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

namespace {
constexpr int64_t kTileRows = cuda::kTileRows;
/// Columns of a word of weights.
constexpr int64_t kBlock = 32;

class FusedLinear {
public:
  FusedLinear(SimtBuilder &b, mamba::FusedLinearOp op) : b(b), op(op) {
    k = cast<RankedTensorType>(op.getX().getType()).getDimSize(1);
    n = cast<RankedTensorType>(op.getY().getType()).getDimSize(1);
    binary = isa<mamba::BitsType>(op.getWeight().getType());
    bits = op.getActivationBits();
    quantised = bits < 32;
    blocks = llvm::divideCeilSigned(k, kBlock);
    rowTiles = llvm::divideCeilSigned(n, kTileRows);
    extent = op.getRows() ? plan::Dim::rows : plan::Dim::tokens;
    planes = quantised && b.targetHas(Capability::b1Mma);
  }

  void emit();

private:
  // Prologue.
  int64_t prologueThreads() const;
  void emitPrologue(Val t);
  Vals columns(ArrayRef<Val> init,
               function_ref<Vals(Val column, Val inside, ArrayRef<Val>)> body);
  void emitQuantise(Val t, Val largest, Val ints,
                    function_ref<Val(Val column, Val inside)> v);
  void storeDigits(Val t, Val column, Val q);
  void storePlanes(Val t, Val column, Val q);

  // Products.
  void emitIntegerProduct();
  void emitFew(Val rowBlock, Val sums);
  void emitMany(Val rowBlock, Val first, Val sums);
  void emitFloatProduct();

  // Epilogue, of one element.
  Val getActivation(Val t, Val column, bool ofPlanes);
  Val addZeros(Val sum, Val row, function_ref<Val(Val column)> term);
  void emitIntegerEpilogue(Val ones, Val row, Val t, bool ofPlanes);
  void emitEpilogue(Val sum, Val row, Val t);

  SimtBuilder &b;
  mamba::FusedLinearOp op;
  int64_t k, n, bits, blocks, rowTiles;
  bool binary, quantised;
  /// Whether few tokens are kept as planes of bits.
  bool planes;
  plan::Dim extent;
};

/// Tokens that count as few: those of one fragment of planes each.
constexpr int64_t kFewTokens = 8;
constexpr int64_t kThreads = 256, kWarps = kThreads / SimtBuilder::kWarp;
/// Rows of a block for few tokens; for many tokens one block in kManyBlocks
/// does the work of all, to read the activations less often.
constexpr int64_t kFewRows = 32, kManyBlocks = 4;
constexpr int64_t kManyRows = kFewRows * kManyBlocks, kManyTokens = 64;
} // namespace

void FusedLinear::emit() {
  // A dense product may be of the input itself.
  if (b.has("digits") || b.has("v") || b.has("tau"))
    b.phase("prologue", {{extent}}, prologueThreads(),
            [&](ArrayRef<Val> tile) { emitPrologue(tile[0]); });
  if (quantised)
    emitIntegerProduct();
  else
    emitFloatProduct();
}

//===--------------------------------------------------------------------===//
// Prologue
//===--------------------------------------------------------------------===//

/// Few columns a thread, for a token alone is waited for.
int64_t FusedLinear::prologueThreads() const {
  int64_t wanted = llvm::PowerOf2Ceil(llvm::divideCeilSigned(k, 8));
  return std::clamp<int64_t>(wanted, 64, 1024);
}

/// Covers the columns up to a multiple of 32, a block of them a warp. A lane
/// has the column whose bit of a word is its number, so that a ballot is a word
/// of a plane. `inside` is null where all columns are. A column that is not
/// inside is the last instead.
Vals FusedLinear::columns(ArrayRef<Val> init,
                          function_ref<Vals(Val, Val, ArrayRef<Val>)> body) {
  Val lane = b.lane(), inBlock = (lane % 8) * 4 + lane / 8;
  auto visit = [&](Val cb, bool whole, ArrayRef<Val> carried) {
    Val column = cb * kBlock + inBlock;
    return body(column, whole ? Val() : column < k, carried);
  };
  int64_t steps = llvm::divideCeilSigned(blocks, b.numWarps());
  int64_t whole = k / kBlock / b.numWarps();
  Vals carried(init);
  // Unrolled, what is read again stays in registers.
  constexpr int64_t kUnrolled = 16;
  if (steps <= kUnrolled) {
    for (int64_t i = 0; i < whole; ++i)
      carried = visit(b.warp() + i * b.numWarps(), true, carried);
  } else {
    carried = b.loop(
        b.warp(), whole * b.numWarps(), b.numWarps(), carried,
        [&](Val cb, ArrayRef<Val> inner) { return visit(cb, true, inner); });
  }
  if (whole < steps)
    carried = visit(b.warp() + whole * b.numWarps(), false, carried);
  return carried;
}

void FusedLinear::emitPrologue(Val t) {
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  Val floats = b.shared({b.numWarps()}, f32),
      ints = b.shared({b.numWarps()}, i32);
  auto plus = [](Val a, Val c) { return a + c; };
  int64_t groups = op.getNormGroups(), size = k / std::max<int64_t>(groups, 1);
  Val x = b.buffer("x");

  b.waitForPrevious();
  Val from = op.getRows() ? b.toIndex(b.load(b.buffer("rows"), {t})) : t;
  auto loadAt = [&](Val from, ArrayRef<Operand> row, Val column, Val inside) {
    SmallVector<Operand> at(row);
    at.push_back(inside ? min(column, k - 1) : column);
    Val value = b.load(from, at);
    return inside ? select(inside, value, 0.0) : value;
  };

  // 1 / sqrt(mean(x²) + eps) of each group.
  Val rstd = groups > 0 ? b.shared({groups}, f32) : Val(), single;
  b.loop(0, groups, 1, [&](Val group) {
    Val squares =
        columns({b.constant(f32, 0)},
                [&](Val column, Val inside, ArrayRef<Val> acc) -> Vals {
                  Val v = loadAt(x, {from}, column, inside);
                  if (groups > 1)
                    v = select(column / size == group, v, 0.0);
                  return {fma(v, v, acc[0])};
                })[0];
    Val mean = b.reduceBlock(squares, floats, plus) / double(size);
    single = 1.0 / sqrt(mean + op.getEps().convertToFloat());
    if (groups > 1)
      b.when(b.thread() == 0, [&] { b.store(single, rstd, {group}); });
  });
  if (groups > 1)
    b.barrier();

  auto normalised = [&](Val column, Val inside) {
    Val v = loadAt(x, {from}, column, inside);
    if (groups == 0)
      return v;
    if (groups == 1)
      return v * single;
    return v * b.load(rstd, {(inside ? min(column, k - 1) : column) / size});
  };
  auto weighted = [&](Val column, Val inside) {
    Val v = normalised(column, inside);
    if (!op.getNormWeight())
      return v;
    return v * loadAt(b.buffer("norm_weight"), {}, column, inside);
  };

  // One pass for what needs the whole vector: τ, and the largest magnitude.
  Val zero = b.constant(f32, 0);
  bool shifted = bool(op.getShiftWeight());
  Vals totals = columns(
      {zero, zero}, [&](Val column, Val inside, ArrayRef<Val> acc) -> Vals {
        Val tau = acc[0], largest = acc[1];
        Val v = weighted(column, inside);
        if (shifted)
          tau = fma(normalised(column, inside),
                    loadAt(b.buffer("shift_weight"), {}, column, inside), tau);
        if (quantised) {
          largest = max(abs(v), largest);
        } else if (b.has("v")) {
          auto keep = [&] { b.store(v, b.buffer("v"), {t, column}); };
          if (inside)
            b.when(inside, keep);
          else
            keep();
        }
        return {tau, largest};
      });
  if (shifted) {
    Val tau = b.reduceBlock(totals[0], floats, plus);
    b.when(b.thread() == 0, [&] { b.store(tau, b.buffer("tau"), {t}); });
  }
  if (quantised)
    emitQuantise(t,
                 b.reduceBlock(totals[1], floats,
                               [](Val a, Val c) { return max(a, c); }),
                 ints, weighted);
}

/// As `mamba.quantize` defines it, to the last bit.
void FusedLinear::emitQuantise(Val t, Val largest, Val ints,
                               function_ref<Val(Val, Val)> v) {
  int64_t top = mamba::QuantizeOp::getTop(bits);
  Val inverse = double(top) / largest;
  // Neither zero nor so small that its inverse is infinite.
  Val usable = inverse < std::numeric_limits<float>::infinity();
  inverse = select(usable, inverse, 0.0);

  Val few = b.extent(extent) < kFewTokens + 1;
  Val sum = columns({b.constant(b.getI32Type(), 0)},
                    [&](Val column, Val inside, ArrayRef<Val> acc) -> Vals {
                      Val rounded = roundEven(v(column, inside) * inverse);
                      Val q = b.toInteger(
                          max(min(rounded, double(top)), -double(top)), 32);
                      // Of the blocks that are not whole, some have no columns
                      // at all.
                      auto keep = [&] {
                        if (planes)
                          b.when(
                              few, [&] { storePlanes(t, column, q); },
                              [&] { storeDigits(t, column, q); });
                        else
                          storeDigits(t, column, q);
                      };
                      if (inside)
                        b.when(column < blocks * kBlock, keep);
                      else
                        keep();
                      return {acc[0] + q};
                    })[0];
  sum = b.reduceBlock(sum, ints, [](Val a, Val c) { return a + c; });
  b.when(b.thread() == 0, [&] {
    b.store(select(usable, largest / double(top), 0.0), b.buffer("scale"), {t});
    b.store(sum, b.buffer("qsum"), {t});
  });
}

/// q = 256 · high + low, low in -128 … 127.
void FusedLinear::storeDigits(Val t, Val column, Val q) {
  Val digits = b.buffer("digits"), low = b.toInteger(q, 8);
  b.store(low, digits, {t, 0, column});
  if (bits == 16)
    b.store(b.toInteger((q - b.toInteger(low, 32)) >> 8, 8), digits,
            {t, 1, column});
}

/// The words of all planes of a block lie together; lane p writes plane p's.
void FusedLinear::storePlanes(Val t, Val column, Val q) {
  Val mine = b.constant(b.getI32Type(), 0);
  for (int64_t plane = 0; plane < bits; ++plane) {
    Val word = b.ballot(((q >> plane) & 1) == 1);
    mine = select(b.lane() == plane, word, mine);
  }
  Val block = column / kBlock;
  b.when(b.lane() < bits, [&] {
    b.storeWord(mine, b.buffer("digits"), t, (block * bits + b.lane()) * 4);
  });
}

//===--------------------------------------------------------------------===//
// Products in integers
//===--------------------------------------------------------------------===//

void FusedLinear::emitIntegerProduct() {
  b.phase("matmul", {{extent, 0, kManyTokens}, {plan::Dim::none, n, kFewRows}},
          kThreads, [&](ArrayRef<Val> tile) {
            // Of many tokens, or of few a row for each token and warp. A row is
            // longer than it need be, against conflicts of banks.
            static_assert(kFewTokens * kWarps <= kManyTokens);
            Val sums = b.shared({kManyTokens, kManyRows + 4}, b.getI32Type());
            auto many = [&] {
              b.waitForPrevious();
              b.when(tile[1] % kManyBlocks == 0,
                     [&] { emitMany(tile[1], tile[0] * kManyTokens, sums); });
            };
            if (!planes)
              return many();
            b.when(
                b.extent(extent) < kFewTokens + 1,
                [&] { emitFew(tile[1], sums); }, many);
          });
}

/// Each warp counts some of the columns of two row tiles. A lane's 16 bytes are
/// four rows of one block of columns: two fragments of weights, a and c.
void FusedLinear::emitFew(Val rowBlock, Val sums) {
  constexpr int64_t kStep = 8; // blocks of columns of a fragment
  Val weight = b.buffer("weight"), digits = b.buffer("digits");
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val rowTile = min(rowBlock * 2 + g / 4, rowTiles - 1), rows = g % 4 * 4;
  Val count = b.extent(extent);
  Type i32 = b.getI32Type();

  int64_t steps = llvm::divideCeilSigned(blocks, kStep);
  int64_t perWarp = llvm::divideCeilSigned(steps, kWarps);
  int64_t group = std::min<int64_t>(perWarp, 4);
  bool whole = perWarp * kWarps * kStep == blocks;

  auto blockOf = [&](Val step, int64_t half) {
    return (step * kWarps + b.warp()) * kStep + (inQuad + 4 * half);
  };
  auto clamped = [&](Val block) {
    return whole ? block : min(block, blocks - 1);
  };
  auto loadWeights = [&](Val from) {
    Vals words;
    for (int64_t i = 0; i < group; ++i)
      for (int64_t half = 0; half < 2; ++half) {
        Val block = blockOf(from + i, half);
        Val w =
            b.load(weight, {rowTile, clamped(block), rows}, 4, llvm::Align(16));
        if (!whole)
          w = select(block < blocks, w, b.zeros(i32, 4));
        words.push_back(w);
      }
    return words;
  };
  auto countToken = [&](Val t, Val from, ArrayRef<Val> words, bool isFirst) {
    // By fragment of weights and by eight planes.
    SmallVector<Vals> acc(2 * (bits / 8), Vals(4, b.constant(i32, 0)));
    for (int64_t i = 0; i < group; ++i) {
      Val low = words[2 * i], high = words[2 * i + 1];
      for (int64_t eight = 0; eight < bits / 8; ++eight) {
        Vals x;
        for (int64_t half = 0; half < 2; ++half) {
          Val block = clamped(blockOf(from + i, half));
          Val byte = (block * bits + eight * 8 + g) * 4;
          x.push_back(b.extract(b.loadWords(digits, t, byte, 1), 0));
        }
        for (int64_t f = 0; f < 2; ++f) {
          Vals a = {b.extract(low, 2 * f), b.extract(low, 2 * f + 1),
                    b.extract(high, 2 * f), b.extract(high, 2 * f + 1)};
          Vals &sum = acc[2 * eight + f];
          sum = b.mmaBits(a, x, sum);
        }
      }
    }
    // A lane has planes 2·inQuad and the next; the last plane of all is
    // negative. Then the four lanes of a row add up.
    Val shift = b.toInteger(inQuad * 2, 32);
    Val even = b.constant(i32, 1) << shift, odd = even << 1;
    Val mine;
    for (int64_t row = 0; row < 4; ++row) {
      Val sum = b.constant(i32, 0);
      for (int64_t eight = 0; eight < bits / 8; ++eight) {
        Val weightOfOdd = odd << (8 * eight);
        if (eight == bits / 8 - 1)
          weightOfOdd = select(inQuad == 3, 0 - weightOfOdd, weightOfOdd);
        const Vals &counts = acc[2 * eight + row / 2];
        sum = sum + counts[row % 2 * 2] * (even << (8 * eight)) +
              counts[row % 2 * 2 + 1] * weightOfOdd;
      }
      sum = b.reduceLanes(sum, [](Val a, Val c) { return a + c; }, 1, 4);
      mine = row == 0 ? sum : select(inQuad == row, sum, mine);
    }
    SmallVector<Operand> at = {t * kWarps + b.warp(), b.lane()};
    b.store(isFirst ? mine : b.load(sums, at) + mine, sums, at);
  };

  Val zero = b.index(0);
  Vals words = loadWeights(zero);
  b.waitForPrevious();
  b.loop(0, count, 1, [&](Val t) { countToken(t, zero, words, true); });
  b.loop(group, perWarp, group, [&](Val from) {
    Vals more = loadWeights(from);
    b.loop(0, count, 1, [&](Val t) { countToken(t, from, more, false); });
  });
  b.barrier();

  Val t = b.warp(), row = rowBlock * kFewRows + b.lane();
  b.when(t < count, [&] {
    b.when(row < n, [&] {
      Val sum = b.load(sums, {t * kWarps, b.lane()});
      for (int64_t warp = 1; warp < kWarps; ++warp)
        sum = sum + b.load(sums, {t * kWarps + warp, b.lane()});
      emitIntegerEpilogue(sum, row, t, true);
    });
  });
}

/// A warp makes 32 rows of 32 tokens. The digits go through shared memory, 64
/// columns at a time. The order of columns in a fragment is ours to choose: a
/// lane has 16 adjacent ones, half a block.
void FusedLinear::emitMany(Val rowBlock, Val first, Val sums) {
  constexpr int64_t kColumns = 64, kWarpRows = 4; // warps along the rows
  int64_t numDigits = bits / 8, steps = llvm::divideCeilSigned(blocks, 2);
  Type i32 = b.getI32Type();
  Val weight = b.buffer("weight"), digits = b.buffer("digits");
  Val end = b.extent(extent);
  Val g = b.lane() / 4, inQuad = b.lane() % 4;
  Val firstTile = rowBlock * 2 + b.warp() % kWarpRows * 2;
  Val firstToken = b.warp() / kWarpRows * 32;

  Val tile = b.shared({numDigits, kManyTokens, kColumns / 4}, i32);

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
  Val inTile = b.thread() % kManyRows, row = rowBlock * kFewRows + inTile;
  b.when(row < n, [&] {
    b.loop(b.thread() / kManyRows, min(end - first, kManyTokens),
           kThreads / kManyRows, [&](Val t) {
             emitIntegerEpilogue(b.load(sums, {t, inTile}), row, first + t,
                                 false);
           });
  });
}

//===--------------------------------------------------------------------===//
// Products in f32
//===--------------------------------------------------------------------===//

void FusedLinear::emitFloatProduct() {
  // Tiles of the same weights follow each other, to read them from the cache.
  b.phase("matmul",
          {{plan::Dim::none, rowTiles}, {extent, 0, cuda::kFloatTokens}},
          cuda::kFloatThreads, [&](ArrayRef<Val> tile) {
            b.waitForPrevious();
            Val v = b.buffer(b.has("v") ? "v" : "x");
            Val first = tile[1] * cuda::kFloatTokens;
            Val end = min(first + cuda::kFloatTokens, b.extent(extent));
            auto epilogue = [&](Val row, Val t, Val sum) {
              b.when(row < n, [&] {
                if (binary)
                  sum = addZeros(sum, row, [&](Val column) {
                    return b.load(v, {t, column});
                  });
                emitEpilogue(sum, row, t);
              });
            };
            if (binary)
              cuda::emitSignedSums(b, b.buffer("weight"), tile[0], v, k, first,
                                   end, epilogue);
            else
              cuda::emitDenseSums(b, b.buffer("weight"), tile[0], v, k, first,
                                  end, epilogue);
          });
}

//===--------------------------------------------------------------------===//
// Epilogue
//===--------------------------------------------------------------------===//

/// The quantised activation of a column, put together again.
Val FusedLinear::getActivation(Val t, Val column, bool ofPlanes) {
  Val digits = b.buffer("digits");
  if (!ofPlanes) {
    Val q = b.toInteger(b.load(digits, {t, 0, column}), 32);
    if (bits == 16)
      q = q + (b.toInteger(b.load(digits, {t, 1, column}), 32) << 8);
    return q;
  }
  Val inBlock = column % kBlock;
  Val bit = b.toInteger(inBlock % 4 * 8 + inBlock / 4, 32);
  Val q = b.constant(b.getI32Type(), 0);
  for (int64_t plane = 0; plane < bits; ++plane) {
    Val byte = (column / kBlock * bits + plane) * 4;
    Val word = b.extract(b.loadWords(digits, t, byte, 1), 0);
    Val value = ((word >> bit) & 1) << plane;
    q = plane == bits - 1 ? q - value : q + value;
  }
  return q;
}

/// A zero's bit is 0 as if the sign were -1: gives back what that took.
Val FusedLinear::addZeros(Val sum, Val row,
                          function_ref<Val(Val column)> term) {
  Val zeros = b.buffer("weight.zeros"), rowTile = row / kTileRows;
  Val begin = b.toIndex(b.load(zeros, {rowTile}));
  Val end = b.toIndex(b.load(zeros, {rowTile + 1}));
  return b.loop(begin, end, 1, {sum},
                [&](Val entry, ArrayRef<Val> acc) -> Vals {
                  Val at = entry * 2 + (rowTiles + 1);
                  Val column = b.toIndex(b.load(zeros, {at + 1}));
                  return {select(b.toIndex(b.load(zeros, {at})) == row,
                                 acc[0] + term(column), acc[0])};
                })[0];
}

void FusedLinear::emitIntegerEpilogue(Val ones, Val row, Val t, bool ofPlanes) {
  // A bit says 1 or 0 for a sign of 1 or -1.
  Val exact = (ones << 1) - b.load(b.buffer("qsum"), {t});
  exact = addZeros(exact, row, [&](Val column) {
    return getActivation(t, column, ofPlanes);
  });
  emitEpilogue(b.toF32(exact) * b.load(b.buffer("scale"), {t}), row, t);
}

/// Row scale, shift, bias and residual, and the store.
void FusedLinear::emitEpilogue(Val sum, Val row, Val t) {
  auto ofRow = [&](StringRef name) {
    return b.has(name) ? b.load(b.buffer(name), {row}) : Val();
  };
  Val y = sum;
  if (Val scale = ofRow("row_scale"))
    y = scale * y;
  if (op.getShiftWeight()) {
    Val tau = b.load(b.buffer("tau"), {t});
    Val shift = ofRow("row_shift");
    y = y + (shift ? shift * tau : tau);
  }
  if (Val bias = ofRow("bias"))
    y = y + bias;
  if (op.getResidual())
    y = y + b.load(b.buffer("residual"), {t, row});
  b.store(y, b.buffer("y"), {t, row});
}

void cuda::emitFusedLinear(SimtBuilder &b, mamba::FusedLinearOp op) {
  FusedLinear(b, op).emit();
}
