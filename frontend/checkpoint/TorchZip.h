//===- TorchZip.h - reads one file of torch.save -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_TORCHZIP_H
#define MAMBIT_FRONTEND_CHECKPOINT_TORCHZIP_H

#include "frontend/checkpoint/MappedFile.h"
#include "frontend/checkpoint/Tensor.h"

namespace mambit::checkpoint {

/// The tensors of a state dict as torch.save writes it since PyTorch 1.6: a zip
/// file with PREFIX/data.pkl (the pickle, see Pickle.h), PREFIX/data/KEY (the
/// storages) and PREFIX/byteorder. `name` is what the tensors and messages call
/// the file. Throws Error.
std::vector<Tensor> readTorchZip(const MappedFile &file,
                                 const std::string &name);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_TORCHZIP_H
