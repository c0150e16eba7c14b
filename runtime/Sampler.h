//===- Sampler.h - chooses the next token ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_SAMPLER_H
#define MAMBIT_RUNTIME_SAMPLER_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

namespace mambit {

/// The first of the highest logits. Throws Error on a NaN.
int32_t argmax(const float *logits, size_t count);

/// Throws Error if the best logit, of this token, is not finite: then none can
/// be chosen.
void checkBest(int32_t token, float logit);

struct SamplerOptions {
  float temperature = 0; // 0: greedy
  uint32_t topK = 0;     // 0: all
  float topP = 0;        // 0 or 1: all
  uint64_t seed = 0;
  float minP = 0;                // 0: all
  float repetitionPenalty = 0;   // 0 or 1: none
  uint32_t repetitionWindow = 0; // 0: all tokens
};

/// What a device needs to choose the token of a row by itself: the inputs of
/// programs of those names. By default it takes the likeliest.
struct Draw {
  uint64_t random = 0; // the generator's state
  float temperature = 1;
  int32_t topK = 1;
  float topP = 1, minP = 0;
};

/// Repetition penalty, temperature, top-k, top-p, then min-p (mambit.h says how
/// exactly).
class Sampler {
public:
  /// Throws Error if an option makes no sense.
  explicit Sampler(const SamplerOptions &options);

  /// Tells a token that has occurred.
  void accept(int32_t token);

  /// Throws Error on NaN or +infinity, or if no token is allowed.
  int32_t sample(const float *logits, size_t count);

  /// How a device that draws among the `limit` likeliest samples as `sample`
  /// does now; nothing if it cannot.
  std::optional<Draw> draw(uint32_t limit) const;
  /// As if so many tokens had been sampled.
  void skip(uint64_t count);

private:
  double nextUniform();
  bool penalises() const {
    return options.repetitionPenalty != 0 && options.repetitionPenalty != 1;
  }

  SamplerOptions options;
  std::deque<int32_t> window;               // if it has a limit
  std::unordered_map<int32_t, size_t> seen; // how often, in the window
  std::vector<float> penalised;
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
