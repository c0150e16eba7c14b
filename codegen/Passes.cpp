//===- Passes.cpp - code generation as passes, for mambit-opt -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Passes.h"

#include "codegen/Compile.h"
#include "codegen/cpu/Lower.h"
#include "codegen/gpu/Lower.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace mambit;

namespace {
struct EmitKernels : PassWrapper<EmitKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitKernels)
  EmitKernels() = default;
  EmitKernels(const EmitKernels &other) : PassWrapper(other) {}

  StringRef getArgument() const final { return "emit-kernels"; }
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
    CodegenOptions options;
    options.matmulStrategy = strategy;
    options.bitSums = bitSums;
    OwningOpRef<ModuleOp> code = ModuleOp::create(planned.getLoc());
    for (auto kernel : planned.getOps<plan::KernelOp>())
      if (failed(emitKernel(kernel, **found, *code, options)))
        return signalPassFailure();
    planned.getBodyRegion().takeBody(code->getBodyRegion());
  }

  Option<std::string> target{*this, "target",
                             llvm::cl::desc("Name of the target"),
                             llvm::cl::init("x86-64-v3")};
  Option<MatmulStrategy> strategy{
      *this, "matmul-strategy",
      llvm::cl::desc("How GPUs multiply 1-bit weights"),
      llvm::cl::init(MatmulStrategy::automatic),
      llvm::cl::values(
          clEnumValN(MatmulStrategy::automatic, "auto",
                     "by the number of tokens"),
          clEnumValN(MatmulStrategy::split, "split", "short tiles, split K"),
          clEnumValN(MatmulStrategy::mma, "mma", "tiles of warps"),
          clEnumValN(MatmulStrategy::wgmma, "wgmma", "tiles of warpgroups"))};
  Option<BitSums> bitSums{
      *this, "bit-sums", llvm::cl::desc("How a CPU sums selected activations"),
      llvm::cl::init(BitSums::automatic),
      llvm::cl::values(clEnumValN(BitSums::automatic, "auto", "the fastest"),
                       clEnumValN(BitSums::masks, "masks", "by masks"),
                       clEnumValN(BitSums::dots, "dots", "by dot products"),
                       clEnumValN(BitSums::lookup, "lookup", "from tables"),
                       clEnumValN(BitSums::planes, "planes", "by counts"))};
};
} // namespace

void mambit::registerMambitCodegenPasses() {
  PassRegistration<EmitKernels>();
  PassPipelineRegistration<>(
      "lower-cpu-kernels", "Lower the phases of kernels to the LLVM dialect",
      [](OpPassManager &passes) { cpu::addLoweringPasses(passes); });
  PassPipelineRegistration<>(
      "lower-gpu-kernels",
      "Lower the phases of kernels to the LLVM and NVVM dialects",
      [](OpPassManager &passes) { cuda::addLoweringPasses(passes); });
}
