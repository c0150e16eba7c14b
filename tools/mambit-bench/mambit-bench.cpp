//===- mambit-bench.cpp - measures a compiled model --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/ToolMain.h"
#include "tools/mambit-bench/Bench.h"

static constexpr char kExamples[] = R"(Examples:
  mambit-bench model.mbt
  mambit-bench model.mbt --device cuda --prompts 8 --prefill 2048 --kernels
  mambit-bench model.mbt --decode 1,4 --prefill 0 --json)";

int main(int argc, char **argv) {
  using namespace mambit::tools;
  BenchOptions options;
  bool kernels = false, json = false;
  CLI::App app(
      "Measures a compiled model: the time of a step, from token ids "
      "to logits in the host's memory; the bytes that it must move; "
      "the floor that follows from the bandwidth with which the device "
      "reads, measured in the same run; and the time of each kernel.",
      "mambit-bench");
  app.footer(kExamples);
  options.model.addTo(app);
  const char *group = "What to measure";
  app.add_option("--decode", options.decode,
                 "Decode a token of each of N sequences (1,16,64, as the model "
                 "takes)")
      ->option_text("N,...")
      ->delimiter(',')
      ->check(wholeNumber(1, 1 << 16))
      ->group(group);
  app.add_option("--prefill", options.prefill,
                 "Take in prompts of L tokens; 0: no prompts (512)")
      ->option_text("L")
      ->check(wholeNumber(0, 1 << 24))
      ->group(group);
  app.add_option("--prompts", options.prompts, "Take in N prompts at once (1)")
      ->option_text("N")
      ->check(wholeNumber(1, 1 << 16))
      ->group(group);
  app.add_option("--seconds", options.seconds,
                 "Measure for S seconds at least, each (1)")
      ->option_text("S")
      ->check(number(0, 3600))
      ->group(group);
  app.add_flag("--kernels", kernels, "Print the time of each kernel");
  app.add_flag("--json", json, "Print JSON, which has all of it");

  return toolMain(app, argc, argv, [&] {
    BenchResult result = bench(options);
    if (json)
      printJson(result);
    else
      printText(result, kernels);
    return 0;
  });
}
