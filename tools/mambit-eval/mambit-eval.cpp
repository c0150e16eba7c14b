//===- mambit-eval.cpp - perplexity of a compiled model ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/Npy.h"
#include "tools/common/ToolMain.h"
#include "tools/mambit-eval/Perplexity.h"

#include <nlohmann/json.hpp>

#include <cstdio>

using namespace mambit::tools;

static constexpr char kExamples[] = R"(Examples:
  mambit-eval model.mbt --text wiki.test.raw
  mambit-eval model.mbt --ids ids.npy --window 512 --max-windows 16 --json)";

int main(int argc, char **argv) {
  ModelOptions modelOptions;
  std::string textFile, idsFile;
  uint64_t window = 2048, maxWindows = 0;
  bool json = false;
  CLI::App app("Measures the perplexity of a compiled model: windows that do "
               "not overlap, a fresh state for each, the predictions inside; "
               "an incomplete last window is dropped.",
               "mambit-eval");
  app.footer(kExamples);
  modelOptions.addTo(app);
  const char *group = "Text, one of";
  app.add_option("--text", textFile,
                 "Text, encoded as a whole, without a begin-of-sequence token; "
                 "- is standard input")
      ->option_text("FILE")
      ->group(group);
  app.add_option("--ids", idsFile, "Token ids: integers in one dimension")
      ->option_text("FILE.npy")
      ->group(group);
  app.add_option("--window", window, "Tokens in a window (2048)")
      ->option_text("W")
      ->check(wholeNumber(2));
  app.add_option("--max-windows", maxWindows,
                 "Use the first N windows only (all)")
      ->option_text("N")
      ->check(wholeNumber(1));
  app.add_flag("--json", json, "Print JSON");

  return toolMain(app, argc, argv, [&] {
    requireOne(app, {"--text", "--ids"});
    Model model(modelOptions);
    std::vector<int32_t> ids;
    if (!idsFile.empty()) {
      ids = readIds(idsFile);
      model.checkIds(ids, idsFile);
    } else {
      ids = model.encode(readText(textFile), /*addBos=*/false);
    }
    Perplexity result;
    try {
      result = measurePerplexity(model, ids, window, maxWindows);
    } catch (const Interrupted &) {
      return kInterrupted;
    }
    if (json) {
      nlohmann::ordered_json object = {
          {"nats_per_token", result.natsPerToken},
          {"perplexity", result.perplexity},
          {"windows", result.windows},
          {"window", window},
          {"tokens", result.tokens},
          {"seconds", result.seconds},
      };
      std::printf("%s\n", object.dump(2).c_str());
    } else {
      std::printf("perplexity      %.4f\n"
                  "nats per token  %.6f\n"
                  "windows         %ju of %ju tokens, %ju predictions\n"
                  "time            %.2f s, %.1f tokens/s\n",
                  result.perplexity, result.natsPerToken,
                  uintmax_t(result.windows), uintmax_t(window),
                  uintmax_t(result.tokens), result.seconds,
                  double(result.tokens) / result.seconds);
    }
    return 0;
  });
}
