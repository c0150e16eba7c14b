//===- Scan.cpp - convolution, recurrence and gate ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Functions.h"
#include "codegen/cpu/Kernels.h"

using namespace mlir;
using namespace mambit;

/// Channels, or heads, that a tile of the first phase has.
static constexpr int64_t kChannels = 64;
/// Tokens for which the state is read and written once.
static constexpr int64_t kTokens = 4;
/// Tokens from one whose row is read to the one that is fetched meanwhile: rows
/// are too far apart for processors to do it by themselves.
static constexpr int64_t kAhead = 8;

namespace {
class Scan {
public:
  Scan(KernelBuilder &b, mamba::ScanOp op)
      : b(b), op(op), taps(op.getDConv()), channels(op.getConvChannels()),
        heads(op.getHeads()), stateSize(op.getDState()),
        headdim(op.getHeaddim()) {}

  void emit();

private:
  /// The sequence of a tile: its slot and its tokens.
  struct Sequence {
    Val slot, begin, end;
  };
  Sequence getSequence(Val number);
  void emitConv(const Sequence &sequence, Val channel, int64_t lanes);
  void emitSteps(const Sequence &sequence);
  void emitRecurrence(const Sequence &sequence, Val head);
  /// Where some channels of a head have their state, by its row.
  struct State {
    llvm::function_ref<Val(Val)> load;
    llvm::function_ref<void(Val, Val)> store;
  };
  void emitTokens(const State &state, Val head, Val p, int64_t lanes, Val first,
                  int64_t count);

  KernelBuilder &b;
  mamba::ScanOp op;
  int64_t taps, channels, heads, stateSize, headdim;
};
} // namespace

void Scan::emit() {
  // Tiles of channels, then one for the step sizes of all heads.
  int64_t blocks = llvm::divideCeilSigned(channels, kChannels);
  b.phase("conv", {{plan::Dim::sequences}, {plan::Dim::none, blocks + 1}},
          [&](ArrayRef<Val> tile) {
            Sequence sequence = getSequence(tile[0]);
            Val block = tile[1], first = block * kChannels;
            auto channelsOf = [&](int64_t size) {
              b.chunks(size, [&](Val i, int64_t lanes) {
                emitConv(sequence, first + i, lanes);
              });
            };
            b.when(
                block == blocks, [&] { emitSteps(sequence); },
                [&] {
                  if (channels % kChannels == 0)
                    return channelsOf(kChannels);
                  b.when(
                      block == blocks - 1,
                      [&] { channelsOf(channels % kChannels); },
                      [&] { channelsOf(kChannels); });
                });
          });

  b.phase("recurrence", {{plan::Dim::sequences}, {plan::Dim::none, heads}},
          [&](ArrayRef<Val> tile) {
            emitRecurrence(getSequence(tile[0]), tile[1]);
          });
}

Scan::Sequence Scan::getSequence(Val number) {
  Val offsets = b.buffer("offsets");
  return {b.toIndex(b.load(b.buffer("slots"), {number})),
          b.toIndex(b.load(offsets, {number})),
          b.toIndex(b.load(offsets, {number + 1}))};
}

/// The convolution of some channels with SiLU. The state's inputs stay in
/// registers from token to token.
void Scan::emitConv(const Sequence &sequence, Val channel, int64_t lanes) {
  Val state = b.buffer("conv_state");
  Vals weight, window;
  for (int64_t w = 0; w < taps; ++w)
    weight.push_back(b.load(b.buffer("conv_weight"), {w, channel}, lanes));
  for (int64_t w = 0; w + 1 < taps; ++w)
    window.push_back(b.load(state, {sequence.slot, w, channel}, lanes));
  Val bias = op.getConvBias() ? b.load(b.buffer("conv_bias"), {channel}, lanes)
                              : b.zeros(b.getF32Type(), lanes);

  int64_t innerChannels = heads * headdim; // z comes first
  window = b.loop(sequence.begin, sequence.end, 1, window,
                  [&](Val t, ArrayRef<Val> carried) {
                    Val from = b.buffer("zxbcdt"), x = channel + innerChannels;
                    b.prefetch(from, {t + kAhead, x});
                    Vals inputs(carried);
                    inputs.push_back(b.load(from, {t, x}, lanes));
                    Val sum = bias;
                    for (auto [x, w] : llvm::zip(inputs, weight))
                      sum = fma(x, w, sum);
                    b.store(silu(sum), b.buffer("xbc"), {t, channel});
                    inputs.erase(inputs.begin());
                    return inputs;
                  });
  for (auto [w, x] : llvm::enumerate(window))
    b.store(x, state, {sequence.slot, int64_t(w), channel});
}

/// The step size δ and the decay exp(δ·A) of every head and token.
void Scan::emitSteps(const Sequence &sequence) {
  int64_t first = heads * headdim + channels;
  float low = op.getDtMin().convertToFloat();
  float high = op.getDtMax().convertToFloat();
  b.loop(sequence.begin, sequence.end, 1, [&](Val t) {
    b.chunks(heads, [&](Val h, int64_t lanes) {
      Val dt = b.load(b.buffer("zxbcdt"), {t, h + first}, lanes) +
               b.load(b.buffer("dt_bias"), {h}, lanes);
      dt = min(max(softplus(dt), low), high);
      b.store(dt, b.buffer("dt"), {t, h});
      Val a = b.load(b.buffer("A"), {h}, lanes);
      b.store(exp(dt * a), b.buffer("decay"), {t, h});
    });
  });
}

/// The recurrence of one head over a sequence, some of its channels at a time.
/// Of several tokens at once the state is read and written once. One of 16 bits
/// is widened to a copy for all tokens, for it is rounded once.
void Scan::emitRecurrence(const Sequence &sequence, Val head) {
  Type f32 = b.getF32Type();
  Val pool = b.buffer("ssm_state");
  Type element = cast<MemRefType>(pool.getType()).getElementType();
  b.chunks(headdim, [&](Val p, int64_t lanes) {
    auto load = [&](Val n) {
      return b.toF32(b.load(pool, {sequence.slot, head, n, p}, lanes));
    };
    auto store = [&](Val s, Val n) {
      b.store(b.fromF32(s, element), pool, {sequence.slot, head, n, p});
    };
    Val begin = sequence.begin, end = sequence.end;
    auto emitAll = [&](const State &state) {
      Val rest = end - (end - begin) % kTokens;
      b.loop(begin, rest, kTokens,
             [&](Val t) { emitTokens(state, head, p, lanes, t, kTokens); });
      b.loop(rest, end, 1,
             [&](Val t) { emitTokens(state, head, p, lanes, t, 1); });
    };
    if (element.isF32())
      return emitAll({load, store});
    b.when(
        end - begin == 1,
        [&] { emitTokens({load, store}, head, p, lanes, begin, 1); },
        [&] {
          Val copy = b.scratch(stateSize * lanes, f32, llvm::Align(64));
          auto loadCopy = [&](Val n) {
            return b.load(copy, {n * lanes}, lanes);
          };
          auto storeCopy = [&](Val s, Val n) { b.store(s, copy, {n * lanes}); };
          b.loop(0, stateSize, 1, [&](Val n) { storeCopy(load(n), n); });
          emitAll({loadCopy, storeCopy});
          b.loop(0, stateSize, 1, [&](Val n) { store(loadCopy(n), n); });
        });
  });
}

/// Some tokens of some channels. The two halves of the state make sums of their
/// own, whatever the number of tokens.
void Scan::emitTokens(const State &state, Val head, Val p, int64_t lanes,
                      Val first, int64_t count) {
  int64_t groups = op.getGroups();
  Val xbc = b.buffer("xbc");
  Val bFirst = head / (heads / groups) * stateSize + heads * headdim;
  Val cFirst = bFirst + groups * stateSize;
  Val channel = head * headdim + p;
  if (count > 1) // z for the end, x for the next tokens
    for (int64_t i = 0; i < count; ++i) {
      b.prefetch(b.buffer("zxbcdt"), {first + i, channel});
      b.prefetch(xbc, {first + (count + i), channel});
    }
  Vals tokens, decay, x, dx;
  for (int64_t i = 0; i < count; ++i) {
    Val t = first + i;
    tokens.push_back(t);
    decay.push_back(b.load(b.buffer("decay"), {t, head}));
    x.push_back(b.load(xbc, {t, channel}, lanes));
    dx.push_back(x[i] * b.load(b.buffer("dt"), {t, head}));
  }
  auto step = [&](Val i, MutableArrayRef<Val> sums) {
    Val s = state.load(i);
    for (int64_t k = 0; k < count; ++k) {
      s = fma(dx[k], b.load(xbc, {tokens[k], bFirst + i}), s * decay[k]);
      sums[k] = fma(s, b.load(xbc, {tokens[k], cFirst + i}), sums[k]);
    }
    state.store(s, i);
  };
  int64_t half = stateSize / 2;
  Vals sums(2 * count, b.zeros(b.getF32Type(), lanes));
  if (count == 1) { // two chains of sums hide their latency
    sums = b.loop(0, half, 1, sums, [&](Val i, ArrayRef<Val> carried) {
      Vals next(carried);
      step(i, MutableArrayRef(next).take_front());
      step(i + half, MutableArrayRef(next).drop_front());
      return next;
    });
  } else {
    for (int64_t part = 0; part < 2; ++part) {
      ArrayRef<Val> init = ArrayRef(sums).slice(part * count, count);
      Vals total = b.loop(part * half, (part + 1) * half, 1, init,
                          [&](Val i, ArrayRef<Val> carried) {
                            Vals next(carried);
                            step(i, next);
                            return next;
                          });
      llvm::copy(total, sums.begin() + part * count);
    }
  }
  if (stateSize % 2 != 0)
    step(b.index(stateSize - 1), MutableArrayRef(sums).take_front(count));
  Val skip = b.load(b.buffer("D"), {head});
  for (int64_t k = 0; k < count; ++k) {
    Val y = fma(x[k], skip, sums[k] + sums[count + k]);
    Val z = b.load(b.buffer("zxbcdt"), {tokens[k], channel}, lanes);
    b.store(y * silu(z), b.buffer("y"), {tokens[k], channel});
  }
}

void cpu::emitScan(KernelBuilder &b, mamba::ScanOp op) { Scan(b, op).emit(); }
