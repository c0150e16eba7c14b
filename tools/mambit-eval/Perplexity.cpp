//===- Perplexity.cpp - how well a model predicts text -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-eval/Perplexity.h"

#include "runtime/Error.h"
#include "tools/common/Progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>

using namespace mambit;
using namespace mambit::tools;

double tools::negativeLogLikelihood(const float *logits, size_t vocab,
                                    size_t target) {
  double top = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (size_t i = 0; i < vocab; ++i)
    sum += std::exp(logits[i] - top);
  return std::log(sum) - (logits[target] - top);
}

Perplexity tools::measurePerplexity(const Model &model,
                                    const std::vector<int32_t> &ids,
                                    uint64_t window, uint64_t maxWindows) {
  const mambit_model_info &info = model.info();
  size_t vocab = info.vocab_size;
  if (window < 2)
    fail("a window of ", window,
         " tokens predicts nothing, expected at least "
         "2");
  Perplexity result;
  result.windows = ids.size() / window;
  if (maxWindows)
    result.windows = std::min(result.windows, maxWindows);
  if (result.windows == 0)
    fail("the text has ", ids.size(), " tokens, less than one window of ",
         window);
  result.tokens = result.windows * (window - 1);

  // The last token of a window predicts nothing inside it. As many windows as
  // fill a piece of the runtime go together, long ones go piece by piece; so
  // the logits never take more memory than those of a piece.
  size_t length = window - 1;
  size_t together = std::clamp<size_t>(
      info.max_tokens / length, 1,
      std::min<uint64_t>(result.windows,
                         std::min(info.max_sessions, info.max_sequences)));
  size_t piece = std::min<size_t>(length, info.max_tokens);
  std::vector<Session> sessions;
  std::vector<mambit_session *> handles;
  for (size_t i = 0; i < together; ++i) {
    sessions.push_back(model.createSession());
    handles.push_back(sessions.back().get());
  }

  auto start = std::chrono::steady_clock::now();
  InterruptGuard interrupt;
  Progress progress("evaluate", result.tokens, "tokens");
  std::vector<float> logits(together * piece * vocab);
  std::vector<double> nats(together); // of each window
  std::vector<int32_t> tokens;
  uint64_t done = 0;
  double total = 0;
  for (uint64_t first = 0; first < result.windows; first += together) {
    size_t count = std::min<uint64_t>(together, result.windows - first);
    for (size_t i = 0; i < count; ++i)
      check(mambit_session_reset(handles[i]));
    nats.assign(count, 0);

    for (size_t begin = 0, size; begin < length; begin += size) {
      size = std::min(piece, length - begin);
      tokens.clear();
      std::vector<size_t> offsets{0};
      for (size_t i = 0; i < count; ++i) {
        auto from = ids.begin() + (first + i) * window + begin;
        tokens.insert(tokens.end(), from, from + size);
        offsets.push_back(tokens.size());
      }
      auto batch = MAMBIT_INIT(mambit_batch);
      batch.sessions = handles.data();
      batch.sequences = count;
      batch.tokens = tokens.data();
      batch.offsets = offsets.data();
      batch.which = MAMBIT_LOGITS_ALL;
      batch.logits = logits.data();
      batch.logits_capacity = logits.size();
      forward(batch, interrupt);

      for (size_t i = 0; i < count; ++i)
        for (size_t t = 0; t < size; ++t)
          nats[i] +=
              negativeLogLikelihood(&logits[(i * size + t) * vocab], vocab,
                                    ids[(first + i) * window + begin + t + 1]);
      progress.update(done += count * size);
    }
    // Window by window, so that the sum does not depend on how many went
    // together.
    for (double window : nats)
      total += window;
  }
  result.natsPerToken = total / double(result.tokens);
  result.perplexity = std::exp(result.natsPerToken);
  result.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  return result;
}
