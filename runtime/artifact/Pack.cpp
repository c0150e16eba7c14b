//===- Pack.cpp - attaches weights to a skeleton -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Pack.h"

#include "runtime/Error.h"
#include "runtime/artifact/Hash.h"

namespace mambit::artifact {

/// The sources of a weight, by `TensorSource::find` or `read`.
template <typename Get>
static std::vector<TensorView> getSources(const WeightT &weight,
                                          TensorSource &tensors, Get get) {
  std::vector<TensorView> views;
  for (const auto &source : weight.sources)
    views.push_back((tensors.*get)(source->file, source->key));
  return views;
}

/// Adds the weight to the message of an error.
template <typename Function>
static void within(const WeightT &weight, Function function) {
  try {
    function();
  } catch (const Error &error) {
    fail("weight '", weight.name, "': ", error.what());
  }
}

PackReport pack(Draft skeleton, TensorSource &tensors, const std::string &path,
                const PackOptions &options) {
  IndexT &index = skeleton.index;
  for (const InputFile &input : options.inputs) {
    FileHash hash = hashFile(input.path);
    auto record = std::make_unique<InputT>();
    record->file = input.name;
    record->size = hash.size;
    record->hash = hash.hash;
    index.inputs.push_back(std::move(record));
  }
  if (!options.tokenizer.empty()) {
    if (index.tokenizer)
      fail(path, ": the skeleton has a tokenizer already");
    index.tokenizer = std::make_unique<TokenizerT>();
    index.tokenizer->kind = options.tokenizerKind;
    index.tokenizer->section =
        skeleton.addSection("tokenizer", options.tokenizer);
  }

  PackReport report;
  uint64_t done = 0, total = 0;
  for (auto &owner : index.weights) {
    WeightT &weight = *owner;
    if (weight.section != -1)
      fail(path, ": weight '", weight.name, "' is attached already");
    // What the checkpoint lacks comes out before anything is written. What it
    // holds may have other element types and files than the skeleton expects.
    within(weight, [&] {
      std::vector<TensorView> views =
          getSources(weight, tensors, &TensorSource::find);
      verifySources(weight, views);
      for (size_t i = 0; i < views.size(); ++i) {
        weight.sources[i]->dtype = views[i].dtype;
        if (!views[i].file.empty())
          weight.sources[i]->file = views[i].file;
      }
    });
    total += *elementCount(weight.shape);

    auto payload = [&](Sink &sink) {
      within(weight, [&] {
        auto progress = [&](uint64_t count) {
          done += count;
          if (options.progress)
            options.progress(done, total);
        };
        uint64_t zeros = executeRecipe(
            weight, getSources(weight, tensors, &TensorSource::read), sink,
            progress);
        if (zeros != 0)
          report.zeros.push_back({weight.name, zeros});
      });
    };
    weight.section = skeleton.addSection("weight/" + weight.name, payload);
  }
  write(skeleton, path);
  return report;
}

} // namespace mambit::artifact
