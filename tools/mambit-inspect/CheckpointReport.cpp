//===- CheckpointReport.cpp - what would be imported -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-inspect/CheckpointReport.h"

#include "frontend/checkpoint/Checkpoint.h"
#include "frontend/checkpoint/Config.h"
#include "tools/common/CheckpointSource.h"
#include "tools/common/Progress.h"
#include "tools/mambit-inspect/Table.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

using namespace mambit;
using namespace mambit::tools;
using namespace mambit::checkpoint;
using checkpoint::DType;

namespace {

struct SignCounts {
  uint64_t zeros = 0;    // -0.0 is one
  uint64_t negative = 0; // below zero
};

} // namespace

/// Counts the signs of elements as wide as `Bits`, whose highest bit is the
/// sign; an element without any of the bits of `magnitude` is zero. One with
/// all bits of `exponent`, if there are any, is not finite, which is an error.
template <typename Bits>
static void countSigns(const Tensor &tensor, Bits magnitude, Bits exponent,
                       SignCounts &counts) {
  constexpr Bits signBit = Bits(Bits(1) << (8 * sizeof(Bits) - 1));
  int64_t length = tensor.shape.empty() ? 1 : tensor.shape.back();
  int64_t stride = tensor.shape.empty() ? 1 : tensor.strides.back();
  if (tensor.elementCount() == 0)
    return;
  Shape position(tensor.shape.empty() ? 0 : tensor.shape.size() - 1);
  int64_t done = 0;
  while (true) {
    int64_t offset = 0;
    for (size_t i = 0; i < position.size(); ++i)
      offset += position[i] * tensor.strides[i];
    for (int64_t i = 0; i < length; ++i) {
      Bits bits;
      std::memcpy(&bits,
                  tensor.data + (offset + i * stride) * int64_t(sizeof(Bits)),
                  sizeof(Bits));
      bool zero = (bits & magnitude) == 0;
      counts.zeros += zero;
      counts.negative += !zero && (bits & signBit);
      if (exponent && (bits & exponent) == exponent)
        checkpoint::fail(tensor.file, ": ", tensor.key,
                         ": expected finite values, found element ", done + i,
                         (bits & magnitude) == exponent ? " infinite" : " NaN");
    }
    done += length;
    // The next row.
    size_t i = position.size();
    while (i > 0 && ++position[i - 1] == tensor.shape[i - 1])
      position[--i] = 0;
    if (i == 0)
      return;
  }
}

static SignCounts countSigns(const Tensor &tensor) {
  SignCounts counts;
  switch (tensor.dtype) {
  case DType::f64:
    countSigns<uint64_t>(tensor, INT64_MAX, uint64_t(0x7ff) << 52, counts);
    break;
  case DType::f32:
    countSigns<uint32_t>(tensor, INT32_MAX, 0x7f800000, counts);
    break;
  case DType::f16:
    countSigns<uint16_t>(tensor, INT16_MAX, 0x7c00, counts);
    break;
  case DType::bf16:
    countSigns<uint16_t>(tensor, INT16_MAX, 0x7f80, counts);
    break;
  case DType::i8:
    countSigns<uint8_t>(tensor, UINT8_MAX, 0, counts);
    break;
  default:
    checkpoint::fail("'", tensor.file, "': '", tensor.key, "' has type ",
                     dtypeName(tensor.dtype), ", whose signs are not counted");
  }
  return counts;
}

/// JSON has no infinity.
static Json numberOf(double value) {
  return std::isfinite(value) ? Json(value) : Json(value > 0 ? "inf" : "-inf");
}

namespace {

class Describer {
public:
  explicit Describer(const std::string &folder)
      : checkpoint(Checkpoint::open(folder)),
        config(readModelConfig(checkpoint)) {}

  Json describe();

private:
  Json linear(const std::string &name, const Linear &linear);
  Json describeConfig() const;
  void role(const std::string &key, const std::string &role);

  Checkpoint checkpoint;
  ModelConfig config;
  std::map<std::string, std::string> roles; // by key
  uint64_t parameters = 0, binaryParameters = 0;
};

} // namespace

void Describer::role(const std::string &key, const std::string &role) {
  if (key.empty())
    return;
  auto [entry, isNew] = roles.try_emplace(key, role);
  if (isNew)
    parameters += checkpoint.get(key).elementCount();
  else
    entry->second += ", " + role;
}

Json Describer::linear(const std::string &name, const Linear &linear) {
  std::string kind = linear.binarised ? "1-bit" : "dense";
  role(linear.weight, name + ", " + kind);
  role(linear.scale, name + ", scale by " + patternName(linear.scalePattern));
  role(linear.shift, name + ", shift by " + patternName(linear.shiftPattern));
  role(linear.bias, name + ", bias");
  Json result = {
      {"name", name},
      {"rows", linear.rows},
      {"columns", linear.columns},
      {"binarised", linear.binarised},
      {"weight", linear.weight},
  };
  auto optional = [&](const char *field, const std::string &key) {
    if (!key.empty())
      result[field] = key;
  };
  optional("scale", linear.scale);
  optional("shift", linear.shift);
  optional("bias", linear.bias);
  if (linear.binarised) {
    binaryParameters += uint64_t(linear.rows) * linear.columns;
    result["scale_pattern"] = patternName(linear.scalePattern);
    result["shift_pattern"] = patternName(linear.shiftPattern);
  }
  return result;
}

Json Describer::describeConfig() const {
  Json result = {
      {"format", formatName(config.format)},
      {"d_model", config.dModel},
      {"layers", config.nLayer},
      {"vocab", config.vocabSize},
      {"d_inner", config.dInner},
      {"heads", config.nHeads},
      {"headdim", config.headdim},
      {"groups", config.nGroups},
      {"d_state", config.dState},
      {"d_conv", config.dConv},
      {"norm_eps", config.normEps},
      {"gated_norm_eps", config.gatedNormEps},
      {"gated_norm_groups", config.gatedNormGroups},
      {"dt_limit", {numberOf(config.dtMin), numberOf(config.dtMax)}},
      {"tied", config.tieEmbeddings},
      {"proj_bias", config.projBias},
      {"conv_bias", config.convBias},
      {"bos_id", nullptr},
      {"eos_id", nullptr},
  };
  if (config.bosId)
    result["bos_id"] = *config.bosId;
  if (config.eosId)
    result["eos_id"] = *config.eosId;
  return result;
}

Json Describer::describe() {
  Json linears = Json::array();
  role(config.embedding, "embedding");
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const Layer &layer = config.layers[i];
    std::string name = "layer " + std::to_string(i) + " ";
    role(layer.norm, name + "norm");
    linears.push_back(linear(name + "in_proj", layer.inProj));
    role(layer.convWeight, name + "conv, weight");
    role(layer.convBias, name + "conv, bias");
    role(layer.dtBias, name + "dt bias");
    role(layer.aLog, name + "A_log");
    role(layer.d, name + "D");
    role(layer.gatedNorm, name + "gated norm");
    linears.push_back(linear(name + "out_proj", layer.outProj));
  }
  role(config.finalNorm, "final norm");
  role(config.lmHead, "lm_head");

  std::map<std::string, SignCounts> signs; // by key; also checks the values
  Progress progress("count", parameters, "weights");
  uint64_t done = 0;
  for (const auto &[key, role] : roles) {
    const Tensor &tensor = checkpoint.get(key);
    signs[key] = countSigns(tensor);
    checkpoint.release(tensor);
    progress.update(done += tensor.elementCount());
  }
  uint64_t zeros = 0, negative = 0;
  for (Json &linear : linears) {
    if (!linear["binarised"])
      continue;
    uint64_t exactZeros = signs[linear["weight"]].zeros;
    uint64_t negativeScales = signs[linear["scale"]].negative;
    linear["exact_zeros"] = exactZeros;
    linear["negative_scales"] = negativeScales;
    zeros += exactZeros;
    negative += negativeScales;
  }

  Json tensors = Json::array();
  for (const auto &[key, tensor] : checkpoint.tensors()) {
    auto found = roles.find(key);
    tensors.push_back({
        {"key", key},
        {"file", tensor.file},
        {"dtype", dtypeName(tensor.dtype)},
        {"shape", tensor.shape},
        {"role", found != roles.end() ? Json(found->second) : Json(nullptr)},
    });
  }
  std::string tokenizer = checkpoint.tokenizerPath();
  readTokenizer(checkpoint);
  return {
      {"kind", "checkpoint"},
      {"path", checkpoint.directory()},
      {"files", checkpoint.files()},
      {"config", describeConfig()},
      {"tokenizer",
       tokenizer.empty()
           ? Json(nullptr)
           : Json(std::filesystem::path(tokenizer).filename().string())},
      {"parameters", parameters},
      {"binary_parameters", binaryParameters},
      {"exact_zeros", zeros},
      {"negative_scales", negative},
      {"linears", linears},
      {"tensors", tensors},
  };
}

static std::string idText(const Json &id) {
  return id.is_null() ? "none" : id.dump();
}

Json tools::describeCheckpoint(const std::string &folder) {
  return Describer(folder).describe();
}

void tools::printCheckpoint(const Json &checkpoint) {
  const Json &config = checkpoint["config"];
  auto field = [&](const char *name) { return textOf(config[name]); };
  std::string files;
  for (const Json &file : checkpoint["files"])
    files += (files.empty() ? "" : ", ") + textOf(file);

  printField("checkpoint", textOf(checkpoint["path"]));
  printField("files", files);
  printField("format", field("format"));
  printField("model", "d_model " + field("d_model") + ", " + field("layers") +
                          " layers, vocabulary " + field("vocab"));
  printField("mixer",
             field("heads") + " heads of " + field("headdim") + ", " +
                 field("groups") + " groups, d_state " + field("d_state") +
                 ", d_conv " + field("d_conv") +
                 (config["conv_bias"] ? "" : " without bias") +
                 (config["proj_bias"] ? ", projections with bias" : ""));
  printField("norms", "eps " + field("norm_eps") + "; gated: eps " +
                          field("gated_norm_eps") + ", " +
                          field("gated_norm_groups") + " groups");
  printField("dt limit", textOf(config["dt_limit"][0]) + " to " +
                             textOf(config["dt_limit"][1]));
  printField("lm_head", config["tied"] ? "the embedding" : "its own");
  printField("parameters", textOf(checkpoint["parameters"]) + ", of which " +
                               textOf(checkpoint["binary_parameters"]) +
                               " 1-bit");
  printField("signs", textOf(checkpoint["exact_zeros"]) + " exact zeros, " +
                          textOf(checkpoint["negative_scales"]) +
                          " negative scales");
  printField("tokenizer", checkpoint["tokenizer"].is_null()
                              ? "none"
                              : textOf(checkpoint["tokenizer"]));
  printField("bos, eos",
             idText(config["bos_id"]) + ", " + idText(config["eos_id"]));

  std::printf("\n");
  Table linears({"linear", "shape", "kind", "scale", "shift", "exact zeros",
                 "negative scales", "bias"},
                {5, 6});
  for (const Json &linear : checkpoint["linears"]) {
    auto text = [&](const char *name) {
      return linear.contains(name) ? textOf(linear[name]) : "-";
    };
    linears.row({text("name"), shapeText({linear["rows"], linear["columns"]}),
                 linear["binarised"] ? "1-bit" : "dense", text("scale_pattern"),
                 text("shift_pattern"), text("exact_zeros"),
                 text("negative_scales"),
                 linear.contains("bias") ? "yes" : "no"});
  }
  linears.print();

  std::printf("\n");
  Table tensors({"tensor", "file", "type", "role"});
  for (const Json &tensor : checkpoint["tensors"])
    tensors.row({textOf(tensor["key"]), textOf(tensor["file"]),
                 textOf(tensor["dtype"]) + shapeText(tensor["shape"]),
                 tensor["role"].is_null() ? "tied copy, not used"
                                          : textOf(tensor["role"])});
  tensors.print();
}
