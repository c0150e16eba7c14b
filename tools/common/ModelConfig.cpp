//===- ModelConfig.cpp - which model an artifact is of -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/ModelConfig.h"

#include "runtime/Error.h"

#include <set>

using namespace mambit;
using namespace mambit::tools;
using checkpoint::Checkpoint;

static const char *familyName(checkpoint::Format format) {
  switch (format) {
  case checkpoint::Format::official:
    return "bi-mamba";
  case checkpoint::Format::dense:
    return "mamba2";
  case checkpoint::Format::huggingFace:
    return "hf-mamba2";
  }
  return "unknown";
}

/// A tied model's copy of the embedding is no parameter of its own.
static bool isTiedCopy(const std::string &key,
                       const checkpoint::ModelConfig &config) {
  return key == "lm_head.weight" && config.tieEmbeddings;
}

std::unique_ptr<artifact::ModelConfigT>
tools::describeModel(const Checkpoint &checkpoint,
                     const checkpoint::ModelConfig &config,
                     int activationBits) {
  auto model = std::make_unique<artifact::ModelConfigT>();
  model->format = familyName(config.format);
  model->d_model = config.dModel;
  model->layers = config.nLayer;
  model->vocab = config.vocabSize;
  model->heads = config.nHeads;
  model->headdim = config.headdim;
  model->groups = config.nGroups;
  model->d_state = config.dState;
  model->d_conv = config.dConv;
  model->tied = config.tieEmbeddings;
  model->activation_bits = config.binarised() ? activationBits : 32;
  model->norm_eps = config.normEps;
  model->dt_min = config.dtMin;
  model->dt_max = config.dtMax;
  for (const auto &[key, tensor] : checkpoint.tensors())
    if (!isTiedCopy(key, config))
      model->parameters += tensor.elementCount();
  for (const checkpoint::Layer &layer : config.layers)
    for (const checkpoint::Linear *linear : {&layer.inProj, &layer.outProj})
      if (linear->binarised)
        model->binary_parameters += linear->rows * linear->columns;
  return model;
}

void tools::checkModel(const artifact::IndexT &skeleton,
                       const Checkpoint &checkpoint,
                       const checkpoint::ModelConfig &config) {
  if (!skeleton.config)
    fail("the skeleton does not say of which model it is");
  const artifact::ModelConfigT &expected = *skeleton.config;
  auto found = describeModel(checkpoint, config, int(expected.activation_bits));
  auto compare = [&](const char *key, const auto &expected, const auto &found) {
    if (expected != found)
      fail("'", checkpoint.directory(), "': ", key, ": expected ", expected,
           " as the skeleton has, found ", found);
  };
  compare("format", expected.format, found->format);
  compare("d_model", expected.d_model, found->d_model);
  compare("layers", expected.layers, found->layers);
  compare("vocabulary", expected.vocab, found->vocab);
  compare("heads", expected.heads, found->heads);
  compare("headdim", expected.headdim, found->headdim);
  compare("groups", expected.groups, found->groups);
  compare("d_state", expected.d_state, found->d_state);
  compare("d_conv", expected.d_conv, found->d_conv);
  compare("tied embeddings", expected.tied, found->tied);
  compare("norm eps", expected.norm_eps, found->norm_eps);
  compare("lower limit of dt", expected.dt_min, found->dt_min);
  compare("upper limit of dt", expected.dt_max, found->dt_max);

  // What is missing comes out when it is sought; what is left over, here.
  std::set<std::string> used;
  for (const auto &weight : skeleton.weights)
    for (const auto &source : weight->sources)
      used.insert(source->key);
  for (const auto &[key, tensor] : checkpoint.tensors())
    if (!used.count(key) && !isTiedCopy(key, config))
      fail("'", checkpoint.directory(), "': '", key, "' in '", tensor.file,
           "': expected no such tensor, as the skeleton has none");
}
