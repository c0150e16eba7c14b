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
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

/// Tokens that count as few.
static constexpr int64_t kFewTokens = 8;

FusedLinear::FusedLinear(SimtBuilder &b, mamba::FusedLinearOp op,
                         MatmulStrategy strategy)
    : b(b), op(op), strategy(strategy), bits(op.getActivationBits()) {
  k = cast<RankedTensorType>(op.getX().getType()).getDimSize(1);
  n = cast<RankedTensorType>(op.getY().getType()).getDimSize(1);
  blocks = llvm::divideCeilSigned(k, kBlock);
  rowTiles = llvm::divideCeilSigned(n, kTileRows);
  binary = isa<mamba::BitsType>(op.getWeight().getType());
  extent = op.getRows() ? plan::Dim::rows : plan::Dim::tokens;
}

void FusedLinear::emit() {
  if (bits == 32) {
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
  Condition few = Condition::atMost(extent, kFewTokens);
  emitPrologue("prologue_planes", Form::planes, few);
  emitBitPlanes(few);
  Condition many = Condition::moreThan(extent, kFewTokens);
  emitPrologue("prologue_digits", Form::digits, many);
  emitDigits(many);
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
Val FusedLinear::getActivation(Val t, Val column, Form form) {
  Val digits = b.buffer("digits");
  if (form == Form::digits) {
    auto digit = [&](int64_t i) {
      return b.toInteger(b.load(b.bytes(digits), {getByte(t, i, column)}), 32);
    };
    return bits == 16 ? digit(0) + (digit(1) << 8) : digit(0);
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

void FusedLinear::emitIntegerEpilogue(Val ones, Val row, Val t, Form form) {
  // A bit says 1 or 0 for a sign of 1 or -1.
  Val exact = (ones << 1) - b.load(b.buffer("qsum"), {t});
  exact = addZeros(exact, row,
                   [&](Val column) { return getActivation(t, column, form); });
  emitEpilogue(b.toF32(exact) * b.load(b.buffer("scale"), {t}), row, t);
}

/// Row scale, shift, bias and residual, and the store.
void FusedLinear::emitEpilogue(Val sum, Val row, Val t) {
  b.store(finish(sum, row, t), b.buffer("y"), {t, row});
}

Val FusedLinear::finish(Val sum, Val row, Val t) {
  auto loadRows = [&](StringRef name, ArrayRef<Operand> at) {
    if (auto rows = dyn_cast<VectorType>(sum.getType()))
      return b.load(b.buffer(name), at, rows.getNumElements(),
                    llvm::Align(4 * rows.getNumElements()));
    return b.load(b.buffer(name), at);
  };
  auto ofRow = [&](StringRef name) {
    return b.has(name) ? loadRows(name, {row}) : Val();
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
    y = y + loadRows("residual", {t, row});
  return y;
}

void cuda::emitFusedLinear(SimtBuilder &b, mamba::FusedLinearOp op,
                           MatmulStrategy strategy) {
  FusedLinear(b, op, strategy).emit();
}
