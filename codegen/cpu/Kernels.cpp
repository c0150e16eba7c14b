//===- Kernels.cpp - emits the kernels of the CPU -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Kernels.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mambit;

/// Weights must lie as the kernels read them: in tiles of as many rows as a
/// vector has lanes.
static LogicalResult verifyLayouts(plan::KernelOp kernel) {
  for (plan::ParamAttr param : kernel.getParamRange()) {
    int64_t rows = KernelBuilder::kLanes;
    if (auto bits = dyn_cast<mamba::BitsType>(param.getType()))
      rows = bits.getLayout().getRows();
    else if (auto layout =
                 dyn_cast_or_null<mamba::InterleaveAttr>(param.getLayout()))
      rows = layout.getRows();
    else if (isa<mamba::FusedLinearOp>(kernel.getFusedOp()) &&
             param.getName() == "weight")
      return kernel.emitOpError("cannot read a row-major weight of ")
             << param.getType() << "; expected #mamba.interleave";
    if (rows != KernelBuilder::kLanes)
      return kernel.emitOpError("cannot read '")
             << param.getName() << "' in tiles of " << rows
             << " rows, expected " << KernelBuilder::kLanes;
  }
  return success();
}

FailureOr<SmallVector<Phase>>
cpu::emitKernel(plan::KernelOp kernel, const Target &target, ModuleOp module) {
  if (failed(verifyLayouts(kernel)))
    return failure();
  KernelBuilder b(module, kernel);
  LogicalResult emitted =
      llvm::TypeSwitch<Operation *, LogicalResult>(kernel.getFusedOp())
          .Case([&](mamba::EmbeddingOp op) {
            emitEmbedding(b, op);
            return success();
          })
          .Case([&](mamba::FusedLinearOp op) {
            emitFusedLinear(b, op, target);
            return success();
          })
          .Case([&](mamba::ScanOp op) {
            emitScan(b, op);
            return success();
          })
          .Default([](Operation *op) {
            return op->emitOpError("has no CPU kernel");
          });
  if (failed(emitted))
    return failure();
  return SmallVector<Phase>(b.getPhases());
}
