//===- FusedOp.h - tells the fused operations apart ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_FUSEDOP_H
#define MAMBIT_CODEGEN_FUSEDOP_H

#include "dialects/mamba/Mamba.h"
#include "dialects/plan/Plan.h"

namespace mambit {

/// Hands the fused operation of a kernel to the emitter of its kind. One that
/// no emitter knows is an error, which names the kind of machine.
inline mlir::LogicalResult
emitFusedOp(plan::KernelOp kernel, llvm::StringRef machine,
            llvm::function_ref<void(mamba::EmbeddingOp)> emitEmbedding,
            llvm::function_ref<void(mamba::FusedLinearOp)> emitFusedLinear,
            llvm::function_ref<void(mamba::ScanOp)> emitScan,
            llvm::function_ref<void(mamba::SampleOp)> emitSample) {
  mlir::Operation *op = kernel.getFusedOp();
  if (auto embedding = llvm::dyn_cast<mamba::EmbeddingOp>(op))
    emitEmbedding(embedding);
  else if (auto linear = llvm::dyn_cast<mamba::FusedLinearOp>(op))
    emitFusedLinear(linear);
  else if (auto scan = llvm::dyn_cast<mamba::ScanOp>(op))
    emitScan(scan);
  else if (auto sample = llvm::dyn_cast<mamba::SampleOp>(op))
    emitSample(sample);
  else
    return op->emitOpError("has no ") << machine << " kernel";
  return mlir::success();
}

} // namespace mambit

#endif // MAMBIT_CODEGEN_FUSEDOP_H
