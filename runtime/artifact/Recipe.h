//===- Recipe.h - makes weights from a checkpoint ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_RECIPE_H
#define MAMBIT_RUNTIME_ARTIFACT_RECIPE_H

#include "runtime/artifact/Layout.h"
#include "runtime/artifact/Writer.h"

#include <memory>

namespace mambit::artifact {

/// A tensor of a checkpoint. Its elements need not be aligned.
struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  std::vector<int64_t> strides; // in elements; empty: contiguous
  const void *data = nullptr;
  std::string file; // where it was found; empty: where it was sought
  /// Keeps the bytes; when the last copy goes they are not needed any more.
  std::shared_ptr<const void> owner;
};

/// Where packing gets its tensors from.
class TensorSource {
public:
  virtual ~TensorSource() = default;

  /// Finds a tensor, or throws Error. Called for each source of every weight
  /// before anything is written; `data` may be missing.
  virtual TensorView find(const std::string &file, const std::string &key) = 0;

  /// The same with its data; called when the weight is made.
  virtual TensorView read(const std::string &file, const std::string &key) {
    return find(file, key);
  }
};

/// Checks that a recipe makes what its weight declares. Throws Error.
void verifyRecipe(const WeightT &weight);

/// The same, and that tensors fit the weight's sources.
void verifySources(const WeightT &weight, const std::vector<TensorView> &views);

/// Executes the recipe of a weight, whose sources are `views`, and writes the
/// weight's bytes to `sink`, a row tile at a time. Returns the number of exact
/// zeros for layout zeros, else 0. A value that is not finite, in a source or
/// in the result, is an error that names the key. `progress`, if given, is told
/// how many more elements of the result are done.
uint64_t executeRecipe(const WeightT &weight,
                       const std::vector<TensorView> &views, Sink &sink,
                       const std::function<void(uint64_t)> &progress = {});

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_RECIPE_H
