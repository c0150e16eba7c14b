//===- Pipelines.cpp - the passes in order -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Pipelines.h"
#include "passes/Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mambit;

namespace {
struct Stage {
  StringLiteral name;
  void (*add)(OpPassManager &, const MambitPipelineOptions &);
};
} // namespace

/// A stage is a pass of ours, with the clean-up it calls for.
static const Stage stages[] = {
    {"expand-blocks",
     [](OpPassManager &pm, const MambitPipelineOptions &) {
       pm.addPass(createExpandBlocks());
       pm.addPass(createCSEPass());
     }},
    {"fold-scales",
     [](OpPassManager &pm, const MambitPipelineOptions &) {
       pm.addPass(createFoldScales());
     }},
    {"choose-activation-precision",
     [](OpPassManager &pm, const MambitPipelineOptions &options) {
       pm.addNestedPass<func::FuncOp>(createChooseActivationPrecision(
           ChooseActivationPrecisionOptions{options.activationBits}));
     }},
    {"choose-state-precision",
     [](OpPassManager &pm, const MambitPipelineOptions &options) {
       pm.addNestedPass<func::FuncOp>(createChooseStatePrecision(
           ChooseStatePrecisionOptions{options.stateDtype}));
     }},
    {"fuse-scan",
     [](OpPassManager &pm, const MambitPipelineOptions &) {
       pm.addNestedPass<func::FuncOp>(createFuseScan());
     }},
    {"fuse-linear",
     [](OpPassManager &pm, const MambitPipelineOptions &) {
       pm.addPass(createFuseLinear());
     }},
    {"assign-layouts",
     [](OpPassManager &pm, const MambitPipelineOptions &options) {
       pm.addPass(createAssignLayouts(
           AssignLayoutsOptions{options.bitTileRows, options.denseInterleave}));
       pm.addPass(createCSEPass());
     }},
    {"form-kernels",
     [](OpPassManager &pm, const MambitPipelineOptions &) {
       pm.addPass(createFormKernels());
     }},
    {"lower-to-plan",
     [](OpPassManager &pm, const MambitPipelineOptions &options) {
       pm.addPass(createLowerToPlan(
           LowerToPlanOptions{options.maxTokens, options.maxSequences}));
     }},
    {"plan-memory",
     [](OpPassManager &pm, const MambitPipelineOptions &) {
       pm.addNestedPass<plan::ProgramOp>(createPlanMemory());
     }},
};

bool mambit::isPipelineStage(StringRef name) {
  return llvm::any_of(stages,
                      [&](const Stage &stage) { return stage.name == name; });
}

void mambit::buildMambitPipeline(OpPassManager &pm,
                                 const MambitPipelineOptions &options) {
  for (const Stage &stage : stages) {
    stage.add(pm, options);
    if (stage.name == StringRef(options.stopAfter))
      return;
  }
}

void mambit::registerMambitPipelines() {
  PassPipelineRegistration<MambitPipelineOptions>(
      "mambit-pipeline", "From blocks to programs with planned memory",
      buildMambitPipeline);
}
