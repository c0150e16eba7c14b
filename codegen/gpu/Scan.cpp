//===- Scan.cpp - convolution, recurrence and gate ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Scan.h"
#include "codegen/Functions.h"
#include "codegen/gpu/Kernels.h"

using namespace mlir;
using namespace mambit;
using cuda::ScanStrategy;
using cuda::SimtBuilder;

ScanStrategy::Sequence ScanStrategy::getSequence(Val number) {
  Val offsets = b.buffer("offsets");
  return {b.toIndex(b.load(b.buffer("slots"), {number})),
          b.toIndex(b.load(offsets, {number})),
          b.toIndex(b.load(offsets, {number + 1}))};
}

Val ScanStrategy::getStep(Val token, Val head) {
  Val dt = b.load(b.buffer("zxbcdt"), {token, head + (inner + channels)}) +
           b.load(b.buffer("dt_bias"), {head});
  return min(max(softplus(dt), op.getDtMin().convertToFloat()),
             op.getDtMax().convertToFloat());
}

void cuda::emitScan(SimtBuilder &b, mamba::ScanOp op) {
  emitScanStep(b, op);
  emitScanRecurrence(b, op);
}
