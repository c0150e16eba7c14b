//===- Driver.cpp - runs the stages one after another ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tools/mambit-compile/Driver.h"

#include "codegen/Compile.h"
#include "codegen/Targets.h"
#include "passes/Pipelines.h"
#include "runtime/artifact/Pack.h"
#include "tools/common/CheckpointSource.h"
#include "tools/common/Progress.h"
#include "tools/compiler/Unwrap.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mambit;
using tools::check;
using tools::unwrap;

static void writeModule(mlir::ModuleOp module, llvm::StringRef path) {
  std::error_code error;
  llvm::ToolOutputFile file(path, error, llvm::sys::fs::OF_Text);
  check(error, path.str());
  module->print(file.os());
  file.os() << '\n';
  file.keep();
}

static void runPipeline(mlir::ModuleOp module, const DriverOptions &options,
                        const Target &target) {
  MambitPipelineOptions pipeline;
  pipeline.activationBits = options.activationBits;
  pipeline.maxTokens = options.maxTokens;
  pipeline.maxSequences = options.maxSequences;
  pipeline.bitTileRows = target.bitTileRows;
  pipeline.denseInterleave = target.interleaveRows;
  if (options.emit == Emit::tensor)
    pipeline.stopAfter = "form-kernels";

  mlir::PassManager manager(module.getContext());
  if (!options.dumpTo.empty()) {
    writeModule(module, options.dumpTo + "/imported.mlir");
    manager.enableIRPrintingToFileTree(
        /*shouldPrintBeforePass=*/nullptr,
        /*shouldPrintAfterPass=*/
        [](mlir::Pass *, mlir::Operation *) { return true; },
        /*printModuleScope=*/true, /*printAfterOnlyOnChange=*/false,
        /*printAfterOnlyOnFailure=*/false, options.dumpTo + "/passes");
  }
  buildMambitPipeline(manager, pipeline);
  if (failed(manager.run(module)))
    throw std::runtime_error("the passes failed on '" + options.input + "'");
}

/// What the artifact says of the model, for people and tools.
static std::unique_ptr<artifact::ModelConfigT>
describe(const checkpoint::Checkpoint &checkpoint,
         const checkpoint::ModelConfig &config, int activationBits) {
  auto described = std::make_unique<artifact::ModelConfigT>();
  switch (config.format) {
  case checkpoint::Format::official:
    described->format = "bi-mamba";
    break;
  case checkpoint::Format::dense:
    described->format = "mamba2";
    break;
  case checkpoint::Format::huggingFace:
    described->format = "hf-mamba2";
    break;
  }
  described->d_model = config.dModel;
  described->layers = config.nLayer;
  described->vocab = config.vocabSize;
  described->heads = config.nHeads;
  described->headdim = config.headdim;
  described->groups = config.nGroups;
  described->d_state = config.dState;
  described->d_conv = config.dConv;
  described->tied = config.tieEmbeddings;
  described->activation_bits = config.binarised() ? activationBits : 32;
  // A tied model's copy of the embedding is no parameter of its own.
  for (const auto &[key, tensor] : checkpoint.tensors())
    if (key != "lm_head.weight" || !config.tieEmbeddings)
      described->parameters += tensor.elementCount();
  for (const checkpoint::Layer &layer : config.layers)
    for (const checkpoint::Linear *linear : {&layer.inProj, &layer.outProj})
      if (linear->binarised)
        described->binary_parameters += linear->rows * linear->columns;
  return described;
}

/// The options that shape the artifact, as a command line would give them.
static std::vector<std::string> flagsOf(const DriverOptions &options) {
  auto denseType = [&]() -> std::string {
    switch (options.denseType) {
    case DenseType::asStored:
      return "as-stored";
    case DenseType::f16:
      return "f16";
    case DenseType::bf16:
      return "bf16";
    case DenseType::f32:
      return "f32";
    }
    llvm_unreachable("all types are handled");
  };
  return {"--target=" + options.targets,
          "--activation-bits=" + std::to_string(options.activationBits),
          "--dense-type=" + denseType(),
          "--max-tokens=" + std::to_string(options.maxTokens),
          "--max-sequences=" + std::to_string(options.maxSequences)};
}

int mambit::compileCheckpoint(const DriverOptions &options) {
  if (options.input.empty())
    throw std::runtime_error("no checkpoint folder was named; see --help");
  if (options.output.empty() && options.emit == Emit::artifact)
    throw std::runtime_error("-o FILE says where the artifact goes");
  auto targets = unwrap(lookupTargets(options.targets));

  auto checkpoint = checkpoint::Checkpoint::open(options.input);
  checkpoint::ModelConfig config = checkpoint::readModelConfig(checkpoint);
  if (!options.dumpTo.empty())
    check(llvm::sys::fs::create_directories(options.dumpTo), options.dumpTo);

  // Printing a module in the middle of a pipeline needs a single thread.
  mlir::DialectRegistry registry;
  registerCodegenDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      importCheckpoint(context, checkpoint, config, options.denseType);
  // All targets of a device share its layouts and so its plan.
  if (options.emit != Emit::imported)
    runPipeline(*module, options, *targets.front());
  if (options.emit != Emit::artifact) {
    writeModule(*module, options.output.empty() ? "-" : options.output);
    return 0;
  }

  CodegenOptions codegen;
  codegen.dumpTo = options.dumpTo;
  mlir::FailureOr<artifact::Draft> draft =
      makeSkeleton(*module, targets, codegen);
  if (failed(draft))
    throw std::runtime_error("no code could be made for '" + options.input +
                             "'");
  draft->index.config = describe(checkpoint, config, options.activationBits);
  draft->index.flags = flagsOf(options);
  module = {};

  tools::CheckpointSource source(checkpoint);
  artifact::PackOptions pack = tools::packOptions(checkpoint);
  tools::Progress progress("packing", 0, "bytes");
  pack.progress = [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  };
  artifact::PackReport report =
      artifact::pack(std::move(*draft), source, options.output, pack);
  if (options.quiet)
    return 0;

  uint64_t zeros = 0, size = 0;
  for (const auto &weight : report.zeros)
    zeros += weight.count;
  check(llvm::sys::fs::file_size(options.output, size), options.output);
  llvm::outs() << llvm::formatv("{0}: {1}, {2} layers, ", options.output,
                                tools::formatBytes(size), config.nLayer);
  llvm::interleaveComma(targets, llvm::outs(), [](const Target *target) {
    llvm::outs() << target->name;
  });
  if (config.binarised())
    llvm::outs() << llvm::formatv("; {0} exact zeros among the signs", zeros);
  llvm::outs() << '\n';
  return 0;
}

int mambit::printTargets() {
  for (const Target &target : getTargets()) {
    llvm::outs() << llvm::formatv("{0,-18} {1}, {2}", target.name,
                                  target.device, target.triple);
    for (Capability capability : target.capabilities)
      llvm::outs() << ", " << stringify(capability);
    llvm::outs() << '\n';
  }
  return 0;
}
