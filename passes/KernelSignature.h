//===- KernelSignature.h - the buffers a kernel takes ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The one rule that says on which buffers a fused operation works. The plan,
// code generation and the artifact all use it. In this order:
//
// 1. The operands, named as in ODS. `!mamba.bits` is two buffers, NAME and
//    NAME.zeros, `!mamba.sequences` two, offsets and slots. A state is read and
//    written in place. An absent optional operand is no buffer.
// 2. The results that are not states.
// 3. Scratch, what the operation needs between its phases; T is the extent of
//    its rows, or of its tokens without rows:
//    - fused_linear of bits:
//        digits i8 [T][bits/8][Kpad]  q in signed digits of 8 bits, the lowest
//                                     first, q = Σ_i 256^i · digit_i; Kpad = K
//                                     up to a multiple of 32; padding 0
//        tables i8 [T][Kpad·N/4]      sums of columns, for CPUs that look them
//                                     up (codegen/cpu/LookupSums.h); N = 48
//                                     bytes for four columns at most, 32 of 8
//                                     bits; or planes of bits
//                                     (codegen/cpu/BitSums.cpp)
//        scale  f32 [T]
//        qsum   i32 [T]               Σ_k q[k]
//      With activation_bits = 32 there are no tables, qsum is i64, and all are
//      for GPUs alone (codegen/gpu/Prologue.cpp).
//    - fused_linear, activation_bits = 32:
//        v      f32 [T][K]            for bits; for a dense matrix only if
//                                     there are rows, a norm or a norm_weight,
//                                     else v = x
//    - fused_linear with shift_weight:
//        tau    f32 [T]
//    - scan: xbc f32 [tokens][C] after SiLU; or, where a GPU takes chunks of
//      tokens, of all tokens two halves in 16 bits of B and C alone, d_state up
//      to a multiple of 16; [tokens][groups][kScanChunk] products of C and B;
//      [H][4][tokens] of step sizes; dt and decay f32 [tokens][H]
//    - sample: best i64 [rows][limit·parts], the best of each part of a row
// 4. Counters, which a slot has for all kernels in common: zero in a new slot,
//    and left zero by every launch.
//    - scan: tickets i32 [groups]
//
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_PASSES_KERNELSIGNATURE_H
#define MAMBIT_PASSES_KERNELSIGNATURE_H

#include "dialects/mamba/Mamba.h"
#include "dialects/plan/Plan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>

namespace mambit {

/// The logits of a part of a row, whose best sample finds first.
constexpr int64_t kSamplePart = 2048;

/// The most tokens of a chunk of a scan.
inline constexpr int64_t kScanChunk = 32;

/// Whether kernels are made of this operation: mamba.embedding,
/// mamba.fused_linear, mamba.scan, mamba.sample.
bool isFusedOp(mlir::Operation *op);

/// Whether a function is a kernel, as form-kernels makes it: private, with one
/// fused operation on its arguments as body.
bool isKernel(mlir::func::FuncOp function);

/// The buffers of a fused operation whose weights have layouts. Reports an
/// error where a layout is missing.
mlir::FailureOr<llvm::SmallVector<plan::ParamAttr>>
getKernelSignature(mlir::Operation *op);

/// How many buffers stand for a value of this type.
unsigned getNumBuffers(mlir::Type type);

/// The operand a result is the new state of; nothing for other results.
std::optional<unsigned> getStateOperand(mlir::OpResult result);

/// The position of a parameter by its name.
std::optional<unsigned> findParam(llvm::ArrayRef<plan::ParamAttr> params,
                                  llvm::StringRef name);

} // namespace mambit

#endif // MAMBIT_PASSES_KERNELSIGNATURE_H
