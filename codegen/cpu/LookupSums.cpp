//===- LookupSums.cpp - sums of activations looked up in tables ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/LookupSums.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::cpu;

std::unique_ptr<LookupSums> LookupSums::create(KernelBuilder &b,
                                               const Target &target,
                                               int64_t activationBits,
                                               int64_t columns) {
  auto *create = target.has(Capability::wordPermute512) ? createWordLookup
                                                        : createByteLookup;
  return create(b, target, activationBits, columns);
}

Val LookupSums::loadColumns(Val q, Val t, Val block, int64_t half) {
  Val column = block * kBlockColumns + 16 * half;
  Val x = b.toInteger(b.load(q, {t, 0, column}, 16), 32);
  if (cast<MemRefType>(q.getType()).getDimSize(1) == 2)
    x = x + (b.toInteger(b.load(q, {t, 1, column}, 16), 32) << 8);
  return x;
}

Val LookupSums::getEntries(int64_t bit) {
  SmallVector<int32_t> mask;
  for (int entry = 0; entry < kEntries; ++entry)
    mask.push_back(entry >> bit & 1 ? -1 : 0);
  return b.lanes(mask);
}
