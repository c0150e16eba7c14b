//===- Tokenizer.cpp - text to tokens and back ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/text/Tokenizer.h"

#include "runtime/Error.h"

#include <sentencepiece_processor.h>

using namespace mambit;

namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81"; // U+2581, a piece's blank
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

/// The length of the character that `bytes` start with; 0 if they start with
/// none, and -1 if they may be the beginning of one.
int characterLength(std::string_view bytes) {
  auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  unsigned char first = at(0);
  if (first < 0x80)
    return 1;
  size_t length = first < 0xc2   ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size())
      return -1;
    // Neither overlong, nor a surrogate, nor beyond U+10FFFF.
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1) {
      low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
      high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    }
    if (at(i) < low || at(i) > high)
      return 0;
  }
  return length;
}

} // namespace

Tokenizer::Tokenizer(std::string_view serialized, size_t vocab)
    : processor(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  auto status = processor->LoadFromSerializedProto(serialized);
  if (!status.ok())
    fail("the tokenizer cannot be read: ", status.ToString());
  if (pieces() > vocab)
    fail("the tokenizer has ", pieces(), " pieces, the model's vocabulary is ",
         vocab);
}

Tokenizer::~Tokenizer() = default;

int32_t Tokenizer::bos() const { return processor->bos_id(); }
int32_t Tokenizer::eos() const { return processor->eos_id(); }
size_t Tokenizer::pieces() const { return processor->GetPieceSize(); }

std::vector<int32_t> Tokenizer::encode(std::string_view text,
                                       bool addBos) const {
  std::vector<int> ids;
  auto status = processor->Encode(text, &ids);
  if (!status.ok())
    fail("the text cannot be encoded: ", status.ToString());
  std::vector<int32_t> tokens;
  if (addBos && bos() >= 0)
    tokens.push_back(bos());
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  return tokens;
}

std::string Tokenizer::decode(const std::vector<int32_t> &tokens) const {
  std::vector<int> ids;
  for (int32_t token : tokens)
    if (size_t(token) < pieces())
      ids.push_back(token);
  std::string text;
  auto status = processor->Decode(ids, &text);
  if (!status.ok())
    fail("the tokens cannot be decoded: ", status.ToString());
  return text;
}

//===----------------------------------------------------------------------===//
// Decoder
//===----------------------------------------------------------------------===//

std::string Decoder::takeBytes(bool complete) {
  std::string text;
  size_t at = 0;
  while (at < bytes.size()) {
    int length = characterLength(std::string_view(bytes).substr(at));
    if (length < 0 && !complete)
      break;
    if (length > 0) {
      text += bytes.substr(at, length);
      at += length;
    } else {
      text += kReplacement;
      at += 1;
    }
  }
  bytes.erase(0, at);
  begun |= !text.empty();
  return text;
}

std::string Decoder::push(int32_t token) {
  const auto &processor = *tokenizer.processor;
  if (size_t(token) >= tokenizer.pieces())
    return "";
  const std::string &piece = processor.IdToPiece(token);
  if (processor.IsByte(token)) { // <0x41>
    bytes += char(std::stoi(piece.substr(3, 2), nullptr, 16));
    return takeBytes(/*complete=*/false);
  }
  std::string text = takeBytes(/*complete=*/true);
  std::string own;
  if (!begun) {
    // What becomes of a leading blank is SentencePiece's decision.
    head.push_back(token);
    own = tokenizer.decode(head);
  } else if (processor.IsUnknown(token)) {
    own = tokenizer.decode({token});
  } else if (!processor.IsControl(token)) {
    own = piece;
    for (size_t at = 0; (at = own.find(kSpace, at)) != std::string::npos;)
      own.replace(at++, kSpace.size(), " ");
  }
  begun |= !own.empty();
  return text + own;
}

std::string Decoder::finish() {
  std::string rest = takeBytes(/*complete=*/true);
  head.clear();
  begun = false;
  return rest;
}
