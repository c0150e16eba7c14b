//===- FuseLinear.cpp - fuse linears with what is around ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"
#include "passes/Weights.h"

#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mambit {
#define GEN_PASS_DEF_FUSELINEAR
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;
using mamba::FusedLinearOp;

namespace {
/// What stands in front of a linear.
struct Prologue {
  /// Follows the producers of a linear's activations as far as they fuse.
  explicit Prologue(Value activations) : x(activations) {
    if (auto quantize = x.getDefiningOp<mamba::QuantizeOp>()) {
      actScale = quantize.getScale();
      activationBits = quantize.getQ().getType().getElementTypeBitWidth();
      x = quantize.getX();
    }
    norm = x.getDefiningOp<mamba::RMSNormOp>();
    if (norm)
      x = norm.getX();
    if (auto select = x.getDefiningOp<mamba::SelectRowsOp>()) {
      x = select.getX();
      rows = select.getRows();
    }
  }

  Value x, rows, actScale;
  mamba::RMSNormOp norm;
  int64_t activationBits = 32;
};

/// What a linear does but for its prologue.
struct Linear {
  Value weight;
  Value bias = {};
  Value rowScale = {}, rowShift = {};
  bool hasShift = false;
};
} // namespace

static void replaceWithFused(PatternRewriter &rewriter, Operation *op,
                             const Prologue &prologue, const Linear &linear) {
  mamba::RMSNormOp norm = prologue.norm;
  rewriter.replaceOpWithNewOp<FusedLinearOp>(
      op, op->getResult(0).getType(), prologue.x, linear.weight, prologue.rows,
      norm ? norm.getWeight() : Value(),
      linear.hasShift ? norm.getShiftWeight() : Value(), linear.rowScale,
      linear.rowShift, linear.bias, /*residual=*/Value(),
      rewriter.getI64IntegerAttr(prologue.activationBits),
      rewriter.getI64IntegerAttr(norm ? norm.getGroups() : 0),
      norm ? norm.getEpsAttr() : rewriter.getF32FloatAttr(0));
}

namespace {
struct FuseBitLinear : OpRewritePattern<mamba::BitLinearOp> {
  FuseBitLinear(MLIRContext *context, Weights &weights, int64_t &count)
      : OpRewritePattern(context), weights(weights), count(count) {}

  LogicalResult matchAndRewrite(mamba::BitLinearOp op,
                                PatternRewriter &rewriter) const override {
    Prologue prologue(op.getX());
    Linear linear{op.getWeight(), op.getBias()};
    if (op.getActScale() != prologue.actScale)
      return rewriter.notifyMatchFailure(
          op, "the scale of the activations is another's");
    if (op.getShift() && !op.getTokenShift())
      return rewriter.notifyMatchFailure(op, "the shift was not folded");
    linear.hasShift = bool(op.getTokenShift());
    if (linear.hasShift &&
        (!prologue.norm || op.getTokenShift() != prologue.norm.getShift()))
      return rewriter.notifyMatchFailure(
          op, "token_shift is not of the norm in front");
    for (Value scale : {Value(op.getScale()), Value(op.getShift())})
      if (scale &&
          (!isByRow(scale) || !scale.getDefiningOp<mamba::GetWeightOp>()))
        return rewriter.notifyMatchFailure(
            op, "a scale or shift is no weight by row");
    if (op.getScale())
      linear.rowScale = weights.flatten(rewriter, op.getScale());
    if (op.getShift())
      linear.rowShift = weights.flatten(rewriter, op.getShift());
    replaceWithFused(rewriter, op, prologue, linear);
    ++count;
    return success();
  }

  static bool isByRow(Value scale) {
    return mamba::getScaleKind(cast<RankedTensorType>(scale.getType())) ==
           mamba::ScaleKind::row;
  }

  Weights &weights;
  int64_t &count;
};

/// linear and lm_head.
template <typename Op>
struct FuseDense : OpRewritePattern<Op> {
  FuseDense(MLIRContext *context, int64_t &count)
      : OpRewritePattern<Op>(context), count(count) {}

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    Linear linear{op.getWeight()};
    if constexpr (std::is_same_v<Op, mamba::LinearOp>)
      linear.bias = op.getBias();
    replaceWithFused(rewriter, op, Prologue(op.getX()), linear);
    ++count;
    return success();
  }

  int64_t &count;
};

struct FuseResidual : OpRewritePattern<mamba::AddOp> {
  FuseResidual(MLIRContext *context, int64_t &count)
      : OpRewritePattern(context), count(count) {}

  LogicalResult matchAndRewrite(mamba::AddOp add,
                                PatternRewriter &rewriter) const override {
    // Of a block's add, the right side is the mixer's output.
    for (auto [product, residual] :
         {std::pair<Value, Value>{add.getRhs(), add.getLhs()},
          std::pair<Value, Value>{add.getLhs(), add.getRhs()}}) {
      auto linear = product.getDefiningOp<FusedLinearOp>();
      if (!linear || linear.getResidual() || !product.hasOneUse())
        continue;
      // Here the residual is known; where the linear was, it may not be.
      auto fused = cast<FusedLinearOp>(rewriter.clone(*linear));
      fused.getResidualMutable().assign(residual);
      rewriter.replaceOp(add, fused);
      ++count;
      return success();
    }
    return rewriter.notifyMatchFailure(
        add, "no operand is a linear that the add alone uses");
  }

  int64_t &count;
};

struct FuseLinear : mambit::impl::FuseLinearBase<FuseLinear> {
  void runOnOperation() override {
    Weights weights(getOperation());
    int64_t linearCount = 0, residualCount = 0;
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseBitLinear>(&getContext(), weights, linearCount);
    patterns.add<FuseDense<mamba::LinearOp>, FuseDense<mamba::LMHeadOp>>(
        &getContext(), linearCount);
    patterns.add<FuseResidual>(&getContext(), residualCount);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    weights.eraseDead();
    recordStatistics(getOperation(), *this,
                     {{fused, "fused", linearCount},
                      {residuals, "residuals", residualCount}});
  }
};
} // namespace
