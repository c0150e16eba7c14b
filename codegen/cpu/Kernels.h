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
#include "codegen/Options.h"
#include "codegen/Targets.h"
#include "dialects/mamba/Mamba.h"

namespace mambit::cpu {

/// Emits the phases of `kernel` at the end of `module`.
mlir::FailureOr<llvm::SmallVector<Phase>>
emitKernel(plan::KernelOp kernel, const Target &target, mlir::ModuleOp module,
           BitSums how = BitSums::automatic);

/// One phase, "gather": a token a tile.
void emitEmbedding(KernelBuilder &b, mamba::EmbeddingOp op);

/// "prologue", a token a tile, makes the activations that the product is of:
/// normalised, weighted, quantised. It is left out if they are the input
/// itself. "tables" makes the tables of sums where the product looks them up,
/// "planes" the planes of bits where it counts them. "matmul" makes some row
/// tiles of some tokens a tile; it is two phases, "matmul_one" and
/// "matmul_many", where one token is a case of its own.
void emitFusedLinear(KernelBuilder &b, mamba::FusedLinearOp op,
                     const Target &target, BitSums how);

/// Two phases. "conv", some channels of a sequence a tile, makes the inputs of
/// the recurrence; "recurrence" is a head of a sequence a tile.
void emitScan(KernelBuilder &b, mamba::ScanOp op);

/// Two phases. "parts" finds the best logits of a part of a row, "merge" the
/// best of those.
void emitSample(KernelBuilder &b, mamba::SampleOp op);

/// The fastest way for a product of `rows` rows and some tokens at once, by a
/// model of its cost.
BitSums chooseBitSums(const Target &target, int64_t rows,
                      int64_t activationBits, int64_t tokens);

/// Whether a target has the instructions.
bool supports(const Target &target, BitSums how);

/// Of one row tile and some tokens, Σ_k bit[row][k] · q[token][k] in int32, a
/// lane a row. `digits` is as the signature says.
Vals emitBitSumsByDots(KernelBuilder &b, const Target &target, Val bits,
                       Val rowTile, Val digits, llvm::ArrayRef<Val> tokens);
Vals emitBitSumsByMasks(KernelBuilder &b, Val bits, Val rowTile, Val digits,
                        llvm::ArrayRef<Val> tokens);
Vals emitBitSumsByPlanes(KernelBuilder &b, Val bits, Val rowTile, Val bitPlanes,
                         int64_t digits, llvm::ArrayRef<Val> tokens);

/// Stores the planes of bits of one token that `emitBitSumsByPlanes` takes.
void emitBitPlanes(KernelBuilder &b, Val digits, Val token, Val bitPlanes);

/// Of one row tile and some tokens, Σ_k ±v[token][k] in f32, + where the bit is
/// set. The order of the sum does not depend on the tokens.
Vals emitSignedSums(KernelBuilder &b, Val bits, Val rowTile, Val v, int64_t k,
                    llvm::ArrayRef<Val> tokens);

} // namespace mambit::cpu

#endif // MAMBIT_CODEGEN_CPU_KERNELS_H
