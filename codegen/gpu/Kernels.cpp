//===- Kernels.cpp - emits the kernels of GPUs --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Kernels.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mambit;

FailureOr<SmallVector<Phase>> cuda::emitKernel(plan::KernelOp kernel,
                                               const Target &target,
                                               ModuleOp module,
                                               MatmulStrategy strategy) {
  if (failed(verifyLayouts(kernel)))
    return failure();
  SimtBuilder b(module, kernel, target);
  LogicalResult emitted =
      llvm::TypeSwitch<Operation *, LogicalResult>(kernel.getFusedOp())
          .Case([&](mamba::EmbeddingOp op) {
            emitEmbedding(b, op);
            return success();
          })
          .Case([&](mamba::FusedLinearOp op) {
            emitFusedLinear(b, op, strategy);
            return success();
          })
          .Case([&](mamba::ScanOp op) {
            emitScan(b, op);
            return success();
          })
          .Default([](Operation *op) {
            return op->emitOpError("has no GPU kernel");
          });
  if (failed(emitted) || b.isRefused())
    return failure();
  return SmallVector<Phase>(b.getPhases());
}
