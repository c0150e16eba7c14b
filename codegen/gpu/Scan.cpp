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

ScanStrategy::Convolution ScanStrategy::getConvolution(const Sequence &sequence,
                                                       Val channel) const {
  Convolution conv{this, sequence, channel, Val(), {}};
  conv.bias = mamba::ScanOp(op).getConvBias()
                  ? b.load(b.buffer("conv_bias"), {channel})
                  : b.constant(b.getF32Type(), 0);
  for (int64_t w = 0; w < taps; ++w)
    conv.weight.push_back(b.load(b.buffer("conv_weight"), {w, channel}));
  return conv;
}

Val ScanStrategy::Convolution::input(Val token, bool maybeOfState) const {
  SimtBuilder &b = scan->b;
  Val at = min(max(token, sequence.begin), sequence.end - 1);
  Val x = b.load(b.buffer("zxbcdt"), {at, channel + scan->inner}); // behind z
  int64_t before = scan->taps - 1;
  if (!maybeOfState || before == 0)
    return x;
  Val row = max(min(token - sequence.begin + before, before - 1), 0);
  return select(token < sequence.begin,
                b.load(b.buffer("conv_state"), {sequence.slot, row, channel}),
                x);
}

Val ScanStrategy::Convolution::of(ArrayRef<Val> inputs) const {
  Val sum = bias;
  for (auto [x, w] : llvm::zip_equal(inputs, weight))
    sum = fma(x, w, sum);
  return sum;
}

Val ScanStrategy::Convolution::at(Val token) const {
  Vals inputs;
  for (int64_t before = scan->taps - 1; before >= 0; --before)
    inputs.push_back(input(token - before, before != 0));
  return of(inputs);
}

Vals ScanStrategy::Convolution::window() const {
  Vals window;
  for (int64_t w = 0; w + 1 < scan->taps; ++w)
    window.push_back(input(sequence.end - (scan->taps - 1 - w), true));
  return window;
}

void ScanStrategy::Convolution::replaceState(ArrayRef<Val> window) const {
  SimtBuilder &b = scan->b;
  for (auto [w, x] : llvm::enumerate(window))
    b.store(x, b.buffer("conv_state"), {sequence.slot, int64_t(w), channel});
}

Val ScanStrategy::getRawStep(Val token, Val head) const {
  return b.load(b.buffer("zxbcdt"), {token, head + (inner + channels)}) +
         b.load(b.buffer("dt_bias"), {head});
}

Val ScanStrategy::getStep(Val raw) const {
  mamba::ScanOp scan = op;
  return min(max(softplus(raw), scan.getDtMin().convertToFloat()),
             scan.getDtMax().convertToFloat());
}

Val ScanStrategy::loadState(ArrayRef<Operand> at, int64_t lanes) {
  Val state = b.buffer("ssm_state");
  return b.toF32(lanes == 1
                     ? b.load(state, at)
                     : b.load(state, at, lanes, getStateAlignment(lanes)));
}

void ScanStrategy::storeState(Val value, ArrayRef<Operand> at) {
  auto vector = dyn_cast<VectorType>(value.getType());
  b.store(b.fromF32(value, getStateType()), b.buffer("ssm_state"), at,
          getStateAlignment(vector ? vector.getNumElements() : 1));
}

void cuda::emitScan(SimtBuilder &b, mamba::ScanOp op) {
  emitScanStep(b, op);
  if (!emitScanChunks(b, op))
    emitScanRecurrence(b, op);
}
