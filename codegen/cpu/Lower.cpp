//===- Lower.cpp - from emitted kernels to a shared object --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Lower.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include "llvm/Object/ObjectFile.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir;
using namespace mambit;

//===--------------------------------------------------------------------===//
// To the LLVM dialect
//===--------------------------------------------------------------------===//

namespace {
/// Makes phases internal and adds an entry point for each.
struct AddEntryPoints : PassWrapper<AddEntryPoints, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AddEntryPoints)

  StringRef getName() const final { return "AddEntryPoints"; }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<LLVM::LLVMDialect>();
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
  ImplicitLocOpBuilder b(phase.getLoc(), &getContext());
  b.setInsertionPointAfter(phase);
  StringAttr symbol = phase.getSymNameAttr();
  makeInternal(phase);

  auto pointer = LLVM::LLVMPointerType::get(&getContext());
  auto entry = b.create<LLVM::LLVMFuncOp>(
      symbol,
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                  {pointer, pointer, b.getI64Type()}));
  b.setInsertionPointToStart(entry.addEntryBlock(b));
  auto element = [&](unsigned argument, Type type, int32_t i) -> Value {
    Value at = b.create<LLVM::GEPOp>(pointer, type, entry.getArgument(argument),
                                     ArrayRef<LLVM::GEPArg>{i});
    return b.create<LLVM::LoadOp>(type, at);
  };
  callPhase(
      b, phase, [&](unsigned i) { return element(0, pointer, i); },
      [&](unsigned i) { return element(1, b.getI64Type(), i); },
      entry.getArgument(2));
  b.create<LLVM::ReturnOp>(ValueRange());
}

void cpu::addLoweringPasses(OpPassManager &passes) {
  mambit::addLoweringPasses(passes, std::make_unique<AddEntryPoints>());
}

//===--------------------------------------------------------------------===//
// To an object
//===--------------------------------------------------------------------===//

/// What an object needs from outside it.
static llvm::Expected<SmallVector<std::string>>
getUndefinedSymbols(ArrayRef<char> object) {
  auto file = llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(
      StringRef(object.data(), object.size()), "kernels"));
  if (!file)
    return file.takeError();
  SmallVector<std::string> names;
  for (const llvm::object::SymbolRef &symbol : (*file)->symbols()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    llvm::Expected<StringRef> name = symbol.getName();
    if (!name)
      return name.takeError();
    if (*flags & llvm::object::SymbolRef::SF_Undefined && !name->empty())
      names.push_back(name->str());
  }
  return names;
}

FailureOr<std::vector<uint8_t>>
cpu::compileToImage(ModuleOp module, const Target &target, DumpFn dump) {
  FailureOr<MachineModule> code =
      lowerToMachineModule(module, target, cpu::addLoweringPasses, dump);
  if (failed(code))
    return failure();

  if (dump) {
    SmallVector<char> assembly;
    std::unique_ptr<llvm::Module> copy = llvm::CloneModule(*code->module);
    if (succeeded(emitFile(*copy, *code->machine,
                           llvm::CodeGenFileType::AssemblyFile, assembly)))
      dump("s", StringRef(assembly.data(), assembly.size()));
  }
  SmallVector<char> object;
  if (failed(emitFile(*code->module, *code->machine,
                      llvm::CodeGenFileType::ObjectFile, object)))
    return module.emitError("cannot make an object for ") << target.triple;

  auto undefined = getUndefinedSymbols(object);
  if (!undefined)
    return module.emitError("cannot read the object: ")
           << llvm::toString(undefined.takeError());
  if (!undefined->empty())
    return module.emitError("kernels for ")
           << target.name
           << " call functions outside them: " << llvm::join(*undefined, ", ");
  llvm::Expected<std::vector<uint8_t>> image = linkSharedObject(object);
  if (!image)
    return module.emitError(llvm::toString(image.takeError()));
  return std::move(*image);
}
