//===- ConfigFile.cpp - what a config.json says ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/ConfigFile.h"
#include "frontend/checkpoint/Error.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace mambit::checkpoint {
namespace {

/// No size of a real model comes near; no product of two overflows.
constexpr int64_t maxSize = int64_t{1} << 30;

/// An object of the config, read key by key.
class Object {
public:
  /// `path` is the object's own key and a dot, or empty.
  Object(const Json &json, const std::string &path) : json(json), path(path) {
    if (!json.is_object())
      fail("config.json: ", path.substr(0, path.find('.')),
           path.empty() ? "" : ": ", "expected an object, found ",
           json.type_name());
  }

  bool has(const std::string &key) const {
    auto found = json.find(key);
    return found != json.end() && !found->is_null();
  }

  const Json *find(const std::string &key) {
    known.insert(key);
    return has(key) ? &json[key] : nullptr;
  }

  [[noreturn]] void fault(const std::string &key, const char *expected) const {
    fail("config.json: ", path, key, ": expected ", expected, ", found ",
         describe(json[key]));
  }

  [[noreturn]] void refuse(const std::string &key) const {
    fail("config.json: ", path, key, ": ", describe(json[key]),
         " is not implemented");
  }

  Setting<int64_t> size(const std::string &key) {
    Setting<int64_t> setting = id(key);
    if (setting.value && (*setting.value < 1 || *setting.value > maxSize))
      fault(key, "a positive size");
    return setting;
  }

  Setting<int64_t> id(const std::string &key) {
    const Json *value = find(key);
    if (!value)
      return {std::nullopt, path + key};
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX))
      fault(key, "an integer");
    return {value->get<int64_t>(), path + key};
  }

  /// A positive, finite number.
  Setting<double> positive(const std::string &key) {
    const Json *value = find(key);
    if (!value)
      return {std::nullopt, path + key};
    if (!value->is_number() || !std::isfinite(value->get<double>()) ||
        value->get<double>() <= 0)
      fault(key, "a positive number");
    return {value->get<double>(), path + key};
  }

  Setting<bool> flag(const std::string &key) {
    const Json *value = find(key);
    if (!value)
      return {std::nullopt, path + key};
    if (!value->is_boolean())
      fault(key, "true or false");
    return {value->get<bool>(), path + key};
  }

  Setting<std::vector<double>> limits(const std::string &key) {
    const Json *value = find(key);
    if (!value)
      return {std::nullopt, path + key};
    if (!value->is_array() || value->size() != 2 || !(*value)[0].is_number() ||
        !(*value)[1].is_number())
      fault(key, "two numbers");
    std::vector<double> limits = *value;
    // Written so that NaN is refused, too.
    if (!(limits[0] <= limits[1]) || !std::isfinite(limits[0]))
      fault(key, "a lower and an upper limit");
    return {limits, path + key};
  }

  std::string text(const std::string &key) {
    const Json *value = find(key);
    if (!value)
      return "";
    if (!value->is_string())
      fault(key, "a string");
    return value->get<std::string>();
  }

  /// Refuses an option unless it has the one value that is implemented.
  void require(const std::string &key, bool implemented) {
    Setting<bool> setting = flag(key);
    if (setting.value && *setting.value != implemented)
      refuse(key);
  }

  void ignore(std::initializer_list<const char *> keys) {
    known.insert(keys.begin(), keys.end());
  }

  /// Refuses every key that nobody asked for.
  void refuseUnknown() const {
    for (const auto &[key, value] : json.items())
      if (!known.count(key) && key.rfind('_', 0) != 0)
        fail("config.json: ", path, printable(key), ": unknown option");
  }

private:
  const Json &json;
  std::string path;
  std::set<std::string> known;
};

void requireSilu(Object &object, const std::string &key) {
  std::string activation = object.text(key);
  if (!activation.empty() && activation != "silu" && activation != "swish")
    object.refuse(key);
}

/// Options of mamba_ssm's Mamba2 that other families' configs show as well.
void requireGateFirst(Object &object) {
  object.require("norm_before_gate", false);
  object.require("D_has_hdim", false);
  object.require("rmsnorm", true);
}

/// MambaConfig of mamba_ssm, whose ssm_cfg holds arguments of Mamba2.
ConfigFile readMambaSsm(Object &root, const Json &emptyObject) {
  ConfigFile config;
  std::string modelType = root.text("model_type");
  constexpr const char *modelTypes[] = {"", "mamba2", "bimamba", "bi-mamba"};
  if (std::find(std::begin(modelTypes), std::end(modelTypes), modelType) ==
      std::end(modelTypes))
    fail("config.json: model_type: unknown architecture ", quote(modelType));
  config.dModel = root.size("d_model");
  config.nLayer = root.size("n_layer");
  config.vocabSize = root.size("vocab_size");
  config.vocabMultiple = root.size("pad_vocab_size_multiple");
  config.tieEmbeddings = root.flag("tie_embeddings");
  config.bosId = root.id("bos_token_id");
  config.eosId = root.id("eos_token_id");
  root.require("rms_norm", true);
  if (Setting<int64_t> mlp = root.id("d_intermediate"); mlp.value.value_or(0))
    root.refuse(mlp.key);
  if (const Json *layers = root.find("attn_layer_idx"); layers) {
    if (!layers->is_array())
      root.fault("attn_layer_idx", "an array");
    if (!layers->empty())
      root.refuse("attn_layer_idx");
  }
  // Residuals and norms are in f32.
  root.ignore({"attn_cfg", "residual_in_fp32", "fused_add_norm",
               "architectures", "dtype", "torch_dtype", "transformers_version",
               "pad_token_id"});

  const Json *ssm = root.find("ssm_cfg");
  root.refuseUnknown();
  Object mixer(ssm ? *ssm : emptyObject, "ssm_cfg.");
  std::string layer = mixer.text("layer");
  if (!layer.empty() && layer != "Mamba2")
    fail("config.json: ssm_cfg.layer: unknown architecture ", quote(layer));
  config.dState = mixer.size("d_state");
  config.dConv = mixer.size("d_conv");
  config.expand = mixer.positive("expand");
  config.headdim = mixer.size("headdim");
  config.nGroups = mixer.size("ngroups");
  config.dInner = mixer.size("d_ssm");
  config.chunkSize = mixer.size("chunk_size");
  config.dtLimit = mixer.limits("dt_limit");
  config.projBias = mixer.flag("bias");
  config.convBias = mixer.flag("conv_bias");
  requireSilu(mixer, "activation");
  requireGateFirst(mixer);
  // Starting values of training, and how to compute rather than what.
  mixer.ignore({"conv_init", "A_init_range", "dt_min", "dt_max",
                "dt_init_floor", "use_mem_eff_path"});
  mixer.refuseUnknown();
  return config;
}

/// Mamba2Config of transformers. Its files hold dozens of keys that do not bear
/// on the model, so unknown ones are left alone, as transformers does.
ConfigFile readHuggingFace(Object &root) {
  ConfigFile config;
  config.isHuggingFace = true;
  config.defaultGroups = 8;
  std::string modelType = root.text("model_type");
  if (!modelType.empty() && modelType != "mamba2")
    fail("config.json: model_type: unknown architecture ", quote(modelType));
  if (const Json *names = root.find("architectures");
      names && modelType.empty() &&
      *names != Json::array({"Mamba2ForCausalLM"}))
    fail("config.json: architectures: unknown architecture ", describe(*names));
  config.dModel = root.size("hidden_size");
  config.nLayer = root.size("num_hidden_layers");
  config.vocabSize = root.size("vocab_size");
  config.nHeads = root.size("num_heads");
  config.headdim = root.size("head_dim");
  config.dInner = root.size("intermediate_size");
  config.dState = root.size("state_size");
  config.nGroups = root.size("n_groups");
  config.dConv = root.size("conv_kernel");
  config.chunkSize = root.size("chunk_size");
  config.expand = root.positive("expand");
  config.normEps = root.positive("layer_norm_epsilon");
  config.dtLimit = root.limits("time_step_limit");
  config.tieEmbeddings = root.flag("tie_word_embeddings");
  config.projBias = root.flag("use_bias");
  config.convBias = root.flag("use_conv_bias");
  config.bosId = root.id("bos_token_id");
  // A model may end in several ways; the first is the usual one.
  if (const Json *ids = root.find("eos_token_id"); ids && ids->is_array()) {
    if (ids->empty() || !ids->front().is_number_integer())
      root.fault("eos_token_id", "token ids");
    config.eosId = {ids->front().get<int64_t>(), "eos_token_id"};
  } else {
    config.eosId = root.id("eos_token_id");
  }
  root.require("rms_norm", true);
  requireSilu(root, "hidden_act");
  requireGateFirst(root);
  if (root.find("quantization_config"))
    root.refuse("quantization_config");
  return config;
}

} // namespace

ConfigFile readConfigFile(const Json &json, bool hasPluralEmbeddings) {
  Object root(json, "");
  const Json emptyObject = Json::object();
  auto hasAny = [&](std::initializer_list<const char *> keys) {
    return std::any_of(keys.begin(), keys.end(),
                       [&](const char *key) { return root.has(key); });
  };
  bool isHuggingFace = hasAny({"hidden_size", "num_hidden_layers"});
  bool isMambaSsm = hasAny({"d_model", "n_layer", "ssm_cfg"});
  if (isHuggingFace == isMambaSsm)
    isHuggingFace = hasPluralEmbeddings;
  return isHuggingFace ? readHuggingFace(root)
                       : readMambaSsm(root, emptyObject);
}

} // namespace mambit::checkpoint
