//===- Import.h - a checkpoint as a module of the mamba dialect -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_IMPORT_H
#define MAMBIT_FRONTEND_IMPORT_H

#include "frontend/checkpoint/Checkpoint.h"
#include "frontend/checkpoint/Config.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mambit {

/// The type that the embedding, lm_head and dense projections are kept in.
/// Rounding f32 to 16 bits halves them, and moves logits by up to 1e-3.
enum class DenseType { asStored, f16, bf16, f32 };

/// Builds the module of a checkpoint: one `mamba.weights` group a layer and one
/// `@model` group (`embedding`, `norm_f`, and `lm_head` unless tied), and
///
///   func.func @forward(ids, seqs, rows, conv0, ssm0, conv1, …)
///       -> (logits of `rows`, conv0', ssm0', …)
///
/// with one `mamba.block` a layer. Weights keep the names of files and keys; no
/// bytes are read.
mlir::OwningOpRef<mlir::ModuleOp>
importCheckpoint(mlir::MLIRContext &context,
                 const checkpoint::Checkpoint &checkpoint,
                 const checkpoint::ModelConfig &config,
                 DenseType denseType = DenseType::asStored);

} // namespace mambit

#endif // MAMBIT_FRONTEND_IMPORT_H
