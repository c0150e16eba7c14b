//===- Safetensors.h - reads one .safetensors file ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_SAFETENSORS_H
#define MAMBIT_FRONTEND_CHECKPOINT_SAFETENSORS_H

#include "frontend/checkpoint/MappedFile.h"
#include "frontend/checkpoint/Tensor.h"

namespace mambit::checkpoint {

/// The tensors of a file in the safetensors format: the header's length (u64),
/// the header (JSON), the bytes of the tensors. As the format demands, the
/// tensors cover the bytes without holes or overlaps. `name` is what the
/// tensors and messages call the file. Throws Error.
std::vector<Tensor> readSafetensors(const MappedFile &file,
                                    const std::string &name);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_SAFETENSORS_H
