//===- Tokenizer.h - text to tokens and back ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_TEXT_TOKENIZER_H
#define MAMBIT_RUNTIME_TEXT_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace mambit {

/// A SentencePiece model. Several threads may use one.
class Tokenizer {
public:
  /// From the bytes of a tokenizer.model, for a model of `vocab` tokens, of
  /// which the tokenizer may have fewer (padding) but not more. Throws Error.
  Tokenizer(std::string_view serialized, size_t vocab);
  ~Tokenizer();

  int32_t bos() const; // -1: none
  int32_t eos() const;
  size_t pieces() const;

  std::vector<int32_t> encode(std::string_view text, bool addBos) const;

  /// Ids are less than the model's vocabulary; padding has no text.
  std::string decode(const std::vector<int32_t> &tokens) const;

private:
  friend class Decoder;

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor;
};

/// Decodes a stream: what it returns, laid end to end, is what
/// Tokenizer::decode returns for all tokens, in whole characters.
class Decoder {
public:
  explicit Decoder(const Tokenizer &tokenizer) : tokenizer(tokenizer) {}

  std::string push(int32_t token);
  /// What is left; the decoder starts anew.
  std::string finish();

private:
  /// The text of the pending bytes: their whole characters and, once no byte
  /// can follow, U+FFFD for each byte that belongs to none.
  std::string takeBytes(bool complete);

  const Tokenizer &tokenizer;
  std::string bytes;         // of byte tokens, not yet whole characters
  std::vector<int32_t> head; // tokens so far, until one of them has text
  bool begun = false;        // some text has been returned
};

} // namespace mambit

#endif // MAMBIT_RUNTIME_TEXT_TOKENIZER_H
