//===- Describe.cpp - a checkpoint by its config alone -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Describe.h"
#include "frontend/checkpoint/ConfigFile.h"

#include <cmath>
#include <filesystem>

namespace mambit::checkpoint {
namespace {

struct OfficialConfig {
  const char *name;
  int64_t dModel, nLayer;
};

constexpr OfficialConfig officials[] = {
    {"780M", 1536, 48}, {"1.3B", 2048, 48}, {"2.7B", 2560, 64}};

/// config.json as the authors write it.
std::string officialText(const OfficialConfig &config) {
  nlohmann::ordered_json json = {
      {"d_model", config.dModel},
      {"d_intermediate", 0},
      {"n_layer", config.nLayer},
      {"vocab_size", 32000},
      {"ssm_cfg", {{"layer", "Mamba2"}}},
      {"attn_layer_idx", nlohmann::ordered_json::array()},
      {"attn_cfg", nlohmann::ordered_json::object()},
      {"rms_norm", true},
      {"residual_in_fp32", true},
      {"fused_add_norm", true},
      {"pad_vocab_size_multiple", 16},
      {"tie_embeddings", true},
  };
  return json.dump(4) + "\n";
}

template <typename T>
void setDefault(Setting<T> &setting, T value) {
  setting.value = setting.value.value_or(value);
}

/// Sets what a config leaves out, as the family's own code does.
void complete(ConfigFile &file) {
  for (const Setting<int64_t> *size :
       {&file.dModel, &file.nLayer, &file.vocabSize})
    if (!size->value)
      fail("config.json: ", size->key, ": expected a size, found none");
  constexpr int64_t maxLayers = 100000;
  if (*file.nLayer.value > maxLayers)
    fail("config.json: ", file.nLayer.key, ": expected at most ", maxLayers,
         " layers, found ", *file.nLayer.value);
  setDefault<int64_t>(file.dState, 128);
  setDefault<int64_t>(file.dConv, 4);
  setDefault(file.nGroups, file.defaultGroups);
  if (!file.dInner.value) {
    setDefault(file.expand, 2.0);
    double inner = std::floor(*file.expand.value * double(*file.dModel.value));
    if (inner < 1 || inner > 0x1p40)
      fail("config.json: ", file.expand.key,
           ": expected d_inner of 1 to 2^40, "
           "found ",
           inner);
    file.dInner.value = int64_t(inner);
  }
  if (!file.nHeads.value) {
    setDefault<int64_t>(file.headdim, 64);
    if (*file.dInner.value < *file.headdim.value ||
        *file.dInner.value % *file.headdim.value)
      fail("config.json: ", file.headdim.key,
           ": expected a divisor of d_inner ", *file.dInner.value, ", found ",
           *file.headdim.value);
    file.nHeads.value = *file.dInner.value / *file.headdim.value;
  }
  setDefault<int64_t>(file.vocabMultiple, file.isHuggingFace ? 1 : 8);
  setDefault(file.tieEmbeddings, !file.isHuggingFace);
  setDefault(file.projBias, false);
  setDefault(file.convBias, true);
}

/// Lists the tensors of a complete config, as `reconcile` looks for them.
class Lister {
public:
  Lister(const ConfigFile &file, const DescribeOptions &options)
      : file(file), dtype(options.dtype),
        dense(options.dense || file.isHuggingFace) {}

  std::vector<Tensor> list() {
    int64_t dModel = *file.dModel.value, inner = *file.dInner.value,
            heads = *file.nHeads.value, multiple = *file.vocabMultiple.value;
    int64_t rows = (*file.vocabSize.value + multiple - 1) / multiple * multiple;
    int64_t channels = inner + 2 * *file.nGroups.value * *file.dState.value;

    add(file.isHuggingFace ? "backbone.embeddings.weight"
                           : "backbone.embedding.weight",
        {rows, dModel});
    for (int64_t i = 0; i < *file.nLayer.value; ++i) {
      std::string layer = "backbone.layers." + std::to_string(i) + ".";
      std::string mixer = layer + "mixer.";
      add(mixer + "dt_bias", {heads});
      add(mixer + "A_log", {heads});
      add(mixer + "D", {heads});
      addLinear(mixer + "in_proj.", inner + channels + heads, dModel);
      add(mixer + "conv1d.weight", {channels, 1, *file.dConv.value});
      if (*file.convBias.value)
        add(mixer + "conv1d.bias", {channels});
      add(mixer + "norm.weight", {inner});
      addLinear(mixer + "out_proj.", dModel, inner);
      add(layer + "norm.weight", {dModel});
    }
    add("backbone.norm_f.weight", {dModel});
    // transformers leaves a tied copy out.
    if (!file.isHuggingFace || !*file.tieEmbeddings.value)
      add("lm_head.weight", {rows, dModel});
    return std::move(tensors);
  }

private:
  void add(std::string key, Shape shape) {
    std::optional<int64_t> count = checkedElementCount(shape);
    if (!count || *count > INT64_MAX / 8)
      fail("config.json: ", key, " is too large: ", toString(shape));
    Tensor tensor;
    tensor.key = std::move(key);
    tensor.file =
        file.isHuggingFace ? "model.safetensors" : "pytorch_model.bin";
    tensor.dtype = dtype;
    tensor.strides = contiguousStrides(shape);
    tensor.shape = std::move(shape);
    tensors.push_back(std::move(tensor));
  }

  void addLinear(const std::string &prefix, int64_t rows, int64_t columns) {
    add(prefix + "weight", {rows, columns});
    if (*file.projBias.value)
      add(prefix + "bias", {rows});
    if (dense)
      return;
    add(prefix + "wscale", {1, columns});
    add(prefix + "wbias", {1, columns});
  }

  const ConfigFile &file;
  DType dtype;
  bool dense;
  std::vector<Tensor> tensors;
};

} // namespace

std::string officialConfigs() {
  std::string names;
  for (const OfficialConfig &config : officials)
    names += (names.empty() ? "" : ", ") + std::string(config.name);
  return names;
}

static std::string readText(const std::string &config) {
  for (const OfficialConfig &official : officials)
    if (config == official.name)
      return officialText(official);
  if (!std::filesystem::is_regular_file(config))
    fail(config, ": expected a config.json or one of ", officialConfigs(),
         ", found neither");
  MappedFile file(config);
  return std::string(file.bytes(0, file.size()));
}

Description describeCheckpoint(const std::string &config,
                               const DescribeOptions &options) {
  std::string text = readText(config);
  ConfigFile file = readConfigFile(parseJson(text, "config.json"),
                                   /*hasPluralEmbeddings=*/false);
  complete(file);
  Checkpoint tensors =
      Checkpoint::describe(config, Lister(file, options).list());
  ModelConfig model = reconcile(tensors, file);
  return {std::move(tensors), std::move(model), std::move(text)};
}

} // namespace mambit::checkpoint
