//===- FileTest.cpp - damaged, truncated and foreign files -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "Synthetic.h"
#include "runtime/artifact/Hash.h"

#include <gtest/gtest.h>

using namespace mambit::artifact;
using namespace mambit::artifact::test;

namespace {

std::string errorIn(const std::vector<uint8_t> &bytes,
                    VerifyOptions options = {}) {
  return errorOf([&] { verify(bytes.data(), bytes.size(), options); });
}

Header headerOf(const std::vector<uint8_t> &bytes) {
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  return header;
}

/// Replaces the header by one whose checksum is right.
void forge(std::vector<uint8_t> &bytes, Header header) {
  header.headerChecksum = checksum(&header, offsetof(Header, headerChecksum));
  std::memcpy(bytes.data(), &header, sizeof(header));
}

class File : public testing::Test {
protected:
  static void SetUpTestSuite() { artifact = makeArtifact(); }
  static std::vector<uint8_t> artifact;
};
std::vector<uint8_t> File::artifact;

TEST_F(File, isValid) { EXPECT_EQ(errorIn(artifact), ""); }

TEST_F(File, truncatedAnywhere) {
  for (size_t size = 0; size < artifact.size(); ++size) {
    // Its own allocation, so that a read past the end is noticed.
    std::vector<uint8_t> bytes(artifact.begin(), artifact.begin() + size);
    std::string error = errorIn(bytes);
    EXPECT_EQ(error.find(size ? "truncated: " : "the file is empty"), 0u)
        << size << ": " << error;
  }
}

TEST_F(File, extended) {
  std::vector<uint8_t> bytes = artifact;
  bytes.push_back(0);
  EXPECT_EQ(errorIn(bytes),
            "damaged: expected " + std::to_string(artifact.size()) +
                " bytes, found " + std::to_string(bytes.size()));
}

TEST_F(File, anyByteDamaged) {
  std::vector<uint8_t> bytes = artifact;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (uint8_t flip : {0x01, 0x80, 0xff}) {
      bytes[i] ^= flip;
      EXPECT_NE(errorIn(bytes), "") << "byte " << i;
      bytes[i] ^= flip;
    }
  }
}

TEST_F(File, foreign) {
  std::string text = "#!/bin/sh\necho this is not an artifact, however long it "
                     "may be, and it is longer than a header\n";
  EXPECT_EQ(errorIn({text.begin(), text.end()}), "not a Mambit artifact");
  EXPECT_EQ(errorIn({'E', 'L', 'F'}), "not a Mambit artifact");
}

TEST_F(File, anotherMajorVersion) {
  std::vector<uint8_t> bytes = artifact;
  Header header = headerOf(bytes);
  header.major = 2;
  header.minor = 3;
  forge(bytes, header);
  EXPECT_EQ(errorIn(bytes),
            "format version 2.3 is newer than what this program "
            "reads, 1.x");
  header.major = 0;
  forge(bytes, header);
  EXPECT_EQ(errorIn(bytes),
            "format version 0.3 is older than what this program "
            "reads, 1.x");
}

TEST_F(File, aNewerMinorVersionLoads) {
  std::vector<uint8_t> bytes = artifact;
  Header header = headerOf(bytes);
  header.minor = kMinorVersion + 7;
  std::memcpy(bytes.data(), &header, sizeof(header));
  EXPECT_EQ(errorIn(bytes), "damaged: the header's checksum does not match");
  forge(bytes, header);
  EXPECT_EQ(errorIn(bytes), "");
}

TEST_F(File, headerFieldsOutOfRange) {
  Header good = headerOf(artifact);
  auto errorWith = [&](auto change) {
    std::vector<uint8_t> bytes = artifact;
    Header header = good;
    change(header);
    forge(bytes, header);
    return errorIn(bytes);
  };
  EXPECT_EQ(errorWith([](Header &h) { h.fileSize = UINT64_MAX; }),
            "truncated: expected 18446744073709551615 bytes, found " +
                std::to_string(artifact.size()));
  EXPECT_EQ(errorWith([](Header &h) { h.reserved = 1; }),
            "reserved fields of the header are not 0");
  EXPECT_EQ(errorWith([](Header &h) { h.reserved2 = 1; }),
            "reserved fields of the header are not 0");
  EXPECT_EQ(errorWith([](Header &h) { h.indexOffset = 128; }),
            "the index begins at byte 128, expected 64");
  EXPECT_EQ(errorWith([](Header &h) { h.indexSize = UINT64_MAX; }),
            "the index of 18446744073709551615 bytes reaches beyond the file");
  EXPECT_EQ(errorWith([](Header &h) { h.indexSize -= 8; }),
            "damaged: the index's checksum does not match");
}

TEST_F(File, malformedIndexNeverCrashes) {
  // The index is damaged and its checksum made good: what verification lets
  // through can be walked as a whole.
  std::vector<uint8_t> bytes = artifact;
  Header header = headerOf(bytes);
  uint8_t *index = bytes.data() + header.indexOffset;
  size_t refused = 0;
  for (size_t i = 0; i < header.indexSize; ++i) {
    for (uint8_t flip : {0x01, 0x04, 0x80, 0xff}) {
      index[i] ^= flip;
      header.indexChecksum = checksum(index, header.indexSize);
      forge(bytes, header);
      if (errorIn(bytes).empty()) {
        IndexT unpacked;
        flatbuffers::GetRoot<Index>(index)->UnPackTo(&unpacked);
      } else {
        ++refused;
      }
      index[i] ^= flip;
    }
  }
  EXPECT_GT(refused, header.indexSize);
  for (size_t size : {0, 1, 4, 7, 64}) {
    header.indexSize = size;
    header.indexChecksum = checksum(index, size);
    forge(bytes, header);
    EXPECT_NE(errorIn(bytes), "");
  }
}

/// Changes the index of an artifact in place and forges its checksums.
class ForgedIndex : public File {
protected:
  void SetUp() override {
    bytes = artifact;
    header = headerOf(bytes);
    flatbuffers::GetRoot<Index>(bytes.data() + header.indexOffset)
        ->UnPackTo(&index);
  }

  std::string error(VerifyOptions options = {}) {
    flatbuffers::FlatBufferBuilder builder;
    builder.ForceDefaults(true);
    builder.Finish(Index::Pack(builder, &index));
    EXPECT_EQ(builder.GetSize(), header.indexSize);
    std::memcpy(bytes.data() + header.indexOffset, builder.GetBufferPointer(),
                builder.GetSize());
    header.indexChecksum =
        checksum(builder.GetBufferPointer(), builder.GetSize());
    forge(bytes, header);
    return errorIn(bytes, options);
  }

  /// The section of weight `layer0::w.zeros`.
  SectionT &zeros() { return *index.sections[index.weights[1]->section]; }

  /// The list of zeros, to be changed; its checksum is made good by `error`.
  std::string errorWithZeros(std::vector<int32_t> list) {
    int32_t *place = reinterpret_cast<int32_t *>(bytes.data() + zeros().offset);
    std::copy(list.begin(), list.end(), place);
    zeros().checksum = checksum(place, zeros().size);
    return error();
  }

  std::vector<uint8_t> bytes;
  Header header;
  IndexT index;
};

TEST_F(ForgedIndex, unchangedIsValid) { EXPECT_EQ(error(), ""); }

TEST_F(ForgedIndex, sectionBeforeTheEndOfTheIndex) {
  index.sections[0]->offset = 0;
  EXPECT_NE(error().find("section 0 'code/cpu/x86-64-v4.elf' begins at byte 0, "
                         "before what precedes it ends at "),
            std::string::npos);
}

TEST_F(ForgedIndex, sectionsOverlap) {
  index.sections[2]->offset = index.sections[1]->offset;
  EXPECT_NE(error().find("section 2 'weight/layer0::w.zeros' begins at byte "),
            std::string::npos);
}

TEST_F(ForgedIndex, sectionBeyondTheFile) {
  index.sections[3]->size = UINT64_MAX;
  EXPECT_NE(error().find("reaches beyond the file of"), std::string::npos);
  index.sections[3]->size = 132;
  index.sections[3]->offset = UINT64_MAX - 63;
  EXPECT_NE(error().find("reaches beyond the file of"), std::string::npos);
}

TEST_F(ForgedIndex, sectionNotAligned) {
  index.sections[3]->offset += 4;
  index.sections[3]->size -= 4;
  EXPECT_NE(error().find("is not aligned to 64"), std::string::npos);
}

TEST_F(ForgedIndex, codeNotAligned) {
  for (auto &weight : index.weights)
    weight->section = -1;
  index.devices[0]->targets[0]->images[0]->section = 1;
  EXPECT_NE(error().find("is not aligned to 4096"), std::string::npos);
}

TEST_F(ForgedIndex, fileGoesOnAfterTheLastSection) {
  index.sections[3]->size -= 4;
  EXPECT_NE(error().find("the last section ends at byte "), std::string::npos);
}

TEST_F(ForgedIndex, paddingNotZero) {
  bytes[index.sections[0]->offset - 1] = 1;
  EXPECT_EQ(error(), "damaged: the padding before section 0 "
                     "'code/cpu/x86-64-v4.elf' is not 0");
}

TEST_F(ForgedIndex, checksums) {
  const char *weightError =
      "damaged: the checksum of section 1 'weight/layer0::w' does not match";
  ++bytes[index.sections[1]->offset];
  EXPECT_EQ(error(), weightError);
  VerifyOptions fast;
  fast.weightChecksums = false;
  EXPECT_EQ(error(fast), "");
  ++bytes[index.sections[0]->offset];
  EXPECT_EQ(error(fast), "damaged: the checksum of section 0 "
                         "'code/cpu/x86-64-v4.elf' does not match");
}

TEST(LargeFile, damageIsFoundByEveryThread) {
  ScratchFile file;
  Draft draft = makeSkeleton();
  for (std::string name : {"first", "second", "third"})
    draft.addSection(name, std::vector<uint8_t>(size_t(20) << 20, 1));
  write(draft, file);
  std::vector<uint8_t> bytes = file.read();
  EXPECT_EQ(errorIn(bytes), "");
  for (size_t i : {3, 2}) { // the first damaged one is named
    ++bytes[draft.index.sections[i]->offset + 12345678];
    EXPECT_EQ(errorIn(bytes),
              "damaged: the checksum of section " + std::to_string(i) + " '" +
                  draft.index.sections[i]->name + "' does not match");
  }
}

TEST_F(ForgedIndex, enumeratorsOfTheFuture) {
  index.weights[2]->dtype = DType(100);
  EXPECT_EQ(error(), "weight 2 'norm': unknown element type 100");
  index.weights[2]->dtype = DType::f32;
  index.weights[0]->layout->kind = LayoutKind(100);
  EXPECT_EQ(error(), "weight 0 'layer0::w': unknown layout 100");
}

TEST_F(ForgedIndex, zeros) {
  // Starts of two tiles, total, and three entries in the first tile.
  const std::vector<int32_t> good = {0, 3, 3, 0, 7, 3, 9, 6, 11};
  EXPECT_EQ(errorWithZeros(good), "");
  auto errorWith = [&](size_t i, int32_t value) {
    std::vector<int32_t> list = good;
    list[i] = value;
    std::string error = errorWithZeros(list);
    EXPECT_EQ(error.find("weight 1 'layer0::w.zeros': "), 0u) << error;
    return error.substr(error.find(": ") + 2);
  };
  EXPECT_EQ(errorWith(0, 1), "the entries of tile 0 start at 1, expected 0");
  EXPECT_EQ(errorWith(1, -1), "the entries of tile 0 are from 0 to -1 of 3");
  EXPECT_EQ(errorWith(1, 4), "the entries of tile 0 are from 0 to 4 of 3");
  EXPECT_EQ(errorWith(2, 2), "the list of zeros declares 2 entries, holds 3");
  EXPECT_EQ(errorWith(2, -3), "the list of zeros declares -3 entries, holds 3");
  EXPECT_EQ(errorWith(1, 2),
            "zero 2 at (6, 11) is not in tile 1 of a 17x33 matrix");
  EXPECT_EQ(errorWith(7, 16),
            "zero 2 at (16, 11) is not in tile 0 of a 17x33 matrix");
  EXPECT_EQ(errorWith(3, -1),
            "zero 0 at (-1, 7) is not in tile 0 of a 17x33 matrix");
  EXPECT_EQ(errorWith(4, 33),
            "zero 0 at (0, 33) is not in tile 0 of a 17x33 matrix");
  EXPECT_EQ(errorWith(4, -1),
            "zero 0 at (0, -1) is not in tile 0 of a 17x33 matrix");
  EXPECT_EQ(errorWith(3, 4), "zero 1 at (3, 9) is out of order");
  EXPECT_EQ(errorWithZeros({0, 3, 3, 3, 9, 3, 9, 6, 11}),
            "weight 1 'layer0::w.zeros': zero 1 at (3, 9) is out of order");
}

} // namespace
