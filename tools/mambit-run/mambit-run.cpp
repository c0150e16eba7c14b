//===- mambit-run.cpp - runs a compiled model --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/ToolMain.h"
#include "tools/mambit-run/Run.h"

#include <CLI/CLI.hpp>

static constexpr char kExamples[] = R"(Examples:
  mambit-run model.mbt --prompt "The database server" -n 64
  mambit-run model.mbt --prompt-file - --temperature 0.8 --top-p 0.95 --seed 7
  mambit-run model.mbt --ids prompt.npy -n 48 --greedy-ids
  mambit-run model.mbt --ids text.npy --logits logits.npy
  mambit-run model.mbt --ids text.npy --logits logits.npy --decode)";

int main(int argc, char **argv) {
  using namespace mambit::tools;
  RunOptions options;
  CLI::App app("Runs a compiled model: continues a prompt, or computes the "
               "logits after every token of it.",
               "mambit-run");
  app.footer(kExamples);
  options.model.addTo(app);

  CLI::Option_group *prompt =
      app.add_option_group("Prompt", "One of these is required");
  prompt->add_option("--prompt", options.prompt, "Text to continue")
      ->option_text("TEXT");
  prompt
      ->add_option("--prompt-file", options.promptFile,
                   "File of text to continue; - is standard input")
      ->option_text("FILE");
  CLI::Option *ids =
      prompt
          ->add_option("--ids", options.idsFile,
                       "Token ids to continue: integers in one dimension")
          ->option_text("FILE.npy");
  prompt->require_option(1);
  app.add_flag("--no-bos", options.noBos,
               "Do not put the begin-of-sequence token before the text")
      ->excludes(ids);
  CLI::Option *decode =
      app.add_flag("--decode", options.decode,
                   "Run the prompt token by token, with the decode program");
  app.add_option("--chunk", options.chunk,
                 "Run the prompt in pieces of at most N tokens")
      ->option_text("N")
      ->check(CLI::PositiveNumber)
      ->excludes(decode);
  app.add_option("--logits", options.logitsFile,
                 "Write the logits after every token of the prompt, float32 "
                 "(tokens, vocabulary)")
      ->option_text("OUT.npy");

  app.add_option("-n,--tokens", options.count,
                 "Generate at most N tokens (128; 0 with --logits)")
      ->option_text("N");
  CLI::Option_group *sampling =
      app.add_option_group("Sampling", "Greedy unless one of these is given");
  sampling
      ->add_option("--temperature", options.temperature,
                   "Divides the logits; 0 is greedy (1 with another of these)")
      ->option_text("T")
      ->check(CLI::NonNegativeNumber);
  sampling
      ->add_option("--top-k", options.topK,
                   "Choose among the K likeliest tokens")
      ->option_text("K");
  sampling
      ->add_option("--top-p", options.topP,
                   "Choose among the likeliest tokens that together have "
                   "probability P")
      ->option_text("P")
      ->check(CLI::Range(0.0, 1.0));
  sampling->add_option("--seed", options.seed, "Of the random numbers (0)")
      ->option_text("S");
  app.add_flag("--ignore-eos", options.ignoreEos,
               "Go on after the end-of-sequence token");
  CLI::Option *greedyIds = app.add_flag(
      "--greedy-ids", options.greedyIds,
      "Print the ids of the likeliest tokens as one line, going on after the "
      "end-of-sequence token");
  for (CLI::Option *option : sampling->get_options())
    greedyIds->excludes(option);
  app.add_flag("--echo", options.echo, "Print the prompt before the text");

  return toolMain(app, argc, argv, [&] { return run(options); });
}
