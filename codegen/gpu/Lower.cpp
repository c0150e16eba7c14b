//===- Lower.cpp - from emitted kernels to PTX --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Lower.h"

#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mambit;

namespace {
/// Makes phases internal and adds an entry point for each.
struct AddEntryPoints : PassWrapper<AddEntryPoints, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AddEntryPoints)

  StringRef getName() const final { return "AddGpuEntryPoints"; }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect>();
  }
  void runOnOperation() final {
    for (auto phase :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      addEntryPoint(phase);
  }

private:
  void addEntryPoint(func::FuncOp phase);
};
} // namespace

void AddEntryPoints::addEntryPoint(func::FuncOp phase) {
  MLIRContext *context = &getContext();
  ImplicitLocOpBuilder b(phase.getLoc(), context);
  b.setInsertionPointAfter(phase);
  StringAttr symbol = phase.getSymNameAttr();
  makeInternal(phase);

  unsigned buffers =
      llvm::count_if(phase.getArgumentTypes(), llvm::IsaPred<MemRefType>);
  SmallVector<Type> types(buffers, LLVM::LLVMPointerType::get(context));
  types.append(3, b.getI64Type());
  auto entry = b.create<LLVM::LLVMFuncOp>(
      symbol,
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), types));
  entry->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
  auto threads = phase->getAttrOfType<IntegerAttr>("threads");
  entry->setAttr(NVVM::NVVMDialect::getReqntidAttrName(),
                 b.getDenseI32ArrayAttr(int32_t(threads.getInt())));
  if (auto blocks = phase->getAttrOfType<IntegerAttr>("blocks"))
    entry->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                   b.getI32IntegerAttr(blocks.getInt()));
  if (auto cluster = phase->getAttrOfType<IntegerAttr>("cluster"))
    entry->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(),
                   b.getDenseI32ArrayAttr({int32_t(cluster.getInt()), 1, 1}));
  // A launch's buffers are apart.
  for (unsigned i = 0; i < buffers; ++i)
    entry.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(),
                     b.getUnitAttr());

  b.setInsertionPointToStart(entry.addEntryBlock(b));
  Value block = b.create<NVVM::BlockIdXOp>(b.getI32Type());
  Value tile = b.create<LLVM::ZExtOp>(b.getI64Type(), block);
  callPhase(
      b, phase, [&](unsigned i) { return entry.getArgument(i); },
      [&](unsigned i) { return entry.getArgument(buffers + i); }, tile);
  b.create<LLVM::ReturnOp>(ValueRange());
}

void cuda::addLoweringPasses(OpPassManager &passes) {
  mambit::addLoweringPasses(passes, std::make_unique<AddEntryPoints>());
  // Of what has no intrinsic, assembly.
  passes.addPass(createConvertNVVMToLLVMPass());
}

/// The `.version` that a feature string like +ptx78 asks for.
static std::string getVersion(StringRef features) {
  StringRef digits = features;
  digits.consume_front("+ptx");
  return (digits.drop_back(1) + "." + digits.take_back(1)).str();
}

/// The word after a directive.
static StringRef getDirective(StringRef ptx, StringRef directive) {
  size_t at = ptx.find(directive);
  if (at == StringRef::npos)
    return {};
  return ptx.substr(at + directive.size()).ltrim().take_until([](char c) {
    return c == '\n' || c == ',' || c == ' ';
  });
}

FailureOr<std::string> cuda::compileToPtx(ModuleOp module, const Target &target,
                                          DumpFn dump) {
  FailureOr<MachineModule> code =
      lowerToMachineModule(module, target, cuda::addLoweringPasses, dump);
  if (failed(code))
    return failure();
  SmallString<0> text;
  if (failed(emitFile(*code->module, *code->machine,
                      llvm::CodeGenFileType::AssemblyFile, text)))
    return module.emitError("cannot make PTX for ") << target.name;
  if (dump)
    dump("ptx", text);

  // LLVM takes another version or chip where it does not know the one asked
  // for, and leaves calls of functions that nobody defines.
  std::string version = getVersion(target.features);
  StringRef found = getDirective(text, ".version"),
            chip = getDirective(text, ".target");
  if (found != version || chip != target.cpu)
    return module.emitError("kernels for ")
           << target.name << " came out as PTX " << found << " for " << chip
           << ", expected PTX " << version << " for " << target.cpu;
  size_t external = text.find(".extern .func");
  if (external != StringRef::npos)
    return module.emitError("kernels for ")
           << target.name << " call functions outside them: "
           << StringRef(text).substr(external).take_until(
                  [](char c) { return c == ';'; });
  return text.str().str();
}
