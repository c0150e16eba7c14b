//===- StopStringsTest.cpp ----------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-------------------------------------------------------------------===//

#include "tools/common/StopStrings.h"

#include "runtime/Error.h"

#include <gtest/gtest.h>

using namespace mambit;
using namespace mambit::tools;

namespace {

using Strings = std::vector<std::string>;

struct Ended {
  std::string text, stop;
};

/// A text given in parts of `size` bytes. What was returned never has to be
/// taken back.
Ended end(const Strings &strings, const std::string &text, size_t size) {
  StopStrings stops(strings);
  std::string result;
  for (size_t at = 0; at < text.size() && !stops.found(); at += size)
    result += stops.push(std::string_view(text).substr(at, size));
  result += stops.finish();
  return {result, stops.found() ? *stops.found() : ""};
}

void expectEnds(const Strings &strings, const std::string &text,
                const std::string &before, const std::string &stop) {
  for (size_t size = 1; size <= text.size(); ++size) {
    Ended found = end(strings, text, size);
    EXPECT_EQ(found.text, before) << "in parts of " << size;
    EXPECT_EQ(found.stop, stop) << "in parts of " << size;
  }
}

TEST(StopStrings, EndBeforeOne) {
  expectEnds({"User:"}, "Hello.\nUser: more", "Hello.\n", "User:");
  expectEnds({"User:"}, "User:", "", "User:");
  expectEnds({"\n\n"}, "one\ntwo\n\nthree", "one\ntwo", "\n\n");
}

TEST(StopStrings, GiveBackWhatOnlyBeganLikeOne) {
  expectEnds({"User:"}, "Use the User manual", "Use the User manual", "");
  expectEnds({"aab"}, "aaaab!", "aa", "aab");
  expectEnds({"abcabd"}, "abcabcabd", "abc", "abcabd");
  expectEnds({"xyz"}, "ends with xy", "ends with xy", "");
}

TEST(StopStrings, TheFirstOfSeveralThenTheLongest) {
  expectEnds({"b", "abc"}, "xabc", "xa", "b");
  expectEnds({"c", "abc", "bc"}, "xabc", "x", "abc");
  expectEnds({"###", "end"}, "the ##end", "the ##", "end");
}

TEST(StopStrings, AreBytesOfWholeCharacters) {
  expectEnds({"\u2603"}, "snow \u2603 man", "snow ", "\u2603");
  // The same first bytes as another character.
  expectEnds({"\u2603"}, "\u2602\u2601\u2603", "\u2602\u2601", "\u2603");
  expectEnds({"\U0001f600!"}, "\U0001f600?\U0001f600!", "\U0001f600?",
             "\U0001f600!");
}

TEST(StopStrings, HoldBackNoMoreThanNeeded) {
  StopStrings stops({"User:"});
  EXPECT_EQ(stops.push("Hello U"), "Hello ");
  EXPECT_EQ(stops.push("se"), "");
  EXPECT_EQ(stops.push("d"), "Used");
  EXPECT_EQ(stops.push("Us"), "");
  EXPECT_EQ(stops.finish(), "Us");
  EXPECT_EQ(stops.push("User"), "");
  EXPECT_EQ(stops.push(": a"), "");
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, RefuseAnEmptyOne) {
  EXPECT_THROW(StopStrings({"a", ""}), Error);
  expectEnds({}, "all of it", "all of it", "");
}

} // namespace
