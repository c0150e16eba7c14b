//===- Perplexity.h - how well a model predicts text -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_EVAL_PERPLEXITY_H
#define MAMBIT_TOOLS_MAMBIT_EVAL_PERPLEXITY_H

#include "tools/common/Model.h"

namespace mambit::tools {

struct Perplexity {
  double natsPerToken = 0; // mean of -log p(token) over all predictions
  double perplexity = 0;   // its exponential
  uint64_t windows = 0;
  uint64_t tokens = 0; // predicted, window - 1 in each window
  double seconds = 0;
};

/// The protocol of the published figures: windows of `window` tokens that do
/// not overlap, a fresh state for each, the predictions inside; an incomplete
/// last window is dropped. At most `maxWindows`, if that is not 0.
Perplexity measurePerplexity(const Model &model,
                             const std::vector<int32_t> &ids, uint64_t window,
                             uint64_t maxWindows);

/// -log of the softmax of `logits` at `target`, in double.
double negativeLogLikelihood(const float *logits, size_t vocab, size_t target);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_EVAL_PERPLEXITY_H
