//===- Sampler.h - chooses the next token ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_SAMPLER_H
#define MAMBIT_RUNTIME_SAMPLER_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mambit {

/// The first of the highest logits. Throws Error on a NaN.
int32_t argmax(const float *logits, size_t count);

struct SamplerOptions {
  float temperature = 0; // 0: greedy
  uint32_t topK = 0;     // 0: all
  float topP = 0;        // 0 or 1: all
  uint64_t seed = 0;
};

/// Temperature, then top-k, then top-p (mambit.h says how exactly).
class Sampler {
public:
  /// Throws Error if an option makes no sense.
  explicit Sampler(const SamplerOptions &options);

  /// Throws Error on NaN or +infinity, or if no token is allowed.
  int32_t sample(const float *logits, size_t count);

private:
  double nextUniform();

  SamplerOptions options;
  uint64_t state;
  struct Candidate {
    double weight;
    float logit;
    int32_t token;
  };
  std::vector<Candidate> candidates, kept; // reused from call to call
};

} // namespace mambit

#endif // MAMBIT_RUNTIME_SAMPLER_H
