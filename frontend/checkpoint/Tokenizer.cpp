//===- Tokenizer.cpp - what a SentencePiece model says -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Tokenizer.h"
#include "frontend/checkpoint/Error.h"

namespace mambit::checkpoint {
namespace {

/// A field of a protocol buffer's message.
struct Field {
  uint64_t number = 0;
  uint64_t integer = 0;  // of a varint
  std::string_view text; // of a string or a message
};

/// Takes a message apart, field by field.
class Message {
public:
  Message(std::string_view bytes, const std::string &name)
      : bytes(bytes), name(name) {}

  bool next(Field &field) {
    if (bytes.empty())
      return false;
    uint64_t tag = varint();
    field = {tag >> 3, 0, {}};
    switch (tag & 7) {
    case 0:
      field.integer = varint();
      return true;
    case 1:
      take(8);
      return true;
    case 2:
      field.text = take(varint());
      return true;
    case 5:
      take(4);
      return true;
    }
    damaged();
  }

private:
  [[noreturn]] void damaged() const {
    fail(name, ": expected a SentencePiece model, found something else or a "
               "damaged one");
  }

  std::string_view take(uint64_t count) {
    if (count > bytes.size())
      damaged();
    std::string_view result = bytes.substr(0, count);
    bytes.remove_prefix(count);
    return result;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      auto byte = static_cast<unsigned char>(take(1).front());
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80)
        return value;
    }
    damaged();
  }

  std::string_view bytes;
  const std::string &name;
};

// Numbers in sentencepiece_model.proto.
constexpr uint64_t modelPieces = 1, modelTrainer = 2;
constexpr uint64_t trainerBosPiece = 46, trainerEosPiece = 47;
constexpr uint64_t pieceText = 1, pieceType = 3, typeControl = 3;

} // namespace

TokenizerInfo readTokenizer(std::string_view model, const std::string &name) {
  constexpr uint64_t maxBytes = 64 << 20;
  if (model.size() > maxBytes)
    fail(name, ": expected at most ", maxBytes, " bytes, found ", model.size());
  std::string_view bosPiece = "<s>", eosPiece = "</s>";
  Field field, inner;
  for (Message root(model, name); root.next(field);)
    if (field.number == modelTrainer)
      for (Message trainer(field.text, name); trainer.next(inner);) {
        if (inner.number == trainerBosPiece)
          bosPiece = inner.text;
        else if (inner.number == trainerEosPiece)
          eosPiece = inner.text;
      }

  TokenizerInfo info;
  for (Message root(model, name); root.next(field);) {
    if (field.number != modelPieces)
      continue;
    std::string_view text;
    uint64_t type = 0;
    for (Message piece(field.text, name); piece.next(inner);) {
      if (inner.number == pieceText)
        text = inner.text;
      else if (inner.number == pieceType)
        type = inner.integer;
    }
    if (type == typeControl && text == bosPiece)
      info.bosId = info.pieces;
    if (type == typeControl && text == eosPiece)
      info.eosId = info.pieces;
    ++info.pieces;
  }
  if (info.pieces == 0)
    fail(name, ": expected a SentencePiece model, found no pieces");
  return info;
}

} // namespace mambit::checkpoint
