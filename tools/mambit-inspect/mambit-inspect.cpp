//===- mambit-inspect.cpp - shows artifacts and checkpoints -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#include "runtime/Error.h"
#include "tools/common/ToolMain.h"
#include "tools/mambit-inspect/ArtifactReport.h"
#include "tools/mambit-inspect/CheckpointReport.h"

#include <cstdio>
#include <filesystem>
#include <iostream>

using namespace mambit;
using namespace mambit::tools;

static constexpr char kExamples[] = R"(Examples:
  mambit-inspect checkpoint/
  mambit-inspect model.mbt
  mambit-inspect model.mbt --programs --memory
  mambit-inspect model.mbt --asm --target x86-64-v3 --kernel embedding
  mambit-inspect model.mbt --device cuda --kernels
  mambit-inspect model.mbt --json | jq .config)";

namespace {

struct Options {
  std::string path, extract;
  bool programs = false, memory = false, kernels = false, weights = false;
  bool assembly = false, json = false;
  CodeFilter filter;

  bool anyView() const {
    return programs || memory || kernels || weights || assembly ||
           !extract.empty();
  }
};

} // namespace

static int inspectArtifact(const Options &options) {
  artifact::Artifact artifact = artifact::Artifact::open(options.path);
  if (!options.extract.empty())
    for (const std::string &path : extractImages(artifact, options.extract))
      std::fprintf(options.json ? stderr : stdout, "wrote %s\n", path.c_str());

  Json report = describeArtifact(artifact);
  applyFilter(report, options.filter);
  Json assembly;
  if (options.assembly)
    assembly = describeAssembly(artifact, options.filter);
  if (options.json) {
    if (options.assembly)
      report["assembly"] = assembly;
    std::cout << report.dump(2) << '\n';
    return 0;
  }
  if (!options.anyView())
    printSummary(report);
  if (options.programs)
    printPrograms(report);
  if (options.memory)
    printMemory(report);
  if (options.kernels)
    printKernels(report, options.filter);
  if (options.weights)
    printWeights(report);
  if (options.assembly)
    printAssembly(assembly);
  return 0;
}

static int inspectCheckpoint(const Options &options) {
  if (options.anyView())
    fail("'", options.path,
         "' is a folder: of a checkpoint there is the summary and --json");
  Json report = describeCheckpoint(options.path);
  if (options.json)
    std::cout << report.dump(2) << '\n';
  else
    printCheckpoint(report);
  return 0;
}

int main(int argc, char **argv) {
  Options options;
  CLI::App app("Verifies a compiled model and shows what is in it, or shows "
               "what would be imported from a checkpoint folder.",
               "mambit-inspect");
  app.footer(kExamples);
  app.add_option("PATH", options.path, "A compiled model, or a folder")
      ->required();
  app.add_flag("--json", options.json, "Print all of it as JSON");

  const char *group = "Of a compiled model, instead of the summary";
  app.add_flag("--programs", options.programs, "Commands of the programs")
      ->group(group);
  app.add_flag("--memory", options.memory,
               "Memory plan: what lies where in the arena and when; the state")
      ->group(group);
  app.add_flag("--kernels", options.kernels,
               "Parameters of the kernels; phases and grids of each target")
      ->group(group);
  app.add_flag("--weights", options.weights,
               "Layouts, sizes, checksums and recipes of the weights")
      ->group(group);
  app.add_flag("--asm", options.assembly,
               "Disassembled code of the kernels; for a GPU their PTX")
      ->group(group);
  app.add_option("--kernel", options.filter.kernel,
                 "Show this kernel only (all)")
      ->option_text("NAME")
      ->group(group);
  app.add_option("--device", options.filter.device,
                 "Show what is for this device only: cpu, cuda (all)")
      ->option_text("NAME")
      ->group(group);
  app.add_option("--target", options.filter.target,
                 "Show the code of this target (--asm: the first; --kernels: "
                 "all)")
      ->option_text("NAME")
      ->group(group);
  app.add_option("--extract", options.extract,
                 "Write the code images to files in DIR")
      ->option_text("DIR")
      ->group(group);

  return toolMain(app, argc, argv, [&] {
    return std::filesystem::is_directory(options.path)
               ? inspectCheckpoint(options)
               : inspectArtifact(options);
  });
}
