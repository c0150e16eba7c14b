//===- Driver.h - the CUDA driver, opened at run time ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//
//
// The part of the driver's interface that the runtime uses, declared anew so
// that neither a build nor a machine without GPU needs anything of CUDA.
//
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CUDA_DRIVER_H
#define MAMBIT_RUNTIME_DEVICE_CUDA_DRIVER_H

#include "runtime/Status.h"

#include <cstddef>
#include <cstdint>

namespace mambit::cuda {

using Result = int; // of a call; 0 is success
constexpr Result kOutOfMemory = 2;

using DeviceId = int;
using Pointer = unsigned long long; // into the memory of a GPU
using Context = struct ContextHandle *;
using Module = struct ModuleHandle *;
using Function = struct FunctionHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;
using Allocation = unsigned long long; // memory without an address

enum DeviceAttribute : int {
  kMaxThreadsOfBlock = 1,
  kMaxGridX = 5,
  kMultiprocessors = 16,
  kCapabilityMajor = 75,
  kCapabilityMinor = 76,
  kMaxSharedOfBlock = 97, // once asked for
  kClusterLaunch = 120,
};
enum FunctionAttribute : int {
  kMaxThreads = 0,
  kStaticShared = 1,
  kMaxDynamicShared = 8, // may be set
};
enum JitOption : int { kErrorLog = 5, kErrorLogSize = 6 };
enum CaptureMode : int { kCaptureThreadLocal = 1 };
enum LaunchAttributeId : int { kProgrammaticStreamSerialization = 6 };

struct LaunchAttribute {
  LaunchAttributeId id;
  int padding;
  union {
    int allowed;
    char bytes[64];
  } value;
};
static_assert(sizeof(LaunchAttribute) == 72, "as the driver has it");

struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, shared;
  Stream stream;
  const LaunchAttribute *attributes;
  unsigned numAttributes;
};
static_assert(sizeof(LaunchConfig) == 56, "as the driver has it");

struct Location {
  int type; // 1: a device
  int id;
};
struct AllocationProperties {
  int type; // 1: pinned
  int handleTypes;
  Location location;
  void *windows;
  unsigned char flags[8];
};
struct AccessDescription {
  Location location;
  int flags; // 3: read and write
};

// Name, symbol in the library, arguments.
#define MAMBIT_CUDA_FUNCTIONS(X)                                               \
  X(init, "cuInit", (unsigned flags))                                          \
  X(getVersion, "cuDriverGetVersion", (int *version))                          \
  X(getErrorName, "cuGetErrorName", (Result, const char **text))               \
  X(getErrorString, "cuGetErrorString", (Result, const char **text))           \
  X(deviceGetCount, "cuDeviceGetCount", (int *count))                          \
  X(deviceGet, "cuDeviceGet", (DeviceId *, int ordinal))                       \
  X(deviceGetName, "cuDeviceGetName", (char *name, int size, DeviceId))        \
  X(deviceGetPciBusId, "cuDeviceGetPCIBusId", (char *id, int size, DeviceId))  \
  X(deviceGetAttribute, "cuDeviceGetAttribute",                                \
    (int *value, DeviceAttribute, DeviceId))                                   \
  X(contextRetain, "cuDevicePrimaryCtxRetain", (Context *, DeviceId))          \
  X(contextRelease, "cuDevicePrimaryCtxRelease_v2", (DeviceId))                \
  X(contextPush, "cuCtxPushCurrent_v2", (Context))                             \
  X(contextPop, "cuCtxPopCurrent_v2", (Context *))                             \
  X(moduleLoad, "cuModuleLoadDataEx",                                          \
    (Module *, const void *image, unsigned count, JitOption *options,          \
     void **values))                                                           \
  X(moduleUnload, "cuModuleUnload", (Module))                                  \
  X(moduleGetFunction, "cuModuleGetFunction",                                  \
    (Function *, Module, const char *name))                                    \
  X(functionGetAttribute, "cuFuncGetAttribute",                                \
    (int *value, FunctionAttribute, Function))                                 \
  X(functionSetAttribute, "cuFuncSetAttribute",                                \
    (Function, FunctionAttribute, int value))                                  \
  X(memoryGetInfo, "cuMemGetInfo_v2", (size_t *free, size_t *total))           \
  X(memoryAllocate, "cuMemAlloc_v2", (Pointer *, size_t))                      \
  X(memoryFree, "cuMemFree_v2", (Pointer))                                     \
  X(hostAllocate, "cuMemHostAlloc", (void **, size_t, unsigned flags))         \
  X(hostFree, "cuMemFreeHost", (void *))                                       \
  X(addressReserve, "cuMemAddressReserve",                                     \
    (Pointer *, size_t size, size_t alignment, Pointer wish,                   \
     unsigned long long flags))                                                \
  X(addressFree, "cuMemAddressFree", (Pointer, size_t))                        \
  X(allocationGranularity, "cuMemGetAllocationGranularity",                    \
    (size_t *, const AllocationProperties *, int option))                      \
  X(allocationCreate, "cuMemCreate",                                           \
    (Allocation *, size_t, const AllocationProperties *,                       \
     unsigned long long flags))                                                \
  X(allocationRelease, "cuMemRelease", (Allocation))                           \
  X(allocationMap, "cuMemMap",                                                 \
    (Pointer, size_t size, size_t offset, Allocation,                          \
     unsigned long long flags))                                                \
  X(allocationUnmap, "cuMemUnmap", (Pointer, size_t))                          \
  X(allocationSetAccess, "cuMemSetAccess",                                     \
    (Pointer, size_t, const AccessDescription *, size_t count))                \
  X(copyToDevice, "cuMemcpyHtoDAsync_v2",                                      \
    (Pointer, const void *, size_t, Stream))                                   \
  X(copyToHost, "cuMemcpyDtoHAsync_v2", (void *, Pointer, size_t, Stream))     \
  X(copyOnDevice, "cuMemcpyDtoDAsync_v2", (Pointer, Pointer, size_t, Stream))  \
  X(setBytes, "cuMemsetD8Async",                                               \
    (Pointer, unsigned char value, size_t, Stream))                            \
  X(streamCreate, "cuStreamCreate", (Stream *, unsigned flags))                \
  X(streamDestroy, "cuStreamDestroy_v2", (Stream))                             \
  X(streamSynchronize, "cuStreamSynchronize", (Stream))                        \
  X(streamBeginCapture, "cuStreamBeginCapture_v2", (Stream, CaptureMode))      \
  X(streamEndCapture, "cuStreamEndCapture", (Stream, Graph *))                 \
  X(eventCreate, "cuEventCreate", (Event *, unsigned flags))                   \
  X(eventDestroy, "cuEventDestroy_v2", (Event))                                \
  X(eventRecord, "cuEventRecordWithFlags", (Event, Stream, unsigned flags))    \
  X(eventSynchronize, "cuEventSynchronize", (Event))                           \
  X(eventElapsedTime, "cuEventElapsedTime",                                    \
    (float *milliseconds, Event from, Event to))                               \
  X(graphInstantiate, "cuGraphInstantiateWithFlags",                           \
    (GraphExec *, Graph, unsigned long long flags))                            \
  X(graphLaunch, "cuGraphLaunch", (GraphExec, Stream))                         \
  X(graphExecDestroy, "cuGraphExecDestroy", (GraphExec))                       \
  X(graphDestroy, "cuGraphDestroy", (Graph))                                   \
  X(launch, "cuLaunchKernel",                                                  \
    (Function, unsigned gridX, unsigned gridY, unsigned gridZ,                 \
     unsigned blockX, unsigned blockY, unsigned blockZ, unsigned shared,       \
     Stream, void **parameters, void **extra))

// What an older driver may lack: null then.
#define MAMBIT_CUDA_OPTIONAL_FUNCTIONS(X)                                      \
  X(launchWith, "cuLaunchKernelEx",                                            \
    (const LaunchConfig *, Function, void **parameters, void **extra))

class Driver {
public:
  /// Opens the driver on the first call. Throws MAMBIT_UNSUPPORTED, saying
  /// what is missing, where there is no driver or no GPU.
  static const Driver &get();

#define MAMBIT_CUDA_DECLARE(name, symbol, arguments) Result(*name) arguments;
  MAMBIT_CUDA_FUNCTIONS(MAMBIT_CUDA_DECLARE)
  MAMBIT_CUDA_OPTIONAL_FUNCTIONS(MAMBIT_CUDA_DECLARE)
#undef MAMBIT_CUDA_DECLARE

  /// Whether a kernel can be launched before the one ahead of it has ended, in
  /// a graph too.
  bool launchesDependent() const;

  /// "CUDA_ERROR_OUT_OF_MEMORY, out of memory".
  std::string describe(Result result) const;

  /// Throws unless a call succeeded; `parts`, streamed, say what was done.
  template <typename... Parts>
  void check(Result result, const Parts &...parts) const {
    if (result != 0)
      failWith(result == kOutOfMemory ? MAMBIT_OUT_OF_RESOURCES
                                      : MAMBIT_INTERNAL_ERROR,
               parts..., ": ", describe(result));
  }

private:
  Driver();
};

/// A GPU and its context, the one that other users of CUDA in the process
/// share.
class Gpu {
public:
  explicit Gpu(unsigned ordinal);
  ~Gpu();
  Gpu(const Gpu &) = delete;
  Gpu &operator=(const Gpu &) = delete;

  const Driver &driver() const { return api; }
  DeviceId id() const { return device; }
  std::string name() const;
  std::string pciBusId() const;
  int attribute(DeviceAttribute attribute) const;

  /// While one lives, the GPU's context is the calling thread's.
  class Use {
  public:
    explicit Use(const Gpu &gpu);
    ~Use();
    Use(const Use &) = delete;
    Use &operator=(const Use &) = delete;

  private:
    const Driver &api;
  };

private:
  const Driver &api;
  DeviceId device;
  Context context;
};

/// A handle of the driver and how it is given back. Made and ended while the
/// context is the thread's.
template <typename T, Result (*Driver::*Free)(T)>
class Owned {
public:
  explicit Owned(const Driver &api) : api(api) {}
  ~Owned() {
    if (handle)
      (api.*Free)(handle);
  }
  Owned(const Owned &) = delete;
  Owned &operator=(const Owned &) = delete;

  T get() const { return handle; }
  T *address() { return &handle; }

private:
  const Driver &api;
  T handle{};
};
using OwnedModule = Owned<Module, &Driver::moduleUnload>;
using OwnedStream = Owned<Stream, &Driver::streamDestroy>;
using OwnedEvent = Owned<Event, &Driver::eventDestroy>;
using OwnedGraph = Owned<Graph, &Driver::graphDestroy>;
using OwnedGraphExec = Owned<GraphExec, &Driver::graphExecDestroy>;

} // namespace mambit::cuda

#endif // MAMBIT_RUNTIME_DEVICE_CUDA_DRIVER_H
