//===- Config.cpp - what model a checkpoint holds ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Config.h"
#include "frontend/checkpoint/ConfigFile.h"
#include "frontend/checkpoint/Tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace mambit::checkpoint {

const char *formatName(Format format) {
  switch (format) {
  case Format::official:
    return "official";
  case Format::dense:
    return "dense";
  case Format::huggingFace:
    return "hf";
  }
  return "unknown";
}

const char *patternName(Pattern pattern) {
  switch (pattern) {
  case Pattern::column:
    return "column";
  case Pattern::row:
    return "row";
  case Pattern::single:
    return "single";
  }
  return "unknown";
}

bool ModelConfig::binarised() const {
  return std::any_of(layers.begin(), layers.end(), [](const Layer &layer) {
    return layer.inProj.binarised || layer.outProj.binarised;
  });
}

namespace {

constexpr const char *configName = "config.json";
constexpr const char *lmHeadKey = "lm_head.weight";

bool isFloat(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 ||
         dtype == DType::bf16;
}

/// Whether two matrices hold the same bytes, however they lie.
bool sameBytes(const Tensor &a, const Tensor &b) {
  if (a.dtype != b.dtype || a.shape != b.shape)
    return false;
  if (a.data == b.data && a.strides == b.strides)
    return true;
  const int64_t size = dtypeSize(a.dtype);
  if (a.isContiguous() && b.isContiguous())
    return std::memcmp(a.data, b.data, a.elementCount() * size) == 0;
  for (int64_t row = 0; row < a.shape[0]; ++row)
    for (int64_t column = 0; column < a.shape[1]; ++column) {
      auto element = [&](const Tensor &tensor) {
        return tensor.data +
               (row * tensor.strides[0] + column * tensor.strides[1]) * size;
      };
      if (std::memcmp(element(a), element(b), size) != 0)
        return false;
    }
  return true;
}

/// Brings together what the config says and what the tensors are.
class Reader {
public:
  Reader(const Checkpoint &checkpoint, ConfigFile file)
      : checkpoint(checkpoint), file(std::move(file)) {}

  ModelConfig read();

private:
  const Tensor &get(const std::string &key);
  int64_t dimension(const std::string &key, size_t rank, size_t index,
                    const char *formula);
  int64_t agree(const Setting<int64_t> &said, int64_t found,
                const std::string &key, const char *what) const;
  std::string use(const std::string &key, const Shape &shape,
                  const char *formula, bool isOneBit = false);
  Pattern usePattern(const std::string &key, const Linear &linear);

  void readConfig();
  void readEmbedding();
  void countLayers();
  void readMixerSizes();
  void readGroups();
  void readBiases();
  Linear readLinear(const std::string &prefix, int64_t rows, int64_t columns,
                    const char *formula);
  void readLayer(int64_t index);
  void readHead();
  void readTokenIds();
  void refuseUnknown() const;

  std::string layerPrefix(int64_t index) const {
    return "backbone.layers." + std::to_string(index) + ".";
  }

  const Checkpoint &checkpoint;
  ConfigFile file;
  ModelConfig model;
  std::set<std::string, std::less<>> used;
};

const Tensor &Reader::get(const std::string &key) {
  if (const Tensor *tensor = checkpoint.find(key)) {
    used.insert(key);
    return *tensor;
  }
  const std::vector<std::string> &files = checkpoint.files();
  fail(files.front(), files.size() > 1 ? " and its other shards" : "", ": ",
       key, ": expected a tensor, found none");
}

/// A dimension of a tensor whose rank is known.
int64_t Reader::dimension(const std::string &key, size_t rank, size_t index,
                          const char *formula) {
  const Tensor &tensor = get(key);
  if (tensor.shape.size() != rank || tensor.elementCount() == 0)
    fail(tensor.file, ": ", key, ": expected shape ", formula, ", found ",
         toString(tensor.shape));
  return tensor.shape[index];
}

/// What the config says of a size, if anything, must be what the tensor has.
int64_t Reader::agree(const Setting<int64_t> &said, int64_t found,
                      const std::string &key, const char *what) const {
  if (said.value && *said.value != found) {
    const Tensor &tensor = checkpoint.get(key);
    fail(tensor.file, ": ", key, ": expected ", what, " ", *said.value, " as ",
         said.key, " in ", configName, " says, found ", found, " in shape ",
         toString(tensor.shape));
  }
  return found;
}

/// Checks a tensor that the model needs, and returns its key.
std::string Reader::use(const std::string &key, const Shape &shape,
                        const char *formula, bool isOneBit) {
  const Tensor &tensor = get(key);
  if (tensor.shape != shape)
    fail(tensor.file, ": ", key, ": expected shape ", toString(shape), " ",
         formula, ", found ", toString(tensor.shape));
  if (!isFloat(tensor.dtype) && !(isOneBit && tensor.dtype == DType::i8))
    fail(tensor.file, ": ", key, ": expected a floating-point type",
         isOneBit ? " or i8" : "", ", found ", dtypeName(tensor.dtype));
  return key;
}

Pattern Reader::usePattern(const std::string &key, const Linear &linear) {
  const Tensor &tensor = get(key);
  if (!isFloat(tensor.dtype))
    fail(tensor.file, ": ", key, ": expected a floating-point type, found ",
         dtypeName(tensor.dtype));
  if (tensor.elementCount() == 1)
    return Pattern::single;
  if (tensor.shape == Shape{1, linear.columns})
    return Pattern::column;
  if (tensor.shape == Shape{linear.rows, 1})
    return Pattern::row;
  fail(tensor.file, ": ", key, ": expected shape ",
       toString({1, linear.columns}), ", ", toString({linear.rows, 1}),
       " or [], found ", toString(tensor.shape));
}

void Reader::readConfig() {
  model.chunkSize = file.chunkSize.value.value_or(model.chunkSize);
  if (file.normEps.value)
    model.normEps = model.gatedNormEps = *file.normEps.value;
  if (file.dtLimit.value) {
    model.dtMin = (*file.dtLimit.value)[0];
    model.dtMax = (*file.dtLimit.value)[1];
  }
}

void Reader::readEmbedding() {
  // transformers has the plural. Both cannot be: the second would be unknown.
  const char *plural = "backbone.embeddings.weight";
  const char *singular = "backbone.embedding.weight";
  bool isPlural = file.isHuggingFace ? !checkpoint.find(singular)
                                     : checkpoint.find(plural) != nullptr;
  model.embedding = isPlural ? plural : singular;
  constexpr const char *formula = "(vocabulary, d_model)";
  model.vocabSize = dimension(model.embedding, 2, 0, formula);
  model.dModel = agree(file.dModel, dimension(model.embedding, 2, 1, formula),
                       model.embedding, "d_model");
  use(model.embedding, {model.vocabSize, model.dModel}, formula);

  // mamba_ssm pads the rows; transformers does not.
  bool isPadded = !file.isHuggingFace && file.vocabSize.value &&
                  *file.vocabSize.value <= model.vocabSize;
  if (!isPadded)
    agree(file.vocabSize, model.vocabSize, model.embedding, "a vocabulary of");
}

void Reader::countLayers() {
  constexpr std::string_view prefix = "backbone.layers.";
  constexpr size_t maxDigits = 6;
  std::string last;
  for (auto entry = checkpoint.tensors().lower_bound(prefix);
       entry != checkpoint.tensors().end() &&
       entry->first.compare(0, prefix.size(), prefix) == 0;
       ++entry) {
    size_t end = entry->first.find_first_not_of("0123456789", prefix.size());
    if (end == std::string::npos || end == prefix.size() ||
        end - prefix.size() > maxDigits || entry->first[end] != '.')
      continue; // not a layer's: refused as unknown
    int64_t index =
        std::stoll(entry->first.substr(prefix.size(), end - prefix.size()));
    if (index >= model.nLayer) {
      model.nLayer = index + 1;
      last = entry->first;
    }
  }
  if (model.nLayer == 0)
    get(layerPrefix(0) + "norm.weight"); // says that it is missing
  if (file.nLayer.value && *file.nLayer.value != model.nLayer)
    fail(configName, ": ", file.nLayer.key, ": expected ", model.nLayer,
         " as the tensors have (up to ", last, "), found ", *file.nLayer.value);
}

/// Sizes that all layers share, from the first one's tensors.
void Reader::readMixerSizes() {
  std::string mixer = layerPrefix(0) + "mixer.";
  for (const char *key : {"x_proj.weight", "dt_proj.weight"})
    if (const Tensor *tensor = checkpoint.find(mixer + key))
      fail(tensor->file, ": ", tensor->key,
           ": unknown architecture \"Mamba1\": expected a layer of Mamba2");

  std::string norm = mixer + "norm.weight", aLog = mixer + "A_log";
  model.dInner =
      agree(file.dInner, dimension(norm, 1, 0, "(d_inner)"), norm, "d_inner");
  model.nHeads =
      agree(file.nHeads, dimension(aLog, 1, 0, "(heads)"), aLog, "heads");
  if (file.expand.value) {
    double inner = std::floor(*file.expand.value * double(model.dModel));
    if (inner != double(model.dInner))
      fail(checkpoint.get(norm).file, ": ", norm, ": expected d_inner ", inner,
           " = d_model * ", file.expand.key, " in ", configName, ", found ",
           model.dInner);
  }
  if (model.dInner % model.nHeads)
    fail(checkpoint.get(aLog).file, ": ", aLog,
         ": expected a number of heads that divides d_inner ", model.dInner,
         ", found ", model.nHeads);
  model.headdim = model.dInner / model.nHeads;
  if (file.headdim.value && *file.headdim.value != model.headdim)
    fail(checkpoint.get(aLog).file, ": ", aLog, ": expected d_inner ",
         model.dInner, " / ", file.headdim.key, " ", *file.headdim.value,
         " heads as ", configName, " says, found ", model.nHeads);
  readGroups();
}

/// The convolution's channels hold x and, for each group, B and C.
void Reader::readGroups() {
  std::string conv = layerPrefix(0) + "mixer.conv1d.weight";
  constexpr const char *formula = "(d_inner + 2*ngroups*d_state, 1, d_conv)";
  int64_t channels = dimension(conv, 3, 0, formula);
  model.dConv =
      agree(file.dConv, dimension(conv, 3, 2, formula), conv, "d_conv");
  const Tensor &tensor = checkpoint.get(conv);
  if (model.dConv < 2)
    fail(tensor.file, ": ", conv, ": a d_conv of ", model.dConv,
         " is not implemented: expected at least 2");

  int64_t both = channels - model.dInner;
  int64_t groups = file.nGroups.value.value_or(
      file.dState.value ? both / 2 / *file.dState.value : file.defaultGroups);
  groups = std::max(groups, int64_t{1});
  int64_t state =
      file.dState.value.value_or(std::max(both / 2 / groups, int64_t{1}));
  if (both != 2 * groups * state)
    fail(tensor.file, ": ", conv, ": expected ",
         model.dInner + 2 * groups * state, " = d_inner ", model.dInner,
         " + 2 * ", groups, " groups * d_state ", state, " channels as ",
         configName, " says (", file.nGroups.key, ", ", file.dState.key,
         "), found ", channels, " in shape ", toString(tensor.shape));
  if (model.nHeads % groups)
    fail(configName, ": ", file.nGroups.key,
         ": expected a divisor of the number of heads ", model.nHeads,
         ", found ", groups);
  model.nGroups = groups;
  model.dState = state;
  model.gatedNormGroups = file.isHuggingFace ? 1 : groups;
}

/// Whether there are biases; what the config leaves out, the first layer says.
void Reader::readBiases() {
  std::string mixer = layerPrefix(0) + "mixer.";
  model.projBias = file.projBias.value.value_or(
      checkpoint.find(mixer + "in_proj.bias") != nullptr);
  model.convBias = file.convBias.value.value_or(
      checkpoint.find(mixer + "conv1d.bias") != nullptr);
}

Linear Reader::readLinear(const std::string &prefix, int64_t rows,
                          int64_t columns, const char *formula) {
  Linear linear;
  linear.rows = rows;
  linear.columns = columns;
  // Either of the two makes it 1-bit, and the other is then missed.
  linear.binarised =
      checkpoint.find(prefix + "wscale") || checkpoint.find(prefix + "wbias");
  linear.weight =
      use(prefix + "weight", {rows, columns}, formula, linear.binarised);
  if (linear.binarised) {
    linear.scale = prefix + "wscale";
    linear.shift = prefix + "wbias";
    linear.scalePattern = usePattern(linear.scale, linear);
    linear.shiftPattern = usePattern(linear.shift, linear);
  }
  if (model.projBias)
    linear.bias = use(prefix + "bias", {rows}, "(outputs)");
  return linear;
}

void Reader::readLayer(int64_t index) {
  const std::string prefix = layerPrefix(index), mixer = prefix + "mixer.";
  const int64_t channels = model.convChannels();
  Layer layer;
  layer.norm = use(prefix + "norm.weight", {model.dModel}, "(d_model)");
  layer.inProj =
      readLinear(mixer + "in_proj.", model.inProjRows(), model.dModel,
                 "(2*d_inner + 2*ngroups*d_state + heads, d_model)");
  layer.convWeight = use(mixer + "conv1d.weight", {channels, 1, model.dConv},
                         "(d_inner + 2*ngroups*d_state, 1, d_conv)");
  if (model.convBias)
    layer.convBias =
        use(mixer + "conv1d.bias", {channels}, "(d_inner + 2*ngroups*d_state)");
  layer.dtBias = use(mixer + "dt_bias", {model.nHeads}, "(heads)");
  layer.aLog = use(mixer + "A_log", {model.nHeads}, "(heads)");
  layer.d = use(mixer + "D", {model.nHeads}, "(heads)");
  layer.gatedNorm = use(mixer + "norm.weight", {model.dInner}, "(d_inner)");
  layer.outProj = readLinear(mixer + "out_proj.", model.dModel, model.dInner,
                             "(d_model, d_inner)");
  model.layers.push_back(std::move(layer));
}

void Reader::readHead() {
  model.finalNorm = use("backbone.norm_f.weight", {model.dModel}, "(d_model)");
  const Tensor &embedding = checkpoint.get(model.embedding);
  const Tensor *head = checkpoint.find(lmHeadKey);
  if (head)
    use(lmHeadKey, {model.vocabSize, model.dModel}, "(vocabulary, d_model)");

  bool isSame = !head || sameBytes(*head, embedding);
  model.tieEmbeddings = file.tieEmbeddings.value.value_or(isSame);
  if (model.tieEmbeddings && !isSame)
    fail(head->file, ": ", lmHeadKey, ": expected the values of ",
         model.embedding, " in ", embedding.file, " as ",
         file.tieEmbeddings.key, " in ", configName, " says, found others");
  if (!model.tieEmbeddings)
    get(lmHeadKey);
  model.lmHead = model.tieEmbeddings ? model.embedding : lmHeadKey;
}

void Reader::readTokenIds() {
  for (const Setting<int64_t> *id : {&file.bosId, &file.eosId})
    if (id->value && (*id->value < 0 || *id->value >= model.vocabSize))
      fail(configName, ": ", id->key, ": expected a token below ",
           model.vocabSize, " (rows of ", model.embedding, "), found ",
           *id->value);
  model.bosId = file.bosId.value;
  model.eosId = file.eosId.value;
}

/// A tensor that no formula takes would silently change the result.
void Reader::refuseUnknown() const {
  for (const auto &[key, tensor] : checkpoint.tensors())
    if (!used.count(key))
      fail(tensor.file, ": ", quote(key), ": expected no such tensor in a ",
           "Mamba-2 model of this config, found ", dtypeName(tensor.dtype), " ",
           toString(tensor.shape));
}

ModelConfig Reader::read() {
  readConfig();
  readEmbedding();
  countLayers();
  readMixerSizes();
  readBiases();
  for (int64_t i = 0; i < model.nLayer; ++i)
    readLayer(i);
  readHead();
  refuseUnknown();
  readTokenIds();
  model.format = file.isHuggingFace  ? Format::huggingFace
                 : model.binarised() ? Format::official
                                     : Format::dense;
  return std::move(model);
}

/// The tokenizer says what the config leaves out.
void readTokenizerIds(const std::string &path, ModelConfig &model) {
  MappedFile bytes(path);
  constexpr const char *name = "tokenizer.model";
  TokenizerInfo tokenizer = readTokenizer(bytes.bytes(0, bytes.size()), name);
  if (tokenizer.pieces > model.vocabSize)
    fail(name, ": expected at most ", model.vocabSize, " pieces (rows of ",
         model.embedding, "), found ", tokenizer.pieces);
  if (!model.bosId)
    model.bosId = tokenizer.bosId;
  if (!model.eosId)
    model.eosId = tokenizer.eosId;
}

} // namespace

ModelConfig reconcile(const Checkpoint &checkpoint, const ConfigFile &file) {
  return Reader(checkpoint, file).read();
}

ModelConfig readModelConfig(const Checkpoint &checkpoint) {
  if (!checkpoint.hasFile(configName))
    fail(checkpoint.directory(), ": expected a ", configName, ", found none");
  Json json = readJson(checkpoint.path(configName), configName);
  ModelConfig model = reconcile(
      checkpoint,
      readConfigFile(json, checkpoint.find("backbone.embeddings.weight")));
  if (std::string path = checkpoint.tokenizerPath(); !path.empty())
    readTokenizerIds(path, model);
  return model;
}

} // namespace mambit::checkpoint
