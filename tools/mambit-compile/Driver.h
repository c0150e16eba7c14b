//===- Driver.h - runs the stages one after another -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBITCOMPILE_DRIVER_H
#define MAMBIT_TOOLS_MAMBITCOMPILE_DRIVER_H

#include "codegen/Options.h"
#include "codegen/Targets.h"
#include "frontend/Import.h"

#include <optional>
#include <string>

namespace mambit {

/// The stage whose form is written.
enum class Emit { imported, tensor, plan, artifact };

struct DriverOptions {
  std::string input;   // checkpoint folder, or
  std::string config;  // a configuration: an official one's name or a path
  std::string output;  // file; empty: standard output, for IR alone
  std::string targets; // names, separated by commas
  int activationBits = 16;
  std::string stateDtype = "f32"; // or f16, bf16
  BitSums bitSums = BitSums::automatic;
  DenseType denseType = DenseType::asStored;
  std::optional<int64_t> maxTokens; // absent: as suits the targets
  int64_t maxSequences = 64;
  Emit emit = Emit::artifact;
  bool attachWeights = true;
  MatmulStrategy matmulStrategy = MatmulStrategy::automatic;
  std::string ptxas = "auto";
  std::string dumpTo; // folder; empty: nothing is dumped
  bool quiet = false;
};

/// Compiles a checkpoint, or a configuration without one. Returns the exit
/// status; throws std::exception where the checkpoint or the options are at
/// fault.
int compileCheckpoint(DriverOptions options);

/// Prints the table of targets.
int printTargets();

} // namespace mambit

#endif // MAMBIT_TOOLS_MAMBITCOMPILE_DRIVER_H
