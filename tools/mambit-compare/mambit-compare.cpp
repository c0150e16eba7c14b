//===- mambit-compare.cpp - finds where two runs part ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/Error.h"
#include "tools/common/ToolMain.h"
#include "tools/mambit-compare/Compare.h"

static constexpr char kExamples[] = R"(Examples:
  mambit-compare model.mbt --device cpu,cuda --ids ids.npy
  mambit-compare model.mbt --target x86-64-v3,x86-64-v4 --prompt "Once upon"
  mambit-compare 8-bit.mbt 16-bit.mbt --ids ids.npy --all

  mambit-interpret DIR --ids ids.npy --after=form-kernels --dump-to=values
  mambit-compare model.mbt values --ids ids.npy)";

using namespace mambit;
using namespace mambit::tools;

namespace {

struct Options {
  std::string a, b;
  std::vector<std::string> devices, targets;
  RunOptions run;
  CompareOptions compare;

  /// The options of A (0) and B (1); one that is given once is of both.
  RunOptions side(size_t which) const {
    auto choose = [&](const std::vector<std::string> &values) {
      return values[std::min(which, values.size() - 1)];
    };
    RunOptions result = run;
    result.path = which == 0 || b.empty() ? a : b;
    if (!devices.empty())
      result.device = choose(devices);
    if (!targets.empty())
      result.target = choose(targets);
    return result;
  }
};

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app(
      "Runs two devices, targets or artifacts of one model on the same "
      "tokens, command by command, and shows the first value whose "
      "error, relative to B, exceeds a bound. One of the two may be a "
      "folder that mambit-interpret --dump-to wrote. Exit status 2 if "
      "there is such a value.",
      "mambit-compare");
  app.footer(kExamples);
  app.add_option("A", options.a, "Artifact, or folder of values")->required();
  app.add_option("B", options.b, "The same (A)");

  const char *group = "Of both, or of A and B";
  app.add_option("--device", options.devices, "cpu, cuda, or cuda:N (cpu)")
      ->option_text("NAME[,NAME]")
      ->delimiter(',')
      ->expected(1, 2)
      ->group(group);
  app.add_option("--target", options.targets,
                 "Code of this target (the best that the machine can run)")
      ->option_text("NAME[,NAME]")
      ->delimiter(',')
      ->expected(1, 2)
      ->group(group);
  app.add_option("--threads", options.run.threads,
                 "Threads to use (as many as the process may)")
      ->option_text("N")
      ->check(wholeNumber(1));

  group = "Tokens, one of";
  app.add_option("--ids", options.run.idsFile,
                 "Token ids: integers in one dimension")
      ->option_text("FILE.npy")
      ->group(group);
  app.add_option("--prompt", options.run.prompt, "Text")
      ->option_text("TEXT")
      ->group(group);

  app.add_flag("--decode", options.run.decode,
               "Run them one by one, with the decode program");
  app.add_option("--bound", options.compare.bound,
                 "Relative L2 error that a value may have (0.001)")
      ->option_text("X")
      ->check(number(0));
  app.add_flag("--all", options.compare.all, "Print the error of every value");

  return toolMain(app, argc, argv, [&] {
    requireOne(app, {"--ids", "--prompt"});
    auto a = openRun(options.side(0)), b = openRun(options.side(1));
    return compare(*a, *b, options.compare);
  });
}
