//===- Driver.cpp - runs the stages one after another ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tools/mambit-compile/Driver.h"

#include "codegen/Compile.h"
#include "codegen/Targets.h"
#include "frontend/checkpoint/Describe.h"
#include "passes/Pipelines.h"
#include "runtime/artifact/Pack.h"
#include "tools/common/CheckpointSource.h"
#include "tools/common/ModelConfig.h"
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
  tools::finish(file.os(), path == "-" ? "standard output" : path.str());
  file.keep();
}

static void runPipeline(mlir::ModuleOp module, const DriverOptions &options,
                        const Target &target) {
  MambitPipelineOptions pipeline;
  pipeline.activationBits = options.activationBits;
  pipeline.stateDtype = options.stateDtype;
  pipeline.maxTokens = *options.maxTokens;
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
    throw std::runtime_error("the passes failed on '" + options.input +
                             options.config + "'");
}

namespace {
/// A checkpoint, or the description of one.
struct Input {
  checkpoint::Checkpoint tensors;
  checkpoint::ModelConfig model;
};
} // namespace

static Input openInput(const DriverOptions &options) {
  if (options.input.empty() == options.config.empty())
    throw std::runtime_error(
        options.input.empty()
            ? "no checkpoint folder was named; see --help"
            : "expected a checkpoint folder or --config, found both");
  if (!options.config.empty()) {
    auto description = checkpoint::describeCheckpoint(options.config);
    return {std::move(description.tensors), std::move(description.model)};
  }
  auto tensors = checkpoint::Checkpoint::open(options.input);
  checkpoint::ModelConfig model = checkpoint::readModelConfig(tensors);
  return {std::move(tensors), std::move(model)};
}

/// Makes the weights of a skeleton and writes all. Returns the number of exact
/// zeros among the signs.
static uint64_t attachWeights(artifact::Draft skeleton,
                              const checkpoint::Checkpoint &checkpoint,
                              const std::string &output) {
  tools::CheckpointSource source(checkpoint);
  artifact::PackOptions pack = tools::packOptions(checkpoint);
  tools::Progress progress("packing", 0, "bytes");
  pack.progress = [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  };
  artifact::PackReport report =
      artifact::pack(std::move(skeleton), source, output, pack);
  uint64_t zeros = 0;
  for (const auto &weight : report.zeros)
    zeros += weight.count;
  return zeros;
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
  auto strategy = [&]() -> std::string {
    switch (options.matmulStrategy) {
    case MatmulStrategy::automatic:
      return "auto";
    case MatmulStrategy::split:
      return "split";
    case MatmulStrategy::mma:
      return "mma";
    case MatmulStrategy::wgmma:
      return "wgmma";
    }
    llvm_unreachable("all strategies are handled");
  };
  return {"--target=" + options.targets,
          "--activation-bits=" + std::to_string(options.activationBits),
          "--bit-sums=" + stringify(options.bitSums).str(),
          "--dense-type=" + denseType(),
          "--matmul-strategy=" + strategy(),
          "--max-tokens=" + std::to_string(*options.maxTokens),
          "--max-sequences=" + std::to_string(options.maxSequences),
          "--state-dtype=" + options.stateDtype};
}

/// Few tokens of prefill at once suit the caches of a CPU; a GPU needs many.
static int64_t getMaxTokens(llvm::ArrayRef<const Target *> targets) {
  bool onlyCpu = llvm::all_of(
      targets, [](const Target *target) { return target->device == "cpu"; });
  return onlyCpu ? 512 : 4096;
}

int mambit::compileCheckpoint(DriverOptions options) {
  if (options.output.empty() && options.emit == Emit::artifact)
    throw std::runtime_error("-o FILE says where the artifact goes");
  if (!options.config.empty() && options.emit == Emit::artifact &&
      options.attachWeights)
    throw std::runtime_error(
        "--config has no weights to attach; add --weights=none");
  auto targets = unwrap(lookupTargets(options.targets));
  if (!options.maxTokens)
    options.maxTokens = getMaxTokens(targets);

  const Input input = openInput(options);
  if (!options.dumpTo.empty())
    check(llvm::sys::fs::create_directories(options.dumpTo), options.dumpTo);

  // Printing a module in the middle of a pipeline needs a single thread.
  mlir::DialectRegistry registry;
  registerCodegenDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      importCheckpoint(context, input.tensors, input.model, options.denseType);
  // All targets of a device share its layouts and so its plan.
  if (options.emit != Emit::imported)
    runPipeline(*module, options, *targets.front());
  if (options.emit != Emit::artifact) {
    writeModule(*module, options.output.empty() ? "-" : options.output);
    return 0;
  }

  CodegenOptions codegen;
  codegen.matmulStrategy = options.matmulStrategy;
  codegen.dumpTo = options.dumpTo;
  codegen.bitSums = options.bitSums;
  codegen.ptxas = options.ptxas;
  mlir::FailureOr<artifact::Draft> draft =
      makeSkeleton(*module, targets, codegen);
  if (failed(draft))
    throw std::runtime_error("no code could be made for '" +
                             input.tensors.directory() + "'");
  draft->index.config =
      tools::describeModel(input.tensors, input.model, options.activationBits);
  draft->index.config->state_dtype = options.stateDtype;
  draft->index.flags = flagsOf(options);
  module = {};

  uint64_t zeros = 0, size = 0;
  if (options.attachWeights)
    zeros = attachWeights(std::move(*draft), input.tensors, options.output);
  else
    artifact::write(*draft, options.output);
  if (options.quiet)
    return 0;

  check(llvm::sys::fs::file_size(options.output, size), options.output);
  llvm::outs() << llvm::formatv("{0}: {1}, {2} layers, ", options.output,
                                tools::formatBytes(size), input.model.nLayer);
  llvm::interleaveComma(targets, llvm::outs(), [](const Target *target) {
    llvm::outs() << target->name;
  });
  if (!options.attachWeights)
    llvm::outs() << "; a skeleton: mambit-pack attaches weights";
  else if (input.model.binarised())
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
