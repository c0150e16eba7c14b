//===- Lower.cpp - from emitted kernels to a shared object --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Lower.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir;
using namespace mambit;

//===--------------------------------------------------------------------===//
// To the LLVM dialect
//===--------------------------------------------------------------------===//

namespace {
/// Makes phases internal and adds an entry point for each, which spells out the
/// buffers: pointers as given, no offset, strides as the types say. Dynamic
/// sizes are never asked for.
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
  std::string symbol = phase.getName().str();
  phase.setName(symbol + "_tile");
  phase->setAttr("llvm.linkage", LLVM::LinkageAttr::get(
                                     &getContext(), LLVM::Linkage::Internal));

  LLVMTypeConverter types(&getContext());
  auto pointer = LLVM::LLVMPointerType::get(&getContext());
  Type i64 = b.getI64Type(), index = b.getIndexType();
  auto entry = b.create<LLVM::LLVMFuncOp>(
      symbol,
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                  {pointer, pointer, i64}));
  b.setInsertionPointToStart(entry.addEntryBlock(b));
  auto element = [&](unsigned argument, Type type, int32_t i) -> Value {
    Value at = b.create<LLVM::GEPOp>(pointer, type, entry.getArgument(argument),
                                     ArrayRef<LLVM::GEPArg>{i});
    return b.create<LLVM::LoadOp>(type, at);
  };
  auto convert = [&](Value value, Type type) {
    return b.create<UnrealizedConversionCastOp>(type, value).getResult(0);
  };

  SmallVector<Value> operands;
  int32_t buffers = 0, extents = 0;
  for (Type type : phase.getArgumentTypes().drop_back()) {
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref) {
      operands.push_back(convert(element(1, i64, extents++), index));
      continue;
    }
    auto descriptor =
        MemRefDescriptor::poison(b, b.getLoc(), types.convertType(memref));
    Value base = element(0, pointer, buffers++);
    descriptor.setAllocatedPtr(b, b.getLoc(), base);
    descriptor.setAlignedPtr(b, b.getLoc(), base);
    descriptor.setConstantOffset(b, b.getLoc(), 0);
    auto [strides, offset] = memref.getStridesAndOffset();
    for (auto [i, stride] : llvm::enumerate(strides)) {
      if (!memref.isDynamicDim(i))
        descriptor.setConstantSize(b, b.getLoc(), i, memref.getDimSize(i));
      descriptor.setConstantStride(b, b.getLoc(), i, stride);
    }
    operands.push_back(convert(descriptor, memref));
  }
  operands.push_back(convert(entry.getArgument(2), index));
  b.create<func::CallOp>(phase, operands);
  b.create<LLVM::ReturnOp>(ValueRange());
}

void cpu::addLoweringPasses(OpPassManager &passes) {
  passes.addPass(std::make_unique<AddEntryPoints>());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createLoopInvariantCodeMotionPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertVectorToLLVMPass());
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createFinalizeMemRefToLLVMConversionPass());
  passes.addPass(createConvertFuncToLLVMPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
}

//===--------------------------------------------------------------------===//
// To an object
//===--------------------------------------------------------------------===//

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const Target &target, std::string &error) {
  static bool initialised = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialised;
  llvm::Triple triple(target.triple);
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return nullptr;
  llvm::TargetOptions options;
  // A product and a sum stay two operations, on every target.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

static void optimise(llvm::Module &module, llvm::TargetMachine &machine) {
  // There is no library: loops that copy or clear must stay loops.
  llvm::TargetLibraryInfoImpl library(module.getTargetTriple());
  library.disableAllFunctions();

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  functions.registerPass([&] { return llvm::TargetLibraryAnalysis(library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3)
      .run(module, modules);
}

static LogicalResult emitFile(llvm::Module &module,
                              llvm::TargetMachine &machine,
                              llvm::CodeGenFileType kind,
                              SmallVectorImpl<char> &bytes) {
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  llvm::TargetLibraryInfoImpl library(module.getTargetTriple());
  library.disableAllFunctions();
  passes.add(new llvm::TargetLibraryInfoWrapperPass(library));
  if (machine.addPassesToEmitFile(passes, stream, nullptr, kind))
    return failure();
  passes.run(module);
  return success();
}

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
  auto dumpPrinted = [&](StringRef ending, auto &printed) {
    if (!dump)
      return;
    std::string text;
    llvm::raw_string_ostream stream(text);
    printed.print(stream, nullptr);
    dump(ending, text);
  };
  auto dumpModule = [&](StringRef ending) {
    if (!dump)
      return;
    std::string text;
    llvm::raw_string_ostream stream(text);
    module.print(stream);
    dump(ending, text);
  };

  PassManager simplify(module.getContext());
  simplify.addPass(createCanonicalizerPass());
  simplify.addPass(createCSEPass());
  if (failed(simplify.run(module)))
    return failure();
  dumpModule("mlir");

  PassManager passes(module.getContext());
  addLoweringPasses(passes);
  if (failed(passes.run(module)))
    return failure();
  dumpModule("llvm.mlir");

  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(target, error);
  if (!machine)
    return module.emitError("cannot make code for ")
           << target.triple << ": " << error;

  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated =
      translateModuleToLLVMIR(module, context, target.name);
  if (!translated)
    return failure();
  translated->setDataLayout(machine->createDataLayout());
  translated->setTargetTriple(machine->getTargetTriple());
  optimise(*translated, *machine);
  dumpPrinted("ll", *translated);

  if (dump) {
    SmallVector<char> assembly;
    std::unique_ptr<llvm::Module> copy = llvm::CloneModule(*translated);
    if (succeeded(emitFile(*copy, *machine, llvm::CodeGenFileType::AssemblyFile,
                           assembly)))
      dump("s", StringRef(assembly.data(), assembly.size()));
  }
  SmallVector<char> object;
  if (failed(emitFile(*translated, *machine, llvm::CodeGenFileType::ObjectFile,
                      object)))
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
