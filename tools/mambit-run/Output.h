//===- Output.h - what mambit-run prints -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_RUN_OUTPUT_H
#define MAMBIT_TOOLS_MAMBIT_RUN_OUTPUT_H

#include "tools/common/Model.h"
#include "tools/common/StopStrings.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mambit::tools {

struct Totals {
  uint64_t promptTokens = 0;
  double promptSeconds = 0; // until the first token, if there is one
  uint64_t tokens = 0;
  double seconds = 0;      // of the tokens after the first
  const char *reason = ""; // why it ended: length, eos, stop, interrupted
  uint64_t position = 0;   // tokens that the session has taken in
};

/// Where the tokens of a run go. Of a model with a tokenizer it also makes
/// their text, which ends before the first stop string.
class Output {
public:
  enum class Form { Text, Ids, JsonLines };

  Output(const Model &model, Form form, std::vector<std::string> stops);

  /// Tokens before the first generated one: the text of a continuation depends
  /// on them.
  void context(const std::vector<int32_t> &ids, bool visible);
  /// The prompt has been run; `totals` knows so much.
  void promptDone(const Totals &totals);
  /// False if its text completes a stop string.
  bool token(int32_t id);
  /// `newline`: in forms of text, also where there was no token.
  void end(const Totals &totals, bool newline);

private:
  std::string decode(int32_t id);
  void print(const std::string &text);

  Form form;
  Decoder decoder; // null: the model has no tokenizer, or ids are wanted
  StopStrings stops;
  std::string echo; // text of the prompt that is to be seen
  uint64_t count = 0;
};

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_RUN_OUTPUT_H
