//===- TopK.cpp - the order of logits -----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/TopK.h"

#include "passes/KernelSignature.h"

using namespace mlir;
using namespace mambit;

// The upper half of a rank orders logits, the lower half is the token's
// complement. A NaN's upper half is above infinity's, and below the limit's.
static constexpr double kNan = 0x7FFFFFFE, kLimit = 0x1p63 - 0x1p32,
                        kNone = -0x1p63;

TopK::TopK(mamba::TopKOp op)
    : vocab(op.getLogits().getType().getDimSize(1)),
      count(op.getValues().getType().getDimSize(1)),
      parts(llvm::divideCeil(vocab, kTopKPart)) {}

Val TopK::rank(Val logit, Val token) {
  KernelBuilder &b = logit.getBuilder();
  Type i32 = token.getType();
  // -0 is equal to 0, and becomes it.
  Val bits = b.bitcast(logit + 0.0, i32);
  Val order = select(bits < 0, bits ^ 0x7FFFFFFF, bits);
  order = select(logit == logit, order, kNan);
  Val upper = b.toInteger(order, 64);
  return upper << 32 | b.zeroExtend(token ^ -1, upper.getType());
}

Val TopK::token(Val rank) { return rank.getBuilder().toInteger(rank, 32) ^ -1; }

Val TopK::none(KernelBuilder &b) { return b.constant(b.getI64Type(), kNone); }
Val TopK::limit(KernelBuilder &b) { return b.constant(b.getI64Type(), kLimit); }

Val TopK::below(Val rank, Val last) { return select(rank < last, rank, kNone); }

void TopK::store(KernelBuilder &b, Val row, Val i, Val rank) {
  Val found = token(rank);
  b.store(found, b.buffer("tokens"), {row, i});
  b.store(b.load(b.buffer("logits"), {row, b.toIndex(found)}),
          b.buffer("values"), {row, i});
}
