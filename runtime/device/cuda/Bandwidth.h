//===- Bandwidth.h - how fast a GPU reads ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CUDA_BANDWIDTH_H
#define MAMBIT_RUNTIME_DEVICE_CUDA_BANDWIDTH_H

#include "runtime/device/cuda/Driver.h"

namespace mambit::cuda {

/// Bytes a second of a kernel that does nothing but read; the best of a few
/// runs.
double measureReadBandwidth(const Gpu &gpu, Stream stream);

} // namespace mambit::cuda

#endif // MAMBIT_RUNTIME_DEVICE_CUDA_BANDWIDTH_H
