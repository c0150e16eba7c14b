//===- JsonTest.cpp - JSON with infinities -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "TestFiles.h"

#include <cmath>

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

TEST(Json, ReadsNonFiniteNumbers) {
  Json json = parseJson(R"({"a": [0.0, Infinity], "b": -Infinity, "c": NaN,
                           "d": {"__float__": "Infinity"},
                           "e": {"__float__": "-Infinity"}})",
                        "f.json");
  EXPECT_EQ(json["a"][1].get<double>(), INFINITY);
  EXPECT_EQ(json["b"].get<double>(), -INFINITY);
  EXPECT_TRUE(std::isnan(json["c"].get<double>()));
  EXPECT_EQ(json["d"].get<double>(), INFINITY);
  EXPECT_EQ(json["e"].get<double>(), -INFINITY);
}

TEST(Json, DescribesValues) {
  EXPECT_EQ(
      describe(parseJson(R"([1, -Infinity, {"a": NaN}, "x", null])", "f")),
      R"([1,-Infinity,{"a":NaN},"x",null])");
  EXPECT_EQ(describe(INFINITY), "Infinity");
  EXPECT_EQ(describe("\xc2\x9b\x7f"), "\"\\xc2\\x9b\\x7f\"");
  EXPECT_EQ(describe(std::string(1000, 'a')).size(), 163u);
}

TEST(Json, LeavesStringsAlone) {
  Json json = parseJson(R"({"Infinity": "NaN, \"-Infinity", "a": "\\"})", "f");
  EXPECT_EQ(json["Infinity"], "NaN, \"-Infinity");
  EXPECT_EQ(json["a"], "\\");
}

TEST(Json, NamesFileAndPosition) {
  expectError([] { parseJson("{\"a\": Infinity,\n \"b\": ?}", "f.json"); },
              {"f.json: not valid JSON", "line 2, column 7"});
  expectError([] { parseJson("{\"a\": Infinityx}", "f.json"); },
              {"f.json: not valid JSON", "line 1"});
  expectError([] { parseJson("{\"a\": 1", "f.json"); }, {"f.json", "column 8"});
  expectError([] { parseJson("{Infinity : 1}", "f.json"); },
              {"f.json: not valid JSON", "column 2"});
  expectError([] { parseJson("", "f.json"); }, {"f.json: not valid JSON"});
  expectError([] { parseJson("[1e999]", "f.json"); }, {"f.json"});
}

TEST(Json, RefusesDuplicateKeys) {
  expectError([] { parseJson(R"({"a": {"b": 1, "b": 2}})", "f.json"); },
              {"f.json: duplicate key \"b\""});
  EXPECT_NO_THROW(parseJson(R"({"a": {"a": 1}, "b": {"a": 1}})", "f.json"));
}

TEST(Json, BoundsNesting) {
  expectError([] { parseJson(std::string(100000, '['), "f.json"); },
              {"f.json", "nested"});
}
