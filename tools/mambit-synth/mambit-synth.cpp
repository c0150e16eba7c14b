//===- mambit-synth.cpp - writes random checkpoints --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Describe.h"
#include "runtime/Error.h"
#include "runtime/artifact/Half.h"
#include "runtime/artifact/TemporaryFile.h"
#include "tools/common/Progress.h"
#include "tools/common/RandomWeights.h"
#include "tools/common/ToolMain.h"
#include "tools/mambit-synth/CheckpointWriter.h"

#include <algorithm>
#include <filesystem>

using namespace mambit;
using namespace mambit::tools;
using checkpoint::DType;
using checkpoint::Tensor;

static constexpr char kExamples[] = R"(Examples:
  mambit-synth --config 780M -o random-780m
  mambit-synth --config 2.7B -o random-2.7b --dtype f16 --seed 7
  mambit-synth --config path/to/config.json -o random --safetensors
  mambit-synth --config 780M -o dense-780m --dense)";

namespace {

struct Options {
  std::string config, output, dtype = "f32";
  uint64_t seed = 1;
  bool dense = false, safetensors = false, quiet = false;
};

} // namespace

static DType parseDType(const std::string &name) {
  for (DType dtype : {DType::f16, DType::bf16})
    if (name == checkpoint::dtypeName(dtype))
      return dtype;
  return DType::f32;
}

/// Calls `sink` with the elements of a tensor, rounded to its type.
static void produce(const RandomWeights &weights, const Tensor &tensor,
                    const Sink &sink) {
  constexpr uint64_t chunk = 1 << 16;
  std::vector<float> values(chunk);
  std::vector<uint16_t> halves(chunk);
  const uint64_t count = tensor.elementCount();
  for (uint64_t begin = 0; begin < count; begin += chunk) {
    uint64_t n = std::min(chunk, count - begin);
    weights.generate(tensor.key, begin, n, values.data());
    if (tensor.dtype == DType::f32) {
      sink(values.data(), n * sizeof(float));
      continue;
    }
    std::transform(values.begin(), values.begin() + n, halves.begin(),
                   tensor.dtype == DType::f16 ? artifact::f16FromF32
                                              : artifact::bf16FromF32);
    sink(halves.data(), n * sizeof(uint16_t));
  }
}

static int synthesise(const Options &options) {
  namespace fs = std::filesystem;
  checkpoint::DescribeOptions describe;
  describe.dtype = parseDType(options.dtype);
  describe.dense = options.dense;
  checkpoint::Description description =
      checkpoint::describeCheckpoint(options.config, describe);
  const checkpoint::ModelConfig &model = description.model;

  fs::create_directories(options.output);
  if (!fs::is_empty(options.output))
    fail("'", options.output, "' is not empty");

  RandomWeights::Shapes shapes;
  std::vector<Tensor> tensors;
  uint64_t done = 0, total = 0;
  bool tiedCopy = false;
  for (const auto &[key, tensor] : description.tensors.tensors()) {
    if (key == "lm_head.weight" && model.tieEmbeddings) {
      tiedCopy = true;
      continue;
    }
    shapes.emplace(
        key, RandomWeights::Shape(tensor.shape.begin(), tensor.shape.end()));
    tensors.push_back(tensor);
    total += tensor.elementCount() * checkpoint::dtypeSize(tensor.dtype);
  }
  RandomWeights weights(options.seed, std::move(shapes));
  Progress progress("writing", total, "bytes");
  auto produceAll = [&](const Tensor &tensor, const Sink &sink) {
    produce(weights, tensor, [&](const void *data, uint64_t size) {
      sink(data, size);
      progress.update(done += size);
    });
  };

  // As each family's own code writes it, unless told otherwise.
  bool safetensors =
      options.safetensors || model.format == checkpoint::Format::huggingFace;
  fs::path folder = options.output;
  std::string name = safetensors ? "model.safetensors" : "pytorch_model.bin";
  if (safetensors)
    writeSafetensors(folder / name, tensors, produceAll);
  else
    writeTorch(folder / name, tensors, tiedCopy ? "lm_head.weight" : "",
               model.embedding, produceAll);
  // Last, so that a folder that was left half-way is no checkpoint.
  artifact::TemporaryFile config(folder / "config.json");
  config.append(description.configText.data(), description.configText.size());
  config.commit();
  if (!options.quiet)
    std::printf("%s: %s, %zu tensors of %s\n", (folder / name).c_str(),
                formatBytes(fs::file_size(folder / name)).c_str(),
                tensors.size(), options.dtype.c_str());
  return 0;
}

int main(int argc, char **argv) {
  Options options;
  CLI::App app("Writes a checkpoint with random weights of a realistic scale, "
               "for tests and benchmarks.",
               "mambit-synth");
  app.footer(kExamples);
  app.add_option("--config", options.config,
                 checkpoint::officialConfigs() +
                     ", or the path of a config.json of mamba_ssm or "
                     "transformers")
      ->option_text("CONFIG")
      ->required();
  app.add_option("-o,--output", options.output,
                 "Folder of the checkpoint; new or empty")
      ->option_text("DIR")
      ->required();
  app.add_option("--dtype", options.dtype, "f32 (default), f16 or bf16")
      ->option_text("TYPE")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  app.add_option("--seed", options.seed, "Of the random numbers (1)")
      ->option_text("N")
      ->check(wholeNumber(0, UINT64_MAX));
  app.add_flag("--dense", options.dense, "Without 1-bit linears");
  app.add_flag("--safetensors", options.safetensors,
               "Write model.safetensors rather than pytorch_model.bin");
  app.add_flag("--quiet", options.quiet, "Print nothing on success");
  return toolMain(app, argc, argv, [&] { return synthesise(options); });
}
