//===- Energy.h - the energy that a GPU uses ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CUDA_ENERGY_H
#define MAMBIT_RUNTIME_DEVICE_CUDA_ENERGY_H

#include <optional>
#include <string>

namespace mambit::cuda {

/// Joules since the driver was loaded, of the GPU at a place on the bus, by
/// NVIDIA's management library; nothing where that is missing.
std::optional<double> readEnergy(const std::string &pciBusId);

} // namespace mambit::cuda

#endif // MAMBIT_RUNTIME_DEVICE_CUDA_ENERGY_H
