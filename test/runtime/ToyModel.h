//===- ToyModel.h - an artifact made by hand ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TEST_RUNTIME_TOYMODEL_H
#define MAMBIT_TEST_RUNTIME_TOYMODEL_H

#include "runtime/artifact/Writer.h"

#include <string>
#include <vector>

namespace mambit::test {

struct ToyTarget {
  std::string name;
  std::string triple;
  std::vector<std::string> features;
};

/// The path of a file in the folder toy beside the running binary: toy.so,
/// toy-text.so, toy_kernels.ptx.
std::string toyFile(const char *name);

/// Code for GPUs, made from toy_kernels.cu; no path: no image of the kind.
struct ToyCudaTarget {
  std::string chip;
  std::string ptx, cubin;
};

struct ToyOptions {
  std::string image;     // a shared object made from toy_kernels.c,
  unsigned vocab = 7;    // with this VOCAB
  std::string tokenizer; // tokenizer.model; empty: none
  std::vector<ToyTarget> targets = {{"baseline", "x86_64-unknown-linux", {}}};
  std::vector<ToyCudaTarget> cudaTargets; // none: no device cuda
  bool skeleton = false;
  bool samples = false; // programs choose tokens; for CPUs alone
};

constexpr unsigned kToyPrefillTokens = 8, kToyPrefillSequences = 3,
                   kToyDecodeSequences = 4;

/// The draft of a toy, to be spoiled before it is written where a test wants
/// that.
artifact::Draft makeToy(const ToyOptions &options);

/// How programs that sample choose one, given the likeliest: by nothing else if
/// top_k is 1.
inline int32_t toyChoice(int32_t best, unsigned vocab, uint64_t random,
                         float temperature, int32_t topK, float topP,
                         float minP) {
  if (topK == 1)
    return best;
  return int32_t((best + random % vocab + topK + int32_t(temperature * 4) * 3 +
                  int32_t(topP * 8) * 5 + int32_t(minP * 8) * 2) %
                 vocab);
}

/// What the kernels compute, told again.
class ToyReference {
public:
  explicit ToyReference(unsigned vocab, float bias = 0)
      : vocab(vocab), bias(bias) {}

  /// Takes in a token and returns its row of logits.
  std::vector<float> push(int32_t token, bool decode) {
    hash = hash * 1664525u + uint32_t(tableEntry(token)) * 3 + 1 + 1013904223u;
    ++count;
    std::vector<float> row;
    for (uint32_t v = 0; v < vocab; ++v)
      row.push_back(float(((hash ^ count) + v * 2654435761u) >> 12) +
                    (decode ? 0.5f : 0.0f) + bias);
    return row;
  }

  static int32_t tableEntry(int32_t token) {
    return (token * 37 + 11) % 4096 - 50;
  }

private:
  unsigned vocab;
  float bias;
  uint32_t hash = 0, count = 0;
};

} // namespace mambit::test

#endif // MAMBIT_TEST_RUNTIME_TOYMODEL_H
