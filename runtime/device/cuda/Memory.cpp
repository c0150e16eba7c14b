//===- Memory.cpp - memory of a GPU ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/device/cuda/Memory.h"

#include "runtime/artifact/Format.h"

#include <algorithm>

using namespace mambit;
using namespace mambit::cuda;

/// ", 12 of 80 bytes are free", or nothing if the GPU does not say.
static std::string freeMemory(const Driver &api) {
  size_t free, total;
  if (api.memoryGetInfo(&free, &total) != 0)
    return "";
  return ", " + std::to_string(free) + " of " + std::to_string(total) +
         " bytes of the GPU's memory are free";
}

DeviceMemory::DeviceMemory(const Driver &api, uint64_t size, const char *what)
    : memory(api) {
  if (Result result =
          api.memoryAllocate(memory.address(), std::max<uint64_t>(size, 1)))
    api.check(result, "cannot allocate ", size, " bytes for ", what,
              freeMemory(api));
}

PinnedMemory::PinnedMemory(const Driver &api, uint64_t size, const char *what)
    : memory(api) {
  api.check(api.hostAllocate(memory.address(), std::max<uint64_t>(size, 1), 0),
            "cannot pin ", size, " bytes for ", what);
}

StatePool::StatePool(const Gpu &gpu, uint64_t slotBytes, unsigned slots)
    : api(gpu.driver()), slotBytes(slotBytes), properties{} {
  properties.type = 1;
  properties.location = {1, gpu.id()};
  api.check(api.allocationGranularity(&granularity, &properties, 0),
            "reading the granularity of the GPU's memory");
  if (__builtin_mul_overflow(slotBytes, uint64_t(slots), &reserved) ||
      reserved > UINT64_MAX - granularity)
    failWith(MAMBIT_OUT_OF_RESOURCES, slots, " states of ", slotBytes,
             " bytes are too many");
  reserved = artifact::alignTo(std::max<uint64_t>(reserved, 1), granularity);
  api.check(api.addressReserve(&base, reserved, 0, 0, 0),
            "cannot set aside addresses for ", slots, " states of ", slotBytes,
            " bytes");
}

StatePool::~StatePool() {
  Pointer end = base;
  for (uint64_t size : pieces) {
    api.allocationUnmap(end, size);
    end += size;
  }
  api.addressFree(base, reserved);
}

void StatePool::prepare(unsigned number, Stream stream) {
  uint64_t end =
      artifact::alignTo((number + uint64_t(1)) * slotBytes, granularity);
  if (end <= mapped)
    return;
  uint64_t size = end - mapped;
  Allocation allocation;
  if (Result result = api.allocationCreate(&allocation, size, &properties, 0))
    api.check(result, "cannot allocate ", size,
              " bytes for the state of session ", number + 1, freeMemory(api));
  Pointer address = base + mapped;
  Result result = api.allocationMap(address, size, 0, allocation, 0);
  // The mapping keeps it.
  api.allocationRelease(allocation);
  api.check(result, "mapping memory for states");
  pieces.push_back(size);
  mapped = end;
  AccessDescription access{properties.location, 3};
  api.check(api.allocationSetAccess(address, size, &access, 1),
            "opening memory for states");
  api.check(api.setBytes(address, 0, size, stream), "zeroing states");
}
