//===- Driver.cpp - the CUDA driver, opened at run time ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/device/cuda/Driver.h"

#include <dlfcn.h>

using namespace mambit;
using namespace mambit::cuda;

Driver::Driver() {
  // Never closed: the driver does not bear it.
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    failWith(MAMBIT_UNSUPPORTED,
             "device 'cuda' needs an NVIDIA GPU and its driver, which this "
             "machine does not have: ",
             dlerror());
  auto find = [&](const char *symbol) {
    if (void *address = dlsym(library, symbol))
      return address;
    failWith(MAMBIT_UNSUPPORTED,
             "the NVIDIA driver of this machine is too "
             "old: its libcuda.so.1 lacks ",
             symbol);
  };
#define MAMBIT_CUDA_FIND(name, symbol, arguments)                              \
  name = reinterpret_cast<Result(*) arguments>(find(symbol));
  MAMBIT_CUDA_FUNCTIONS(MAMBIT_CUDA_FIND)
#undef MAMBIT_CUDA_FIND
#define MAMBIT_CUDA_FIND(name, symbol, arguments)                              \
  name = reinterpret_cast<Result(*) arguments>(dlsym(library, symbol));
  MAMBIT_CUDA_OPTIONAL_FUNCTIONS(MAMBIT_CUDA_FIND)
#undef MAMBIT_CUDA_FIND
  if (Result result = init(0))
    failWith(MAMBIT_UNSUPPORTED,
             "the NVIDIA driver finds no usable GPU: ", describe(result));
}

const Driver &Driver::get() {
  static const Driver driver;
  return driver;
}

bool Driver::launchesDependent() const {
  // Since 12.3 a captured launch keeps what it was launched with.
  constexpr int kOldest = 12030;
  int version;
  check(getVersion(&version), "reading the version of the driver");
  return launchWith && version >= kOldest;
}

std::string Driver::describe(Result result) const {
  const char *name = nullptr, *text = nullptr;
  if (getErrorName(result, &name) != 0 || !name)
    return "error " + std::to_string(result);
  getErrorString(result, &text);
  return text ? std::string(name) + ", " + text : name;
}

Gpu::Gpu(unsigned ordinal) : api(Driver::get()) {
  int count;
  api.check(api.deviceGetCount(&count), "counting the GPUs");
  if (ordinal >= unsigned(count))
    failWith(MAMBIT_UNSUPPORTED, "there is no GPU ", ordinal,
             ": the driver shows ", count, count ? ", counted from 0" : "");
  api.check(api.deviceGet(&device, ordinal), "opening GPU ", ordinal);
  api.check(api.contextRetain(&context, device), "opening the context of GPU ",
            ordinal);
}

Gpu::~Gpu() { api.contextRelease(device); }

std::string Gpu::name() const {
  char text[256] = "";
  api.check(api.deviceGetName(text, sizeof(text), device), "naming the GPU");
  return text;
}

std::string Gpu::pciBusId() const {
  char text[64] = "";
  api.check(api.deviceGetPciBusId(text, sizeof(text), device),
            "locating the GPU");
  return text;
}

int Gpu::attribute(DeviceAttribute attribute) const {
  int value;
  api.check(api.deviceGetAttribute(&value, attribute, device),
            "reading attribute ", int(attribute), " of the GPU");
  return value;
}

Gpu::Use::Use(const Gpu &gpu) : api(gpu.api) {
  api.check(api.contextPush(gpu.context), "entering the context of the GPU");
}

Gpu::Use::~Use() {
  Context popped;
  api.contextPop(&popped);
}
