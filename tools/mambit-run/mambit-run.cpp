//===- mambit-run.cpp - runs a compiled model --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/ToolMain.h"
#include "tools/mambit-run/Run.h"

#include <cfloat>

static constexpr char kExamples[] = R"(Examples:
  mambit-run model.mbt --prompt "The database server" -n 64
  mambit-run model.mbt --prompt-file - --temperature 0.8 --top-p 0.95 --seed 7
  mambit-run model.mbt --ids prompt.npy -n 48 --greedy-ids
  mambit-run model.mbt --ids text.npy --logits logits.npy
  mambit-run model.mbt --ids text.npy --logits logits.npy --decode
  mambit-run model.mbt --state chat.state --prompt "User: hello" --stop "User:")";

int main(int argc, char **argv) {
  using namespace mambit::tools;
  RunOptions options;
  CLI::App app("Runs a compiled model: continues a prompt, or computes the "
               "logits after every token of it.",
               "mambit-run");
  app.footer(kExamples);
  options.model.addTo(app);

  const char *group = "Prompt, one of; with a state, at most one of";
  app.add_option("--prompt", options.prompt, "Text to continue")
      ->option_text("TEXT")
      ->group(group);
  app.add_option("--prompt-file", options.promptFile,
                 "File of text to continue; - is standard input")
      ->option_text("FILE")
      ->group(group);
  app.add_option("--ids", options.idsFile,
                 "Token ids to continue: integers in one dimension")
      ->option_text("FILE.npy")
      ->group(group);

  group = "Session";
  app.add_option(
         "--state", options.stateFile,
         "Continue the session saved in FILE, if there is one, and save "
         "it there at the end: with the prompt and all generated "
         "tokens, also those of a stop string, taken in")
      ->option_text("FILE")
      ->group(group);

  group = "Running the prompt";
  app.add_flag("--no-bos", options.noBos,
               "Do not put the begin-of-sequence token before the text")
      ->group(group);
  CLI::Option *decode =
      app.add_flag("--decode", options.decode,
                   "Run it token by token, with the decode program")
          ->group(group);
  app.add_option("--chunk", options.chunk, "Run it in pieces of N tokens")
      ->option_text("N")
      ->check(wholeNumber(1))
      ->excludes(decode)
      ->group(group);
  app.add_option("--logits", options.logitsFile,
                 "Write the logits after every token of it: float32, (tokens, "
                 "vocabulary)")
      ->option_text("OUT.npy")
      ->group(group);

  group = "Generating";
  app.add_option("-n,--tokens", options.count,
                 "Generate at most N tokens (128; with --logits 0)")
      ->option_text("N")
      ->check(wholeNumber(0))
      ->group(group);
  CLI::Option *sampling[] = {
      app.add_option("--temperature", options.temperature,
                     "Divide the logits by T; 0 is greedy (0; with another "
                     "option of sampling 1)")
          ->option_text("T")
          ->check(number(0)),
      app.add_option("--top-k", options.topK,
                     "Choose among the K likeliest tokens")
          ->option_text("K")
          ->check(wholeNumber(0)),
      app.add_option("--top-p", options.topP,
                     "Choose among the likeliest tokens that together have "
                     "probability P")
          ->option_text("P")
          ->check(number(0, 1)),
      app.add_option("--min-p", options.minP,
                     "Choose among the tokens at least P times as likely as "
                     "the likeliest")
          ->option_text("P")
          ->check(number(0, 1)),
      app.add_option("--repeat-penalty", options.repeatPenalty,
                     "Divide a positive and multiply a negative logit of a "
                     "token that has occurred by R (1)")
          ->option_text("R")
          ->check(number(FLT_MIN)), // the runtime's 0 is none
      app.add_option("--repeat-last-n", options.repeatLast,
                     "Among the last N tokens, prompt included; 0 is none, -1 "
                     "all (64)")
          ->option_text("N")
          ->check(CLI::Range(int64_t(-1), int64_t(UINT32_MAX))),
      app.add_option("--seed", options.seed, "Of the random numbers (0)")
          ->option_text("S")
          ->check(wholeNumber(0, UINT64_MAX)),
  };
  CLI::Option *stop =
      app.add_option("--stop", options.stops,
                     "End before TEXT, which may be given several times")
          ->option_text("TEXT")
          ->allow_extra_args(false)
          ->group(group);
  app.add_flag("--ignore-eos", options.ignoreEos,
               "Go on after the end-of-sequence token")
      ->group(group);
  CLI::Option *greedyIds =
      app.add_flag("--greedy-ids", options.greedyIds,
                   "Print the ids of the likeliest tokens, on one line, going "
                   "on after the end-of-sequence token")
          ->group(group);
  for (CLI::Option *option : sampling)
    option->excludes(greedyIds)->group(group);
  app.add_flag("--echo", options.echo, "Print the prompt before the text")
      ->excludes(greedyIds)
      ->group(group);
  stop->excludes(greedyIds);
  app.add_flag("--jsonl", options.jsonLines,
               "Print JSON Lines: an object a token, then one of totals "
               "(docs/command-line.md)")
      ->excludes(greedyIds)
      ->group(group);

  return toolMain(app, argc, argv, [&] {
    bool continued = !options.stateFile.empty();
    requireOne(app, {"--prompt", "--prompt-file", "--ids"}, continued);
    return run(options);
  });
}
