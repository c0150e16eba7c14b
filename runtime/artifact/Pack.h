//===- Pack.h - attaches weights to a skeleton -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_PACK_H
#define MAMBIT_RUNTIME_ARTIFACT_PACK_H

#include "runtime/artifact/Recipe.h"

namespace mambit::artifact {

/// A file of the checkpoint, to be recorded by name, size and hash.
struct InputFile {
  std::string name; // relative to the checkpoint's folder
  std::string path;
};

struct PackOptions {
  std::vector<InputFile> inputs;
  /// tokenizer.model; empty: none.
  std::vector<uint8_t> tokenizer;
  std::string tokenizerKind = "sentencepiece";
  /// Called now and then with the bytes of weights made and to be made, lists
  /// of zeros aside.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

struct PackReport {
  struct Zeros {
    std::string weight;
    uint64_t count;
  };
  std::vector<Zeros> zeros; // weights that have exact zeros
};

/// Writes to `path` the artifact that `skeleton` becomes when its weights are
/// made from `tensors`. The same bytes whether the skeleton was built in memory
/// or comes from a file (Draft::fromArtifact). Throws Error.
PackReport pack(Draft skeleton, TensorSource &tensors, const std::string &path,
                const PackOptions &options = {});

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_PACK_H
