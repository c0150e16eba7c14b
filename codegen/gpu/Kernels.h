//===- Kernels.h - emits the kernels of GPUs ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Each fused operation becomes the phases of one kernel, as on the CPU and on
// the same buffers (passes/KernelSignature.h). Of `digits` only the size is the
// same: for few tokens it may hold planes of bits.
//
// A token's sums have one order, whatever else is computed beside it.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_GPU_KERNELS_H
#define MAMBIT_CODEGEN_GPU_KERNELS_H

#include "codegen/Options.h"
#include "codegen/gpu/SimtBuilder.h"
#include "dialects/mamba/Mamba.h"

namespace mambit::cuda {

/// Emits the phases of `kernel` at the end of `module`. Refuses a kernel that
/// the target has no instructions for.
mlir::FailureOr<llvm::SmallVector<Phase>> emitKernel(plan::KernelOp kernel,
                                                     const Target &target,
                                                     mlir::ModuleOp module,
                                                     MatmulStrategy strategy);

/// One phase, "gather": some columns of a token a block.
void emitEmbedding(SimtBuilder &b, mamba::EmbeddingOp op);

/// For each number of tokens that makes a strategy of its own two phases.
/// "prologue…", a token a block, makes the activations that the product is of:
/// normalised, weighted, quantised. It is left out if they are the input
/// itself. "matmul…" makes some rows of some tokens a block. For very few
/// tokens there is one phase, "fused…", whose blocks make the activations too.
void emitFusedLinear(SimtBuilder &b, mamba::FusedLinearOp op,
                     MatmulStrategy strategy);

/// A phase for sequences of one token, of few and of many such sequences, and
/// phases for longer ones (Scan.h).
void emitScan(SimtBuilder &b, mamba::ScanOp op);

/// Two phases. "parts" finds the best logits of a part of a row, "merge" the
/// best of those.
void emitSample(SimtBuilder &b, mamba::SampleOp op);

/// Tokens and rows of a tile of a product in f32, and its threads.
constexpr int64_t kFloatTokens = 8, kTileRows = 16, kFloatThreads = 256;

/// In a block: the sums of one row tile and the tokens from `first` to below
/// `end`, at most kFloatTokens, each given to `epilogue` by one thread.
using FloatEpilogue = llvm::function_ref<void(Val row, Val token, Val sum)>;

/// Σ_k w[row][k] · v[token][k]; `weight` is interleaved.
void emitDenseSums(SimtBuilder &b, Val weight, Val rowTile, Val v, int64_t k,
                   Val first, Val end, FloatEpilogue epilogue);

/// Rows of a block of `emitTensorSums`.
constexpr int64_t kTensorRows = 64;
/// The same on tensor cores, for f16 and bf16, for a block of rows and
/// `tokens`, a multiple of 8. Waits for the phase before. v, whose magnitude
/// must be below 65504, is a sum of two f16, which loses 2⁻²³ of it, or of
/// three bf16.
void emitTensorSums(SimtBuilder &b, Val weight, Val rowBlock, Val v, int64_t k,
                    Val first, Val end, int64_t tokens, FloatEpilogue epilogue);

/// Rows and tokens of a block of `emitWarpgroupSums`.
constexpr int64_t kWarpgroupRows = 256, kWarpgroupTokens = 64;
/// The same with wgmma, which gives the same bits, for many rows and tokens,
/// whose weights and activations a block reads once. K is a multiple of 4.
/// Gives `epilogue` the sums of two adjacent rows.
void emitWarpgroupSums(SimtBuilder &b, Val weight, Val rowBlock, Val v,
                       int64_t k, Val first, Val end, FloatEpilogue epilogue);

/// Σ_k ±v[token][k], + where the bit is set.
void emitSignedSums(SimtBuilder &b, Val bits, Val rowTile, Val v, int64_t k,
                    Val first, Val end, FloatEpilogue epilogue);

} // namespace mambit::cuda

#endif // MAMBIT_CODEGEN_GPU_KERNELS_H
