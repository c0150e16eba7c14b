//===- Bandwidth.cpp - how fast a GPU reads ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/device/cuda/Bandwidth.h"

#include "runtime/device/cuda/Memory.h"
#include "runtime/device/cuda/Module.h"

#include <algorithm>

using namespace mambit;
using namespace mambit::cuda;

// Each thread reads `rounds` times four vectors of 16 bytes, all threads
// together a contiguous piece at a time; the result is used so that nothing is
// optimised away.
static constexpr char kReadKernel[] = R"(
.version 7.0
.target sm_80
.address_size 64

.visible .entry read(.param .u64 data, .param .u64 rounds, .param .u64 sink)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>, %v<16>;
  .reg .b64 %d<8>;

  ld.param.u64 %d0, [data];
  ld.param.u64 %d1, [rounds];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %ntid.x;
  mov.u32 %r2, %tid.x;
  mov.u32 %r3, %nctaid.x;
  mad.lo.u32 %r4, %r0, %r1, %r2;
  mad.wide.u32 %d0, %r4, 16, %d0;
  mul.lo.u32 %r5, %r3, %r1;
  mul.wide.u32 %d2, %r5, 16;
  mov.u32 %r6, 0;

again:
  add.u64 %d3, %d0, %d2;
  add.u64 %d4, %d3, %d2;
  add.u64 %d5, %d4, %d2;
  ld.global.nc.v4.u32 {%v0, %v1, %v2, %v3}, [%d0];
  ld.global.nc.v4.u32 {%v4, %v5, %v6, %v7}, [%d3];
  ld.global.nc.v4.u32 {%v8, %v9, %v10, %v11}, [%d4];
  ld.global.nc.v4.u32 {%v12, %v13, %v14, %v15}, [%d5];
  add.u64 %d0, %d5, %d2;
  xor.b32 %r6, %r6, %v0;
  xor.b32 %r6, %r6, %v1;
  xor.b32 %r6, %r6, %v2;
  xor.b32 %r6, %r6, %v3;
  xor.b32 %r6, %r6, %v4;
  xor.b32 %r6, %r6, %v5;
  xor.b32 %r6, %r6, %v6;
  xor.b32 %r6, %r6, %v7;
  xor.b32 %r6, %r6, %v8;
  xor.b32 %r6, %r6, %v9;
  xor.b32 %r6, %r6, %v10;
  xor.b32 %r6, %r6, %v11;
  xor.b32 %r6, %r6, %v12;
  xor.b32 %r6, %r6, %v13;
  xor.b32 %r6, %r6, %v14;
  xor.b32 %r6, %r6, %v15;
  sub.u64 %d1, %d1, 1;
  setp.ne.u64 %p0, %d1, 0;
  @%p0 bra again;

  setp.ne.u32 %p1, %r6, 305419896;
  @%p1 bra done;
  ld.param.u64 %d6, [sink];
  st.global.u32 [%d6], %r6;
done:
  ret;
}
)";

double cuda::measureReadBandwidth(const Gpu &gpu, Stream stream) {
  const Driver &api = gpu.driver();
  OwnedModule module(api);
  std::string log;
  api.check(loadImage(api, module.address(), kReadKernel, log),
            "compiling the kernel that measures the bandwidth: ", log);
  Function read;
  api.check(api.moduleGetFunction(&read, module.get(), "read"),
            "finding the kernel that measures the bandwidth");

  constexpr unsigned kThreads = 512;
  unsigned blocks = 4 * gpu.attribute(kMultiprocessors);
  uint64_t round = uint64_t(blocks) * kThreads * 4 * 16; // bytes
  size_t free, total;
  api.check(api.memoryGetInfo(&free, &total), "reading the free memory");
  // Far more than the caches hold, where there is room.
  uint64_t rounds = std::max<uint64_t>(
      1, std::min<uint64_t>(uint64_t(2) << 30, free / 2) / round);
  uint64_t bytes = rounds * round;
  DeviceMemory data(api, bytes, "measuring the bandwidth");
  DeviceMemory sink(api, sizeof(uint32_t), "measuring the bandwidth");
  api.check(api.setBytes(data.address(), 1, bytes, stream),
            "filling memory to read");

  OwnedEvent start(api), end(api);
  api.check(api.eventCreate(start.address(), 0), "creating an event");
  api.check(api.eventCreate(end.address(), 0), "creating an event");
  Pointer parameters[] = {data.address(), rounds, sink.address()};
  void *addresses[] = {&parameters[0], &parameters[1], &parameters[2]};
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    api.check(api.eventRecord(start.get(), stream, 0), "recording an event");
    api.check(api.launch(read, blocks, 1, 1, kThreads, 1, 1, 0, stream,
                         addresses, nullptr),
              "launching the kernel that measures the bandwidth");
    api.check(api.eventRecord(end.get(), stream, 0), "recording an event");
    api.check(api.streamSynchronize(stream), "measuring the bandwidth");
    float milliseconds;
    api.check(api.eventElapsedTime(&milliseconds, start.get(), end.get()),
              "reading the time of an event");
    best = std::max(best, double(bytes) / (milliseconds * 1e-3));
  }
  return best;
}
