//===- ModelConfig.h - which model an artifact is of -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_MODELCONFIG_H
#define MAMBIT_TOOLS_COMMON_MODELCONFIG_H

#include "frontend/checkpoint/Config.h"
#include "runtime/artifact/artifact_generated.h"

#include <memory>

namespace mambit::tools {

/// What the artifact of a checkpoint says of the model. `activationBits` are
/// those of its 1-bit linears, if it has any.
std::unique_ptr<artifact::ModelConfigT>
describeModel(const checkpoint::Checkpoint &checkpoint,
              const checkpoint::ModelConfig &config, int activationBits);

/// Checks that a skeleton was made for models as this checkpoint's. Throws
/// Error naming what differs, what the skeleton expects and what was found.
void checkModel(const artifact::IndexT &skeleton,
                const checkpoint::Checkpoint &checkpoint,
                const checkpoint::ModelConfig &config);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_MODELCONFIG_H
