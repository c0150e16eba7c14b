//===- FoldScales.cpp - fold scale and shift into the norm -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"
#include "passes/Weights.h"

namespace mambit {
#define GEN_PASS_DEF_FOLDSCALES
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;
using mamba::BitLinearOp;

/// Whether a scale or shift varies by output: that kind stays in the epilogue.
static bool isByRow(Value scale) {
  return mamba::getScaleKind(cast<RankedTensorType>(scale.getType())) ==
         mamba::ScaleKind::row;
}

/// Whether scale or shift can move to the producer of the activations.
static bool hasFoldable(BitLinearOp linear) {
  bool scale = linear.getScale() && !isByRow(linear.getScale());
  bool shift = linear.getShift() && !linear.getTokenShift();
  return scale || shift;
}

/// A norm like `norm` with other weights, the second of which may be null.
static mamba::RMSNormOp clone(OpBuilder &builder, mamba::RMSNormOp norm,
                              Value weight, Value shiftWeight, Type shiftType) {
  return mamba::RMSNormOp::create(builder, norm.getLoc(), norm.getY().getType(),
                                  shiftType, norm.getX(), weight, shiftWeight,
                                  norm.getEpsAttr(), norm.getGroupsAttr());
}
static mamba::GatedRMSNormOp clone(OpBuilder &builder,
                                   mamba::GatedRMSNormOp norm, Value weight,
                                   Value shiftWeight, Type shiftType) {
  return mamba::GatedRMSNormOp::create(
      builder, norm.getLoc(), norm.getY().getType(), shiftType, norm.getX(),
      norm.getZ(), weight, shiftWeight, norm.getEpsAttr(),
      norm.getGroupsAttr());
}

/// Folds into `norm`, if the linear's input is its first result.
template <typename NormOp>
static LogicalResult fold(BitLinearOp linear, NormOp norm, Weights &weights) {
  if (!norm || linear.getX() != norm.getY())
    return failure();
  Value scale = linear.getScale(), shift = linear.getShift();
  bool foldScale = scale && !isByRow(scale);
  bool foldShift = shift && !isByRow(shift);
  // What the shift is multiplied by: the normed activations with the norm's
  // weight, or what an earlier fold has made of them.
  Value shiftBase = norm.getWeight();
  if (linear.getTokenShift()) {
    if (linear.getTokenShift() != norm.getShift())
      return failure();
    shiftBase = norm.getShiftWeight();
  }
  if ((foldScale && !weights.canMultiply(norm.getWeight(), scale)) ||
      (foldShift && !weights.canMultiply(shiftBase, shift)))
    return failure();

  OpBuilder builder(norm);
  Value weight = norm.getWeight(), shiftWeight;
  if (foldScale)
    weight = weights.multiply(builder, weight, scale);
  if (foldShift)
    shiftWeight = weights.multiply(builder, shiftBase, shift);
  else if (shift || linear.getTokenShift())
    shiftWeight = shiftBase;
  Type shiftType = shiftWeight ? RankedTensorType::get({ShapedType::kDynamic},
                                                       builder.getF32Type())
                               : Type();
  NormOp own = clone(builder, norm, weight, shiftWeight, shiftType);

  linear.getXMutable().assign(own.getY());
  if (foldScale)
    linear.getScaleMutable().clear();
  if (foldShift)
    linear.getShiftMutable().clear();
  if (shiftWeight)
    linear.getTokenShiftMutable().assign(own.getShift());
  if (norm->use_empty())
    norm.erase();
  return success();
}

namespace {
struct FoldScales : mambit::impl::FoldScalesBase<FoldScales> {
  void runOnOperation() override {
    Weights weights(getOperation());
    int64_t yes = 0, no = 0;
    getOperation().walk([&](BitLinearOp linear) {
      if (!hasFoldable(linear))
        return;
      Value x = linear.getX();
      bool done =
          succeeded(
              fold(linear, x.getDefiningOp<mamba::RMSNormOp>(), weights)) ||
          succeeded(
              fold(linear, x.getDefiningOp<mamba::GatedRMSNormOp>(), weights));
      ++(done ? yes : no);
    });
    weights.eraseDead();
    recordStatistics(getOperation(), *this,
                     {{folded, "folded", yes}, {notFolded, "not-folded", no}});
  }
};
} // namespace
