//===- PackTest.cpp - attaching weights to a skeleton ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "Synthetic.h"
#include "runtime/artifact/Hash.h"

#include <gtest/gtest.h>

using namespace mambit::artifact;
using namespace mambit::artifact::test;

namespace {

TEST(Pack, bothRoadsGiveTheSameBytes) {
  MemoryTensors tensors = makeTensors();
  PackOptions options;
  options.tokenizer = {1, 2, 3};
  ScratchFile fromMemory, skeletonFile, fromFile;
  pack(makeSkeleton(), tensors, fromMemory, options);

  Draft skeleton = makeSkeleton();
  write(skeleton, skeletonFile);
  Artifact opened = Artifact::open(skeletonFile);
  pack(Draft::fromArtifact(opened), tensors, fromFile, options);
  EXPECT_EQ(fromMemory.read(), fromFile.read());
}

TEST(Pack, reportsZerosAndProgress) {
  for (size_t zeros : {0, 3}) {
    MemoryTensors tensors = makeTensors(zeros);
    ScratchFile file;
    PackOptions options;
    uint64_t last = 0, total = 0;
    options.progress = [&](uint64_t done, uint64_t all) {
      EXPECT_GT(done, last);
      last = done;
      total = all;
    };
    PackReport report = pack(makeSkeleton(), tensors, file, options);
    EXPECT_EQ(total, 2 * kN * kK + kK);
    EXPECT_EQ(last, total);
    ASSERT_EQ(report.zeros.size(), zeros ? 1u : 0u);
    if (zeros) {
      EXPECT_EQ(report.zeros[0].weight, "layer0::w.zeros");
      EXPECT_EQ(report.zeros[0].count, zeros);
    }
  }
}

TEST(Pack, recordsInputsAndTokenizer) {
  ScratchFile input, file;
  {
    std::ofstream stream(input.path, std::ios::binary);
    stream << "abc";
  }
  MemoryTensors tensors = makeTensors();
  PackOptions options;
  options.inputs = {{"model.safetensors", input.path}};
  options.tokenizer = {'t', 'o', 'k'};
  pack(makeSkeleton(), tensors, file, options);
  Artifact artifact = Artifact::open(file);
  const Input *record = artifact.index().inputs()->Get(0);
  EXPECT_EQ(record->file()->str(), "model.safetensors");
  EXPECT_EQ(record->size(), 3u);
  // xxhsum -H2 of "abc".
  EXPECT_EQ(record->hash()->str(), "06b05ab6733a618578af5f94892f3950");
  const Tokenizer *tokenizer = artifact.index().tokenizer();
  EXPECT_EQ(tokenizer->kind()->str(), "sentencepiece");
  Bytes bytes = artifact.section(tokenizer->section());
  EXPECT_EQ(std::string(bytes.data, bytes.data + bytes.size), "tok");
  // No path of this machine.
  std::vector<uint8_t> written = file.read();
  EXPECT_EQ(std::string(written.begin(), written.end()).find(input.path),
            std::string::npos);
}

/// Holds tensors of f64, in another file than the recipe says.
class OtherTensors : public MemoryTensors {
public:
  TensorView find(const std::string &, const std::string &key) override {
    TensorView view = MemoryTensors::find("", key);
    const std::vector<float> &values = tensors[key].second;
    auto copy =
        std::make_shared<std::vector<double>>(values.begin(), values.end());
    view.dtype = DType::f64;
    view.data = copy->data();
    view.owner = copy;
    view.file = "shard-2.bin";
    return view;
  }
};

TEST(Pack, recordsWhatTheCheckpointHolds) {
  OtherTensors tensors;
  tensors.tensors = makeTensors().tensors;
  ScratchFile file;
  pack(makeSkeleton(), tensors, file);
  Artifact artifact = Artifact::open(file);
  const Source *source = artifact.index().weights()->Get(0)->sources()->Get(0);
  EXPECT_EQ(source->file()->str(), "shard-2.bin");
  EXPECT_EQ(source->dtype(), DType::f64);
  MemoryTensors same = makeTensors();
  Bytes norm = artifact.weight(2);
  EXPECT_EQ(std::memcmp(norm.data, same.find("", "norm").data, norm.size), 0);
}

TEST(Pack, errors) {
  ScratchFile file;
  MemoryTensors tensors = makeTensors();
  tensors.tensors.erase("norm");
  EXPECT_EQ(errorOf([&] { pack(makeSkeleton(), tensors, file); }),
            "weight 'norm': key 'norm' is not in 'model.safetensors'");
  tensors.add("norm", {2}, {1, 2});
  EXPECT_EQ(errorOf([&] { pack(makeSkeleton(), tensors, file); }),
            "weight 'norm': key 'norm' in 'model.safetensors': expected shape "
            "[33], found [2]");
  tensors = makeTensors();
  tensors.tensors["w"].second[5] = NAN;
  EXPECT_EQ(errorOf([&] { pack(makeSkeleton(), tensors, file); }),
            "weight 'layer0::w': key 'w' in 'model.safetensors': element 5 is "
            "NaN");
  PackOptions options;
  options.inputs = {{"config.json", "no-such-file"}};
  tensors = makeTensors();
  EXPECT_EQ(errorOf([&] { pack(makeSkeleton(), tensors, file, options); }),
            "no-such-file: cannot open: No such file or directory");
  EXPECT_FALSE(file.exists());

  pack(makeSkeleton(), tensors, file);
  Artifact whole = Artifact::open(file);
  EXPECT_EQ(errorOf([&] { pack(Draft::fromArtifact(whole), tensors, file); }),
            file.path + ": weight 'layer0::w' is attached already");
}

} // namespace
