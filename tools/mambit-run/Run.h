//===- Run.h - runs a model on a prompt --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_RUN_RUN_H
#define MAMBIT_TOOLS_MAMBIT_RUN_RUN_H

#include "tools/common/Model.h"

#include <optional>
#include <string>
#include <vector>

namespace mambit::tools {

struct RunOptions {
  ModelOptions model;

  // The prompt is one of these.
  std::optional<std::string> prompt;
  std::string promptFile;
  std::string idsFile;
  bool noBos = false;

  std::string stateFile; // empty: none

  std::string logitsFile; // empty: none
  bool decode = false;    // the prompt, token by token
  uint64_t chunk = 0;     // of the prompt; 0: as it is best

  std::optional<uint64_t> count; // of tokens to generate
  std::optional<float> temperature;
  uint32_t topK = 0;
  float topP = 0;
  float minP = 0;
  float repeatPenalty = 1;
  int64_t repeatLast = 64; // tokens; -1: all
  std::optional<uint64_t> seed;
  std::vector<std::string> stops;
  bool ignoreEos = false;
  bool greedyIds = false;
  bool echo = false;
  bool jsonLines = false;
};

/// Returns the exit status.
int run(const RunOptions &options);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_RUN_RUN_H
