//===- mambit-pack.cpp - attaches weights to a skeleton ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/Error.h"
#include "tools/common/CheckpointSource.h"
#include "tools/common/ModelConfig.h"
#include "tools/common/Progress.h"
#include "tools/common/RandomWeights.h"
#include "tools/common/ToolMain.h"

#include <cstdio>
#include <filesystem>

using namespace mambit;
using namespace mambit::tools;

static constexpr char kExamples[] = R"(Examples:
  mambit-compile checkpoint/ --weights=none -o skeleton.mbt
  mambit-pack skeleton.mbt checkpoint/ -o model.mbt

  mambit-compile --config 2.7B --weights=none -o skeleton.mbt
  mambit-pack skeleton.mbt --random=1 -o model.mbt)";

namespace {

struct Options {
  std::string skeleton, checkpoint, output;
  uint64_t seed = 0;
  bool quiet = false;
};

/// Random tensors for all sources of a skeleton.
class RandomSource : public artifact::TensorSource {
public:
  RandomSource(uint64_t seed, const artifact::IndexT &skeleton)
      : weights(seed, shapesOf(skeleton)) {}

  artifact::TensorView find(const std::string &file,
                            const std::string &key) override {
    artifact::TensorView view;
    view.shape = weights.shape(key);
    return view;
  }

  artifact::TensorView read(const std::string &file,
                            const std::string &key) override {
    artifact::TensorView view = find(file, key);
    // The signs of a matrix and their zeros are made one after the other.
    if (key != lastKey) {
      last.reset();
      uint64_t count = artifact::elementCount(view.shape).value();
      last.reset(new float[count]);
      weights.generate(key, 0, count, last.get());
      lastKey = key;
    }
    view.data = last.get();
    view.owner = last;
    return view;
  }

private:
  static RandomWeights::Shapes shapesOf(const artifact::IndexT &skeleton) {
    RandomWeights::Shapes shapes;
    for (const auto &weight : skeleton.weights)
      for (const auto &source : weight->sources)
        shapes.emplace(source->key, source->shape);
    return shapes;
  }

  RandomWeights weights;
  std::string lastKey;
  std::shared_ptr<float[]> last;
};

} // namespace

static artifact::PackReport packCheckpoint(const Options &options,
                                           artifact::Draft draft,
                                           artifact::PackOptions pack) {
  auto checkpoint = checkpoint::Checkpoint::open(options.checkpoint);
  checkModel(draft.index, checkpoint, checkpoint::readModelConfig(checkpoint));
  CheckpointSource source(checkpoint);
  artifact::PackOptions all = packOptions(checkpoint);
  all.progress = std::move(pack.progress);
  return artifact::pack(std::move(draft), source, options.output, all);
}

static artifact::PackReport packRandom(const Options &options,
                                       artifact::Draft draft,
                                       const artifact::PackOptions &pack) {
  RandomSource source(options.seed, draft.index);
  draft.index.flags.push_back("--random=" + std::to_string(options.seed));
  return artifact::pack(std::move(draft), source, options.output, pack);
}

static int pack(const Options &options) {
  auto skeleton = artifact::Artifact::open(options.skeleton);
  if (!skeleton.isSkeleton())
    fail("'", options.skeleton,
         "' has its weights already, expected a "
         "skeleton as mambit-compile --weights=none writes it");
  auto draft = artifact::Draft::fromArtifact(skeleton);

  Progress progress("packing", 0, "bytes");
  artifact::PackOptions pack;
  pack.progress = [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  };
  artifact::PackReport report =
      options.checkpoint.empty()
          ? packRandom(options, std::move(draft), pack)
          : packCheckpoint(options, std::move(draft), std::move(pack));
  if (options.quiet)
    return 0;
  std::printf("%s: %s, %u weights", options.output.c_str(),
              formatBytes(std::filesystem::file_size(options.output)).c_str(),
              skeleton.index().weights()->size());
  const artifact::ModelConfig *config = skeleton.index().config();
  if (config && config->binary_parameters()) {
    uint64_t zeros = 0;
    for (const auto &weight : report.zeros)
      zeros += weight.count;
    std::printf("; %llu exact zeros among the signs",
                static_cast<unsigned long long>(zeros));
  }
  std::printf("\n");
  return 0;
}

int main(int argc, char **argv) {
  Options options;
  CLI::App app("Attaches weights to a skeleton, an artifact without any: those "
               "of a checkpoint of its configuration, or random ones.",
               "mambit-pack");
  app.footer(kExamples);
  app.add_option("skeleton", options.skeleton,
                 "What mambit-compile --weights=none wrote")
      ->option_text("SKELETON")
      ->required();
  CLI::Option *folder =
      app.add_option("checkpoint", options.checkpoint, "Folder of a checkpoint")
          ->option_text("DIR");
  CLI::Option *random =
      app.add_option("--random", options.seed,
                     "Attach random weights of a realistic scale instead, the "
                     "same for the same SEED")
          ->option_text("SEED")
          ->check(wholeNumber(0, UINT64_MAX))
          ->excludes(folder);
  app.add_option("-o,--output", options.output, "Where the artifact goes")
      ->option_text("FILE")
      ->required();
  app.add_flag("--quiet", options.quiet, "Print nothing on success");
  return toolMain(app, argc, argv, [&] {
    if (!*folder && !*random)
      fail("expected a checkpoint's folder or --random=SEED; see mambit-pack "
           "--help");
    return pack(options);
  });
}
