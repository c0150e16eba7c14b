//===- Pipelines.h - the passes in order -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_PASSES_PIPELINES_H
#define MAMBIT_PASSES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace mambit {

/// What the pipeline can be told, by the driver and by the opt tool alike.
struct MambitPipelineOptions
    : mlir::PassPipelineOptions<MambitPipelineOptions> {
  Option<unsigned> activationBits{
      *this, "activation-bits",
      llvm::cl::desc("Bits of a quantised activation: 8, 16, or 32 for none"),
      llvm::cl::init(16)};
  Option<std::string> stateDtype{
      *this, "state-dtype",
      llvm::cl::desc("Element type of SSM states: f32, f16 or bf16"),
      llvm::cl::init("f32")};
  Option<int64_t> bitTileRows{
      *this, "bit-tile-rows",
      llvm::cl::desc("Rows of a tile of packed signs, a multiple of 16"),
      llvm::cl::init(16)};
  Option<int64_t> denseInterleave{
      *this, "dense-interleave",
      llvm::cl::desc("Rows of a dense matrix that lie interleaved"),
      llvm::cl::init(16)};
  Option<int64_t> maxTokens{
      *this, "max-tokens", llvm::cl::desc("Tokens a call of prefill may bring"),
      llvm::cl::init(512)};
  Option<int64_t> maxSequences{*this, "max-sequences",
                               llvm::cl::desc("Sequences a call may bring"),
                               llvm::cl::init(64)};
  Option<std::string> stopAfter{
      *this, "stop-after",
      llvm::cl::desc("The last pass to run; empty: all of them")};
};

/// From blocks to programs with planned memory: what code is generated from.
/// Up to form-kernels, the interpreter can run the result of every stage.
void buildMambitPipeline(mlir::OpPassManager &pm,
                         const MambitPipelineOptions &options);

/// Whether the pipeline has a pass of that name to stop after.
bool isPipelineStage(llvm::StringRef name);

/// Registers the pipeline as `mambit-pipeline`.
void registerMambitPipelines();

} // namespace mambit

#endif // MAMBIT_PASSES_PIPELINES_H
