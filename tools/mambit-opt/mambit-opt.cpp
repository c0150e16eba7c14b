//===- mambit-opt.cpp - runs passes on IR ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "codegen/Passes.h"
#include "dialects/mamba/Mamba.h"
#include "dialects/plan/Plan.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  mambit::registerMambitPasses();
  mambit::registerMambitPipelines();
  mambit::registerMambitCodegenPasses();

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mambit::mamba::MambaDialect, mambit::plan::PlanDialect>();

  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "Mambit's pass driver, for IR of the compiler's stages\n",
      registry));
}
