//===- Kernels.cpp - emits the kernels of GPUs --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Kernels.h"

#include "codegen/FusedOp.h"

using namespace mlir;
using namespace mambit;

FailureOr<SmallVector<Phase>> cuda::emitKernel(plan::KernelOp kernel,
                                               const Target &target,
                                               ModuleOp module,
                                               MatmulStrategy strategy) {
  if (failed(verifyLayouts(kernel)))
    return failure();
  SimtBuilder b(module, kernel, target);
  LogicalResult emitted = emitFusedOp(
      kernel, "GPU", [&](mamba::EmbeddingOp op) { emitEmbedding(b, op); },
      [&](mamba::FusedLinearOp op) { emitFusedLinear(b, op, strategy); },
      [&](mamba::ScanOp op) { emitScan(b, op); },
      [&](mamba::SampleOp op) { emitSample(b, op); });
  if (failed(emitted) || b.isRefused())
    return failure();
  return SmallVector<Phase>(b.getPhases());
}
