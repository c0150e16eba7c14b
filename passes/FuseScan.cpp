//===- FuseScan.cpp - fuse convolution, scan and gate ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mambit {
#define GEN_PASS_DEF_FUSESCAN
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;

namespace {
struct FuseGatedScan : OpRewritePattern<mamba::GatedRMSNormOp> {
  FuseGatedScan(MLIRContext *context, int64_t &count)
      : OpRewritePattern(context), count(count) {}

  LogicalResult matchAndRewrite(mamba::GatedRMSNormOp norm,
                                PatternRewriter &rewriter) const override {
    auto scan = norm.getX().getDefiningOp<mamba::SelectiveScanOp>();
    if (!scan || norm.getX() != scan.getY() || !scan.getY().hasOneUse())
      return rewriter.notifyMatchFailure(
          norm, "the input is no scan that the gate alone uses");
    auto conv = scan.getXbc().getDefiningOp<mamba::CausalConvOp>();
    if (!conv || scan.getXbc() != conv.getY() || !conv.getY().hasOneUse())
      return rewriter.notifyMatchFailure(
          scan, "the input is no convolution that the scan alone uses");
    if (conv.getSeqs() != scan.getSeqs())
      return rewriter.notifyMatchFailure(
          scan, "the convolution runs over other sequences");
    auto split = norm.getZ().getDefiningOp<mamba::SplitOp>();
    if (!split ||
        !llvm::equal(split.getParts(),
                     ValueRange{norm.getZ(), conv.getX(), scan.getDt()}))
      return rewriter.notifyMatchFailure(
          norm, "gate, convolution and scan do not share one split");

    // The fused operation stands where the scan stood.
    auto isBehindScan = [&](Operation *user) {
      Operation *ancestor = scan->getBlock()->findAncestorOpInBlock(*user);
      return ancestor && scan->isBeforeInBlock(ancestor);
    };
    if (!llvm::all_of(conv.getNewState().getUsers(), isBehindScan))
      return rewriter.notifyMatchFailure(
          conv, "the new state is used in front of the scan");

    rewriter.setInsertionPoint(scan);
    auto fused = mamba::ScanOp::create(
        rewriter, scan.getLoc(), scan.getY().getType(),
        conv.getNewState().getType(), scan.getNewState().getType(),
        split.getX(), conv.getState(), scan.getState(), conv.getWeight(),
        scan.getDtBias(), scan.getA(), scan.getD(), scan.getSeqs(),
        conv.getBias(), scan.getGroupsAttr(), scan.getDtMinAttr(),
        scan.getDtMaxAttr());
    rewriter.replaceAllUsesWith(conv.getNewState(), fused.getNewConvState());
    rewriter.replaceAllUsesWith(scan.getNewState(), fused.getNewSsmState());
    rewriter.setInsertionPoint(norm);
    rewriter.replaceOpWithNewOp<mamba::RMSNormOp>(
        norm, norm.getY().getType(),
        norm.getShift() ? norm.getShift().getType() : Type(), fused.getY(),
        norm.getWeight(), norm.getShiftWeight(), norm.getEpsAttr(),
        norm.getGroupsAttr());
    ++count;
    return success();
  }

  int64_t &count;
};

struct FuseScan : mambit::impl::FuseScanBase<FuseScan> {
  void runOnOperation() override {
    int64_t count = 0;
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseGatedScan>(&getContext(), count);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    recordStatistics(getOperation(), *this, {{fused, "fused", count}});
  }
};
} // namespace
