//===- FusedLinear.cpp - a linear with its prologue and epilogue --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/LookupSums.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::cpu;

static constexpr int64_t kTileRows = 16;
/// Row tiles that a tile of the matmul has: work enough to be worth the call.
static constexpr int64_t kRowTiles = 4;
/// Tokens whose tables lie together.
static constexpr int64_t kTableTokens = 8;

namespace {
class FusedLinear {
public:
  FusedLinear(KernelBuilder &b, mamba::FusedLinearOp op, const Target &target,
              BitSums how)
      : b(b), op(op), target(target) {
    k = cast<RankedTensorType>(op.getX().getType()).getDimSize(1);
    n = cast<RankedTensorType>(op.getY().getType()).getDimSize(1);
    binary = isa<mamba::BitsType>(op.getWeight().getType());
    quantised = op.getActivationBits() < 32;
    extent = op.getRows() ? plan::Dim::rows : plan::Dim::tokens;
    auto choose = [&](int64_t tokens) {
      if (!binary || !quantised)
        return BitSums::automatic; // there is one way
      if (how != BitSums::automatic)
        return how;
      return chooseBitSums(target, n, op.getActivationBits(), tokens);
    };
    one = choose(1);
    many = choose(kTableTokens);
  }

  void emit();

private:
  // Prologue.
  void emitPrologue(Val t);
  Val emitNorm(Val x, Val from);
  void emitQuantise(Val t, Val largest, function_ref<Val(Val, Val, int64_t)> v);
  Vals
  groups(ArrayRef<Val> init,
         function_ref<Vals(Val group, Val column, int64_t lanes, ArrayRef<Val>)>
             body);

  // Matmul.
  void emitPreparation(BitSums how, const Condition &condition);
  void emitTablesPhase(const Condition &condition);
  void emitPlanesPhase(const Condition &condition);
  void emitLookupPhase(const Condition &condition);
  void emitSharedLookupPhase(const Condition &condition);
  Val tokensFrom(Val first);
  std::unique_ptr<LookupSums> getLookup() {
    return LookupSums::create(b, target, op.getActivationBits(), k);
  }
  void emitMatmulPhase(StringRef name, BitSums how, const Condition &condition);
  void emitMatmul(Val rowTile, ArrayRef<Val> tokens, BitSums how);
  Vals emitIntegerSums(Val rowTile, ArrayRef<Val> tokens, BitSums how);
  Val scaleSum(Val sum, Val rowTile, Val t);
  Vals emitFloatSums(Val rowTile, ArrayRef<Val> tokens);
  Vals emitDenseSums(Val rowTile, ArrayRef<Val> tokens);
  Val addZeros(Val sum, Val rowTile, function_ref<Val(Val column)> term);
  void emitEpilogue(ArrayRef<Val> sums, Val rowTile, ArrayRef<Val> tokens);
  void emitEpilogue(Val sum, Val rowTile, Val t, int64_t rows);

  KernelBuilder &b;
  mamba::FusedLinearOp op;
  const Target &target;
  int64_t k, n;
  bool binary, quantised;
  plan::Dim extent;
  /// How the sums of one token are made, and those of more.
  BitSums one, many;
};
} // namespace

void FusedLinear::emit() {
  // A dense product may be of the input itself.
  if (b.has("digits") || b.has("v") || b.has("tau"))
    b.phase("prologue", {{extent}},
            [&](ArrayRef<Val> tile) { emitPrologue(tile[0]); });

  Condition single = Condition::between(extent, 1, 1);
  Condition several = Condition::moreThan(extent, 1);
  if (one == many) {
    emitPreparation(one, {});
    if (one != BitSums::lookup)
      return emitMatmulPhase("matmul", one, {});
  } else {
    emitPreparation(one, single);
    emitPreparation(many, several);
  }
  if (one == BitSums::lookup)
    emitLookupPhase(single);
  else
    emitMatmulPhase("matmul_one", one, single);
  if (many == BitSums::lookup)
    emitSharedLookupPhase(several);
  else
    emitMatmulPhase("matmul_many", many, several);
}

//===--------------------------------------------------------------------===//
// Prologue
//===--------------------------------------------------------------------===//

/// Covers the columns by vectors that do not cross the groups of the norm.
Vals FusedLinear::groups(
    ArrayRef<Val> init,
    function_ref<Vals(Val, Val, int64_t, ArrayRef<Val>)> body) {
  int64_t count = std::max<int64_t>(op.getNormGroups(), 1), size = k / count;
  return b.loop(0, count, 1, init, [&](Val group, ArrayRef<Val> outer) {
    return b.chunks(size, outer,
                    [&](Val i, int64_t lanes, ArrayRef<Val> inner) {
                      return body(group, group * size + i, lanes, inner);
                    });
  });
}

/// 1 / sqrt(mean(x²) + eps) of each group, on the stack.
Val FusedLinear::emitNorm(Val x, Val from) {
  int64_t count = op.getNormGroups(), size = k / count;
  Val rstd = b.scratch(count, b.getF32Type());
  b.loop(0, count, 1, [&](Val group) {
    Vals squares =
        b.chunks(size, {b.zeros(b.getF32Type())},
                 [&](Val i, int64_t lanes, ArrayRef<Val> acc) -> Vals {
                   Val v = b.pad(b.load(x, {from, group * size + i}, lanes), 0);
                   return {fma(v, v, acc[0])};
                 });
    Val mean = b.sum(squares[0]) / double(size);
    Val root = sqrt(mean + op.getEps().convertToFloat());
    b.store(1.0 / root, rstd, {group});
  });
  return rstd;
}

void FusedLinear::emitPrologue(Val t) {
  Val x = b.buffer("x");
  Val from = op.getRows() ? b.toIndex(b.load(b.buffer("rows"), {t})) : t;
  Val rstd = op.getNormGroups() > 0 ? emitNorm(x, from) : Val();

  auto normalised = [&](Val group, Val column, int64_t lanes) {
    Val xh = b.load(x, {from, column}, lanes);
    return rstd ? xh * b.load(rstd, {group}) : xh;
  };
  auto weighted = [&](Val group, Val column, int64_t lanes) {
    Val v = normalised(group, column, lanes);
    if (!op.getNormWeight())
      return v;
    return v * b.load(b.buffer("norm_weight"), {column}, lanes);
  };

  // One pass for what needs the whole vector: τ, and the largest magnitude.
  bool shifted = bool(op.getShiftWeight());
  Type i32 = b.getI32Type();
  Vals totals = groups(
      {b.zeros(b.getF32Type()), b.zeros(i32)},
      [&](Val group, Val column, int64_t lanes, ArrayRef<Val> acc) -> Vals {
        Val tau = acc[0], largest = acc[1];
        Val v = weighted(group, column, lanes);
        if (shifted)
          tau = fma(b.pad(normalised(group, column, lanes), 0),
                    b.pad(b.load(b.buffer("shift_weight"), {column}, lanes), 0),
                    tau);
        // Magnitudes are ordered as their bits are, and what is no number is
        // above all.
        if (quantised)
          largest = max(b.bitcast(b.pad(abs(v), 0), b.vector(i32)), largest);
        else if (b.has("v"))
          b.store(v, b.buffer("v"), {t, column});
        return {tau, largest};
      });
  if (shifted)
    b.store(b.sum(totals[0]), b.buffer("tau"), {t});
  if (quantised) {
    Val largest = b.reduce(totals[1], [](Val a, Val c) { return max(a, c); });
    emitQuantise(t, b.bitcast(largest, b.getF32Type()), weighted);
  }
}

/// As `mamba.quantize` defines it, to the last bit.
void FusedLinear::emitQuantise(Val t, Val largest,
                               function_ref<Val(Val, Val, int64_t)> v) {
  Val digits = b.buffer("digits");
  int64_t top = mamba::QuantizeOp::getTop(op.getActivationBits());
  Val inverse = double(top) / largest;
  // Neither zero nor so small that its inverse is infinite.
  Val usable = inverse < std::numeric_limits<float>::infinity();
  inverse = select(usable, inverse, 0.0);
  // What is no number stays none.
  b.store(select(usable, largest / double(top), largest * 0.0),
          b.buffer("scale"), {t});

  Vals sum = groups(
      {b.zeros(b.getI32Type())},
      [&](Val group, Val column, int64_t lanes, ArrayRef<Val> acc) -> Vals {
        Val rounded = roundEven(v(group, column, lanes) * inverse);
        Val clamped = max(min(rounded, double(top)), double(-top));
        Val q = b.toInteger(clamped, 32);
        // The low digit is the low byte as a signed number.
        Val low = b.toInteger(q, 8);
        b.store(low, digits, {t, 0, column});
        if (op.getActivationBits() == 16) {
          Val high = (q - b.toInteger(low, 32)) >> 8;
          b.store(b.toInteger(high, 8), digits, {t, 1, column});
        }
        return {acc[0] + b.pad(q, 0)};
      });
  b.store(b.sum(sum[0]), b.buffer("qsum"), {t});

  auto type = cast<MemRefType>(digits.getType());
  if (int64_t padding = type.getDimSize(2) - k)
    for (int64_t plane = 0; plane < type.getDimSize(1); ++plane)
      b.store(b.zeros(b.getI8Type(), padding), digits, {t, plane, k});
}

//===--------------------------------------------------------------------===//
// Matmul
//===--------------------------------------------------------------------===//

/// A phase that needs no tables.
void FusedLinear::emitMatmulPhase(StringRef name, BitSums how,
                                  const Condition &condition) {
  int64_t rowTiles = llvm::divideCeilSigned(n, kTileRows);
  // As many tokens as there are registers for their accumulators.
  int64_t block = quantised ? 4 : target.vectorRegisters / 8;
  b.phase(
      name, {{plan::Dim::none, rowTiles, kRowTiles}, {extent, 0, block}},
      [&](ArrayRef<Val> tile) {
        Val first = tile[1] * block, end = b.extent(extent);
        Vals tokens;
        for (int64_t i = 0; i < block; ++i)
          tokens.push_back(first + i);
        Val row = tile[0] * kRowTiles;
        b.loop(row, min(row + kRowTiles, rowTiles), 1, [&](Val rowTile) {
          b.when(
              tokens.back() < end, [&] { emitMatmul(rowTile, tokens, how); },
              [&] {
                b.loop(first, end, 1,
                       [&](Val t) { emitMatmul(rowTile, {t}, how); });
              });
        });
      },
      condition);
}

/// The number of tokens whose tables lie together, from `first` on.
Val FusedLinear::tokensFrom(Val first) {
  return min(first + kTableTokens, b.extent(extent)) - first;
}

/// What is made of the activations for all rows, where there is such.
void FusedLinear::emitPreparation(BitSums how, const Condition &condition) {
  if (how == BitSums::lookup)
    emitTablesPhase(condition);
  else if (how == BitSums::planes)
    emitPlanesPhase(condition);
}

void FusedLinear::emitPlanesPhase(const Condition &condition) {
  b.phase(
      "planes", {{extent}},
      [&](ArrayRef<Val> tile) {
        emitBitPlanes(b, b.buffer("digits"), tile[0], b.buffer("tables"));
      },
      condition);
}

void FusedLinear::emitTablesPhase(const Condition &condition) {
  auto lookup = getLookup();
  b.phase(
      "tables", {{extent}, {plan::Dim::none, lookup->numTableTiles()}},
      [&](ArrayRef<Val> tile) {
        Val t = tile[0], first = t / kTableTokens * kTableTokens;
        lookup->emitTables(b.buffer("digits"), t, tile[1], b.buffer("tables"),
                           first, tokensFrom(first));
      },
      condition);
}

void FusedLinear::emitLookupPhase(const Condition &condition) {
  auto lookup = getLookup();
  b.phase(
      "matmul_one", {{plan::Dim::none, llvm::divideCeilSigned(n, kTileRows)}},
      [&](ArrayRef<Val> tile) {
        Val t = b.index(0);
        Val sum = lookup->emitToken(b.buffer("weight"), tile[0],
                                    b.buffer("tables"), t);
        emitEpilogue(scaleSum(sum, tile[0], t), tile[0], t);
      },
      condition);
}

/// The tokens innermost, so that what is unpacked of the bits, and the tables
/// of a block of columns, stay in the nearest cache.
void FusedLinear::emitSharedLookupPhase(const Condition &condition) {
  auto lookup = getLookup();
  int64_t rowTiles = llvm::divideCeilSigned(n, kTileRows);
  // Tiles of many rows use what they read longer, but threads want several.
  int64_t atOnce =
      std::min(std::max(rowTiles / 16, kRowTiles), lookup->getMostRowTiles());
  b.phase(
      "matmul_many",
      {{extent, 0, kTableTokens}, {plan::Dim::none, rowTiles, atOnce}},
      [&](ArrayRef<Val> tile) {
        Val first = tile[0] * kTableTokens, row = tile[1] * atOnce;
        Val rows = min(row + atOnce, rowTiles) - row;
        lookup->emitTokens(
            b.buffer("weight"), row, rows, b.buffer("tables"), first,
            tokensFrom(first), kTableTokens, [&](Val sum, Val rowTile, Val t) {
              emitEpilogue(scaleSum(sum, rowTile, t), rowTile, t);
            });
      },
      condition);
}

/// One row tile of some tokens, with the epilogue.
void FusedLinear::emitMatmul(Val rowTile, ArrayRef<Val> tokens, BitSums how) {
  emitEpilogue(!binary     ? emitDenseSums(rowTile, tokens)
               : quantised ? emitIntegerSums(rowTile, tokens, how)
                           : emitFloatSums(rowTile, tokens),
               rowTile, tokens);
}

void FusedLinear::emitEpilogue(ArrayRef<Val> sums, Val rowTile,
                               ArrayRef<Val> tokens) {
  auto epilogue = [&](int64_t rows) {
    for (auto [sum, t] : llvm::zip(sums, tokens))
      emitEpilogue(sum, rowTile, t, rows);
  };
  if (n % kTileRows == 0)
    epilogue(kTileRows);
  else
    b.when(
        rowTile < n / kTileRows, [&] { epilogue(kTileRows); },
        [&] { epilogue(n % kTileRows); });
}

Vals FusedLinear::emitIntegerSums(Val rowTile, ArrayRef<Val> tokens,
                                  BitSums how) {
  Val bits = b.buffer("weight"), digits = b.buffer("digits");
  Vals totals =
      how == BitSums::dots
          ? emitBitSumsByDots(b, target, bits, rowTile, digits, tokens)
      : how == BitSums::planes
          ? emitBitSumsByPlanes(b, bits, rowTile, b.buffer("tables"),
                                op.getActivationBits() / 8, tokens)
          : emitBitSumsByMasks(b, bits, rowTile, digits, tokens);
  for (auto [sum, t] : llvm::zip(totals, tokens))
    sum = scaleSum(sum, rowTile, t);
  return totals;
}

/// scale · Σ sign · q; the sum in int32, exact. A bit says 1 or 0 for a sign of
/// 1 or -1.
Val FusedLinear::scaleSum(Val sum, Val rowTile, Val t) {
  Val digits = b.buffer("digits");
  Val exact = (sum << 1) - b.load(b.buffer("qsum"), {t});
  exact = addZeros(exact, rowTile, [&](Val column) {
    Val q = b.toInteger(b.load(digits, {t, 0, column}), 32);
    if (op.getActivationBits() == 16)
      q = q + (b.toInteger(b.load(digits, {t, 1, column}), 32) << 8);
    return q;
  });
  return b.toF32(exact) * b.load(b.buffer("scale"), {t});
}

/// Σ sign · v.
Vals FusedLinear::emitFloatSums(Val rowTile, ArrayRef<Val> tokens) {
  Val v = b.buffer("v");
  Vals sums = emitSignedSums(b, b.buffer("weight"), rowTile, v, k, tokens);
  for (auto [sum, token] : llvm::zip(sums, tokens)) {
    Val t = token;
    sum = addZeros(sum, rowTile,
                   [&](Val column) { return b.load(v, {t, column}); });
  }
  return sums;
}

/// A zero's bit is 0 as if the sign were -1: gives back what that took.
Val FusedLinear::addZeros(Val sum, Val rowTile,
                          function_ref<Val(Val column)> term) {
  Val zeros = b.buffer("weight.zeros");
  int64_t rowTiles = llvm::divideCeilSigned(n, kTileRows);
  Val lane = b.lanes(llvm::to_vector(llvm::seq<int32_t>(0, kTileRows)));
  Val begin = b.toIndex(b.load(zeros, {rowTile}));
  Val end = b.toIndex(b.load(zeros, {rowTile + 1}));
  return b.loop(begin, end, 1, {sum},
                [&](Val entry, ArrayRef<Val> acc) -> Vals {
                  Val at = entry * 2 + (rowTiles + 1);
                  Val row = b.load(zeros, {at}) % kTileRows;
                  Val column = b.toIndex(b.load(zeros, {at + 1}));
                  return {select(lane == row, acc[0] + term(column), acc[0])};
                })[0];
}

/// Σ w · v, even and odd columns apart: two chains of sums for each token.
Vals FusedLinear::emitDenseSums(Val rowTile, ArrayRef<Val> tokens) {
  Val weight = b.buffer("weight"), v = b.buffer(b.has("v") ? "v" : "x");
  auto column = [&](Val at, int64_t chain, Vals &acc) {
    Val w = b.toF32(b.load(weight, {rowTile, at, 0}, kTileRows));
    for (auto [i, t] : llvm::enumerate(tokens)) {
      Val &sum = acc[2 * i + chain];
      sum = fma(w, b.load(v, {t, at}), sum);
    }
  };
  Vals acc(2 * tokens.size(), b.zeros(b.getF32Type()));
  acc = b.loop(0, k - k % 2, 2, acc, [&](Val at, ArrayRef<Val> carried) {
    Vals next(carried);
    column(at, 0, next);
    column(at + 1, 1, next);
    return next;
  });
  if (k % 2 != 0)
    column(b.index(k - 1), 0, acc);
  Vals sums;
  for (size_t i = 0; i < tokens.size(); ++i)
    sums.push_back(acc[2 * i] + acc[2 * i + 1]);
  return sums;
}

/// Row scale, shift, bias and residual of the first `rows` lanes, and the
/// store.
void FusedLinear::emitEpilogue(Val sum, Val rowTile, Val t, int64_t rows) {
  Val row = rowTile * kTileRows;
  auto ofRows = [&](StringRef name) {
    return b.has(name) ? b.load(b.buffer(name), {row}, rows) : Val();
  };
  Val y = rows == kTileRows ? sum : b.slice(sum, 0, rows);
  if (Val scale = ofRows("row_scale"))
    y = scale * y;
  if (op.getShiftWeight()) {
    Val tau = b.load(b.buffer("tau"), {t});
    Val shift = ofRows("row_shift");
    y = y + (shift ? shift * tau : tau);
  }
  if (Val bias = ofRows("bias"))
    y = y + bias;
  if (op.getResidual())
    y = y + b.load(b.buffer("residual"), {t, row}, rows);
  b.store(y, b.buffer("y"), {t, row});
}

void cpu::emitFusedLinear(KernelBuilder &b, mamba::FusedLinearOp op,
                          const Target &target, BitSums how) {
  FusedLinear(b, op, target, how).emit();
}
