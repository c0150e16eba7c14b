//===- SafetensorsTest.cpp - the safetensors reader --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Safetensors.h"
#include "TestFiles.h"

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

namespace {

void expectRefused(const std::string &bytes,
                   std::initializer_list<const char *> parts) {
  TempFolder folder;
  MappedFile file(folder.write("m.safetensors", bytes));
  expectError([&] { readSafetensors(file, "m.safetensors"); }, parts);
}

std::string entry(const char *key, const char *dtype, const char *shape,
                  const char *offsets) {
  return std::string("\"") + key + R"(": {"dtype": ")" + dtype +
         R"(", "shape": )" + shape + R"(, "data_offsets": )" + offsets + "}";
}

} // namespace

TEST(Safetensors, ReadsTensors) {
  TempFolder folder;
  MappedFile file(
      folder.write("m.safetensors",
                   safetensors("{\"__metadata__\": {\"format\": \"pt\"}, " +
                                   entry("b", "I8", "[2, 0]", "[4, 4]") + ", " +
                                   entry("a", "F16", "[]", "[4, 6]") + ", " +
                                   entry("c", "BF16", "[2, 1]", "[0, 4]") + "}",
                               "abcdef")));
  std::vector<Tensor> tensors = readSafetensors(file, "m.safetensors");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].key, "a");
  EXPECT_EQ(tensors[0].dtype, DType::f16);
  EXPECT_TRUE(tensors[0].shape.empty());
  EXPECT_EQ(std::string_view((const char *)tensors[0].data, 2), "ef");
  EXPECT_EQ(tensors[1].elementCount(), 0);
  EXPECT_EQ(tensors[2].shape, (Shape{2, 1}));
  EXPECT_EQ(tensors[2].strides, (Shape{1, 1}));
  EXPECT_EQ(std::string_view((const char *)tensors[2].data, 4), "abcd");
}

TEST(Safetensors, RefusesTruncatedFiles) {
  std::string bytes =
      safetensors("{" + entry("a", "F32", "[2]", "[0, 8]") + "}", "01234567");
  for (size_t size = 0; size < bytes.size(); ++size)
    expectRefused(bytes.substr(0, size), {"m.safetensors"});
}

TEST(Safetensors, RefusesLyingHeaderLength) {
  expectRefused(bytesOf<uint64_t>(~0ull) + "{}", {"header: expected at most"});
  expectRefused(bytesOf<uint64_t>(3) + "{}",
                {"header: expected at most the 2"});
}

TEST(Safetensors, RefusesOffsetsOutOfRange) {
  expectRefused(
      safetensors("{" + entry("a", "F32", "[3]", "[0, 12]") + "}", "01234567"),
      {"\"a\": data_offsets", "8 bytes", "[0, 12]"});
  expectRefused(
      safetensors("{" + entry("a", "I8", "[2]", "[18446744073709551615, 1]") +
                      "}",
                  "01234567"),
      {"\"a\": data_offsets"});
  expectRefused(
      safetensors("{" + entry("a", "I8", "[2]", "[-2, 0]") + "}", "01234567"),
      {"\"a\": expected two data_offsets"});
}

TEST(Safetensors, RefusesSizesThatDoNotMatch) {
  expectRefused(
      safetensors("{" + entry("a", "F32", "[3]", "[0, 8]") + "}", "01234567"),
      {"\"a\": expected the bytes of f32 [3], found 8"});
  // 2^62 * 4 * 4 wraps to 0.
  expectRefused(
      safetensors(
          "{" + entry("a", "F32", "[4611686018427387904, 4]", "[0, 0]") + "}",
          ""),
      {"\"a\": expected the bytes of f32"});
  expectRefused(
      safetensors("{" + entry("a", "F32", "[-2]", "[0, 8]") + "}", "01234567"),
      {"\"a\": shape"});
}

TEST(Safetensors, RefusesOverlapsAndHoles) {
  expectRefused(safetensors("{" + entry("a", "F32", "[1]", "[0, 4]") + "," +
                                entry("b", "F32", "[1]", "[2, 6]") + "}",
                            "012345"),
                {"\"b\": overlaps \"a\""});
  expectRefused(safetensors("{" + entry("a", "F32", "[1]", "[0, 4]") + "," +
                                entry("b", "F32", "[1]", "[5, 9]") + "}",
                            "012345678"),
                {"\"b\": expected data from offset 4, found 5"});
  expectRefused(
      safetensors("{" + entry("a", "F32", "[1]", "[0, 4]") + "}", "01234567"),
      {"expected 4 bytes of data, found 8"});
}

TEST(Safetensors, RefusesDuplicateKeys) {
  std::string one = entry("a", "F32", "[1]", "[0, 4]");
  expectRefused(safetensors("{" + one + "," + one + "}", "0123"),
                {"duplicate key \"a\""});
}

TEST(Safetensors, RefusesUnknownTypes) {
  expectRefused(
      safetensors("{" + entry("a", "F8_E4M3", "[1]", "[0, 1]") + "}", "0"),
      {"\"a\": dtype \"F8_E4M3\" is not supported"});
}

TEST(Safetensors, RefusesHeadersThatAreNoTable) {
  expectRefused(safetensors("[]", ""), {"header: expected an object"});
  expectRefused(safetensors("{\"a\": 3}", ""), {"\"a\": expected an object"});
  expectRefused(safetensors("{\"a\": {}}", ""), {"\"a\": expected a dtype"});
  expectRefused(safetensors("{", ""),
                {"m.safetensors: header: not valid JSON"});
}
