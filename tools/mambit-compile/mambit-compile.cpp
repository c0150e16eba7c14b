//===- mambit-compile.cpp - a checkpoint becomes one artifact -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tools/mambit-compile/Driver.h"

#include "codegen/Targets.h"
#include "tools/compiler/CommandLine.h"
#include "tools/compiler/Unwrap.h"

#include "llvm/Support/InitLLVM.h"

using namespace mambit;
namespace cl = llvm::cl;

static cl::OptionCategory category("Options");

static cl::opt<std::string> input(cl::Positional, cl::cat(category),
                                  cl::desc("<checkpoint folder>"));
static cl::opt<std::string>
    config("config", cl::cat(category), cl::value_desc("CONFIG"),
           cl::desc("Compiles for a configuration with no checkpoint at hand: "
                    "780M, 1.3B, 2.7B, or the path of a config.json"));
enum class Weights { checkpoint, none };
static cl::opt<Weights>
    weights("weights", cl::cat(category), cl::init(Weights::checkpoint),
            cl::desc("Weights to attach:"),
            cl::values(clEnumValN(Weights::checkpoint, "checkpoint",
                                  "the checkpoint's (default)"),
                       clEnumValN(Weights::none, "none",
                                  "none: a skeleton, to which mambit-pack "
                                  "attaches them")));
static cl::opt<std::string>
    output("o", cl::cat(category), cl::value_desc("FILE"),
           cl::desc("Where the artifact goes; with --emit, the IR "
                    "(standard output by default)"));
static cl::opt<std::string>
    targets("target", cl::cat(category), cl::value_desc("NAME,..."),
            cl::init("x86-64-v3,x86-64-v4,x86-64-v4-vnni,x86-64-v4-vbmi"),
            cl::desc("Machines to make code for (default: every level of "
                     "x86-64)"));
static cl::opt<bool> listTargets("list-targets", cl::cat(category),
                                 cl::desc("Lists the targets and ends"));
static cl::opt<std::string>
    ptxas("ptxas", cl::cat(category), cl::value_desc("PATH"), cl::init("auto"),
          cl::desc("Assembler for GPU targets; auto: that of PATH or "
                   "/usr/local/cuda, if any (default), none: the artifact has "
                   "PTX alone, which the driver compiles"));
static cl::opt<unsigned> activationBits(
    "activation-bits", cl::cat(category), cl::value_desc("N"), cl::init(16),
    cl::desc("Precision of activations in 1-bit linears: 16 (default), 8, or "
             "32 for none"));
static cl::opt<std::string> stateDtype(
    "state-dtype", cl::cat(category), cl::value_desc("TYPE"), cl::init("f32"),
    cl::desc("Type in which SSM states are kept between calls: f32 (default), "
             "f16 or bf16; arithmetic stays in f32"));
static cl::opt<BitSums> bitSums(
    "bit-sums", cl::cat(category), cl::init(BitSums::automatic),
    cl::desc("How CPUs sum the activations that bits select:"),
    cl::values(clEnumValN(BitSums::automatic, "auto",
                          "the fastest, by a model of the cost (default)"),
               clEnumValN(BitSums::masks, "masks",
                          "a mask a column; every CPU can"),
               clEnumValN(BitSums::dots, "dots",
                          "dot products of bytes with the bits"),
               clEnumValN(BitSums::lookup, "lookup",
                          "tables of the sums of four columns"),
               clEnumValN(BitSums::planes, "planes",
                          "counts of the bits that weights and planes of "
                          "activations share")));
static cl::opt<DenseType> denseType(
    "dense-type", cl::cat(category), cl::init(DenseType::asStored),
    cl::desc("Type of the embedding, lm_head and dense projections:"),
    cl::values(clEnumValN(DenseType::asStored, "as-stored",
                          "as in the checkpoint (default)"),
               clEnumValN(DenseType::f16, "f16", "f16 (default with --config)"),
               clEnumValN(DenseType::bf16, "bf16", "bf16"),
               clEnumValN(DenseType::f32, "f32", "f32")));
static cl::opt<int64_t>
    maxTokens("max-tokens", cl::cat(category), cl::value_desc("N"),
              cl::desc("Tokens that prefill takes at once (default 512, with "
                       "GPU targets 4096)"));
static cl::opt<int64_t>
    maxSequences("max-sequences", cl::cat(category), cl::value_desc("N"),
                 cl::init(64),
                 cl::desc("Sequences that one step can advance (default 64)"));
static cl::opt<Emit> emit(
    "emit", cl::cat(category), cl::init(Emit::artifact),
    cl::desc("What to write:"),
    cl::values(clEnumValN(Emit::imported, "imported", "the IR as imported"),
               clEnumValN(Emit::tensor, "tensor",
                          "the IR after the last pass on tensors"),
               clEnumValN(Emit::plan, "plan", "kernels and programs, planned"),
               clEnumValN(Emit::artifact, "artifact",
                          "the artifact (default)")));
static cl::opt<MatmulStrategy> matmulStrategy(
    "matmul-strategy", cl::cat(category), cl::init(MatmulStrategy::automatic),
    cl::desc("How GPUs multiply 1-bit weights by activations:"),
    cl::values(clEnumValN(MatmulStrategy::automatic, "auto",
                          "by the number of tokens (default)"),
               clEnumValN(MatmulStrategy::split, "split",
                          "short tiles, K split over the warps"),
               clEnumValN(MatmulStrategy::mma, "mma", "tiles of warps"),
               clEnumValN(MatmulStrategy::wgmma, "wgmma",
                          "tiles of warpgroups")));
static cl::opt<std::string>
    dumpTo("dump-to", cl::cat(category), cl::value_desc("DIR"),
           cl::desc("Writes the form after every stage to files in DIR"));
static cl::opt<bool> quiet("quiet", cl::cat(category),
                           cl::desc("Prints nothing on success"));

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  tools::parseCommandLine(
      argc, argv, "mambit-compile", category,
      "Compiles a Mamba-2 or Bi-Mamba checkpoint into one artifact\n\n"
      "  mambit-compile DIR -o model.mbt\n"
      "  mambit-compile DIR -o model.mbt --target=x86-64-v3 "
      "--activation-bits=8\n"
      "  mambit-compile DIR -o model.mbt --dump-to=stages\n"
      "  mambit-compile DIR --emit=plan\n"
      "  mambit-compile DIR --weights=none -o skeleton.mbt\n"
      "  mambit-compile --config 2.7B --weights=none -o skeleton.mbt\n");
  // A copy, made before anything is linked: lld resets all cl::opts.
  DriverOptions options;
  options.input = input;
  options.config = config;
  options.attachWeights = weights == Weights::checkpoint;
  options.output = output;
  options.targets = targets;
  options.activationBits = activationBits;
  options.stateDtype = stateDtype;
  options.bitSums = bitSums;
  // Official checkpoints are stored in f32, twice what the embedding needs.
  options.denseType = !config.empty() && denseType.getNumOccurrences() == 0
                          ? DenseType::f16
                          : DenseType(denseType);
  if (maxTokens.getNumOccurrences() > 0)
    options.maxTokens = maxTokens;
  options.maxSequences = maxSequences;
  options.emit = emit;
  options.matmulStrategy = matmulStrategy;
  options.ptxas = ptxas;
  options.dumpTo = dumpTo;
  options.quiet = quiet;
  bool list = listTargets;
  return tools::runGuarded("mambit-compile", [&] {
    int status = list ? printTargets() : compileCheckpoint(options);
    tools::finish(llvm::outs(), "standard output");
    return status;
  });
}
