//===- DescribeTest.cpp - checkpoints by their config alone -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#include "frontend/checkpoint/Describe.h"
#include "TestFiles.h"

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

namespace {

Description describe(const Json &config, const DescribeOptions &options = {}) {
  TempFolder folder;
  return describeCheckpoint(folder.write("config.json", config.dump()),
                            options);
}

int64_t countParameters(const Description &description) {
  int64_t count = 0;
  for (const auto &[key, tensor] : description.tensors.tensors())
    if (key != "lm_head.weight")
      count += tensor.elementCount();
  return count;
}

TEST(Describe, officialConfigs) {
  struct {
    const char *name;
    int64_t dModel, nLayer, heads, inProjRows, channels, parameters;
  } expected[] = {
      {"780M", 1536, 48, 48, 6448, 3328, 752513280},
      {"1.3B", 2048, 48, 64, 8512, 4352, 1306893312},
      {"2.7B", 2560, 64, 80, 10576, 5376, 2656765440},
  };
  for (const auto &size : expected) {
    SCOPED_TRACE(size.name);
    Description description = describeCheckpoint(size.name);
    const ModelConfig &model = description.model;
    EXPECT_EQ(model.format, Format::official);
    EXPECT_EQ(model.dModel, size.dModel);
    EXPECT_EQ(model.nLayer, size.nLayer);
    EXPECT_EQ(model.nHeads, size.heads);
    EXPECT_EQ(model.vocabSize, 32000);
    EXPECT_EQ(model.inProjRows(), size.inProjRows);
    EXPECT_EQ(model.convChannels(), size.channels);
    EXPECT_TRUE(model.tieEmbeddings);
    EXPECT_EQ(countParameters(description), size.parameters);
    EXPECT_NE(description.tensors.find("lm_head.weight"), nullptr);
  }
}

/// A described checkpoint has what the one on disk has.
TEST(Describe, sameTensorsAsTheBundledCheckpoint) {
  std::string folder = MAMBIT_TEST_CHECKPOINTS "/bimamba";
  Checkpoint opened = Checkpoint::open(folder);
  DescribeOptions options;
  options.dtype = DType::f16;
  Description described = describeCheckpoint(folder + "/config.json", options);
  const Checkpoint::TensorMap &tensors = described.tensors.tensors();
  ASSERT_EQ(tensors.size(), opened.tensors().size());
  for (const auto &[key, tensor] : opened.tensors()) {
    ASSERT_EQ(tensors.count(key), 1u) << key;
    EXPECT_EQ(tensors.at(key).shape, tensor.shape) << key;
    EXPECT_EQ(tensors.at(key).strides, tensor.strides) << key;
    EXPECT_EQ(tensors.at(key).dtype, tensor.dtype) << key;
    EXPECT_EQ(tensors.at(key).file, tensor.file) << key;
  }
  EXPECT_EQ(described.tensors.files(), opened.files());
}

TEST(Describe, everyFamilyAsWritten) {
  for (auto family :
       {TestModel::official, TestModel::dense, TestModel::huggingFace}) {
    TestModel model(family);
    if (family != TestModel::huggingFace)
      model.config["ssm_cfg"].update(
          {{"headdim", 6}, {"d_state", 5}, {"d_conv", 3}});
    DescribeOptions options;
    options.dense = family == TestModel::dense;
    Description description = describe(model.config, options);
    TempFolder folder;
    model.write(folder);
    Checkpoint opened = Checkpoint::open(folder.path());
    ModelConfig expected = readModelConfig(opened);
    EXPECT_EQ(description.model.format, expected.format);
    EXPECT_EQ(description.model.tieEmbeddings, expected.tieEmbeddings);
    EXPECT_EQ(description.model.gatedNormGroups, expected.gatedNormGroups);
    for (const auto &[key, tensor] : opened.tensors())
      EXPECT_EQ(description.tensors.get(key).shape, tensor.shape) << key;
  }
}

TEST(Describe, padsTheVocabulary) {
  Json config = {{"d_model", 64}, {"n_layer", 1}, {"vocab_size", 50277}};
  EXPECT_EQ(describe(config).model.vocabSize, 50280);
  config["pad_vocab_size_multiple"] = 16;
  EXPECT_EQ(describe(config).model.vocabSize, 50288);
}

TEST(Describe, defaultsOfTransformers) {
  Json config = {
      {"hidden_size", 512}, {"num_hidden_layers", 2}, {"vocab_size", 1001}};
  Description description = describe(config);
  const ModelConfig &model = description.model;
  EXPECT_EQ(model.format, Format::huggingFace);
  EXPECT_EQ(model.vocabSize, 1001);
  EXPECT_EQ(model.nHeads, 16);
  EXPECT_EQ(model.nGroups, 8);
  EXPECT_FALSE(model.tieEmbeddings);
  EXPECT_EQ(model.lmHead, "lm_head.weight");
}

TEST(Describe, refuses) {
  expectError([] { describeCheckpoint("780m"); }, {"780m", "780M, 1.3B, 2.7B"});
  Json config = {{"d_model", 96}, {"n_layer", 1}, {"vocab_size", 100}};
  auto without = [&](const char *key) {
    Json changed = config;
    changed.erase(key);
    return changed;
  };
  expectError([&] { describe(without("d_model")); }, {"d_model", "none"});
  expectError([&] { describe(without("vocab_size")); }, {"vocab_size", "none"});
  auto with = [&](const char *key, Json value) {
    Json changed = config;
    changed["ssm_cfg"][key] = value;
    return changed;
  };
  expectError([&] { describe(with("headdim", 100)); }, {"headdim", "192"});
  expectError([&] { describe(with("expand", 1e300)); }, {"expand"});
  expectError([&] { describe(with("ngroups", 2)); }, {"ngroups", "3"});
  config["n_layer"] = 1000000;
  expectError([&] { describe(config); }, {"n_layer", "1000000"});
}

} // namespace
