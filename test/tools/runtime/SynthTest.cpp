//===- SynthTest.cpp - mambit-synth, run as a program ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Config.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace mambit::checkpoint;

namespace {

class SynthTest : public testing::Test {
protected:
  SynthTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "mambit-synth-XXXXXX")
            .string();
    folder = mkdtemp(pattern.data());
  }
  ~SynthTest() override { std::filesystem::remove_all(folder); }

  std::string writeConfig(const std::string &text) {
    std::string path = folder + "/config.json";
    std::ofstream(path) << text;
    return path;
  }

  int run(const std::string &arguments) {
    std::string command = std::string(MAMBIT_TOOLS "/mambit-synth ") +
                          arguments + " --quiet 2>" + folder + "/errors";
    return std::system(command.c_str());
  }

  std::string readFile(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string folder;
};

constexpr const char *kOfficial =
    R"({"d_model": 72, "n_layer": 2, "vocab_size": 50, "ssm_cfg": {"headdim": 24, "d_state": 20}})";
constexpr const char *kHuggingFace =
    R"({"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 50, "n_groups": 2, "head_dim": 32,
        "num_heads": 4, "use_bias": true})";

TEST_F(SynthTest, official) {
  std::string config = writeConfig(kOfficial);
  ASSERT_EQ(run("--config " + config + " -o " + folder + "/a"), 0);
  Checkpoint checkpoint = Checkpoint::open(folder + "/a");
  ModelConfig model = readModelConfig(checkpoint);
  EXPECT_EQ(model.format, Format::official);
  EXPECT_EQ(model.vocabSize, 56);
  EXPECT_EQ(model.nLayer, 2);
  EXPECT_TRUE(model.tieEmbeddings);
  EXPECT_EQ(checkpoint.files(), std::vector<std::string>{"pytorch_model.bin"});
  // One storage under two keys, as torch has it; aligned as torch does.
  EXPECT_EQ(checkpoint.get("lm_head.weight").data,
            checkpoint.get("backbone.embedding.weight").data);
  for (const auto &[key, tensor] : checkpoint.tensors())
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % 64, 0u) << key;
  EXPECT_EQ(readFile(folder + "/a/config.json"), kOfficial);
}

TEST_F(SynthTest, sameForTheSameSeed) {
  std::string config = writeConfig(kOfficial);
  for (std::string out : {"a", "b"})
    ASSERT_EQ(run("--config " + config + " --seed 5 -o " + folder + "/" + out),
              0);
  ASSERT_EQ(run("--config " + config + " --seed 6 -o " + folder + "/c"), 0);
  std::string name = "/pytorch_model.bin", a = readFile(folder + "/a" + name);
  EXPECT_EQ(a, readFile(folder + "/b" + name));
  EXPECT_NE(a, readFile(folder + "/c" + name));
}

TEST_F(SynthTest, sameValuesInEveryContainerAndType) {
  std::string config = writeConfig(kOfficial);
  ASSERT_EQ(run("--config " + config + " -o " + folder + "/bin"), 0);
  ASSERT_EQ(run("--config " + config + " --safetensors --dtype bf16 -o " +
                folder + "/st"),
            0);
  Checkpoint bin = Checkpoint::open(folder + "/bin");
  Checkpoint st = Checkpoint::open(folder + "/st");
  EXPECT_TRUE(readModelConfig(st).tieEmbeddings);
  EXPECT_EQ(st.find("lm_head.weight"), nullptr);
  for (const auto &[key, tensor] : st.tensors()) {
    const Tensor &other = bin.get(key);
    ASSERT_EQ(tensor.dtype, DType::bf16);
    ASSERT_EQ(tensor.shape, other.shape);
    for (int64_t i = 0; i < tensor.elementCount(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, other.data + 4 * i, 4);
      uint16_t half;
      std::memcpy(&half, tensor.data + 2 * i, 2);
      ASSERT_LE(std::abs(int32_t(bits >> 16) - int32_t(half)), 1)
          << key << ' ' << i;
    }
  }
}

TEST_F(SynthTest, denseAndHuggingFace) {
  std::string config = writeConfig(kOfficial);
  ASSERT_EQ(run("--config " + config + " --dense --dtype f16 -o " + folder +
                "/dense"),
            0);
  EXPECT_EQ(readModelConfig(Checkpoint::open(folder + "/dense")).format,
            Format::dense);
  config = writeConfig(kHuggingFace);
  ASSERT_EQ(run("--config " + config + " -o " + folder + "/hf"), 0);
  ModelConfig model = readModelConfig(Checkpoint::open(folder + "/hf"));
  EXPECT_EQ(model.format, Format::huggingFace);
  EXPECT_TRUE(model.projBias);
  EXPECT_FALSE(model.tieEmbeddings);
}

TEST_F(SynthTest, refusesAFolderInUse) {
  std::string config = writeConfig(kOfficial);
  EXPECT_NE(run("--config " + config + " -o " + folder), 0);
  EXPECT_NE(readFile(folder + "/errors").find("is not empty"),
            std::string::npos);
  EXPECT_NE(run("--config 3B -o " + folder + "/a"), 0);
  EXPECT_NE(readFile(folder + "/errors").find("780M, 1.3B, 2.7B"),
            std::string::npos);
}

} // namespace
