//===- Pickle.h - tensors of a pickle, executing nothing ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_PICKLE_H
#define MAMBIT_FRONTEND_CHECKPOINT_PICKLE_H

#include "frontend/checkpoint/Tensor.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mambit::checkpoint {

/// Gives the bytes of a storage by its key, or throws Error.
using StorageLookup = std::function<std::string_view(std::string_view key)>;

/// Reads the pickle of a state dict: a dict (or OrderedDict) from strings to
/// tensors, or to parameters. Nothing is executed. The globals known are
///   collections.OrderedDict
///   torch._utils._rebuild_tensor_v2
///   torch._utils._rebuild_parameter, ..._parameter_with_state
///   torch._tensor._rebuild_from_type_v2
///   torch.Tensor, torch.nn.parameter.Parameter (as types of the latter)
///   torch.DoubleStorage, FloatStorage, HalfStorage, BFloat16Storage,
///   LongStorage, IntStorage, ShortStorage, CharStorage, ByteStorage,
///   BoolStorage
/// and any other is refused by its name. Memory and nesting are bounded. Every
/// tensor is checked to lie inside its storage. `name` is what the tensors and
/// messages call the file. Throws Error.
std::vector<Tensor> readPickle(std::string_view pickle, const std::string &name,
                               const StorageLookup &lookup);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_PICKLE_H
