//===- AssignLayouts.cpp - say how matrices lie in memory --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/Builders.h"

namespace mambit {
#define GEN_PASS_DEF_ASSIGNLAYOUTS
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;

/// The matrix an operation reads through a layout, or null.
static OpOperand *getMatrix(Operation *op) {
  if (auto linear = dyn_cast<mamba::FusedLinearOp>(op))
    return &linear.getWeightMutable();
  if (auto embedding = dyn_cast<mamba::EmbeddingOp>(op))
    return &embedding.getTableMutable();
  return nullptr;
}

namespace {
struct AssignLayouts : mambit::impl::AssignLayoutsBase<AssignLayouts> {
  using AssignLayoutsBase::AssignLayoutsBase;

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    auto emit = [&] { return emitError(getOperation().getLoc()); };
    auto bitTile =
        mamba::BitTileAttr::getChecked(emit, context, int64_t(bitTileRows));
    auto interleave = mamba::InterleaveAttr::getChecked(
        emit, context, int64_t(denseInterleave));
    if (!bitTile || !interleave)
      return signalPassFailure();

    int64_t bitCount = 0, denseCount = 0;
    WalkResult result = getOperation().walk([&](Operation *op) {
      OpOperand *matrix = getMatrix(op);
      if (!matrix)
        return WalkResult::advance();
      Type type = matrix->get().getType();
      // A layout that is there already stays.
      if (mamba::withoutLayout(type) != type)
        return WalkResult::advance();
      auto get = matrix->get().getDefiningOp<mamba::GetWeightOp>();
      if (!get) {
        op->emitError("expected the matrix to come from mamba.get_weight");
        return WalkResult::interrupt();
      }
      Type laidOut;
      if (auto bits = dyn_cast<mamba::BitsType>(type)) {
        laidOut = mamba::BitsType::get(context, bits.getRows(),
                                       bits.getColumns(), bitTile);
        ++bitCount;
      } else {
        laidOut = cast<RankedTensorType>(type).cloneWithEncoding(interleave);
        ++denseCount;
      }
      OpBuilder builder(get);
      matrix->set(mamba::GetWeightOp::create(builder, get.getLoc(), laidOut,
                                             get.getWeightAttr()));
      if (get->use_empty())
        get.erase();
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    recordStatistics(getOperation(), *this,
                     {{bitMatrices, "bit-matrices", bitCount},
                      {denseMatrices, "dense-matrices", denseCount}});
  }
};
} // namespace
