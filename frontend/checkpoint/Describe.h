//===- Describe.h - a checkpoint by its config alone -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_DESCRIBE_H
#define MAMBIT_FRONTEND_CHECKPOINT_DESCRIBE_H

#include "frontend/checkpoint/Checkpoint.h"
#include "frontend/checkpoint/Config.h"

namespace mambit::checkpoint {

struct DescribeOptions {
  DType dtype = DType::f32; // as the official checkpoints are stored
  /// No 1-bit linears. Those of a config of transformers are always dense.
  bool dense = false;
};

/// What checkpoints of a config hold. `tensors` has no data and no folder, else
/// it is as if it had been opened.
struct Description {
  Checkpoint tensors;
  ModelConfig model;
  std::string configText; // of config.json
};

/// "780M, 1.3B, 2.7B".
std::string officialConfigs();

/// Describes checkpoints of a config: an official one by name, or any by the
/// path of its config.json. What the config leaves out is its family's default;
/// scales and shifts are one a column. Throws Error.
Description describeCheckpoint(const std::string &config,
                               const DescribeOptions &options = {});

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_DESCRIBE_H
