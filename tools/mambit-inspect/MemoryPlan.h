//===- MemoryPlan.h - what lies where in the arena, and when -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-------------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_INSPECT_MEMORYPLAN_H
#define MAMBIT_TOOLS_MAMBIT_INSPECT_MEMORYPLAN_H

#include "runtime/artifact/Artifact.h"

#include <string>
#include <vector>

namespace mambit::tools {

/// A value in the arena, from the command that writes it first to the last one
/// that reads it.
struct ArenaValue {
  std::string name; // of the input, or KERNEL.PARAMETER that writes it
  uint64_t offset, size;
  int64_t first; // -1: an input of the program
  int64_t last;  // the number of commands: an output
};

struct MemoryPlan {
  std::vector<ArenaValue> values; // as they come to life
  uint64_t peak = 0;              // the most that is alive at a command
};

/// Derives the plan of a program from its commands.
MemoryPlan deriveMemoryPlan(const artifact::DeviceT &device,
                            const artifact::ProgramT &program);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_INSPECT_MEMORYPLAN_H
