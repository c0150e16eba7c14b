//===- Kernels.h - emits the kernels of the CPU -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Each fused operation becomes the phases of one kernel. The parameters, by
// name, are those of passes/KernelSignature.h.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_CPU_KERNELS_H
#define MAMBIT_CODEGEN_CPU_KERNELS_H

#include "codegen/KernelBuilder.h"
#include "codegen/Targets.h"
#include "dialects/mamba/Mamba.h"

namespace mambit::cpu {

/// Emits the phases of `kernel` at the end of `module`.
mlir::FailureOr<llvm::SmallVector<Phase>>
emitKernel(plan::KernelOp kernel, const Target &target, mlir::ModuleOp module);

/// One phase, "gather": a token a tile.
void emitEmbedding(KernelBuilder &b, mamba::EmbeddingOp op);

/// Two phases. "prologue", a token a tile, makes the activations that the
/// product is of: normalised, weighted, quantised. It is left out if they are
/// the input itself. "matmul" makes some row tiles of some tokens a tile.
void emitFusedLinear(KernelBuilder &b, mamba::FusedLinearOp op,
                     const Target &target);

/// Two phases. "conv", some channels of a sequence a tile, makes the inputs of
/// the recurrence; "recurrence" is a head of a sequence a tile.
void emitScan(KernelBuilder &b, mamba::ScanOp op);

/// Of one row tile and some tokens, Σ_k bit[row][k] · q[token][k] in int32, a
/// lane a row, as the target does it best. `digits` is as the signature says.
Vals emitBitSums(KernelBuilder &b, const Target &target, Val bits, Val rowTile,
                 Val digits, llvm::ArrayRef<Val> tokens);

/// The same by means that every target has.
Vals emitPortableBitSums(KernelBuilder &b, Val bits, Val rowTile, Val digits,
                         llvm::ArrayRef<Val> tokens);

/// Of one row tile and some tokens, Σ_k ±v[token][k] in f32, + where the bit is
/// set. The order of the sum does not depend on the tokens.
Vals emitSignedSums(KernelBuilder &b, Val bits, Val rowTile, Val v, int64_t k,
                    llvm::ArrayRef<Val> tokens);

} // namespace mambit::cpu

#endif // MAMBIT_CODEGEN_CPU_KERNELS_H
