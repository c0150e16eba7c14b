//===- Sampler.cpp - chooses the next token -------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Sampler.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace mambit;

int32_t mambit::argmax(const float *logits, size_t count) {
  size_t best = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::isnan(logits[i]))
      checkBest(i, logits[i]);
    if (logits[i] > logits[best])
      best = i;
  }
  return best;
}

void mambit::checkBest(int32_t token, float logit) {
  if (std::isnan(logit))
    fail("the logit of token ", token, " is not a number");
  if (std::isinf(logit) && logit > 0)
    fail("the logit of token ", token, " is infinite");
  if (std::isinf(logit))
    fail("no token is allowed: all logits are -infinity");
}

Sampler::Sampler(const SamplerOptions &options)
    : options(options), state(options.seed) {
  if (!std::isfinite(options.temperature) || options.temperature < 0)
    fail("expected a temperature of at least 0, found ", options.temperature);
  if (!(options.topP >= 0 && options.topP <= 1))
    fail("expected a top_p between 0 and 1, found ", options.topP);
  if (!(options.minP >= 0 && options.minP <= 1))
    fail("expected a min_p between 0 and 1, found ", options.minP);
  if (!std::isfinite(options.repetitionPenalty) ||
      options.repetitionPenalty < 0)
    fail("expected a positive repetition penalty, found ",
         options.repetitionPenalty);
}

void Sampler::accept(int32_t token) {
  if (!penalises())
    return;
  ++seen[token];
  if (options.repetitionWindow == 0)
    return;
  window.push_back(token);
  if (window.size() > options.repetitionWindow) {
    auto oldest = seen.find(window.front());
    window.pop_front();
    if (--oldest->second == 0)
      seen.erase(oldest);
  }
}

static constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;

/// SplitMix64 (Steele, Lea and Flood), of which the upper 53 bits are used.
double Sampler::nextUniform() {
  uint64_t z = state += kGolden;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return double(z >> 11) * 0x1p-53;
}

std::optional<Draw> Sampler::draw(uint32_t limit) const {
  if (penalises())
    return std::nullopt;
  if (options.temperature == 0)
    return Draw();
  if (options.topK == 0 || options.topK > limit)
    return std::nullopt;
  return Draw{state, options.temperature, int32_t(options.topK),
              options.topP == 0 ? 1 : options.topP, options.minP};
}

void Sampler::skip(uint64_t count) {
  if (options.temperature != 0)
    state += count * kGolden;
}

/// e^x for -700 < x <= 0, and else 0; within 1e-10. Operation by operation what
/// kernels do (codegen/Sample.cpp), so that all choose the same token.
static double exponential(double x) {
  if (!(x > -700))
    return 0;
  // x = n ln 2 + r; ln 2 in two parts, the products of the first exact.
  double n = std::nearbyint(x * 1.44269504088896341);
  double r = x - n * 0x1.62e42feep-1 - n * 0x1.a39ef35793c76p-33;
  constexpr double kFactorials[] = {1,   1,   2,    6,     24,
                                    120, 720, 5040, 40320, 362880};
  double sum = 1 / kFactorials[9];
  for (int i = 9; i-- > 0;)
    sum = sum * r + 1 / kFactorials[i];
  uint64_t bits = uint64_t(int64_t(n) + 1023) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof(power));
  return sum * power;
}

int32_t Sampler::sample(const float *logits, size_t count) {
  if (penalises() && !seen.empty()) {
    penalised.assign(logits, logits + count);
    for (const auto &[token, times] : seen)
      if (size_t(token) < count) {
        float &logit = penalised[token];
        logit = logit > 0 ? logit / options.repetitionPenalty
                          : logit * options.repetitionPenalty;
      }
    logits = penalised.data();
  }
  size_t best = argmax(logits, count);
  float highest = logits[best];
  checkBest(best, highest);
  if (options.temperature == 0)
    return best;

  bool cutK = options.topK != 0;
  bool cutP = options.topP > 0 && options.topP < 1;
  auto weigh = [&](float logit) {
    return exponential((double(logit) - highest) / double(options.temperature));
  };
  candidates.clear();
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    double weight = cutK ? 0 : weigh(logits[i]); // then of few, below
    if (!cutK && weight == 0)
      continue;
    candidates.push_back({weight, logits[i], int32_t(i)});
    total += weight;
  }

  if (cutK || cutP) {
    // A heap gives the best first without ranking the many that are not kept.
    auto ranksAfter = [](const Candidate &a, const Candidate &b) {
      return a.logit != b.logit ? a.logit < b.logit : a.token > b.token;
    };
    std::make_heap(candidates.begin(), candidates.end(), ranksAfter);
    kept.clear();
    auto keepBest = [&] {
      std::pop_heap(candidates.begin(), candidates.end(), ranksAfter);
      kept.push_back(candidates.back());
      candidates.pop_back();
    };
    while (cutK && kept.size() < options.topK && !candidates.empty()) {
      keepBest();
      double weight = kept.back().weight = weigh(kept.back().logit);
      if (weight == 0) {
        kept.pop_back();
        break;
      }
      total += weight;
    }
    if (cutP) {
      double reach = total * double(options.topP), sum = 0;
      size_t size = 0;
      while (size == 0 || sum < reach) {
        if (size == kept.size()) {
          if (cutK || candidates.empty())
            break;
          keepBest();
        }
        sum += kept[size++].weight;
      }
      kept.resize(size);
      total = sum;
    }
    candidates.swap(kept);
  }

  if (options.minP > 0) { // the likeliest has weight 1
    auto unlikely = [&](const Candidate &candidate) {
      return candidate.weight < double(options.minP);
    };
    candidates.erase(
        std::remove_if(candidates.begin(), candidates.end(), unlikely),
        candidates.end());
    total = 0;
    for (const Candidate &candidate : candidates)
      total += candidate.weight;
  }

  double target = nextUniform() * total, sum = 0;
  for (const Candidate &candidate : candidates)
    if ((sum += candidate.weight) > target)
      return candidate.token;
  return candidates.back().token;
}
