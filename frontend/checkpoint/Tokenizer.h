//===- Tokenizer.h - what a SentencePiece model says -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_TOKENIZER_H
#define MAMBIT_FRONTEND_CHECKPOINT_TOKENIZER_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mambit::checkpoint {

struct TokenizerInfo {
  int64_t pieces = 0;
  std::optional<int64_t> bosId, eosId;
};

/// Reads the number of pieces and the special ones from a tokenizer.model, a
/// protocol buffer (sentencepiece_model.proto). `name` is what messages call
/// it. Throws Error.
TokenizerInfo readTokenizer(std::string_view model, const std::string &name);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_TOKENIZER_H
