//===- RandomWeights.h - weights of a realistic scale ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_RANDOMWEIGHTS_H
#define MAMBIT_TOOLS_COMMON_RANDOMWEIGHTS_H

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mambit::tools {

/// Random weights of a Mamba-2 model, for benchmarks and tests without a
/// checkpoint. They have the scales of trained ones: activations keep a norm
/// near one, and logits are neither flat nor saturated.
///
/// Element i of a tensor depends on the seed, the key and i alone: word i / 2
/// of SplitMix64, whose state starts at the hash of key and seed, gives 32 bits
/// to each of two elements. Distributions are uniform; no 1-bit weight is 0.
class RandomWeights {
public:
  using Shape = std::vector<uint64_t>;
  using Shapes = std::map<std::string, Shape>;

  /// `shapes` holds all tensors of the model.
  RandomWeights(uint64_t seed, Shapes shapes)
      : seed(seed), shapes(std::move(shapes)) {}

  /// The shape of a tensor. Throws Error if there is none of this key.
  const Shape &shape(const std::string &key) const;

  /// Makes the elements [begin, begin + count) of a tensor, row-major. Throws
  /// Error if no tensor of a Mamba-2 model has this key.
  void generate(const std::string &key, uint64_t begin, uint64_t count,
                float *values) const;

private:
  uint64_t seed;
  Shapes shapes;
};

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_RANDOMWEIGHTS_H
