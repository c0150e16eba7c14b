//===- ArtifactTest.cpp - writing and reading back ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "Synthetic.h"

#include <dirent.h>
#include <gtest/gtest.h>

using namespace mambit::artifact;
using namespace mambit::artifact::test;

namespace {

TEST(Artifact, skeletonIsValidButNotToBeRun) {
  ScratchFile file;
  Draft draft = makeSkeleton();
  write(draft, file);
  Artifact artifact = Artifact::open(file);
  EXPECT_TRUE(artifact.isSkeleton());
  EXPECT_EQ(artifact.weight(0).size, 0u);
  EXPECT_EQ(artifact.index().producer()->str(), "test 1.0");
  EXPECT_EQ(artifact.minorVersion(), kMinorVersion);
}

TEST(Artifact, givesWhatWasWritten) {
  ScratchFile file;
  MemoryTensors tensors = makeTensors();
  pack(makeSkeleton(), tensors, file);
  Artifact opened = Artifact::open(file.path);
  Artifact artifact = std::move(opened); // moving keeps the mapping
  EXPECT_FALSE(artifact.isSkeleton());
  EXPECT_EQ(artifact.path(), file.path);
  EXPECT_EQ(artifact.fileSize(), file.read().size());

  ASSERT_NE(artifact.device("cpu"), nullptr);
  EXPECT_EQ(artifact.device("cuda"), nullptr);
  const Target *target = artifact.device("cpu")->targets()->Get(0);
  Bytes code = artifact.section(target->images()->Get(0)->section());
  EXPECT_EQ(std::vector<uint8_t>(code.data, code.data + code.size),
            std::vector<uint8_t>(100, 0x90));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(code.data) % kCodeAlignment, 0u);

  Bytes norm = artifact.weight(2);
  ASSERT_EQ(norm.size, kK * sizeof(float));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(norm.data) % kSectionAlignment, 0u);
  EXPECT_EQ(std::memcmp(norm.data, tensors.find("", "norm").data, norm.size),
            0);
}

TEST(Artifact, bytesAreReproducible) {
  EXPECT_EQ(makeArtifact(), makeArtifact());
}

TEST(Artifact, aDraftOfAnArtifactIsTheSameArtifact) {
  ScratchFile first, second;
  MemoryTensors tensors = makeTensors();
  pack(makeSkeleton(), tensors, first);
  Artifact artifact = Artifact::open(first);
  Draft draft = Draft::fromArtifact(artifact);
  write(draft, second);
  EXPECT_EQ(first.read(), second.read());
}

TEST(Artifact, sectionsLargerThanAnyBufferAndEmptyOnes) {
  ScratchFile file;
  Draft draft = makeSkeleton();
  std::vector<uint8_t> large(5 * 1000 * 1000 + 3);
  for (size_t i = 0; i < large.size(); ++i)
    large[i] = uint8_t(i * 7);
  draft.addSection("large", [&](Sink &sink) {
    size_t done = 0;
    for (size_t size = 1; done < large.size(); size = size * 3 + 1) {
      size_t n = std::min(size, large.size() - done);
      sink.write(large.data() + done, n);
      done += n;
    }
  });
  draft.addSection("empty", std::vector<uint8_t>());
  write(draft, file);
  Artifact artifact = Artifact::open(file);
  Bytes bytes = artifact.section(1);
  EXPECT_EQ(std::vector<uint8_t>(bytes.data, bytes.data + bytes.size), large);
  EXPECT_EQ(artifact.section(2).size, 0u);
}

TEST(Artifact, aFailedWriteLeavesNothing) {
  ScratchFile file;
  Draft draft = makeSkeleton();
  draft.addSection("bad", [](Sink &sink) {
    sink.write("half", 4);
    mambit::fail("the source broke");
  });
  EXPECT_EQ(errorOf([&] { write(draft, file); }), "the source broke");
  EXPECT_FALSE(file.exists());
  // Nor under another name.
  std::unique_ptr<DIR, int (*)(DIR *)> folder(opendir("."), closedir);
  while (dirent *entry = readdir(folder.get()))
    EXPECT_EQ(std::string(entry->d_name).find(file.path), std::string::npos);
}

TEST(Artifact, aFailedWriteKeepsTheOldFile) {
  ScratchFile file;
  Draft good = makeSkeleton();
  write(good, file);
  std::vector<uint8_t> before = file.read();
  Draft bad = makeSkeleton();
  bad.index.devices[0]->programs[0]->arena_size = 0;
  std::string error = errorOf([&] { write(bad, file); });
  EXPECT_NE(error.find(file.path + ": not written: "), std::string::npos)
      << error;
  EXPECT_EQ(file.read(), before);
}

/// Written by each version from the skeleton and tensors of Synthetic.h, with
/// what it had added.
class FrozenArtifact : public testing::TestWithParam<int> {};

TEST_P(FrozenArtifact, stillOpens) {
  int minor = GetParam();
  Artifact artifact =
      Artifact::open(std::string(MAMBIT_FROZEN_DIR) + "/frozen-1." +
                     std::to_string(minor) + ".mbt");
  EXPECT_EQ(artifact.minorVersion(), minor);
  EXPECT_FALSE(artifact.isSkeleton());
  ScratchFile file;
  MemoryTensors tensors = makeTensors();
  pack(makeSkeleton(), tensors, file);
  Artifact today = Artifact::open(file);
  ASSERT_EQ(artifact.index().weights()->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    Bytes before = artifact.weight(i), now = today.weight(i);
    ASSERT_EQ(before.size, now.size);
    EXPECT_EQ(std::memcmp(before.data, now.data, now.size), 0);
  }
  const Device *device = artifact.device("cpu");
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->programs()->Get(0)->commands()->Get(0)->args()->size(), 7u);
  const Target *target = device->targets()->Get(0);
  EXPECT_EQ(target->name()->str(), "x86-64-v4");

  const ModelConfig *config = artifact.index().config();
  EXPECT_EQ(config->norm_eps(), minor >= 1 ? 1e-5f : 0);
  EXPECT_EQ(config->dt_min(), minor >= 1 ? 0.25f : 0);
  EXPECT_EQ(config->dt_max(), minor >= 1 ? 4.0f : 0);
  const Condition *when = target->kernels()->Get(0)->phases()->Get(0)->when();
  ASSERT_EQ(when != nullptr, minor >= 2);
  if (when) {
    EXPECT_EQ(when->dim(), Dim::tokens);
    EXPECT_EQ(when->low(), 2u);
    EXPECT_EQ(when->high(), 8u);
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, FrozenArtifact, testing::Values(0, 1, 2));

TEST(Artifact, filesThatCannotBeOpened) {
  EXPECT_EQ(errorOf([] { Artifact::open("no-such-file.mbt"); }),
            "no-such-file.mbt: cannot open: No such file or directory");
  EXPECT_EQ(errorOf([] { Artifact::open("/"); }),
            "/: cannot map: Is a directory");
  EXPECT_EQ(errorOf([] {
              Draft draft = makeSkeleton();
              write(draft, "no-such-folder/model.mbt");
            }),
            "cannot write 'no-such-folder/model.mbt': No such file or "
            "directory");
}

} // namespace
