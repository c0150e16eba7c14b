/*===- toy_kernels.c - kernels of a model made by hand ------------*- C -*-===*/
/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                   */
/*===----------------------------------------------------------------------===
 * A hash of all tokens so far is the state; logits are made of its bits. So
 * every mistake in order, slot, piece or row changes them, and a test can say
 * exactly what they are (ToyModel.h). VOCAB and BIAS are given by the build.
 *===----------------------------------------------------------------------===*/

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
enum { kSlotInts = 128 / 4, kTileTokens = 3 };

/* ids, table, x: x[t] = table[ids[t]]; tiles of 3 tokens */
EXPORT void embed(void *const *buffers, const int64_t *dims, int64_t tile) {
  const int32_t *ids = buffers[0];
  const float *table = buffers[1];
  int32_t *x = buffers[2];
  for (int64_t t = tile * kTileTokens;
       t < (tile + 1) * kTileTokens && t < dims[0]; ++t)
    x[t] = (int32_t)table[ids[t]];
}

/* x, offsets, slots, hash, count, h, scratch. First phase, a tile a token,
 * backwards so that it needs the barrier before the second, a tile a sequence.
 */
EXPORT void scan_0(void *const *buffers, const int64_t *dims, int64_t tile) {
  const int32_t *x = buffers[0];
  int32_t *scratch = buffers[6];
  scratch[dims[0] - 1 - tile] = x[dims[0] - 1 - tile] * 3 + 1;
}

EXPORT void scan_1(void *const *buffers, const int64_t *dims, int64_t tile) {
  const int32_t *offsets = buffers[1], *slots = buffers[2];
  uint32_t *hash = (uint32_t *)buffers[3] + (int64_t)slots[tile] * kSlotInts;
  int32_t *count = (int32_t *)buffers[4] + (int64_t)slots[tile] * kSlotInts;
  uint32_t *h = buffers[5];
  const int32_t *scratch = buffers[6];
  for (int32_t t = offsets[tile]; t < offsets[tile + 1]; ++t) {
    *hash = *hash * 1664525u + (uint32_t)scratch[t] + 1013904223u;
    *count += 1;
    h[t] = *hash ^ (uint32_t)*count;
  }
}

static void logitsOf(void *const *buffers, int64_t tile, float add) {
  const uint32_t *h = buffers[0];
  const int32_t *rows = buffers[1];
  float *logits = buffers[2];
  int64_t row = tile / VOCAB, v = tile % VOCAB;
  uint32_t mixed = (h[rows[row]] + (uint32_t)v * 2654435761u) >> 12;
  logits[row * VOCAB + v] = (float)mixed + add + BIAS;
}

/* h, rows, logits; a tile a logit. The two programs differ by a half. */
EXPORT void head(void *const *buffers, const int64_t *dims, int64_t tile) {
  logitsOf(buffers, tile, 0.0f);
}

/* logits, random, temperature, top_k, top_p, min_p, chosen, highest,
 * next_random; a tile a row. No draw, but all that one depends on (toyChoice in
 * ToyModel.h). */
EXPORT void sample(void *const *buffers, const int64_t *dims, int64_t tile) {
  const float *row = (const float *)buffers[0] + tile * VOCAB;
  int32_t best = 0;
  for (int32_t v = 1; v < VOCAB; ++v)
    if (row[v] > row[best])
      best = v;
  uint64_t random = ((const uint64_t *)buffers[1])[tile];
  float temperature = ((const float *)buffers[2])[tile];
  int32_t topK = ((const int32_t *)buffers[3])[tile];
  float topP = ((const float *)buffers[4])[tile];
  float minP = ((const float *)buffers[5])[tile];
  uint64_t choice = best + random % VOCAB + topK +
                    (int32_t)(temperature * 4) * 3 + (int32_t)(topP * 8) * 5 +
                    (int32_t)(minP * 8) * 2;
  ((int32_t *)buffers[6])[tile] = topK == 1 ? best : (int32_t)(choice % VOCAB);
  ((float *)buffers[7])[tile] = row[best];
  ((uint64_t *)buffers[8])[tile] = random + 0x9e3779b97f4a7c15u;
}

EXPORT void head_decode(void *const *buffers, const int64_t *dims,
                        int64_t tile) {
  logitsOf(buffers, tile, 0.5f);
}
