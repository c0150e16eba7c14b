//===- Kernels.cpp - emits the kernels of the CPU -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Kernels.h"

#include "codegen/FusedOp.h"

using namespace mlir;
using namespace mambit;

FailureOr<SmallVector<Phase>> cpu::emitKernel(plan::KernelOp kernel,
                                              const Target &target,
                                              ModuleOp module, BitSums how) {
  if (failed(verifyLayouts(kernel)))
    return failure();
  if (!supports(target, how))
    return kernel.emitOpError("cannot make sums of bits by ")
           << stringify(how) << ", which target " << target.name << " lacks";
  KernelBuilder b(module, kernel);
  LogicalResult emitted = emitFusedOp(
      kernel, "CPU", [&](mamba::EmbeddingOp op) { emitEmbedding(b, op); },
      [&](mamba::FusedLinearOp op) { emitFusedLinear(b, op, target, how); },
      [&](mamba::ScanOp op) { emitScan(b, op); },
      [&](mamba::SampleOp op) { emitSample(b, op); });
  if (failed(emitted))
    return failure();
  return SmallVector<Phase>(b.getPhases());
}
