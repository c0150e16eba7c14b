//===- FusedLinear.cpp - a linear with its prologue and epilogue --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// The product of quantised activations is exact in int32, by one of two
// strategies for the number of tokens that there are when the program runs:
// planes of bits for few (BitPlanes.cpp), digits of 8 bits for many
// (Digits.cpp). Both have the same epilogue, so that a token's result is the
// same to the bit.
//
// Activations of 32 bits become integers too, of 31 bits and by a power of two:
// only what lies far below the last bit of a token's largest value is lost. So
// these sums have no order either, and four digits take no longer than two
// terms of f16 would, whose sums tensor cores truncate.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

/// The most columns whose sums of halves of 32 bits fit i32.
static constexpr int64_t kWideColumns =
    std::numeric_limits<int32_t>::max() >> 16;
/// Tokens that count as few; for so many of them no prologue is launched.
static constexpr int64_t kFewTokens = 8, kFusedTokens = 2;
/// Warps of a block that makes or takes planes: more wait for each other
/// longer than they save.
static constexpr int64_t kWarps = 12, kMaxWarps = 32;

FusedLinear::FusedLinear(SimtBuilder &b, mamba::FusedLinearOp op,
                         MatmulStrategy strategy)
    : b(b), op(op), strategy(strategy), bits(op.getActivationBits()) {
  k = cast<RankedTensorType>(op.getX().getType()).getDimSize(1);
  n = cast<RankedTensorType>(op.getY().getType()).getDimSize(1);
  blocks = llvm::divideCeilSigned(k, kBlock);
  rowTiles = llvm::divideCeilSigned(n, kTileRows);
  binary = isa<mamba::BitsType>(op.getWeight().getType());
  quantised = binary && (bits < 32 ||
                         (b.targetHas(Capability::s8Mma) && k <= kWideColumns));
  extent = op.getRows() ? plan::Dim::rows : plan::Dim::tokens;
  // As few spans a warp as that many warps leave, evenly dealt out.
  int64_t spans = llvm::divideCeilSigned(k, Activations::kSpan);
  spansOfWarp = llvm::divideCeilSigned(spans, kWarps);
  if (spansOfWarp > Activations::kKept)
    spansOfWarp = llvm::divideCeilSigned(spans, kMaxWarps);
  warps = llvm::divideCeilSigned(spans, spansOfWarp);
}

void FusedLinear::emit() {
  if (!quantised) {
    // A dense product may be of the input itself.
    if (b.has("v") || b.has("tau"))
      emitPrologue("prologue", Form::digits, {});
    return emitFloatProduct();
  }
  if (!b.targetHas(Capability::b1Mma) ||
      strategy != MatmulStrategy::automatic) {
    emitPrologue("prologue_digits", Form::digits, {});
    return emitDigits({});
  }
  bool fusable = spansOfWarp <= Activations::kKept;
  int64_t fused = fusable ? kFusedTokens : 0;
  // Where there are 32 planes, digits are as fast as soon as there is a
  // prologue.
  int64_t few = bits == 32 ? fused : kFewTokens;
  if (fusable)
    emitBitPlanes("fused_planes", true, Condition::between(extent, 1, fused));
  if (few > fused) {
    Condition some = Condition::between(extent, fusable ? fused + 1 : 0, few);
    emitPrologue("prologue_planes", Form::planes, some);
    emitBitPlanes("matmul_planes", false, some);
  }
  Condition many = Condition::moreThan(extent, few);
  emitPrologue("prologue_digits", Form::digits, many);
  emitDigits(many);
}

//===--------------------------------------------------------------------===//
// Products in f32
//===--------------------------------------------------------------------===//

void FusedLinear::emitFloatProduct() {
  // Normalised activations are small enough for f16.
  Type element = getElementTypeOrSelf(op.getWeight().getType());
  if ((element.isF16() || element.isBF16()) && op.getNormGroups() > 0 &&
      b.targetHas(Capability::bf16Mma)) {
    constexpr int64_t kFew = 8, kSome = 32, kMany = 64;
    emitTensorProduct("matmul", kFew, Condition::atMost(extent, kFew));
    // Large tiles read less, if they leave no multiprocessor without some.
    if (llvm::divideCeilSigned(n, kTensorRows) <
        b.getTarget().gpu.multiprocessors)
      return emitTensorProduct("matmul_some", kSome,
                               Condition::moreThan(extent, kFew));
    emitTensorProduct("matmul_some", kSome,
                      Condition::between(extent, kFew + 1, kSome));
    Condition many = Condition::moreThan(extent, kSome);
    // Tall ones read activations less besides, if half of the multiprocessors
    // have some.
    if (b.targetHas(Capability::wgmma) && n % 2 == 0 && k % 4 == 0 &&
        2 * llvm::divideCeilSigned(n, kWarpgroupRows) >=
            b.getTarget().gpu.multiprocessors)
      return emitWarpgroupProduct("matmul_many", many);
    return emitTensorProduct("matmul_many", kMany, many);
  }
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
                Row loaded = loadRow(row);
                if (binary)
                  sum = addZeros(sum, loaded, [&](Val column) {
                    return b.load(v, {t, column});
                  });
                b.store(finish(sum, loaded, loadTau(t), loadResidual(t, row)),
                        b.buffer("y"), {t, row});
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

void FusedLinear::emitTensorProduct(StringRef suffix, int64_t tokens,
                                    const Condition &condition) {
  b.phase(
      suffix, {{plan::Dim::none, n, kTensorRows}, {extent, 0, tokens}},
      kFloatThreads,
      [&](ArrayRef<Val> tile) {
        Val first = tile[1] * tokens,
            end = min(first + tokens, b.extent(extent));
        emitTensorSums(b, b.buffer("weight"), tile[0],
                       b.buffer(b.has("v") ? "v" : "x"), k, first, end, tokens,
                       [&](Val row, Val t, Val sum) {
                         b.when(row < n, [&] {
                           Val y = finish(sum, loadRow(row), loadTau(t),
                                          loadResidual(t, row));
                           b.store(y, b.buffer("y"), {t, row});
                         });
                       });
      },
      condition);
}

void FusedLinear::emitWarpgroupProduct(StringRef suffix,
                                       const Condition &condition) {
  b.phase(
      suffix,
      {{plan::Dim::none, n, kWarpgroupRows}, {extent, 0, kWarpgroupTokens}},
      kFloatThreads,
      [&](ArrayRef<Val> tile) {
        Val first = tile[1] * kWarpgroupTokens,
            end = min(first + kWarpgroupTokens, b.extent(extent));
        emitWarpgroupSums(b, b.buffer("weight"), tile[0],
                          b.buffer(b.has("v") ? "v" : "x"), k, first, end,
                          [&](Val row, Val t, Val sums) {
                            b.when(row < n, [&] {
                              b.store(finish(sums, row, t), b.buffer("y"),
                                      {t, row}, llvm::Align(8));
                            });
                          });
      },
      condition);
}

//===--------------------------------------------------------------------===//
// Epilogue
//===--------------------------------------------------------------------===//

/// The quantised activation of a column, put together again.
Val FusedLinear::getActivation(Val t, Val column, Form form) {
  Val digits = b.buffer("digits");
  if (form == Form::digits) {
    auto digit = [&](int64_t i) {
      return b.toInteger(b.load(b.bytes(digits), {getByte(t, i, column)}), 32);
    };
    Val q = digit(0);
    for (int64_t i = 1; i < numDigits(); ++i)
      q = q + (digit(i) << 8 * i);
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

Val FusedLinear::loadRows(StringRef name, ArrayRef<Operand> at, int64_t rows) {
  if (rows == 1)
    return b.load(b.buffer(name), at);
  return b.load(b.buffer(name), at, rows, llvm::Align(4 * rows));
}

FusedLinear::Row FusedLinear::loadRow(Val number, int64_t rows) {
  auto load = [&](StringRef name) {
    return b.has(name) ? loadRows(name, {number}, rows) : Val();
  };
  Row row;
  row.number = number;
  if (binary) {
    Val zeros = b.buffer("weight.zeros"), rowTile = number / kTileRows;
    row.zerosBegin = b.toIndex(b.load(zeros, {rowTile}));
    row.zerosEnd = b.toIndex(b.load(zeros, {rowTile + 1}));
  }
  row.scale = load("row_scale");
  row.shift = load("row_shift");
  row.bias = load("bias");
  return row;
}

Val FusedLinear::loadTau(Val t) {
  return op.getShiftWeight() ? b.load(b.buffer("tau"), {t}) : Val();
}

Val FusedLinear::loadResidual(Val t, Val row, int64_t rows) {
  return op.getResidual() ? loadRows("residual", {t, row}, rows) : Val();
}

/// A zero's bit is 0 as if the sign were -1: gives back what that took.
Val FusedLinear::addZeros(Val sum, const Row &row,
                          function_ref<Val(Val column)> term) {
  Val zeros = b.buffer("weight.zeros");
  return b.loop(row.zerosBegin, row.zerosEnd, 1, {sum},
                [&](Val entry, ArrayRef<Val> acc) -> Vals {
                  Val at = entry * 2 + (rowTiles + 1);
                  Val column = b.toIndex(b.load(zeros, {at + 1}));
                  return {select(b.toIndex(b.load(zeros, {at})) == row.number,
                                 acc[0] + term(column), acc[0])};
                })[0];
}

void FusedLinear::emitIntegerEpilogue(Val ones, const Row &row, Val t, Val qsum,
                                      Val scale, Val tau, Val residual,
                                      function_ref<Val(Val)> activation) {
  // A bit says 1 or 0 for a sign of 1 or -1.
  Val exact = addZeros((ones << 1) - qsum, row, [&](Val column) {
    return b.toInteger(activation(column), sumBits());
  });
  b.store(finish(b.toF32(exact) * scale, row, tau, residual), b.buffer("y"),
          {t, row.number});
}

/// Row scale, shift, bias and residual.
Val FusedLinear::finish(Val sum, const Row &row, Val tau, Val residual) {
  Val y = sum;
  if (row.scale)
    y = row.scale * y;
  if (op.getShiftWeight())
    y = y + (row.shift ? row.shift * tau : tau);
  if (row.bias)
    y = y + row.bias;
  if (residual)
    y = y + residual;
  return y;
}

Val FusedLinear::finish(Val sum, Val row, Val t) {
  auto vector = dyn_cast<VectorType>(sum.getType());
  int64_t rows = vector ? vector.getNumElements() : 1;
  return finish(sum, loadRow(row, rows), loadTau(t),
                loadResidual(t, row, rows));
}

void cuda::emitFusedLinear(SimtBuilder &b, mamba::FusedLinearOp op,
                           MatmulStrategy strategy) {
  FusedLinear(b, op, strategy).emit();
}
