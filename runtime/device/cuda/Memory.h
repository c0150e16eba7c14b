//===- Memory.h - memory of a GPU --------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CUDA_MEMORY_H
#define MAMBIT_RUNTIME_DEVICE_CUDA_MEMORY_H

#include "runtime/device/cuda/Driver.h"

#include <utility>
#include <vector>

namespace mambit::cuda {

/// Memory on the GPU.
class DeviceMemory {
public:
  DeviceMemory(const Driver &api, uint64_t size, const char *what);

  Pointer address() const { return memory.get(); }

private:
  Owned<Pointer, &Driver::memoryFree> memory;
};

/// Memory of the host that the GPU reads and writes by itself.
class PinnedMemory {
public:
  PinnedMemory(const Driver &api, uint64_t size, const char *what);

  char *data() const { return static_cast<char *>(memory.get()); }

private:
  Owned<void *, &Driver::hostFree> memory;
};

/// The slots' states. Addresses are set aside for all slots at once, as code
/// and graphs hold them; memory comes as slots are first used.
class StatePool {
public:
  StatePool(const Gpu &gpu, uint64_t slotBytes, unsigned slots);
  ~StatePool();
  StatePool(const StatePool &) = delete;
  StatePool &operator=(const StatePool &) = delete;

  Pointer slot(unsigned number) const { return base + number * slotBytes; }

  /// Puts zeroed memory behind all slots up to this one; `stream` is used to
  /// zero it.
  void prepare(unsigned number, Stream stream);

private:
  const Driver &api;
  uint64_t slotBytes;
  AllocationProperties properties;
  uint64_t granularity = 1;
  uint64_t reserved = 0, mapped = 0;
  Pointer base = 0;
  std::vector<uint64_t> pieces; // sizes of what is mapped, in order
};

} // namespace mambit::cuda

#endif // MAMBIT_RUNTIME_DEVICE_CUDA_MEMORY_H
