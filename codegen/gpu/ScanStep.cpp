//===- ScanStep.cpp - the scan of one token -----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// All of it in one kernel, at the speed of the state's bytes. A block has some
// channels of a head, or some heads of a group. A lane has adjacent ones of
// them, for loads of 16 bytes; as many lanes as hold a block's channels are a
// row, and a row of lanes has a run of rows of the state, or two. The state,
// the convolution's window and the weights depend on no kernel before: they are
// all asked for before the wait.
//
// While the kernel before ends the memory is idle, and what fits in registers
// is soon read. So of many sequences the first blocks ask for the states of
// some later ones too, which are in the L2 cache when their blocks come.
//
// Each block convolves its channels of x and, as all blocks of a group do, B
// and C. So the window of B and C is read by many blocks and must be shifted
// once, when the last of them has read it: each draws a ticket then, and the
// one with the last ticket shifts. Tickets wrap around, so that they are zero
// before and after every launch. Nothing else depends on who draws which.
//
//===--------------------------------------------------------------------===//

#include "codegen/Functions.h"
#include "codegen/gpu/Scan.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

namespace {
class ScanStep : cuda::ScanStrategy {
public:
  /// Blocks whose rows of the state have so many bytes, and lanes with so many
  /// runs of them.
  ScanStep(SimtBuilder &b, mamba::ScanOp op, int64_t rowBytes, int64_t runs);
  void emit(StringRef suffix, const Condition &condition);
  /// Whether a token's sums have the same order.
  bool addsLike(const ScanStep &other) const {
    return numRuns == other.numRuns && runRows == other.runRows;
  }
  /// Whether no row or channel is cut off.
  bool isWhole() const { return across % part == 0 && padded == stateSize; }
  /// Whether a block has the shared memory.
  bool fits() const {
    int64_t floats = 2 * padded + part + numRuns * part;
    return 4 * floats < b.getTarget().gpu.staticSharedBytes;
  }

private:
  /// One of a block's inputs of the convolution: a channel of B, C or x. An
  /// index past the last of all has no input.
  struct Input {
    Val index, channel, exists, isShared;
    Vals window, weight;
    Val bias;
  };
  Input loadInput(Val index, Val slot, Val firstHead, Val firstChannel);
  void emitToken(Val number, Val block);
  void prefetchStates(Val number, Val block);
  /// Of a block's channel, counted from its first head's first.
  Val getHead(Val firstHead, Val p) const {
    return blockHeads == 1 ? firstHead : firstHead + p / headdim;
  }

  /// The rows of a run that a lane has in registers at once.
  static constexpr int64_t kRows = 8;

  int64_t width;      // adjacent channels of a lane
  int64_t rowLanes;   // lanes of a row
  int64_t blockHeads; // heads of a block
  int64_t across;     // channels of all of them
  int64_t part;       // channels of a block
  int64_t parts;      // blocks of a head
  int64_t threads;
  int64_t runs;    // of a lane
  int64_t runRows; // of the state
  int64_t numRuns; // of all lanes
  int64_t padded;  // rows of all of them
};
} // namespace

ScanStep::ScanStep(SimtBuilder &b, mamba::ScanOp op, int64_t rowBytes,
                   int64_t runs)
    : ScanStrategy(b, op), runs(runs) {
  int64_t bytes = getStateType().getIntOrFloatBitWidth() / 8;
  width = 16 / bytes;
  while (headdim % width != 0)
    width /= 2;
  int64_t most = rowBytes / bytes;
  blockHeads = 1;
  for (int64_t n = 2; n * headdim <= most; ++n)
    if (heads / groups % n == 0)
      blockHeads = n;
  across = blockHeads * headdim;
  rowLanes =
      std::min<int64_t>(llvm::PowerOf2Ceil(across / width), most / width);
  part = rowLanes * width;
  parts = llvm::divideCeilSigned(across, part);
  int64_t allRuns =
      llvm::PowerOf2Ceil(llvm::divideCeilSigned(stateSize, kRows));
  // A thread gates a channel.
  threads = std::clamp<int64_t>(rowLanes * allRuns / runs,
                                std::max<int64_t>(part, 64), 512);
  numRuns = threads / rowLanes * runs;
  runRows = llvm::alignTo(llvm::divideCeilSigned(stateSize, numRuns), 4);
  if (runRows > kRows)
    runRows = llvm::alignTo(runRows, kRows);
  padded = runRows * numRuns;
}

void ScanStep::emit(StringRef suffix, const Condition &condition) {
  b.phase(
      suffix,
      {{plan::Dim::sequences}, {plan::Dim::none, heads / blockHeads * parts}},
      threads,
      [&](ArrayRef<Val> tile) {
        if (runs > 1) // takes as many registers as it may
          b.fitBlocks(512 / threads);
        emitToken(tile[0], tile[1]);
      },
      condition);
}

/// By the first sequence's blocks, each its share of every state. Those that
/// start first fill half of all registers with state, so what follows that is
/// asked for: a fifth of the L2 cache, of which more gained no more. A layer of
/// 80 heads and 64 sequences takes an H100 1.9 µs less by it, of 140; of 16 or
/// 32 sequences it gained nothing.
void ScanStep::prefetchStates(Val number, Val block) {
  const GpuLimits &gpu = b.getTarget().gpu;
  int64_t stateBytes = heads * stateSize * headdim *
                       (getStateType().getIntOrFloatBitWidth() / 8);
  int64_t share = stateBytes / (heads / blockHeads * parts);
  int64_t count = std::min(gpu.l2Bytes / 5 / stateBytes, threads);
  if (!b.targetHas(Capability::bulkCopy) || share % 16 != 0 || count == 0)
    return;
  int64_t underWay = gpu.multiprocessors * gpu.registers * 4 / 2;
  Val later = b.thread() + llvm::divideCeilSigned(underWay, stateBytes);
  b.when((number == 0) & (b.thread() < count) &
             (later < b.extent(plan::Dim::sequences)),
         [&] {
           Val slot = b.toIndex(b.load(b.buffer("slots"), {later}));
           Val state = b.address(b.buffer("ssm_state"), {slot, 0, 0, 0});
           b.prefetchBulk(b.advance(state, block * share), b.index(share));
         });
}

ScanStep::Input ScanStep::loadInput(Val index, Val slot, Val firstHead,
                                    Val firstChannel) {
  Input input;
  input.index = index;
  input.isShared = index < 2 * padded;
  Val n = index % padded, p = index - 2 * padded + firstChannel;
  Val ofGroup = firstHead / (heads / groups) * stateSize + inner;
  Val ofB = ofGroup + min(n, stateSize - 1);
  input.channel = select(input.isShared,
                         select(index < padded, ofB, ofB + groups * stateSize),
                         firstHead * headdim + min(max(p, 0), across - 1));
  input.exists = (index < 2 * padded + part) &
                 (select(input.isShared, n, p) <
                  select(input.isShared, b.index(stateSize), across));
  for (int64_t w = 0; w + 1 < taps; ++w)
    input.window.push_back(
        b.load(b.buffer("conv_state"), {slot, w, input.channel}));
  for (int64_t w = 0; w < taps; ++w)
    input.weight.push_back(b.load(b.buffer("conv_weight"), {w, input.channel}));
  input.bias = op.getConvBias() ? b.load(b.buffer("conv_bias"), {input.channel})
                                : b.constant(b.getF32Type(), 0);
  return input;
}

/// Of a sequence's number and one of its blocks.
void ScanStep::emitToken(Val number, Val block) {
  Type f32 = b.getF32Type();
  Val zxbcdt = b.buffer("zxbcdt");
  Sequence sequence = getSequence(number);
  Val slot = sequence.slot, t = sequence.begin;
  Val firstHead = block / parts * blockHeads,
      firstChannel = block % parts * part;
  // That share B and C.
  int64_t blocks = heads / groups / blockHeads * parts;

  // Before the wait: the first rows of the state, windows and weights.
  Val inPart = b.thread() % rowLanes * width, p = firstChannel + inPart;
  Vals numbers, firstRows; // of runs
  for (int64_t i = 0; i < runs; ++i) {
    numbers.push_back(b.thread() / rowLanes * runs + i);
    firstRows.push_back(numbers.back() * runRows);
  }
  bool isWhole = across % part == 0;
  Val own = isWhole ? p : min(p, across - width);
  Val head = getHead(firstHead, own);
  Val inHead = blockHeads == 1 ? own : own % headdim;
  auto stateAt = [&](Val n) -> SmallVector<Operand> {
    return {slot, head, padded == stateSize ? n : min(n, stateSize - 1),
            inHead};
  };
  // As it lies in memory.
  auto loadRows = [&](Val first) {
    Vals s;
    for (int64_t i = 0; i < std::min(runRows, kRows); ++i)
      s.push_back(b.load(b.buffer("ssm_state"), stateAt(first + i), width,
                         getStateAlignment(width)));
    return s;
  };
  SmallVector<Vals> loaded;
  for (Val first : firstRows)
    loaded.push_back(loadRows(first));
  SmallVector<Input> inputs;
  for (int64_t i = 0; i < 2 * padded + part; i += threads)
    inputs.push_back(loadInput(b.thread() + i, slot, firstHead, firstChannel));
  // A thread gates one channel.
  Val gated = firstChannel + b.thread(), ofGate = min(gated, across - 1);
  Val skip = b.load(b.buffer("D"), {getHead(firstHead, ofGate)});
  Val a = b.load(b.buffer("A"), {head});
  Vals requested;
  for (const Vals &s : loaded)
    requested.append(s);
  for (const Input &input : inputs) {
    requested.append(input.window);
    requested.append(input.weight);
    requested.push_back(input.bias);
  }
  requested.append({skip, a});
  b.request(requested);
  if (runs > 1)
    prefetchStates(number, block);
  b.waitForPrevious();
  b.when(sequence.end - sequence.begin == 1, [&] {
    Val gateChannel = firstHead * headdim + ofGate;
    Val z = b.load(zxbcdt, {t, gateChannel});
    Val convolved = b.shared({2 * padded + part}, f32);
    for (Input &input : inputs) {
      Val fresh = b.load(zxbcdt, {t, input.channel + inner});
      input.window.push_back(fresh);
      Val sum = input.bias;
      for (auto [x, weight] : llvm::zip(input.window, input.weight))
        sum = fma(x, weight, sum);
      sum = select(input.exists, silu(sum), 0.0);
      b.when(input.index < 2 * padded + part,
             [&] { b.store(sum, convolved, {input.index}); });
    }
    Val dt = getStep(getRawStep(t, head)), decay = exp(dt * a);
    b.barrier();
    Val isLast = b.shared({1}, b.getI32Type());
    b.when(b.thread() == 0, [&] {
      Val ticket =
          b.atomicIncrement(b.buffer("tickets"),
                            {slot, firstHead / (heads / groups)}, blocks - 1);
      b.store(ticket, isLast, {0});
    });

    // Even and odd rows of the state apart: two chains of sums.
    llvm::Align alignment(std::min<int64_t>(4 * width, 16)); // in shared memory
    Val dx = b.load(convolved, {inPart + 2 * padded}, width, alignment) * dt;
    auto update = [&](Val first, ArrayRef<Val> rows,
                      MutableArrayRef<Val> sums) {
      for (size_t i = 0; i < rows.size(); i += 4) {
        Val four = b.load(convolved, {first + i}, 4, llvm::Align(16));
        Val fourC = b.load(convolved, {first + i + padded}, 4, llvm::Align(16));
        for (int64_t j = 0; j < 4; ++j) {
          Val s = fma(dx, b.extract(four, j), b.toF32(rows[i + j]) * decay);
          sums[j % 2] = fma(s, b.extract(fourC, j), sums[j % 2]);
          Val n = first + (i + j);
          auto keep = [&] { storeState(s, stateAt(n)); };
          if (padded == stateSize && isWhole)
            keep();
          else
            b.when((n < stateSize) & (p < across), keep);
        }
      }
    };
    Val partial = b.shared({numRuns, part}, f32);
    for (int64_t r = 0; r < runs; ++r) {
      Vals sums(2, b.zeros(f32, width));
      update(firstRows[r], loaded[r], sums);
      sums = b.loop(kRows, runRows, kRows, sums,
                    [&](Val i, ArrayRef<Val> carried) {
                      Vals sums(carried), s = loadRows(firstRows[r] + i);
                      update(firstRows[r] + i, s, sums);
                      return sums;
                    });
      b.store(sums[0] + sums[1], partial, {numbers[r], inPart}, alignment);
    }
    b.barrier();
    b.when((b.thread() < part) & (gated < across), [&] {
      Val sum = b.load(partial, {0, b.thread()});
      for (int64_t other = 1; other < numRuns; ++other)
        sum = sum + b.load(partial, {other, b.thread()});
      Val y = fma(b.load(convolved, {b.thread() + 2 * padded}), skip, sum);
      b.store(y * silu(z), b.buffer("y"), {t, gateChannel});
    });
    Val shifts = b.load(isLast, {0}) == blocks - 1;
    for (const Input &input : inputs)
      b.when(input.exists & (shifts | (input.isShared ^ 1)), [&] {
        for (int64_t w = 0; w + 1 < taps; ++w)
          b.store(input.window[w + 1], b.buffer("conv_state"),
                  {slot, w, input.channel});
      });
  });
}

/// Of few sequences many blocks of short lanes are best. Of many, lanes with
/// two runs have more of the state under way. Alone the phase takes as long; in
/// a decoding step, where it starts before the kernel ahead has ended, 6 layers
/// of 80 heads and 64 sequences take an H100 0.95 ms instead of 0.97. With
/// states of 16 bits it is 0.60 instead of 0.635, and 0.59 with four heads a
/// block: what B and C cost is by the block. Both phases add up in the same
/// order.
void cuda::emitScanStep(SimtBuilder &b, mamba::ScanOp op) {
  constexpr int64_t kFewSequences = 32;
  bool isHalf = op.getSsmState().getType().getElementTypeBitWidth() == 16;
  ScanStep few(b, op, 256, 1), many(b, op, isHalf ? 512 : 256, 2);
  // To cut rows or channels off takes registers, which two runs need.
  if (!many.addsLike(few) || !many.isWhole() || !many.fits())
    return few.emit("step", {});
  few.emit("step", Condition::between(plan::Dim::sequences, 1, kFewSequences));
  many.emit("step_many",
            Condition::moreThan(plan::Dim::sequences, kFewSequences));
}
