//===- ConfigTest.cpp - configurations of models -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Config.h"
#include "TestFiles.h"

#include <cmath>
#include <filesystem>

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

namespace {

const std::string layer1 = "backbone.layers.1.mixer.";

ModelConfig read(const TestModel &model) {
  TempFolder folder;
  model.write(folder);
  return readModelConfig(Checkpoint::open(folder.path()));
}

/// Expects a model to be refused after a change.
template <typename Change>
void expectRefused(TestModel::Family family, Change &&change,
                   std::initializer_list<const char *> parts) {
  TestModel model(family);
  change(model);
  expectError([&] { read(model); }, parts);
}

/// Expects a config to be refused for one setting.
void expectSettingRefused(TestModel::Family family, const char *key,
                          const Json &value,
                          std::initializer_list<const char *> parts) {
  expectRefused(
      family, [&](TestModel &model) { model.config[key] = value; }, parts);
}

void expectMixerSettingRefused(const char *key, const Json &value,
                               std::initializer_list<const char *> parts) {
  expectRefused(
      TestModel::official,
      [&](TestModel &model) { model.config["ssm_cfg"][key] = value; }, parts);
}

void expectSizes(const ModelConfig &config) {
  EXPECT_EQ(config.vocabSize, 10);
  EXPECT_EQ(config.dModel, 12);
  EXPECT_EQ(config.nLayer, 2);
  EXPECT_EQ(config.layers.size(), 2u);
  EXPECT_EQ(config.dInner, 24);
  EXPECT_EQ(config.nHeads, 4);
  EXPECT_EQ(config.headdim, 6);
  EXPECT_EQ(config.nGroups, 2);
  EXPECT_EQ(config.dState, 5);
  EXPECT_EQ(config.dConv, 3);
  EXPECT_EQ(config.convChannels(), 44);
  EXPECT_EQ(config.inProjRows(), 72);
  EXPECT_TRUE(config.tieEmbeddings);
  EXPECT_EQ(config.lmHead, config.embedding);
}

} // namespace

TEST(Config, ReadsOfficial) {
  ModelConfig config = read(TestModel(TestModel::official));
  expectSizes(config);
  EXPECT_EQ(config.format, Format::official);
  EXPECT_TRUE(config.binarised());
  EXPECT_EQ(config.gatedNormGroups, 2);
  EXPECT_EQ(config.normEps, 1e-5);
  EXPECT_EQ(config.dtMin, 0);
  EXPECT_EQ(config.dtMax, INFINITY);
  const Linear &linear = config.layers[1].inProj;
  EXPECT_EQ(linear.weight, layer1 + "in_proj.weight");
  EXPECT_EQ(linear.scale, layer1 + "in_proj.wscale");
  EXPECT_EQ(linear.shift, layer1 + "in_proj.wbias");
  EXPECT_EQ(linear.bias, "");
  EXPECT_EQ(linear.scalePattern, Pattern::column);
  EXPECT_EQ(config.layers[1].convBias, layer1 + "conv1d.bias");
  EXPECT_FALSE(config.bosId.has_value());
}

TEST(Config, ReadsDense) {
  ModelConfig config = read(TestModel(TestModel::dense));
  expectSizes(config);
  EXPECT_EQ(config.format, Format::dense);
  EXPECT_FALSE(config.binarised());
  EXPECT_EQ(config.layers[0].outProj.scale, "");
}

TEST(Config, ReadsHuggingFace) {
  ModelConfig config = read(TestModel(TestModel::huggingFace));
  expectSizes(config);
  EXPECT_EQ(config.format, Format::huggingFace);
  EXPECT_EQ(config.embedding, "backbone.embeddings.weight");
  EXPECT_EQ(config.gatedNormGroups, 1);
  EXPECT_EQ(config.normEps, 1e-6);
  EXPECT_EQ(config.gatedNormEps, 1e-6);
  EXPECT_EQ(config.dtMax, INFINITY);
  EXPECT_EQ(config.bosId, 1);
  EXPECT_EQ(config.eosId, 2);
}

TEST(Config, ReadsOneBitLinearsInHuggingFaceNaming) {
  TestModel model(TestModel::huggingFace);
  model.tensors[layer1 + "in_proj.wscale"] = makeTensor({1, 12});
  model.tensors[layer1 + "in_proj.wbias"] = makeTensor({1, 12});
  ModelConfig config = read(model);
  EXPECT_TRUE(config.binarised());
  EXPECT_TRUE(config.layers[1].inProj.binarised);
  EXPECT_FALSE(config.layers[1].outProj.binarised);
}

TEST(Config, InfersWhatIsLeftOut) {
  for (auto family : {TestModel::official, TestModel::huggingFace}) {
    TestModel model(family);
    const char *groups = family == TestModel::official ? "ngroups" : "n_groups";
    Json config = {{groups, 2}};
    model.config =
        family == TestModel::official ? Json{{"ssm_cfg", config}} : config;
    expectSizes(read(model));
  }
  // The state's size gives the groups; with neither, the family's default does.
  TestModel model(TestModel::official);
  model.config["ssm_cfg"] = {{"d_state", 5}};
  EXPECT_EQ(read(model).nGroups, 2);
  model.config["ssm_cfg"] = nullptr;
  EXPECT_EQ(read(model).nGroups, 1);
  EXPECT_EQ(read(model).dState, 10);
}

TEST(Config, RecognisesPatternsByShape) {
  TestModel model(TestModel::official);
  model.tensors[layer1 + "in_proj.wscale"] = makeTensor({72, 1});
  model.tensors[layer1 + "in_proj.wbias"] = makeTensor({});
  ModelConfig config = read(model);
  EXPECT_EQ(config.layers[1].inProj.scalePattern, Pattern::row);
  EXPECT_EQ(config.layers[1].inProj.shiftPattern, Pattern::single);
  EXPECT_EQ(config.layers[0].inProj.scalePattern, Pattern::column);
}

TEST(Config, ReadsLimitsAndBiases) {
  TestModel model(TestModel::official);
  model.config["ssm_cfg"]["dt_limit"] = {0.001, 0.5};
  model.config["ssm_cfg"]["conv_bias"] = false;
  model.config["ssm_cfg"]["bias"] = true;
  for (const char *layer : {"0", "1"}) {
    std::string mixer = std::string("backbone.layers.") + layer + ".mixer.";
    model.tensors.erase(mixer + "conv1d.bias");
    model.tensors[mixer + "in_proj.bias"] = makeTensor({72});
    model.tensors[mixer + "out_proj.bias"] = makeTensor({12});
  }
  ModelConfig config = read(model);
  EXPECT_EQ(config.dtMin, 0.001);
  EXPECT_EQ(config.dtMax, 0.5);
  EXPECT_TRUE(config.projBias);
  EXPECT_FALSE(config.convBias);
  EXPECT_EQ(config.layers[1].convBias, "");
  EXPECT_EQ(config.layers[1].outProj.bias, layer1 + "out_proj.bias");
}

TEST(Config, AcceptsTheTypesOfWeights) {
  TestModel model(TestModel::official);
  model.tensors[layer1 + "in_proj.weight"] = {
      DType::i8, {72, 12}, std::string(72 * 12, '\1')};
  model.tensors[layer1 + "D"] = {DType::f64, {4}, std::string(32, '\0')};
  EXPECT_NO_THROW(read(model));
  model.tensors[layer1 + "D"] = {DType::i8, {4}, std::string(4, '\0')};
  expectError([&] { read(model); },
              {"pytorch_model.bin: backbone.layers.1.mixer.D",
               "expected a floating-point type, found i8"});
  expectRefused(TestModel::dense,
                [](TestModel &model) {
                  model.tensors[layer1 + "in_proj.weight"] = {
                      DType::i8, {72, 12}, std::string(72 * 12, '\1')};
                },
                {"in_proj.weight", "found i8"});
}

TEST(Config, DecidesWhetherTheHeadIsTied) {
  TestModel model(TestModel::huggingFace);
  const TestTensor copy = model.tensors["backbone.embeddings.weight"];
  const TestTensor own = makeTensor({10, 12}, 5);
  model.tensors["lm_head.weight"] = copy;
  EXPECT_TRUE(read(model).tieEmbeddings);

  model.config["tie_word_embeddings"] = false;
  EXPECT_EQ(read(model).lmHead, "lm_head.weight");
  model.tensors["lm_head.weight"] = own;
  EXPECT_FALSE(read(model).tieEmbeddings);

  model.config["tie_word_embeddings"] = nullptr;
  EXPECT_FALSE(read(model).tieEmbeddings);

  model.config["tie_word_embeddings"] = true;
  expectError([&] { read(model); },
              {"model.safetensors: lm_head.weight",
               "backbone.embeddings.weight", "tie_word_embeddings"});

  model.config["tie_word_embeddings"] = false;
  model.tensors.erase("lm_head.weight");
  expectError([&] { read(model); }, {"lm_head.weight: expected a tensor"});
}

TEST(Config, ComparesATiedHeadThatLiesOtherwise) {
  TestModel model(TestModel::dense);
  TestTensors rest = model.tensors;
  rest.erase("backbone.embedding.weight");
  // Two floats of the transposed matrix, then of the matrix.
  auto write = [&](const TempFolder &folder, bool isSame) {
    std::string head, embedding;
    for (int row = 0; row < 10; ++row)
      for (int column = 0; column < 12; ++column)
        embedding += bytesOf(float(row * 12 + column));
    for (int column = 0; column < 12; ++column)
      for (int row = 0; row < 10; ++row)
        head += bytesOf(float(row * 12 + column + (isSame ? 0 : column / 11)));
    folder.write("config.json", model.config.dump());
    folder.write("pytorch_model-1.bin", torchFile(rest));
    std::string pickle =
        pickleDict({{"backbone.embedding.weight",
                     pickleTensor(pickleStorage("FloatStorage", "0", 120), 0,
                                  {10, 12}, {12, 1})},
                    {"lm_head.weight",
                     pickleTensor(pickleStorage("FloatStorage", "1", 120), 0,
                                  {10, 12}, {1, 10})}});
    folder.write("pytorch_model-2.bin", torchFile(pickle, {embedding, head}));
  };
  TempFolder folder;
  write(folder, true);
  EXPECT_TRUE(readModelConfig(Checkpoint::open(folder.path())).tieEmbeddings);
  write(folder, false);
  expectError([&] { readModelConfig(Checkpoint::open(folder.path())); },
              {"pytorch_model-2.bin: lm_head.weight"});
}

TEST(Config, RefusesMismatches) {
  auto family = TestModel::huggingFace;
  const char *file = "model.safetensors";
  expectSettingRefused(family, "hidden_size", 16,
                       {file, "backbone.embeddings.weight",
                        "expected d_model 16 as hidden_size", "found 12"});
  expectSettingRefused(family, "vocab_size", 9,
                       {"embeddings.weight", "9", "vocab_size", "found 10"});
  expectSettingRefused(family, "num_heads", 8,
                       {file, "A_log", "expected heads 8", "found 4"});
  expectSettingRefused(family, "head_dim", 12,
                       {"A_log", "head_dim 12", "found 4"});
  expectSettingRefused(family, "state_size", 16,
                       {file, "conv1d.weight", "expected 88", "found 44"});
  expectSettingRefused(family, "n_groups", 4,
                       {"conv1d.weight", "expected 64", "found 44"});
  expectSettingRefused(family, "conv_kernel", 4,
                       {"conv1d.weight", "expected d_conv 4", "found 3"});
  expectSettingRefused(family, "expand", 3,
                       {"norm.weight", "expected d_inner 36", "found 24"});
  expectSettingRefused(
      family, "num_hidden_layers", 3,
      {"config.json: num_hidden_layers", "expected 2", "found 3"});
  expectSettingRefused(family, "use_bias", true,
                       {"in_proj.bias: expected a tensor, found none"});
  expectSettingRefused(family, "use_conv_bias", false, {"conv1d.bias"});
  expectSettingRefused(family, "eos_token_id", 10,
                       {"eos_token_id", "below 10", "found 10"});
  expectSettingRefused(
      TestModel::official, "vocab_size", 11,
      {"embedding.weight", "expected a vocabulary of 11", "found 10"});
}

TEST(Config, NamesEveryTensorOfAWrongShape) {
  TestModel good(TestModel::official);
  for (const auto &[key, tensor] : good.tensors) {
    TestModel model(TestModel::official);
    Shape shape = tensor.shape;
    shape.back() += 1;
    model.tensors[key] = makeTensor(shape);
    expectError([&] { read(model); }, {"pytorch_model.bin", "expected"});
    if (key.find("layers.0") == std::string::npos)
      expectError([&] { read(model); },
                  {"pytorch_model.bin", key.c_str(), "expected", "found"});
  }
}

TEST(Config, NamesEveryMissingTensor) {
  TestModel good(TestModel::official);
  for (const auto &[key, tensor] : good.tensors) {
    TestModel model(TestModel::official);
    model.tensors.erase(key);
    // Layer 0 decides whether there are biases at all; the config says so not.
    if (key == "backbone.layers.0.mixer.conv1d.bias")
      model.config["ssm_cfg"]["conv_bias"] = true;
    expectError([&] { read(model); }, {"pytorch_model.bin", key.c_str(),
                                       "expected a tensor, found none"});
  }
}

TEST(Config, NamesUnknownTensors) {
  for (const char *key :
       {"backbone.layers.1.mixer.q_proj.weight", "backbone.layers.1.mlp.fc1",
        "backbone.layers.01.norm.weight", "lm_head.bias", "x"})
    expectRefused(
        TestModel::official,
        [&](TestModel &model) { model.tensors[key] = makeTensor({3}); },
        {"pytorch_model.bin", key, "expected no such tensor"});
}

TEST(Config, RefusesUnknownArchitectures) {
  expectMixerSettingRefused("layer", "Mamba1",
                            {"ssm_cfg.layer: unknown architecture \"Mamba1\""});
  expectSettingRefused(TestModel::official, "model_type", "llama",
                       {"unknown architecture \"llama\""});
  expectSettingRefused(TestModel::huggingFace, "model_type", "mamba",
                       {"unknown architecture \"mamba\""});
  expectSettingRefused(TestModel::official, "attn_layer_idx", {1},
                       {"attn_layer_idx: [1] is not implemented"});
  expectSettingRefused(TestModel::official, "d_intermediate", 64,
                       {"d_intermediate: 64 is not implemented"});
  expectRefused(TestModel::dense,
                [](TestModel &model) {
                  model.config["ssm_cfg"] = Json::object();
                  model.tensors["backbone.layers.0.mixer.x_proj.weight"] =
                      makeTensor({4, 24});
                },
                {"x_proj.weight: unknown architecture \"Mamba1\""});
}

TEST(Config, RefusesOptionsNotImplemented) {
  expectMixerSettingRefused("norm_before_gate", true,
                            {"ssm_cfg.norm_before_gate: true is not"});
  expectMixerSettingRefused("D_has_hdim", true, {"D_has_hdim: true is not"});
  expectMixerSettingRefused("rmsnorm", false, {"rmsnorm: false is not"});
  expectMixerSettingRefused("activation", "gelu", {"activation: \"gelu\" is"});
  expectMixerSettingRefused("d_ssm", 12, {"expected d_inner 12", "d_ssm"});
  expectMixerSettingRefused("dt_rank", 3, {"ssm_cfg.dt_rank: unknown option"});
  expectSettingRefused(TestModel::official, "rms_norm", false,
                       {"rms_norm: false is not implemented"});
  expectSettingRefused(TestModel::official, "n_experts", 8,
                       {"n_experts: unknown option"});
  expectSettingRefused(TestModel::official, "a\nb\x1b", 8,
                       {"a\\x0ab\\x1b: unknown option"});
  expectSettingRefused(TestModel::huggingFace, "norm_before_gate", true,
                       {"norm_before_gate: true is not implemented"});
  expectSettingRefused(TestModel::huggingFace, "hidden_act", "gelu",
                       {"hidden_act: \"gelu\" is not implemented"});
  expectSettingRefused(TestModel::huggingFace, "quantization_config",
                       Json::object(), {"quantization_config"});
  expectRefused(TestModel::official,
                [](TestModel &model) {
                  model.tensors["backbone.layers.0.mixer.conv1d.weight"] =
                      makeTensor({44, 1, 1});
                },
                {"conv1d.weight: a d_conv of 1 is not implemented"});
}

TEST(Config, RefusesValuesOfAWrongKind) {
  auto family = TestModel::huggingFace;
  expectSettingRefused(family, "hidden_size", "12",
                       {"config.json: hidden_size: expected an integer, found "
                        "\"12\""});
  expectSettingRefused(family, "hidden_size", 12.5, {"expected an integer"});
  expectSettingRefused(family, "n_groups", 0, {"n_groups", "positive"});
  expectSettingRefused(family, "n_groups", -2, {"n_groups", "positive"});
  expectSettingRefused(family, "state_size", int64_t{1} << 62, {"state_size"});
  expectSettingRefused(family, "use_bias", 0, {"use_bias", "true or false"});
  expectSettingRefused(family, "time_step_limit", {1.0, 0.5},
                       {"time_step_limit", "a lower and an upper limit"});
  expectSettingRefused(family, "time_step_limit", {0.0}, {"two numbers"});
  expectSettingRefused(family, "layer_norm_epsilon", -1.0,
                       {"layer_norm_epsilon", "positive number"});
  expectSettingRefused(TestModel::official, "ssm_cfg", Json::array(),
                       {"config.json: ssm_cfg: expected an object"});
  expectRefused(family, [](TestModel &model) { model.config = Json::array(); },
                {"config.json: expected an object"});
}

TEST(Config, NamesMissingConfig) {
  TempFolder folder;
  TestModel(TestModel::official).write(folder);
  std::filesystem::remove(folder.path() + "/config.json");
  expectError([&] { readModelConfig(Checkpoint::open(folder.path())); },
              {"expected a config.json, found none"});
}

TEST(Config, ChecksTheTokenizer) {
  // A piece is field 1 of the model; its text is field 1 and its type field 3.
  auto piece = [](const std::string &text, char type) {
    std::string body = "\x0a" + std::string(1, char(text.size())) + text +
                       "\x18" + std::string(1, type);
    return "\x0a" + std::string(1, char(body.size())) + body;
  };
  std::string pieces = piece("<unk>", 2) + piece("x", 1) + piece("</s>", 3) +
                       piece("<s>", 3) + piece("<s>", 1);
  TempFolder folder;
  TestModel(TestModel::official).write(folder);
  folder.write("tokenizer.model", pieces);
  ModelConfig config = readModelConfig(Checkpoint::open(folder.path()));
  EXPECT_EQ(config.eosId, 2);
  EXPECT_EQ(config.bosId, 3);
  folder.write("tokenizer.model", pieces + pieces + pieces);
  expectError([&] { readModelConfig(Checkpoint::open(folder.path())); },
              {"tokenizer.model: expected at most 10 pieces", "found 15"});
}

TEST(Config, ReadsTheDemoCheckpoint) {
  Checkpoint checkpoint = Checkpoint::open(MAMBIT_TEST_CHECKPOINTS "/bimamba");
  ModelConfig config = readModelConfig(checkpoint);
  EXPECT_EQ(config.format, Format::official);
  EXPECT_EQ(config.vocabSize, 4096);
  EXPECT_EQ(config.dModel, 384);
  EXPECT_EQ(config.nLayer, 8);
  EXPECT_EQ(config.headdim, 64);
  EXPECT_EQ(config.dState, 128);
  EXPECT_EQ(config.inProjRows(), 1804);
  EXPECT_TRUE(config.tieEmbeddings);
  EXPECT_EQ(config.bosId, 1);
  EXPECT_EQ(config.eosId, 2);
  EXPECT_EQ(checkpoint.get("lm_head.weight").data,
            checkpoint.get(config.embedding).data);

  // Known of it: 62 weights are zero, 136 scales negative.
  int64_t zeros = 0, negative = 0;
  for (const Layer &layer : config.layers)
    for (const Linear *linear : {&layer.inProj, &layer.outProj}) {
      const Tensor &weight = checkpoint.get(linear->weight);
      const Tensor &scale = checkpoint.get(linear->scale);
      ASSERT_EQ(weight.dtype, DType::f16);
      auto bits = [](const Tensor &tensor, int64_t i) {
        return tensor.data[2 * i] | tensor.data[2 * i + 1] << 8;
      };
      for (int64_t i = 0; i < weight.elementCount(); ++i)
        zeros += (bits(weight, i) & 0x7fff) == 0;
      for (int64_t i = 0; i < scale.elementCount(); ++i)
        negative += bits(scale, i) >> 15;
    }
  EXPECT_EQ(zeros, 62);
  EXPECT_EQ(negative, 136);
}

TEST(Config, ReadsTheSharedHuggingFaceCheckpoint) {
  std::string folder = MAMBIT_SHARED_CHECKPOINTS "/mamba2-hf";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << "no checkpoint in " << folder;
  Checkpoint checkpoint = Checkpoint::open(folder);
  EXPECT_EQ(checkpoint.files().size(), 3u);
  ModelConfig config = readModelConfig(checkpoint);
  EXPECT_EQ(config.format, Format::huggingFace);
  EXPECT_EQ(config.nLayer, 10);
  EXPECT_EQ(config.dtMax, INFINITY);
  EXPECT_FALSE(config.binarised());
}
