//===- Values.cpp - what the operations of a model give ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-compare/Values.h"

#include "runtime/Error.h"
#include "runtime/Model.h"
#include "runtime/artifact/Half.h"
#include "runtime/artifact/Layout.h"
#include "runtime/device/Grid.h"
#include "tools/common/Npy.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

using namespace mambit;
using namespace mambit::tools;
using artifact::DType;

namespace {

/// Makes keys; an operation that comes again, for another token, gets another.
class Keys {
public:
  std::string make(std::vector<std::string> weights, size_t result) {
    std::sort(weights.begin(), weights.end());
    std::string key;
    for (const std::string &weight : weights)
      key += weight + " ";
    key += "result " + std::to_string(result);
    return key + " time " + std::to_string(times[key]++);
  }

private:
  std::map<std::string, size_t> times;
};

bool isNumber(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 ||
         dtype == DType::i32;
}

std::vector<float> toFloats(const std::vector<uint8_t> &bytes, DType dtype) {
  std::vector<float> values(bytes.size() / artifact::elementBytes(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    auto read = [&](auto element) {
      std::memcpy(&element, bytes.data() + i * sizeof(element),
                  sizeof(element));
      return element;
    };
    values[i] = dtype == DType::f32   ? read(float())
                : dtype == DType::i32 ? float(read(int32_t()))
                : dtype == DType::f16 ? artifact::f32FromF16(read(uint16_t()))
                                      : artifact::f32FromBF16(read(uint16_t()));
  }
  return values;
}

/// An artifact, run command by command.
class ArtifactRun : public Run {
public:
  explicit ArtifactRun(const RunOptions &options)
      : path(options.path), decode(options.decode) {
    ModelOptions open;
    open.device = options.device;
    open.target = options.target;
    open.threads = options.threads;
    open.maxSessions = 1;
    model = Model::open(path, open);
    if (!options.idsFile.empty()) {
      tokens = readIds(options.idsFile);
    } else {
      if (!model->tokenizer())
        fail("'", path, "' has no tokenizer; give token ids with --ids");
      tokens = model->tokenizer()->encode(options.prompt, /*addBos=*/true);
    }
    for (size_t i = 0; i < tokens.size(); ++i)
      if (size_t(tokens[i]) >= model->vocabSize())
        fail("'", options.idsFile, "': element ", i, " is ", tokens[i],
             ", expected a token id less than ", model->vocabSize());
    size_t most = model->prefillCapacity().tokens;
    if (tokens.empty() || (!decode && tokens.size() > most))
      fail("expected 1 to ", most, " tokens, which '", path,
           "' takes in at once, found ", tokens.size());
  }

  std::string describe() const override {
    return path + ", " + model->deviceTables().kind()->str() + ", " +
           model->target() + ", " + std::to_string(tokens.size()) + " tokens" +
           (decode ? " one by one" : "");
  }

  void forEachValue(const Visit &visit) override {
    Session session(model);
    Keys keys;
    std::map<uint64_t, std::string> written; // key of the value at an offset
    size_t piece = decode ? 1 : tokens.size();
    std::vector<float> logits(piece * model->vocabSize());
    Batch batch;
    batch.sessions = {&session};
    batch.offsets = {0, piece};
    batch.which = MAMBIT_LOGITS_ALL;
    batch.logits = logits.data();
    batch.stop = [] { return false; };
    batch.observe = [&](const Observation &observation) {
      observe(observation, keys, written, visit);
    };
    for (size_t at = 0; at < tokens.size(); at += piece) {
      batch.tokens = tokens.data() + at;
      model->forward(batch);
    }
  }

private:
  void observe(const Observation &observation, Keys &keys,
               std::map<uint64_t, std::string> &written, const Visit &visit);

  std::string path;
  bool decode;
  std::shared_ptr<Model> model;
  std::vector<int32_t> tokens;
};

void ArtifactRun::observe(const Observation &observation, Keys &keys,
                          std::map<uint64_t, std::string> &written,
                          const Visit &visit) {
  const artifact::Device &device = model->deviceTables();
  const artifact::Program &program =
      *device.programs()->Get(observation.program);
  const artifact::Command &command =
      *program.commands()->Get(observation.command);
  const artifact::Kernel &kernel = *device.kernels()->Get(command.kernel());

  // Which of two close logits is higher is no error of a size; the logits have
  // been compared.
  if (kernel.op() && kernel.op()->str() == "mamba.sample")
    return;

  std::vector<std::string> weights;
  Value common;
  for (unsigned i = 0; i < kernel.params()->size(); ++i) {
    const artifact::Arg &arg = *command.args()->Get(i);
    const artifact::Param &param = *kernel.params()->Get(i);
    if (arg.kind() == artifact::ArgKind::weight &&
        artifact::layoutOf(param.layout()).kind != artifact::LayoutKind::zeros)
      weights.push_back(
          model->artifact().index().weights()->Get(arg.index())->name()->str());
    if (arg.kind() == artifact::ArgKind::arena &&
        param.access() == artifact::Access::read && written.count(arg.offset()))
      common.inputs.emplace_back(param.name()->str(), written.at(arg.offset()));
  }
  std::string site = weights.empty() ? "" : " of " + weights.front();
  if (weights.empty())
    weights.push_back(kernel.name()->str());

  // Results, then states: as the operation has them.
  size_t results = 0;
  for (bool states : {false, true})
    for (unsigned i = 0; i < kernel.params()->size(); ++i) {
      const artifact::Arg &arg = *command.args()->Get(i);
      const artifact::Param &param = *kernel.params()->Get(i);
      bool isState = arg.kind() == artifact::ArgKind::state &&
                     param.dtype() != DType::i32; // not a counter
      bool isResult = arg.kind() == artifact::ArgKind::arena &&
                      param.access() == artifact::Access::write;
      if (!(states ? isState : isResult) || !isNumber(param.dtype()))
        continue;
      Value value = common;
      std::vector<uint8_t> bytes;
      if (states) {
        const artifact::State &state = *device.states()->Get(arg.index());
        bytes.resize(device.slot_bytes());
        model->device().readSlot(observation.slots.front(), bytes.data());
        bytes.erase(bytes.begin(), bytes.begin() + state.offset());
        bytes.resize(state.size());
      } else {
        int64_t extent = extentOf(param.dim(), observation.extents, 0);
        bytes.resize(param.fixed_bytes() + param.bytes_per_dim() * extent);
        model->device().readArena(arg.offset(), bytes.data(), bytes.size());
        value.shape.push_back(extent);
      }
      for (uint64_t size : artifact::shapeOf(param.shape()))
        value.shape.push_back(size);
      value.key = keys.make(weights, results++);
      value.label = program.name()->str() + " #" +
                    std::to_string(observation.command) + " " +
                    kernel.name()->str() + site + ": " + param.name()->str();
      value.elements = toFloats(bytes, param.dtype());
      if (!states)
        written[arg.offset()] = value.key;
      visit(std::move(value));
    }
}

/// What mambit-interpret --dump-to wrote.
class DumpRun : public Run {
public:
  explicit DumpRun(std::string folder) : folder(std::move(folder)) {
    std::string path = this->folder + "/index.json";
    std::ifstream file(path);
    index = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (!index.is_array())
      fail("'", path,
           "': expected the index that mambit-interpret --dump-to "
           "writes, found ",
           file.is_open() ? "something else" : "none");
  }

  std::string describe() const override {
    return folder + ", values of the interpreter";
  }

  void forEachValue(const Visit &visit) override {
    Keys keys;
    for (const nlohmann::json &entry : index) {
      Value value;
      try {
        auto weights = entry.at("weights").get<std::vector<std::string>>();
        if (weights.empty()) // inside a kernel, or of no kernel
          continue;
        value.key = keys.make(weights, entry.at("result").get<size_t>());
        value.label = entry.at("file").get<std::string>();
      } catch (const nlohmann::json::exception &error) {
        fail("'", folder, "/index.json': ", error.what());
      }
      NpyArray array = readNpy(folder + "/" + value.label);
      std::vector<double> elements = array.toDoubles();
      value.shape = array.shape;
      value.elements.assign(elements.begin(), elements.end());
      visit(std::move(value));
    }
  }

private:
  std::string folder;
  nlohmann::json index;
};

} // namespace

std::unique_ptr<Run> tools::openRun(const RunOptions &options) {
  if (std::filesystem::is_directory(options.path))
    return std::make_unique<DumpRun>(options.path);
  return std::make_unique<ArtifactRun>(options);
}
