//===- RandomWeights.cpp - weights of a realistic scale ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/RandomWeights.h"

#include "runtime/Error.h"
#include "runtime/artifact/Hash.h"

#include <algorithm>
#include <cmath>

using namespace mambit;
using namespace mambit::tools;

static bool endsWith(const std::string &text, const std::string &suffix) {
  return text.size() >= suffix.size() &&
         text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

static uint64_t splitMix64(uint64_t state) {
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
  state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
  return state ^ (state >> 31);
}

/// Calls `map` with the 32 bits of each element.
template <typename Map>
static void forEach(uint64_t start, uint64_t begin, uint64_t count,
                    float *values, Map map) {
  auto word = [&](uint64_t i) {
    return splitMix64(start + (i + 1) * 0x9e3779b97f4a7c15);
  };
  uint64_t i = 0;
  if (begin % 2 && count > 0)
    values[i++] = map(uint32_t(word(begin / 2) >> 32));
  for (; i + 2 <= count; i += 2) {
    uint64_t bits = word((begin + i) / 2);
    values[i] = map(uint32_t(bits));
    values[i + 1] = map(uint32_t(bits >> 32));
  }
  if (i < count)
    values[i] = map(uint32_t(word((begin + i) / 2)));
}

/// In [0, 1).
static float unit(uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }

const std::vector<uint64_t> &
RandomWeights::shape(const std::string &key) const {
  auto found = shapes.find(key);
  if (found == shapes.end())
    fail("the model has no tensor '", key, "'");
  return found->second;
}

void RandomWeights::generate(const std::string &key, uint64_t begin,
                             uint64_t count, float *values) const {
  uint64_t start = splitMix64(artifact::checksum(key.data(), key.size()) +
                              seed * 0xd1342543de82ef95);
  auto uniform = [&](double mean, double deviation) {
    float width = float(deviation * std::sqrt(12.0));
    float low = float(mean) - width / 2;
    forEach(start, begin, count, values,
            [=](uint32_t bits) { return low + width * unit(bits); });
  };
  auto exponential = [&](double mean, double deviation) {
    uniform(std::log(mean), deviation);
    std::transform(values, values + count, values,
                   [](float x) { return float(std::exp(double(x))); });
  };
  auto rows = [&](const std::string &matrix) {
    return double(shape(matrix)[0]);
  };
  auto columns = [&](const std::string &matrix) {
    return double(shape(matrix).back());
  };

  size_t dot = key.rfind('.');
  std::string prefix = key.substr(0, dot + 1), part = key.substr(dot + 1);
  if (endsWith(prefix, "in_proj.") || endsWith(prefix, "out_proj.")) {
    // Layers outweigh the token itself, or greedy decoding would repeat it.
    std::string matrix = prefix + "weight";
    double rms = endsWith(prefix, "in_proj.") ? 1 : 6 / std::sqrt(rows(matrix));
    double scale = rms / std::sqrt(columns(matrix));
    if (part == "weight" && shapes.count(prefix + "wscale"))
      return forEach(start, begin, count, values, [](uint32_t bits) {
        float magnitude = 0.005f + float(bits & 0xffffff) * 0x1p-29f;
        return bits >> 31 ? -magnitude : magnitude;
      });
    if (part == "weight")
      return uniform(0, scale);
    if (part == "wscale")
      return exponential(scale, 0.3);
    if (part == "wbias")
      return uniform(0, 0.1 * scale);
    if (part == "bias")
      return uniform(0, 0.1 * rms);
  } else if (endsWith(prefix, "conv1d.")) {
    if (part == "weight")
      return uniform(0, 0.7);
    if (part == "bias")
      return uniform(0, 0.1);
  } else if (part == "weight" &&
             (endsWith(prefix, "norm.") || endsWith(prefix, "norm_f."))) {
    return exponential(1, 0.2);
  } else if (part == "weight") {
    // The embedding and lm_head.
    return uniform(0, 2 / std::sqrt(columns(key)));
  } else if (part == "dt_bias") {
    // softplus(dt_bias) is spread evenly, in the logarithm, over 0.001 to 0.1.
    return forEach(start, begin, count, values, [](uint32_t bits) {
      double dt = 0.001 * std::pow(100.0, double(unit(bits)));
      return float(dt + std::log(-std::expm1(-dt)));
    });
  } else if (part == "A_log") {
    return forEach(start, begin, count, values, [](uint32_t bits) {
      return float(std::log(1 + 15 * double(unit(bits))));
    });
  } else if (part == "D") {
    return uniform(1, 0.2);
  }
  fail("'", key, "' is no tensor of a Mamba-2 model");
}
