//===- Scan.h - the strategies of the scan ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// A sequence's own length chooses the strategy, so that its results do not
// depend on what else is in the batch: blocks leave sequences of the other kind
// alone.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_GPU_SCAN_H
#define MAMBIT_CODEGEN_GPU_SCAN_H

#include "codegen/gpu/SimtBuilder.h"
#include "dialects/mamba/Mamba.h"

namespace mambit::cuda {

/// What all strategies know of a scan, and how they find a sequence.
class ScanStrategy {
public:
  ScanStrategy(SimtBuilder &b, mamba::ScanOp op)
      : b(b), op(op), taps(op.getDConv()), channels(op.getConvChannels()),
        heads(op.getHeads()), groups(op.getGroups()), stateSize(op.getDState()),
        headdim(op.getHeaddim()), inner(op.getDInner()) {}

protected:
  /// A sequence's slot and tokens.
  struct Sequence {
    Val slot, begin, end;
  };
  Sequence getSequence(Val number);

  /// The convolution of one channel of x, B and C over a sequence.
  struct Convolution {
    const ScanStrategy *scan = nullptr;
    Sequence sequence;
    Val channel, bias;
    Vals weight;

    /// The input of a token, clamped to the last; it may be of the state, which
    /// has those before the sequence's first token.
    Val input(Val token, bool maybeOfState) const;
    /// Of the inputs of a token and those before it, before SiLU.
    Val of(llvm::ArrayRef<Val> inputs) const;
    Val at(Val token) const;
    /// The last inputs, which are the new state.
    Vals window() const;
    void replaceState(llvm::ArrayRef<Val> window) const;
  };
  Convolution getConvolution(const Sequence &sequence, Val channel) const;

  /// The input of a head's step size, and δ of it.
  Val getRawStep(Val token, Val head) const;
  Val getStep(Val raw) const;

  /// Elements of the state as f32: one, or `lanes` adjacent ones, aligned as
  /// all of them.
  Val loadState(llvm::ArrayRef<Operand> at, int64_t lanes = 1);
  void storeState(Val value, llvm::ArrayRef<Operand> at);
  mlir::Type getStateType() const {
    return mamba::ScanOp(op).getSsmState().getType().getElementType();
  }
  llvm::Align getStateAlignment(int64_t lanes) const {
    return llvm::Align(getStateType().getIntOrFloatBitWidth() / 8 * lanes);
  }

  SimtBuilder &b;
  mamba::ScanOp op;
  const int64_t taps, channels, heads, groups, stateSize, headdim, inner;
};

/// "step" and, of many sequences, "step_many", for sequences of one token: some
/// channels of a head, or some heads, a block.
void emitScanStep(SimtBuilder &b, mamba::ScanOp op);

/// For longer sequences, chunks of tokens on tensor cores (ScanChunks.cpp).
/// False if the target has no room for it.
bool emitScanChunks(SimtBuilder &b, mamba::ScanOp op);

/// Where that does not fit: "conv", some channels of a sequence a block, makes
/// the inputs of "recurrence", some channels of a head of a sequence a block,
/// token by token.
void emitScanRecurrence(SimtBuilder &b, mamba::ScanOp op);

} // namespace mambit::cuda

#endif // MAMBIT_CODEGEN_GPU_SCAN_H
