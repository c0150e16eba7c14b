//===- toy_kernels.cu - the toy's kernels for a GPU -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// What toy_kernels.c computes, with a block a tile and VOCAB 7. The tests use
// toy_kernels.ptx, so that they need no CUDA toolkit; it is made by
//   nvcc -ptx -arch=compute_80 toy_kernels.cu
//===----------------------------------------------------------------------===//

#include <cstdint>

constexpr int kVocab = 7, kSlotInts = 128 / 4, kTileTokens = 3;

extern "C" __global__ void embed(const int32_t *ids, const float *table,
                                 int32_t *x, int64_t tokens, int64_t, int64_t) {
  int64_t t = int64_t(blockIdx.x) * kTileTokens + threadIdx.x;
  if (threadIdx.x < kTileTokens && t < tokens)
    x[t] = int32_t(table[ids[t]]);
}

extern "C" __global__ void scan_0(const int32_t *x, const int32_t *,
                                  const int32_t *, uint32_t *, int32_t *,
                                  uint32_t *, int32_t *scratch, int64_t tokens,
                                  int64_t, int64_t) {
  int64_t t = tokens - 1 - blockIdx.x;
  if (threadIdx.x == 0)
    scratch[t] = x[t] * 3 + 1;
}

// Through shared memory, so that a launch without it fails.
extern "C" __global__ void scan_1(const int32_t *, const int32_t *offsets,
                                  const int32_t *slots, uint32_t *hashes,
                                  int32_t *counts, uint32_t *h,
                                  const int32_t *scratch, int64_t, int64_t,
                                  int64_t) {
  extern __shared__ uint32_t values[];
  int64_t sequence = blockIdx.x;
  int32_t begin = offsets[sequence], end = offsets[sequence + 1];
  for (int32_t t = begin + int32_t(threadIdx.x); t < end; t += blockDim.x)
    values[t - begin] = uint32_t(scratch[t]);
  __syncthreads();
  if (threadIdx.x != 0)
    return;
  uint32_t *hash = hashes + int64_t(slots[sequence]) * kSlotInts;
  int32_t *count = counts + int64_t(slots[sequence]) * kSlotInts;
  for (int32_t t = begin; t < end; ++t) {
    *hash = *hash * 1664525u + values[t - begin] + 1013904223u;
    *count += 1;
    h[t] = *hash ^ uint32_t(*count);
  }
}

static __device__ void logitsOf(const uint32_t *h, const int32_t *rows,
                                float *logits, float add) {
  int64_t row = blockIdx.x / kVocab, v = blockIdx.x % kVocab;
  uint32_t mixed = (h[rows[row]] + uint32_t(v) * 2654435761u) >> 12;
  if (threadIdx.x == 0)
    logits[row * kVocab + v] = float(mixed) + add;
}

extern "C" __global__ void head(const uint32_t *h, const int32_t *rows,
                                float *logits, int64_t, int64_t, int64_t) {
  logitsOf(h, rows, logits, 0.0f);
}

extern "C" __global__ void head_decode(const uint32_t *h, const int32_t *rows,
                                       float *logits, int64_t, int64_t,
                                       int64_t) {
  logitsOf(h, rows, logits, 0.5f);
}
