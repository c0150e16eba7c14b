//===- Compile.h - from a planned module to an artifact -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_COMPILE_H
#define MAMBIT_CODEGEN_COMPILE_H

#include "codegen/KernelBuilder.h"
#include "codegen/Options.h"
#include "codegen/Targets.h"
#include "runtime/artifact/Writer.h"

namespace mambit {

/// Loads what code generation makes use of. Needed before a context runs it on
/// several threads; harmless otherwise.
void registerCodegenDialects(mlir::DialectRegistry &registry);

/// The code of all kernels of a module for one target.
struct TargetCode {
  struct Image {
    artifact::ImageKind kind;
    std::vector<uint8_t> bytes;
  };
  /// The same code in several forms, the one to try first first.
  std::vector<Image> images;
  /// Of each kernel, in the order of the module.
  std::vector<llvm::SmallVector<Phase>> kernels;
};

struct CodegenOptions {
  MatmulStrategy matmulStrategy = MatmulStrategy::automatic;
  /// The folder where the forms of the code on its way are written, as
  /// TARGET/kernels.mlir, .llvm.mlir, .ll and .s or .ptx; empty: nowhere.
  std::string dumpTo;
  /// The assembler for GPUs: a path, `none` to leave it to the driver, or
  /// `auto` for the one that is found, if any.
  std::string ptxas = "auto";
  /// How CPUs sum the activations that bits select.
  BitSums bitSums = BitSums::automatic;
};

/// Emits the phases of a kernel for a target at the end of `module`.
mlir::FailureOr<llvm::SmallVector<Phase>>
emitKernel(plan::KernelOp kernel, const Target &target, mlir::ModuleOp module,
           const CodegenOptions &options = {});

/// Makes the code of the `plan.kernel` operations of `planned`.
mlir::FailureOr<TargetCode> compileKernels(mlir::ModuleOp planned,
                                           const Target &target,
                                           const CodegenOptions &options = {});

/// Makes a skeleton, an artifact without weights, of a planned module: code
/// for the targets, kernels, states, programs and the recipes of the weights.
/// All devices have the same plan, for their targets read the same layouts.
/// What the module does not know (flags, inputs, config, tokenizer) is left to
/// the caller.
mlir::FailureOr<artifact::Draft>
makeSkeleton(mlir::ModuleOp planned, llvm::ArrayRef<const Target *> targets,
             const CodegenOptions &options = {});

} // namespace mambit

#endif // MAMBIT_CODEGEN_COMPILE_H
