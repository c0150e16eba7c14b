//===- MambaFolds.cpp - folders and canonicalisations -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mambit::mamba;

LogicalResult SplitOp::fold(FoldAdaptor adaptor,
                            SmallVectorImpl<OpFoldResult> &results) {
  // split(x) into one part is x.
  if (getNumResults() != 1)
    return failure();
  results.push_back(getX());
  return success();
}

LogicalResult WeightOp::canonicalize(WeightOp op, PatternRewriter &rewriter) {
  // Elements are f32 before and after every step, so a cast to f32 does
  // nothing but say so after a narrower one; a sign of signs is the same, and
  // a transpose undoes another.
  SmallVector<Attribute> steps;
  for (Attribute step : op.getRecipe()) {
    Attribute last = steps.empty() ? Attribute() : steps.back();
    auto cast = dyn_cast<CastAttr>(step);
    if (cast && cast.getType().isF32() && !isa_and_nonnull<CastAttr>(last))
      continue;
    if (isa<TransposeAttr>(step) && last == step)
      steps.pop_back();
    else if (!isa<SignAttr, CastAttr>(step) || last != step)
      steps.push_back(step);
  }
  if (steps.size() == op.getRecipe().size())
    return failure();
  rewriter.modifyOpInPlace(
      op, [&] { op.setRecipeAttr(rewriter.getArrayAttr(steps)); });
  return success();
}

LogicalResult RMSNormOp::canonicalize(RMSNormOp op, PatternRewriter &rewriter) {
  // A shift that nobody uses is not computed.
  if (!op.getShift() || !op.getShift().use_empty())
    return failure();
  auto plain = RMSNormOp::create(rewriter, op.getLoc(), op.getY().getType(),
                                 Type(), op.getX(), op.getWeight(), Value(),
                                 op.getEpsAttr(), op.getGroupsAttr());
  rewriter.replaceAllUsesWith(op.getY(), plain.getY());
  rewriter.eraseOp(op);
  return success();
}

LogicalResult GatedRMSNormOp::canonicalize(GatedRMSNormOp op,
                                           PatternRewriter &rewriter) {
  // A shift that nobody uses is not computed.
  if (!op.getShift() || !op.getShift().use_empty())
    return failure();
  auto plain = GatedRMSNormOp::create(
      rewriter, op.getLoc(), op.getY().getType(), Type(), op.getX(), op.getZ(),
      op.getWeight(), Value(), op.getEpsAttr(), op.getGroupsAttr());
  rewriter.replaceAllUsesWith(op.getY(), plain.getY());
  rewriter.eraseOp(op);
  return success();
}

LogicalResult FusedLinearOp::canonicalize(FusedLinearOp op,
                                          PatternRewriter &rewriter) {
  // Without a norm eps says nothing: kernels must not differ by it.
  if (op.getNormGroups() != 0 || op.getEps().isZero())
    return failure();
  rewriter.modifyOpInPlace(op, [&] { op.setEps(APFloat(0.0f)); });
  return success();
}
