//===- CheckpointSource.h - tensors for packing ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_CHECKPOINTSOURCE_H
#define MAMBIT_TOOLS_COMMON_CHECKPOINTSOURCE_H

#include "frontend/checkpoint/Checkpoint.h"
#include "runtime/artifact/Pack.h"

namespace mambit::tools {

/// Gives a checkpoint's tensors to packing. Tensors are found by key; in which
/// file of the checkpoint a key lies may have changed since the recipe was
/// made.
class CheckpointSource : public artifact::TensorSource {
public:
  /// The checkpoint must outlive the source and the views it gives.
  explicit CheckpointSource(const checkpoint::Checkpoint &checkpoint)
      : checkpoint(checkpoint) {}

  artifact::TensorView find(const std::string &file,
                            const std::string &key) override;

private:
  const checkpoint::Checkpoint &checkpoint;
};

/// The bytes of the tokenizer, which the runtime was seen to load; none if
/// there is no tokenizer.
std::vector<uint8_t> readTokenizer(const checkpoint::Checkpoint &checkpoint);

/// What packing records of a checkpoint and copies from it: its files and its
/// tokenizer.
artifact::PackOptions packOptions(const checkpoint::Checkpoint &checkpoint);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_CHECKPOINTSOURCE_H
