//===- ChooseActivationPrecision.cpp - quantise activations -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/Builders.h"

namespace mambit {
#define GEN_PASS_DEF_CHOOSEACTIVATIONPRECISION
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;
using mamba::BitLinearOp;

/// Whether the linear means the same on quantised activations: a column scale
/// and a shift without token_shift ask for the activations themselves.
static bool canQuantize(BitLinearOp linear) {
  Value scale = linear.getScale();
  bool columnScale =
      scale && mamba::getScaleKind(cast<RankedTensorType>(scale.getType())) ==
                   mamba::ScaleKind::column;
  return !linear.getActScale() && !columnScale &&
         (!linear.getShift() || linear.getTokenShift());
}

namespace {
struct ChooseActivationPrecision
    : mambit::impl::ChooseActivationPrecisionBase<ChooseActivationPrecision> {
  using ChooseActivationPrecisionBase::ChooseActivationPrecisionBase;

  void runOnOperation() override {
    const unsigned bits = activationBits;
    if (bits != 8 && bits != 16 && bits != 32) {
      emitError(getOperation().getLoc())
          << "expected activation-bits to be 8, 16 or 32, found " << bits;
      return signalPassFailure();
    }
    if (bits == 32)
      return;
    count = 0;
    WalkResult result = getOperation().walk([&](BitLinearOp linear) {
      return !canQuantize(linear) || succeeded(quantize(linear, bits))
                 ? WalkResult::advance()
                 : WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    recordStatistics(getOperation(), *this, {{quantized, "quantized", count}});
  }

  LogicalResult quantize(BitLinearOp linear, unsigned bits) {
    int64_t columns = linear.getWeight().getType().getColumns();
    int64_t most =
        std::numeric_limits<int32_t>::max() / mamba::QuantizeOp::getTop(bits);
    if (columns > most)
      return linear.emitError("int32 sums could overflow: expected at most ")
             << most << " columns at " << bits << "-bit activations, found "
             << columns;
    OpBuilder builder(linear);
    auto quantize = mamba::QuantizeOp::create(builder, linear.getLoc(),
                                              linear.getX(), bits);
    linear.getXMutable().assign(quantize.getQ());
    linear.getActScaleMutable().assign(quantize.getScale());
    ++count;
    return success();
  }

  int64_t count = 0;
};
} // namespace
