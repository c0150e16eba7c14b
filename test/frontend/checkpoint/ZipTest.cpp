//===- ZipTest.cpp - the zip directory reader --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Zip.h"
#include "TestFiles.h"

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

namespace {

void expectRefused(const std::string &bytes,
                   std::initializer_list<const char *> parts) {
  TempFolder folder;
  MappedFile file(folder.write("m.bin", bytes));
  expectError([&] { readZip(file, "m.bin"); }, parts);
}

/// `bytes` with an integer put in its place after the nth mark.
template <typename T>
std::string patch(std::string bytes, std::string_view mark, size_t offset,
                  T value) {
  bytes.replace(bytes.find(mark) + offset, sizeof(T), bytesOf(value));
  return bytes;
}

const std::string two = zip({{"x/a", "first"}, {"x/b", "second"}});

} // namespace

TEST(Zip, ReadsStoredEntries) {
  for (bool isZip64 : {false, true}) {
    TempFolder folder;
    MappedFile file(folder.write(
        "m.bin",
        zip({{"x/a", "first", 0, 0, 9}, {"x/b", ""}, {"c", "3"}}, isZip64)));
    ZipDirectory directory = readZip(file, "m.bin");
    ASSERT_EQ(directory.size(), 3u);
    EXPECT_EQ(directory.at("x/a"), "first");
    EXPECT_EQ(directory.at("x/b"), "");
    EXPECT_EQ(directory.at("c"), "3");
  }
}

TEST(Zip, RefusesTruncatedFiles) {
  for (bool isZip64 : {false, true}) {
    std::string bytes = zip({{"x/a", "first"}, {"x/b", "second"}}, isZip64);
    for (size_t size = 0; size < bytes.size(); ++size)
      expectRefused(bytes.substr(0, size), {"m.bin"});
  }
}

TEST(Zip, RefusesOtherFiles) {
  expectRefused("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.",
                {"m.bin", "since PyTorch 1.6"});
}

TEST(Zip, NamesCompressedAndEncryptedEntries) {
  expectRefused(zip({{"x/a", "1"}, {"x/b", "2", 8}}),
                {"m.bin: zip entry \"x/b\"", "compression method 8"});
  expectRefused(zip({{"x/a", "1", 0, 1}}), {"\"x/a\": is encrypted"});
  expectRefused(zip({{"x/a", "1", 0, 64}}), {"\"x/a\": is encrypted"});
}

TEST(Zip, RefusesEntriesOutOfRange) {
  std::string central("PK\1\2");
  expectRefused(patch<uint32_t>(patch<uint32_t>(two, central, 20, 1 << 20),
                                central, 24, 1 << 20),
                {"\"x/a\": expected it before offset", "1048576 bytes"});
  expectRefused(patch<uint32_t>(two, central, 42, 0xfffffff0),
                {"\"x/a\": expected a local header at offset 4294967280"});
  expectRefused(patch<uint32_t>(two, central, 20, 3),
                {"\"x/a\": expected 5 stored bytes, found 3"});
}

TEST(Zip, RefusesOverlappingEntries) {
  std::string central("PK\1\2");
  std::string bytes = zip({{"x/a", "first"}, {"x/b", std::string(70, 'b')}});
  expectRefused(
      patch<uint32_t>(patch<uint32_t>(bytes, central, 20, 60), central, 24, 60),
      {"\"x/b\": overlaps \"x/a\""});
}

TEST(Zip, RefusesDuplicateEntries) {
  expectRefused(zip({{"x/a", "1"}, {"x/a", "2"}}), {"\"x/a\": occurs twice"});
}

TEST(Zip, RefusesDifferentNames) {
  std::string bytes = two;
  bytes[bytes.find("x/a")] = 'y';
  expectRefused(bytes, {"\"x/a\": expected the same name"});
}

TEST(Zip, RefusesLyingDirectories) {
  std::string end("PK\5\6");
  expectRefused(patch<uint16_t>(two, end, 10, 9), {"zip directory", "found 9"});
  expectRefused(patch<uint32_t>(two, end, 16, 0xffffff00), {"zip directory"});
  expectRefused(patch<uint32_t>(two, end, 12, 0xffffff00), {"zip directory"});
  expectRefused(patch<uint16_t>(two, end, 4, 1), {"in one part"});
}
