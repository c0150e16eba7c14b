//===- mambit-interpret.cpp - runs a model in double precision ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "frontend/CheckpointWeights.h"
#include "frontend/Import.h"
#include "passes/Pipelines.h"
#include "tools/common/Npy.h"
#include "tools/common/Progress.h"
#include "tools/compiler/CommandLine.h"
#include "tools/compiler/Unwrap.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

using namespace mambit;
using tools::check;
using tools::unwrap;
using namespace mambit::mamba::interpreter;
namespace cl = llvm::cl;

static cl::OptionCategory category("Options");

static cl::opt<std::string>
    input(cl::Positional, cl::cat(category), cl::Required,
          cl::desc("<checkpoint folder or .mlir file>"));
static cl::opt<std::string>
    checkpointFlag("checkpoint", cl::cat(category), cl::value_desc("DIR"),
                   cl::desc("The checkpoint whose weights a .mlir file uses"));
static cl::opt<std::string> idsFlag("ids", cl::cat(category), cl::Required,
                                    cl::value_desc("FILE.npy"),
                                    cl::desc("Token ids"));
static cl::opt<std::string>
    logitsFlag("logits", cl::cat(category), cl::value_desc("OUT.npy"),
               cl::desc("Writes the float64 logits after every token"));
static cl::opt<std::string>
    dumpTo("dump-to", cl::cat(category), cl::value_desc("DIR"),
           cl::desc("Writes every intermediate value as .npy"));
static cl::opt<std::string>
    after("after", cl::cat(category), cl::value_desc("PASS"),
          cl::init("imported"),
          cl::desc("Runs the IR as it is after this pass of the pipeline; "
                   "'imported' (the default) runs it as it is"));
static cl::opt<unsigned> activationBits(
    "activation-bits", cl::cat(category), cl::value_desc("N"), cl::init(16),
    cl::desc("Activation precision from choose-activation-precision on: "
             "8, 16 or 32"));
static cl::opt<std::string> stateDtype(
    "state-dtype", cl::cat(category), cl::value_desc("TYPE"), cl::init("f32"),
    cl::desc("Type of SSM states from choose-state-precision on: f32, f16 or "
             "bf16"));
static cl::opt<uint64_t>
    chunk("chunk", cl::cat(category), cl::value_desc("N"), cl::init(0),
          cl::desc("Runs the tokens in pieces of N, carrying the state"));

static mlir::OwningOpRef<mlir::ModuleOp>
loadModule(mlir::MLIRContext &context,
           const checkpoint::Checkpoint &checkpoint) {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  if (llvm::sys::fs::is_directory(input)) {
    module = importCheckpoint(context, checkpoint,
                              checkpoint::readModelConfig(checkpoint));
  } else {
    module = mlir::parseSourceFile<mlir::ModuleOp>(input, &context);
    if (!module)
      throw std::runtime_error("could not read '" + input + "'");
  }
  if (after == "imported")
    return module;
  if (!isPipelineStage(after))
    throw std::runtime_error("the pipeline has no pass '" + after + "'");
  mlir::PassManager manager(&context);
  MambitPipelineOptions options;
  options.activationBits = activationBits;
  options.stateDtype = stateDtype;
  options.stopAfter = after;
  buildMambitPipeline(manager, options);
  if (mlir::failed(manager.run(*module)))
    throw std::runtime_error("the passes failed on '" + input + "'");
  return module;
}

static bool isState(mlir::Type type) {
  return mlir::cast<mlir::RankedTensorType>(type).getRank() >= 3;
}

/// Zeros of the shapes of what `forward` takes behind ids, sequences and rows:
/// of its states, for so many slots; or of the rest, for so many rows.
static std::vector<Datum> zeros(mlir::func::FuncOp forward, bool states,
                                int64_t count) {
  std::vector<Datum> values;
  for (mlir::Type type : forward.getArgumentTypes().drop_front(3)) {
    if (isState(type) != states)
      continue;
    auto shape =
        llvm::to_vector<4>(mlir::cast<mlir::RankedTensorType>(type).getShape());
    shape.front() = count;
    values.push_back(makeDatum(Tensor(shape)));
  }
  return values;
}

/// A dumped value, by the weights that its operation takes: so mambit-compare
/// finds the same one elsewhere.
static llvm::json::Value describe(mlir::OpResult result,
                                  const std::string &file) {
  llvm::json::Array weights;
  for (mlir::Value operand : result.getOwner()->getOperands())
    if (auto weight = operand.getDefiningOp<mamba::GetWeightOp>()) {
      mlir::SymbolRefAttr symbol = weight.getWeight();
      std::string name = symbol.getRootReference().str();
      for (mlir::FlatSymbolRefAttr nested : symbol.getNestedReferences())
        name += "::" + nested.getValue().str();
      weights.push_back(std::move(name));
    }
  return llvm::json::Object{
      {"file", file},
      {"op", result.getOwner()->getName().getStringRef().str()},
      {"result", int64_t(result.getResultNumber())},
      {"weights", std::move(weights)}};
}

static int run() {
  mlir::MLIRContext context;
  context.loadDialect<mamba::MambaDialect, mlir::func::FuncDialect>();
  bool isFolder = llvm::sys::fs::is_directory(input);
  if (!isFolder && checkpointFlag.empty())
    throw std::runtime_error("a .mlir file needs --checkpoint=DIR");
  auto checkpoint =
      checkpoint::Checkpoint::open(isFolder ? input : checkpointFlag);
  mlir::OwningOpRef<mlir::ModuleOp> module = loadModule(context, checkpoint);
  auto forward = module->lookupSymbol<mlir::func::FuncOp>("forward");
  if (!forward || forward.getNumArguments() < 3)
    throw std::runtime_error("'" + input +
                             "' has no function @forward of a model");

  CheckpointWeights weights(checkpoint);
  llvm::json::Array index; // of what is dumped
  Interpreter interpreter(*module, weights);
  if (!dumpTo.empty()) {
    check(llvm::sys::fs::create_directories(dumpTo), dumpTo);
    interpreter.setObserver([&, count = 0](mlir::OpResult result,
                                           llvm::StringRef name,
                                           const Datum &datum) mutable {
      auto tensor = std::get_if<std::shared_ptr<const Tensor>>(&datum);
      if (!tensor)
        return;
      std::string file = llvm::formatv("{0:04}_{1}.npy", count++, name);
      llvm::SmallString<128> path(dumpTo);
      llvm::sys::path::append(path, file);
      tools::NpyShape shape((*tensor)->shape.begin(), (*tensor)->shape.end());
      tools::writeNpy(path.str().str(), shape, (*tensor)->values.data());
      index.push_back(describe(result, file));
    });
  }

  std::vector<int32_t> ids = tools::readIds(idsFlag);
  size_t step = chunk ? size_t(chunk) : std::max<size_t>(ids.size(), 1);
  std::vector<Datum> state = zeros(forward, /*states=*/true, 1);
  std::vector<double> logits;
  int64_t vocab =
      mlir::cast<mlir::RankedTensorType>(forward.getResultTypes()[0])
          .getShape()
          .back();
  tools::Progress progress("interpreting", ids.size(), "tokens");
  for (size_t begin = 0; begin < ids.size(); begin += step) {
    int64_t count = std::min(step, ids.size() - begin);
    Tensor tokens(llvm::ArrayRef<int64_t>{count}),
        rows(llvm::ArrayRef<int64_t>{count});
    for (int64_t i = 0; i < count; ++i) {
      tokens.values[i] = ids[begin + i];
      rows.values[i] = i;
    }
    std::vector<Datum> arguments = {makeDatum(std::move(tokens)),
                                    makeDatum(Sequences{{0, count}, {0}}),
                                    makeDatum(std::move(rows))};
    // Of sampling: the likeliest.
    llvm::append_range(arguments, zeros(forward, /*states=*/false, count));
    llvm::append_range(arguments, state);
    std::vector<Datum> results = unwrap(interpreter.run("forward", arguments));
    const Tensor &piece = *std::get<std::shared_ptr<const Tensor>>(results[0]);
    logits.insert(logits.end(), piece.values.begin(), piece.values.end());
    state.assign(results.end() - state.size(), results.end());
    progress.update(begin + count);
  }
  if (!dumpTo.empty()) {
    llvm::SmallString<128> path(dumpTo);
    llvm::sys::path::append(path, "index.json");
    std::error_code error;
    llvm::raw_fd_ostream file(path, error);
    check(error, path.str().str());
    file << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(index)));
    tools::finish(file, path.str().str());
  }
  if (!logitsFlag.empty())
    tools::writeNpy(logitsFlag, {ids.size(), uint64_t(vocab)}, logits.data());
  return 0;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  tools::parseCommandLine(
      argc, argv, "mambit-interpret", category,
      "Runs a model with the reference interpreter, in double precision\n\n"
      "  mambit-interpret DIR --ids ids.npy --logits logits.npy\n"
      "  mambit-interpret DIR --ids ids.npy --after=fuse-linear "
      "--dump-to=values\n"
      "  mambit-interpret model.mlir --checkpoint DIR --ids ids.npy --logits "
      "logits.npy\n");
  return tools::runGuarded("mambit-interpret", run);
}
