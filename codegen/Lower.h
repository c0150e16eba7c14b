//===- Lower.h - what the lowering of all targets shares ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_LOWER_H
#define MAMBIT_CODEGEN_LOWER_H

#include "codegen/Targets.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CodeGen.h"
#include "llvm/Target/TargetMachine.h"

namespace mambit {

/// Is given a form of the code on its way, as text, with the ending that its
/// file should have.
using DumpFn =
    llvm::function_ref<void(llvm::StringRef ending, llvm::StringRef text)>;

/// Renames a phase to make room for its entry point, and makes it internal.
mlir::func::FuncOp makeInternal(mlir::func::FuncOp phase);

/// In an entry point: calls the phase on buffers that it spells out, pointers
/// as given, no offset, strides as the types say. Dynamic sizes are never asked
/// for.
void callPhase(mlir::ImplicitLocOpBuilder &b, mlir::func::FuncOp phase,
               llvm::function_ref<mlir::Value(unsigned)> buffer,
               llvm::function_ref<mlir::Value(unsigned)> extent,
               mlir::Value tile);

/// Adds the passes that lower phases, private functions of buffers, extents and
/// the number of a tile, to the LLVM dialect. The first gives each of them its
/// entry point.
void addLoweringPasses(mlir::OpPassManager &passes,
                       std::unique_ptr<mlir::Pass> addEntryPoints);

/// An optimised module, and what makes code of it.
struct MachineModule {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};

/// Lowers a module of kernels, in place, by the passes, and optimises it.
mlir::FailureOr<MachineModule>
lowerToMachineModule(mlir::ModuleOp module, const Target &target,
                     llvm::function_ref<void(mlir::OpPassManager &)> addPasses,
                     DumpFn dump);

/// The code of a module, or its text. Changes the module.
mlir::LogicalResult emitFile(llvm::Module &module, llvm::TargetMachine &machine,
                             llvm::CodeGenFileType kind,
                             llvm::SmallVectorImpl<char> &bytes);

} // namespace mambit

#endif // MAMBIT_CODEGEN_LOWER_H
