//===- TokenizerTest.cpp --------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/text/Tokenizer.h"

#include "runtime/Error.h"

#include <fstream>
#include <gtest/gtest.h>
#include <random>

using namespace mambit;

namespace {

const std::string &serialized() {
  static const std::string bytes = [] {
    std::ifstream file(MAMBIT_TOKENIZER, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  return bytes;
}

std::string stream(Decoder &decoder, const std::vector<int32_t> &tokens) {
  std::string text;
  for (int32_t token : tokens)
    text += decoder.push(token);
  return text + decoder.finish();
}

TEST(Tokenizer, RefusesWhatIsNone) {
  EXPECT_THROW(Tokenizer("not a model", 5000), Error);
  EXPECT_THROW(Tokenizer("", 5000), Error);
  EXPECT_THROW(Tokenizer(serialized(), 4095), Error);
}

TEST(Tokenizer, RoundTrips) {
  Tokenizer tokenizer(serialized(), 4096);
  for (const char *text :
       {"Hello", "Hello, world. ", "  two blanks",
        "w\xc3\xb6rld \xf0\x9f\x8e\x89!", "line\nline\n\n\ttab", ""}) {
    std::vector<int32_t> tokens = tokenizer.encode(text, /*addBos=*/true);
    EXPECT_EQ(tokens.at(0), tokenizer.bos());
    EXPECT_EQ(tokenizer.decode(tokens), text);
    Decoder decoder(tokenizer);
    EXPECT_EQ(stream(decoder, tokens), text);
    EXPECT_EQ(stream(decoder, tokens), text); // finish() starts anew
    tokens.erase(tokens.begin());
    EXPECT_EQ(tokenizer.encode(text, false), tokens);
  }
}

TEST(Tokenizer, PaddingHasNoText) {
  Tokenizer tokenizer(serialized(), 5000);
  std::vector<int32_t> tokens = tokenizer.encode("a b", false);
  tokens.insert(tokens.begin() + 1, 4999);
  EXPECT_EQ(tokenizer.decode(tokens), "a b");
  Decoder decoder(tokenizer);
  EXPECT_EQ(stream(decoder, tokens), "a b");
}

TEST(Decoder, HoldsACharacterUntilItIsWhole) {
  Tokenizer tokenizer(serialized(), 4096);
  Decoder decoder(tokenizer);
  // Byte tokens follow <unk>, <s> and </s>.
  auto byte = [&](unsigned value) { return decoder.push(3 + value); };
  EXPECT_EQ(byte(0xf0), "");
  EXPECT_EQ(byte(0x9f), "");
  EXPECT_EQ(byte(0x8e), "");
  EXPECT_EQ(byte(0x89), "\xf0\x9f\x8e\x89");
  EXPECT_EQ(byte('A'), "A");
  EXPECT_EQ(byte(0xc3), "");
  EXPECT_EQ(decoder.finish(), "\xef\xbf\xbd");
  EXPECT_EQ(byte(0xff), "\xef\xbf\xbd");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(Decoder, KeepsTheBlankAfterAPrompt) {
  Tokenizer tokenizer(serialized(), 4096);
  std::vector<int32_t> word = tokenizer.encode("the", false);
  Decoder decoder(tokenizer);
  for (int32_t token : tokenizer.encode("of", true))
    decoder.push(token);
  std::string text;
  for (int32_t token : word)
    text += decoder.push(token);
  EXPECT_EQ(text, " the");
}

TEST(Decoder, EqualsTheDecodingOfTheWhole) {
  Tokenizer tokenizer(serialized(), 4100);
  std::mt19937 random(3);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    std::vector<int32_t> tokens;
    for (size_t i = 0, n = random() % 12; i < n; ++i)
      switch (random() % 4) {
      case 0: // control, unknown and plain bytes
        tokens.push_back(random() % 64);
        break;
      case 1: // bytes of longer characters
        tokens.push_back(3 + 0x80 + random() % 128);
        break;
      default:
        tokens.push_back(random() % 4100);
      }
    Decoder decoder(tokenizer);
    std::string text = stream(decoder, tokens);
    ASSERT_EQ(text, tokenizer.decode(tokens))
        << ::testing::PrintToString(tokens);
  }
}

} // namespace
