//===- CheckpointWeights.h - a checkpoint's weights, for interpreting -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINTWEIGHTS_H
#define MAMBIT_FRONTEND_CHECKPOINTWEIGHTS_H

#include "dialects/mamba/interpreter/Interpreter.h"
#include "frontend/checkpoint/Checkpoint.h"

namespace mambit {

/// The tensors of a checkpoint as the interpreter reads them.
class CheckpointWeights : public mamba::interpreter::WeightSource {
public:
  /// The checkpoint must outlive this.
  explicit CheckpointWeights(const checkpoint::Checkpoint &checkpoint)
      : checkpoint(checkpoint) {}

  /// Fails if the checkpoint lacks the tensor, or has it with another shape.
  llvm::Expected<std::vector<double>> read(mamba::SourceAttr source) override;

private:
  const checkpoint::Checkpoint &checkpoint;
};

} // namespace mambit

#endif // MAMBIT_FRONTEND_CHECKPOINTWEIGHTS_H
