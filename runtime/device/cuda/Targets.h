//===- Targets.h - which code fits a GPU -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CUDA_TARGETS_H
#define MAMBIT_RUNTIME_DEVICE_CUDA_TARGETS_H

#include "runtime/artifact/Artifact.h"

#include <optional>

namespace mambit::cuda {

/// A compute capability: 9.0 of an H100.
struct Capability {
  int major, minor;

  bool operator==(const Capability &other) const {
    return major == other.major && minor == other.minor;
  }
  bool operator<(const Capability &other) const {
    return major != other.major ? major < other.major : minor < other.minor;
  }
};

/// The chip of a target: "sm_80", "sm_90a", "sm_100f".
struct Chip {
  enum Kind { portable, family, specific };

  Capability capability;
  Kind kind;
};

std::optional<Chip> parseChip(const std::string &name);

/// Whether a GPU runs machine code of a chip: the chip itself if that is
/// specific, else the same generation from the chip's minor number on.
bool runsBinary(const Chip &chip, Capability gpu);

/// Whether a GPU's driver can compile PTX of a chip: as machine code, and any
/// later generation if the chip is portable.
bool runsPtx(const Chip &chip, Capability gpu);

/// The best code in the artifact that the GPU can run: of the latest chip, a
/// specific one before a portable. If `wanted` is given, the one of that name.
/// Throws MAMBIT_UNSUPPORTED.
const artifact::Target &chooseTarget(const artifact::Device &device,
                                     const std::string &wanted, Capability gpu);

/// What a launch needs, and what the GPU allows.
struct LaunchNeeds {
  int64_t blocks; // at most
  uint64_t threads, cluster, dynamicShared, staticShared;
};
struct LaunchLimits {
  int64_t blocks;
  uint64_t threads;         // of a block
  uint64_t functionThreads; // the same, as registers allow
  uint64_t cluster;         // blocks of it
  uint64_t shared;
};

/// What about a launch exceeds the limits; empty if nothing does.
std::string exceeded(const LaunchNeeds &needs, const LaunchLimits &limits);

} // namespace mambit::cuda

#endif // MAMBIT_RUNTIME_DEVICE_CUDA_TARGETS_H
