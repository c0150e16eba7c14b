//===- ChooseStatePrecision.cpp - the type of SSM states ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSwitch.h"

namespace mambit {
#define GEN_PASS_DEF_CHOOSESTATEPRECISION
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;

/// The new state of an operation that carries one in this operand.
static Value getNewState(OpOperand &use) {
  Value state = use.get();
  if (auto block = dyn_cast<mamba::BlockOp>(use.getOwner()))
    return block.getSsmState() == state ? block.getNewSsmState() : Value();
  if (auto scan = dyn_cast<mamba::SelectiveScanOp>(use.getOwner()))
    return scan.getState() == state ? scan.getNewState() : Value();
  if (auto scan = dyn_cast<mamba::ScanOp>(use.getOwner()))
    return scan.getSsmState() == state ? scan.getNewSsmState() : Value();
  return {};
}

namespace {
struct ChooseStatePrecision
    : mambit::impl::ChooseStatePrecisionBase<ChooseStatePrecision> {
  using ChooseStatePrecisionBase::ChooseStatePrecisionBase;

  void runOnOperation() override {
    Builder builder(&getContext());
    Type element = llvm::StringSwitch<Type>(stateDtype)
                       .Case("f32", builder.getF32Type())
                       .Case("f16", builder.getF16Type())
                       .Case("bf16", builder.getBF16Type())
                       .Default(Type());
    func::FuncOp function = getOperation();
    if (!element) {
      emitError(function.getLoc())
          << "expected state-dtype to be f32, f16 or bf16, found "
          << stateDtype;
      return signalPassFailure();
    }
    if (function.isExternal())
      return;
    count = 0;
    for (BlockArgument argument : function.getArguments()) {
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      // An SSM state is the only packed value of four dimensions.
      if (type && type.getRank() == 4 && mamba::isPacked(type) &&
          type.getElementType() != element &&
          failed(retype(argument, type.clone(element))))
        return signalPassFailure();
    }
    function.setType(builder.getFunctionType(
        function.getBody().front().getArgumentTypes(),
        function.getBody().front().getTerminator()->getOperandTypes()));
    recordStatistics(function, *this, {{states, "states", count}});
  }

  /// Changes the type of a state and of all that it becomes.
  LogicalResult retype(Value state, Type type) {
    state.setType(type);
    for (OpOperand &use : state.getUses()) {
      if (isa<func::ReturnOp>(use.getOwner()))
        continue;
      Value next = getNewState(use);
      if (!next)
        return use.getOwner()->emitError(
            "expected an SSM state to go through blocks and scans alone");
      if (failed(retype(next, type)))
        return failure();
    }
    if (isa<BlockArgument>(state))
      ++count;
    return success();
  }

  int64_t count = 0;
};
} // namespace
