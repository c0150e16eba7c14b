//===- ScanRecurrence.cpp - the scan token by token ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Functions.h"
#include "codegen/gpu/Scan.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

namespace {
/// Channels, or heads, of a block of the first phase: a warp has those of a
/// token.
constexpr int64_t kChannels = SimtBuilder::kWarp;
constexpr int64_t kConvThreads = 512, kConvWarps = kConvThreads / kChannels;
/// Channels of a head that a block of the second phase has. Its warps share the
/// state of each out between them.
constexpr int64_t kLanes = SimtBuilder::kWarp;
constexpr int64_t kThreads = 256, kWarps = kThreads / kLanes;

class ScanRecurrence : cuda::ScanStrategy {
public:
  using ScanStrategy::ScanStrategy;
  void emit();

private:
  void emitConv(const Sequence &sequence, Val channel);
  void emitSteps(const Sequence &sequence, Val head);
  void emitRecurrence(const Sequence &sequence, Val head, Val firstLane);
};
} // namespace

void ScanRecurrence::emit() {
  // Blocks of channels, then blocks of heads for their step sizes.
  int64_t ofChannels = llvm::divideCeilSigned(channels, kChannels);
  int64_t ofHeads = llvm::divideCeilSigned(heads, kChannels);
  b.phase(
      "conv", {{plan::Dim::sequences}, {plan::Dim::none, ofChannels + ofHeads}},
      kConvThreads,
      [&](ArrayRef<Val> tile) {
        b.waitForPrevious();
        Sequence sequence = getSequence(tile[0]);
        Val first = tile[1] * kChannels + b.lane();
        b.when(
            tile[1] < ofChannels, [&] { emitConv(sequence, first); },
            [&] { emitSteps(sequence, first - ofChannels * kChannels); });
      },
      Condition::several());

  int64_t parts = llvm::divideCeilSigned(headdim, kLanes);
  b.phase(
      "recurrence", {{plan::Dim::sequences}, {plan::Dim::none, heads * parts}},
      kThreads,
      [&](ArrayRef<Val> tile) {
        b.waitForPrevious();
        emitRecurrence(getSequence(tile[0]), tile[1] / parts,
                       tile[1] % parts * kLanes);
      },
      Condition::several());
}

/// The convolution of a channel with SiLU. The warps share the tokens out.
void ScanRecurrence::emitConv(const Sequence &sequence, Val channel) {
  Val isThere = channel < channels;
  b.when(sequence.begin + 1 < sequence.end, [&] {
    Convolution conv = getConvolution(sequence, min(channel, channels - 1));
    b.loop(sequence.begin + b.warp(), sequence.end, kConvWarps, [&](Val t) {
      Val x = silu(conv.at(t));
      b.when(isThere, [&] { b.store(x, b.buffer("xbc"), {t, channel}); });
    });
    Vals window = conv.window();
    b.barrier();
    b.when((b.warp() == 0) & isThere, [&] { conv.replaceState(window); });
  });
}

/// The step size δ and the decay exp(δ·A) of a head, of all tokens.
void ScanRecurrence::emitSteps(const Sequence &sequence, Val head) {
  b.when(head < heads, [&] {
    Val a = b.load(b.buffer("A"), {head});
    b.loop(sequence.begin + b.warp(), sequence.end, kConvWarps, [&](Val t) {
      Val dt = getStep(getRawStep(t, head));
      b.store(dt, b.buffer("dt"), {t, head});
      b.store(exp(dt * a), b.buffer("decay"), {t, head});
    });
  });
}

/// The recurrence of some channels of a head over a sequence: a lane is a
/// channel, a warp has a run of its state in registers. Some tokens at a time
/// go through shared memory: B and C in, each warp's part of y out.
void ScanRecurrence::emitRecurrence(const Sequence &sequence, Val head,
                                    Val firstLane) {
  // Of the state, to a warp; in fours for loads of 16 bytes.
  int64_t run = llvm::alignTo(llvm::divideCeilSigned(stateSize, kWarps), 4);
  int64_t padded = run * kWarps;
  // Tokens whose B, C and partial sums fit in half of the shared memory.
  int64_t chunk =
      std::clamp<int64_t>(24 * 1024 / (4 * (2 * padded + kThreads)), 1, 16);
  Type f32 = b.getF32Type();
  Val xbc = b.buffer("xbc");
  Val bFirst = head / (heads / groups) * stateSize + inner;
  Val p = firstLane + b.lane(), inside = p < headdim;
  Val channel = head * headdim + min(p, headdim - 1);
  Val ownState = b.warp() * run;
  Val bs = b.shared({chunk, padded}, f32), cs = b.shared({chunk, padded}, f32);
  Val partial = b.shared({chunk, kWarps, kLanes}, f32);

  b.when(sequence.begin + 1 < sequence.end, [&] {
    auto stateAt = [&](int64_t i) -> SmallVector<Operand> {
      return {sequence.slot, head, min(ownState + i, stateSize - 1),
              min(p, headdim - 1)};
    };
    Vals s;
    for (int64_t i = 0; i < run; ++i)
      s.push_back(loadState(stateAt(i)));
    Val skip = b.load(b.buffer("D"), {head});

    // The parts of the state that there are not have B = C = 0.
    s = b.loop(
        sequence.begin, sequence.end, chunk, s,
        [&](Val first, ArrayRef<Val> old) {
          Val count = min(sequence.end - first, chunk);
          b.loop(b.thread(), count * padded, kThreads, [&](Val i) {
            Val token = i / padded, n = i % padded;
            Val at = bFirst + min(n, stateSize - 1), t = first + token;
            Val there = n < stateSize;
            b.store(select(there, b.load(xbc, {t, at}), 0.0), bs, {token, n});
            Val c = b.load(xbc, {t, at + groups * stateSize});
            b.store(select(there, c, 0.0), cs, {token, n});
          });
          b.barrier();
          Vals next =
              b.loop(0, count, 1, old, [&](Val token, ArrayRef<Val> values) {
                Vals s(values);
                Val t = first + token,
                    decay = b.load(b.buffer("decay"), {t, head});
                Val dx = b.load(xbc, {t, channel}) *
                         b.load(b.buffer("dt"), {t, head});
                // Even and odd parts of the state apart: two chains of sums.
                Vals sums(2, b.constant(f32, 0));
                for (int64_t i = 0; i < run; i += 4) {
                  Val at = ownState + i;
                  Val four = b.load(bs, {token, at}, 4, llvm::Align(16));
                  Val fourC = b.load(cs, {token, at}, 4, llvm::Align(16));
                  for (int64_t j = 0; j < 4; ++j) {
                    s[i + j] = fma(dx, b.extract(four, j), s[i + j] * decay);
                    sums[j % 2] =
                        fma(s[i + j], b.extract(fourC, j), sums[j % 2]);
                  }
                }
                b.store(sums[0] + sums[1], partial,
                        {token, b.warp(), b.lane()});
                return s;
              });
          b.barrier();
          b.loop(b.warp(), count, kWarps, [&](Val token) {
            Val t = first + token;
            Val sum = b.load(partial, {token, 0, b.lane()});
            for (int64_t warp = 1; warp < kWarps; ++warp)
              sum = sum + b.load(partial, {token, warp, b.lane()});
            Val y = fma(b.load(xbc, {t, channel}), skip, sum);
            Val z = b.load(b.buffer("zxbcdt"), {t, channel});
            b.when(inside,
                   [&] { b.store(y * silu(z), b.buffer("y"), {t, channel}); });
          });
          // B and C of the next tokens come after the sums have been read: the
          // partial sums are written only after its barrier.
          return next;
        });
    b.when(inside, [&] {
      for (int64_t i = 0; i < run; ++i)
        b.when(ownState + i < stateSize, [&] { storeState(s[i], stateAt(i)); });
    });
  });
}

void cuda::emitScanRecurrence(SimtBuilder &b, mamba::ScanOp op) {
  ScanRecurrence(b, op).emit();
}
