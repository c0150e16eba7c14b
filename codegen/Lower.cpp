//===- Lower.cpp - what the lowering of all targets shares --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Lower.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

using namespace mlir;
using namespace mambit;

//===--------------------------------------------------------------------===//
// To the LLVM dialect
//===--------------------------------------------------------------------===//

void mambit::callPhase(ImplicitLocOpBuilder &b, func::FuncOp phase,
                       function_ref<Value(unsigned)> buffer,
                       function_ref<Value(unsigned)> extent, Value tile) {
  LLVMTypeConverter types(b.getContext());
  auto convert = [&](Value value, Type type) {
    return b.create<UnrealizedConversionCastOp>(type, value).getResult(0);
  };
  SmallVector<Value> operands;
  unsigned buffers = 0, extents = 0;
  for (Type type : phase.getArgumentTypes().drop_back()) {
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref) {
      operands.push_back(convert(extent(extents++), b.getIndexType()));
      continue;
    }
    auto descriptor =
        MemRefDescriptor::poison(b, b.getLoc(), types.convertType(memref));
    Value base = buffer(buffers++);
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
  operands.push_back(convert(tile, b.getIndexType()));
  b.create<func::CallOp>(phase, operands);
}

func::FuncOp mambit::makeInternal(func::FuncOp phase) {
  MLIRContext *context = phase.getContext();
  phase.setName((phase.getName() + "_tile").str());
  phase->setAttr("llvm.linkage",
                 LLVM::LinkageAttr::get(context, LLVM::Linkage::Internal));
  // However large: only in its entry point is known what it is called with.
  phase->setAttr("passthrough",
                 Builder(context).getStrArrayAttr({"alwaysinline"}));
  return phase;
}

void mambit::addLoweringPasses(OpPassManager &passes,
                               std::unique_ptr<Pass> addEntryPoints) {
  passes.addPass(std::move(addEntryPoints));
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
// To machine code
//===--------------------------------------------------------------------===//

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const Target &target, std::string &error) {
  static bool initialised = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
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

LogicalResult mambit::emitFile(llvm::Module &module,
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

FailureOr<MachineModule>
mambit::lowerToMachineModule(ModuleOp module, const Target &target,
                             function_ref<void(OpPassManager &)> addPasses,
                             DumpFn dump) {
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
  addPasses(passes);
  if (failed(passes.run(module)))
    return failure();
  dumpModule("llvm.mlir");

  MachineModule result;
  std::string error;
  result.machine = createTargetMachine(target, error);
  if (!result.machine)
    return module.emitError("cannot make code for ")
           << target.triple << ": " << error;

  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  registerNVVMDialectTranslation(*module.getContext());
  result.context = std::make_unique<llvm::LLVMContext>();
  result.module = translateModuleToLLVMIR(module, *result.context, target.name);
  if (!result.module)
    return failure();
  result.module->setDataLayout(result.machine->createDataLayout());
  result.module->setTargetTriple(result.machine->getTargetTriple());
  if (!target.tune.empty())
    for (llvm::Function &function : *result.module)
      function.addFnAttr("tune-cpu", target.tune);
  optimise(*result.module, *result.machine);
  if (dump) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    result.module->print(stream, nullptr);
    dump("ll", text);
  }
  return std::move(result);
}
