//===- Module.h - code loaded into a GPU -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CUDA_MODULE_H
#define MAMBIT_RUNTIME_DEVICE_CUDA_MODULE_H

#include "runtime/artifact/Artifact.h"
#include "runtime/device/cuda/Driver.h"

#include <string>

namespace mambit::cuda {

/// The code of a target: the first machine code that the driver takes, else the
/// first PTX that it compiles.
class Code {
public:
  Code(const Driver &api, const artifact::Artifact &artifact,
       const artifact::Target &target);

  Function function(const std::string &symbol) const;

private:
  const Driver &api;
  OwnedModule module;
};

/// Loads machine code, or compiles PTX, which ends with a zero; what the
/// compiler says of a failure is stored in `log`.
Result loadImage(const Driver &api, Module *module, const void *image,
                 std::string &log);

} // namespace mambit::cuda

#endif // MAMBIT_RUNTIME_DEVICE_CUDA_MODULE_H
