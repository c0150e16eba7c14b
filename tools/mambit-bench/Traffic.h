//===- Traffic.h - what a program moves and computes -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_BENCH_TRAFFIC_H
#define MAMBIT_TOOLS_MAMBIT_BENCH_TRAFFIC_H

#include "runtime/device/Device.h"

namespace mambit::tools {

/// Bytes between memory and processor, as the commands of an artifact say.
struct Traffic {
  uint64_t weights = 0;     // each read once
  uint64_t states = 0;      // read and written
  uint64_t logits = 0;      // written
  uint64_t activations = 0; // between kernels, which caches may hold
  uint64_t macs = 0;        // products of linears

  /// What no cache can save.
  uint64_t necessary() const { return weights + states + logits; }

  Traffic &operator+=(const Traffic &other) {
    weights += other.weights;
    states += other.states;
    logits += other.logits;
    activations += other.activations;
    macs += other.macs;
    return *this;
  }
};

/// Of one command by itself; logits count as activations.
Traffic trafficOf(const artifact::Artifact &artifact,
                  const artifact::Device &device,
                  const artifact::Command &command, const Extents &extents);

/// Of a run of a program: a weight that several commands read counts once.
Traffic trafficOf(const artifact::Artifact &artifact,
                  const artifact::Device &device,
                  const artifact::Program &program, const Extents &extents);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_BENCH_TRAFFIC_H
