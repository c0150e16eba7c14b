//===- Bench.h - measures a compiled model -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_BENCH_BENCH_H
#define MAMBIT_TOOLS_MAMBIT_BENCH_BENCH_H

#include "tools/common/Model.h"
#include "tools/mambit-bench/Traffic.h"

namespace mambit::tools {

struct BenchOptions {
  ModelOptions model;
  std::vector<uint32_t> decode; // sequences; empty: 1, 16 and 64, as they fit
  uint64_t prefill = 512;       // tokens of a prompt; 0: none
  uint32_t prompts = 1;         // run together
  double seconds = 1;           // of each measurement, at least
};

/// The phases of one kernel in a step, launches taken together.
struct KernelTime {
  std::string program, kernel, symbol;
  size_t launches = 0;
  double seconds = 0;
  // Of all phases of the kernel, given with the first.
  uint64_t bytes = 0;     // weights, states and activations
  uint64_t necessary = 0; // those that no cache can hold
  uint64_t macs = 0;
};

/// Decoding a token of each of some sequences, or taking in prompts.
struct Measurement {
  bool decode;
  uint64_t sequences;
  uint64_t tokens; // of all sequences in a step
  uint64_t steps;
  double seconds, best; // of a step: median and least, logits on the host
  Traffic traffic;
  std::optional<double> joules; // of a step
  /// Of decoding: a step of mambit_generate, in which the logits stay on the
  /// device if its code chooses tokens; and one that samples, at temperature
  /// 0.8 of the 40 likeliest.
  std::optional<double> greedySeconds, sampledSeconds;
  std::vector<KernelTime> kernels;
};

struct BenchResult {
  std::string device, hardware, target;
  unsigned threads;
  double loadSeconds;
  double readBandwidth; // bytes a second
  std::vector<Measurement> measurements;

  double floor(const Measurement &measurement) const {
    return double(measurement.traffic.necessary()) / readBandwidth;
  }
};

/// Throws Error.
BenchResult bench(const BenchOptions &options);

void printText(const BenchResult &result, bool kernels);
void printJson(const BenchResult &result);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_BENCH_BENCH_H
