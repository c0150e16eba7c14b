//===- Passes.cpp - code generation as passes, for mambit-opt -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Passes.h"

#include "codegen/Compile.h"
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Lower.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace mambit;

namespace {
struct EmitCpuKernels : PassWrapper<EmitCpuKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCpuKernels)
  EmitCpuKernels() = default;
  EmitCpuKernels(const EmitCpuKernels &other) : PassWrapper(other) {}

  StringRef getArgument() const final { return "emit-cpu-kernels"; }
  StringRef getDescription() const final {
    return "Replace a planned module by the phases of its kernels";
  }
  void getDependentDialects(DialectRegistry &registry) const final {
    registerCodegenDialects(registry);
  }
  void runOnOperation() final {
    ModuleOp planned = getOperation();
    llvm::Expected<const Target *> found = lookupTarget(target);
    if (!found) {
      planned.emitError(llvm::toString(found.takeError()));
      return signalPassFailure();
    }
    OwningOpRef<ModuleOp> code = ModuleOp::create(planned.getLoc());
    for (auto kernel : planned.getOps<plan::KernelOp>())
      if (failed(cpu::emitKernel(kernel, **found, *code)))
        return signalPassFailure();
    planned.getBodyRegion().takeBody(code->getBodyRegion());
  }

  Option<std::string> target{*this, "target",
                             llvm::cl::desc("Name of the target"),
                             llvm::cl::init("x86-64-v3")};
};
} // namespace

void mambit::registerMambitCodegenPasses() {
  PassRegistration<EmitCpuKernels>();
  PassPipelineRegistration<>(
      "lower-cpu-kernels", "Lower the phases of kernels to the LLVM dialect",
      [](OpPassManager &passes) { cpu::addLoweringPasses(passes); });
}
