//===- Energy.cpp - the energy that a GPU uses -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/device/cuda/Energy.h"

#include <dlfcn.h>

using namespace mambit;

namespace {

/// NVML, opened once and kept.
struct Library {
  Library() {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return;
    auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
    find = reinterpret_cast<decltype(find)>(
        dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2"));
    read = reinterpret_cast<decltype(read)>(
        dlsym(library, "nvmlDeviceGetTotalEnergyConsumption"));
    usable = init && find && read && init() == 0;
  }

  int (*find)(const char *id, void **device) = nullptr;
  int (*read)(void *device, unsigned long long *millijoules) = nullptr;
  bool usable = false;
};

} // namespace

std::optional<double> cuda::readEnergy(const std::string &pciBusId) {
  static const Library library;
  void *device;
  unsigned long long millijoules;
  if (!library.usable || library.find(pciBusId.c_str(), &device) != 0 ||
      library.read(device, &millijoules) != 0)
    return std::nullopt;
  return double(millijoules) * 1e-3;
}
