//===- CheckpointWriter.h - files of tensors ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBITSYNTH_CHECKPOINTWRITER_H
#define MAMBIT_TOOLS_MAMBITSYNTH_CHECKPOINTWRITER_H

#include "frontend/checkpoint/Tensor.h"

#include <functional>
#include <string>
#include <vector>

namespace mambit::tools {

/// Takes bytes of a tensor.
using Sink = std::function<void(const void *data, uint64_t size)>;

/// Gives the bytes of a tensor to a sink, in order, in pieces.
using Produce =
    std::function<void(const checkpoint::Tensor &tensor, const Sink &sink)>;

/// Writes tensors as torch.save(state_dict) does: a zip of a pickle and of one
/// record a storage, not compressed, aligned to 64 bytes; zip64 where sizes or
/// offsets ask for it. `alias`, unless empty, is one more key of the tensor
/// `aliased`, in the same storage.
void writeTorch(const std::string &path,
                const std::vector<checkpoint::Tensor> &tensors,
                const std::string &alias, const std::string &aliased,
                const Produce &produce);

void writeSafetensors(const std::string &path,
                      const std::vector<checkpoint::Tensor> &tensors,
                      const Produce &produce);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBITSYNTH_CHECKPOINTWRITER_H
