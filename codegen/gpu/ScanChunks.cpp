//===- ScanChunks.cpp - the scan of many tokens on tensor cores ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// State-space duality (Dao and Gu, arXiv 2405.21060). Of a chunk of Q tokens
// from the state S before it, with a_l = δ_l·A and s_l = a_1 + … + a_l:
//
//   y_l = exp(s_l) · C_l S + Σ_{j ≤ l} (C_l·B_j) exp(s_l − s_j) δ_j x_j + D x_l
//   S'  = exp(s_Q) S + Σ_j exp(s_Q − s_j) δ_j B_j x_jᵀ
//
// Every exponent is a difference of sums and at most 0. The four products run
// on tensor cores with operands split in halves (SimtBuilder::split), their
// sums and the state in f32.
//
// "inputs" convolves B and C and leaves their halves in `xbc`. "chunks" walks
// over the chunks of a sequence; a block has some heads of a group, or some
// channels of a large head; a warp has 16 channels, the rows of all its
// products: yᵀ = Sᵀ·Cᵀ + xᵀ·Mᵀ and Sᵀ. So the sums that are Sᵀ, rows of
// channels, are as they lie the first operand of Sᵀ·Cᵀ.
//
// Row i < 8 of a warp's 16 is channel 2i, row i + 8 channel 2i + 1: a lane has
// pairs of adjacent channels.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Scan.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

namespace {
constexpr int64_t kRows = 16; // channels of a warp
constexpr int64_t kMaxWarps = 8;
constexpr double kLog2E = 1.4426950408889634;

class ScanChunks : cuda::ScanStrategy {
public:
  ScanChunks(SimtBuilder &b, mamba::ScanOp op);
  bool fits() const { return chunk != 0; }
  void emit();

private:
  /// Matrices of halves in shared memory, as words of two; 16 bytes are a
  /// piece. A row is an odd number of pieces, against conflicts of banks.
  struct Matrices {
    Val words;
    int64_t rows, rowWords;

    /// The bytes from the first element to one with a constant place.
    int64_t offset(int64_t matrix, int64_t row, int64_t column) const {
      return (matrix * rows + row) * rowWords * 4 + column * 2;
    }
  };
  static int64_t getRowWords(int64_t columns) { return (columns / 8 | 1) * 4; }
  Matrices allocate(int64_t count, int64_t rows, int64_t columns);
  /// Where a lane loads 16 rows and columns from, of a matrix from a row on: as
  /// the first operand of a product, and also as two of the second whose rows
  /// are terms; or as two of the second whose columns lie as rows.
  Val getFirst(const Matrices &m, const Operand &matrix, Val laneRow);
  Val getSecond(const Matrices &m, const Operand &matrix, const Operand &row);
  /// sums[0] and [1] + a · b for the halves of both.
  void multiply(const Vals &aHigh, const Vals &aLow, const Vals &bHigh,
                const Vals &bLow, MutableArrayRef<Vals> sums);

  void emitChunks(const Sequence &sequence, Val block);

  void copyGroup(Val first, const Sequence &sequence);
  Vals loadTokens(Val first, const Sequence &sequence);
  Vals loadSteps(Val first, const Sequence &sequence);
  void emitDecays(Val first, const Sequence &sequence, ArrayRef<Val> raw);
  Vals convolve(ArrayRef<Val> raw);
  void emitMixing();
  void accessState(const Sequence &sequence, MutableArrayRef<Vals> state,
                   bool isStore);
  SmallVector<Vals> loadGates(Val first, const Sequence &sequence);
  void storeOutput(Val first, const Sequence &sequence, ArrayRef<Vals> y,
                   ArrayRef<Vals> gates);

  Val fastSilu(Val x) {
    return x * b.fastReciprocal(b.fastExp2(x * -kLog2E) + 1.0);
  }
  /// A lane's number in its quad, and that of the quad.
  Val inQuad() { return b.lane() % 4; }
  Val quad() { return b.lane() / 4; }
  bool isWhole() const { return headdim % partChannels == 0; }

  int64_t chunk = 0;     // tokens
  int64_t paddedState;   // a multiple of 16
  int64_t partChannels;  // of a head to a block, a multiple of 16
  int64_t parts;         // of a head
  int64_t blockHeads;    // of a block
  int64_t rows;          // of a block
  int64_t threads, half; // half the chunk: the tokens of a thread's channel
  // Of the block: its group, its first head, the channel of x of a thread, the
  // head and the first channel of a warp.
  Val group, firstHead, channel, warpHead, warpChannel;
  Vals weight;
  Val bias;
  /// B and C, each high and low; M of each head, high and low; x and x
  /// weighted, each high and low.
  Matrices inputs, mixing, tokens;
  /// By head and token: s and δ, exp(s_Q − s)·δ, exp(s).
  Val sums, steps, remaining, decays;
};
} // namespace

ScanChunks::ScanChunks(SimtBuilder &b, mamba::ScanOp op) : ScanStrategy(b, op) {
  paddedState = llvm::alignTo(stateSize, 16);
  int64_t padded = llvm::alignTo(headdim, kRows);
  partChannels = std::min(padded, kMaxWarps * kRows);
  parts = llvm::divideCeilSigned(headdim, partChannels);
  blockHeads = 1;
  for (int64_t n = 2; n * padded <= kMaxWarps * kRows; ++n)
    if (heads / groups % n == 0)
      blockHeads = n;
  rows = blockHeads * partChannels;
  threads = rows / kRows * SimtBuilder::kWarp;

  // The longest chunk whose operands fit in shared memory and whose sums fit in
  // registers, beside the next chunk's inputs.
  auto bytes = [&](int64_t count, int64_t rows, int64_t columns) {
    return count * rows * getRowWords(columns) * 4;
  };
  if (!b.targetHas(Capability::bf16Mma))
    return;
  for (int64_t q : {64, 32}) {
    int64_t shared = bytes(4, q, paddedState) + bytes(2 * blockHeads, q, q) +
                     bytes(4, rows, q) + blockHeads * q * 4 * 4;
    int64_t registers = paddedState / 2 + q / 2 * 3;
    if (shared > b.getTarget().gpu.sharedBytes || registers > 176)
      continue;
    chunk = q;
    half = q / 2;
    break;
  }
}

void ScanChunks::emit() {
  // The last inputs of a token may be of the state before: the block that
  // replaces it must be the only one that reads it.
  constexpr int64_t kWarps = 16;
  int64_t splits = taps - 1 <= kWarps ? 8 : 1;
  int64_t pairs = groups * paddedState; // of B and C
  b.phase(
      "inputs",
      {{plan::Dim::sequences},
       {plan::Dim::none, splits},
       {plan::Dim::none, pairs, SimtBuilder::kWarp}},
      kWarps * SimtBuilder::kWarp,
      [&](ArrayRef<Val> tile) {
        b.waitForPrevious();
        Sequence sequence = getSequence(tile[0]);
        b.when(sequence.begin + 1 < sequence.end, [&] {
          Val pair = tile[2] * SimtBuilder::kWarp + b.lane();
          Val isThere = pair < pairs;
          pair = min(pair, pairs - 1);
          // Of B or C, then of the group.
          Val matrix = pair / (paddedState / 2);
          Val n = pair % (paddedState / 2) * 2;
          Convolution convs[2];
          for (int64_t i = 0; i < 2; ++i)
            convs[i] =
                getConvolution(sequence, matrix * stateSize +
                                             min(n + i, stateSize - 1) + inner);
          Val out = b.flat(b.buffer("xbc"));
          b.loop(sequence.begin + tile[1] * kWarps + b.warp(), sequence.end,
                 kWarps * splits, [&](Val t) {
                   Vals x;
                   for (int64_t i = 0; i < 2; ++i)
                     x.push_back(select(n + i < stateSize,
                                        fastSilu(convs[i].at(t)), 0.0));
                   Val high, low;
                   std::tie(high, low) = b.split(x[0], x[1]);
                   Val at = (t * (groups * 2) + matrix) * paddedState + n / 2;
                   b.when(isThere, [&] {
                     Type f32 = b.getF32Type();
                     b.store(b.bitcast(high, f32), out, {at});
                     b.store(b.bitcast(low, f32), out, {at + paddedState / 2});
                   });
                 });
          Vals windows[2];
          for (int64_t i = 0; i < 2; ++i)
            windows[i] = convs[i].window();
          b.barrier();
          b.when((b.warp() == 0) & (tile[1] == 0) & isThere, [&] {
            for (int64_t i = 0; i < 2; ++i)
              b.when(n + i < stateSize,
                     [&] { convs[i].replaceState(windows[i]); });
          });
        });
      },
      Condition::several());

  b.phase(
      "chunks",
      {{plan::Dim::sequences}, {plan::Dim::none, heads / blockHeads * parts}},
      threads,
      [&](ArrayRef<Val> tile) {
        b.waitForPrevious();
        Sequence sequence = getSequence(tile[0]);
        b.when(sequence.begin + 1 < sequence.end,
               [&] { emitChunks(sequence, tile[1]); });
      },
      Condition::several());
}

//===--------------------------------------------------------------------===//
// Matrices
//===--------------------------------------------------------------------===//

ScanChunks::Matrices ScanChunks::allocate(int64_t count, int64_t rows,
                                          int64_t columns) {
  int64_t rowWords = getRowWords(columns);
  return {b.dynamicShared({count, rows, rowWords}, b.getI32Type()), rows,
          rowWords};
}

Val ScanChunks::getFirst(const Matrices &m, const Operand &matrix,
                         Val laneRow) {
  return b.address(m.words, {matrix, laneRow, b.lane() / 16 * 4});
}

Val ScanChunks::getSecond(const Matrices &m, const Operand &matrix,
                          const Operand &row) {
  return b.address(m.words, {matrix, b.lane() / 16 * 8 + b.lane() % 8 + row,
                             b.lane() / 8 % 2 * 4});
}

void ScanChunks::multiply(const Vals &aHigh, const Vals &aLow,
                          const Vals &bHigh, const Vals &bLow,
                          MutableArrayRef<Vals> sums) {
  auto add = [&](const Vals &a, const Vals &c) {
    for (int64_t i = 0; i < 2; ++i)
      sums[i] = b.mmaHalves(a, {c[2 * i], c[2 * i + 1]}, sums[i]);
  };
  add(aLow, bHigh);
  add(aHigh, bLow);
  add(aHigh, bHigh);
}

//===--------------------------------------------------------------------===//
// Inputs of a chunk
//===--------------------------------------------------------------------===//

/// B and C of the group, high and low halves, 16 bytes at a time.
void ScanChunks::copyGroup(Val first, const Sequence &sequence) {
  int64_t pieces = paddedState / 8, perToken = 4 * pieces;
  Val from = b.flat(b.buffer("xbc"));
  auto copy = [&](Val token, Val rest) {
    Val matrix = rest / pieces, piece = rest % pieces;
    Val t = min(first + token, sequence.end - 1);
    Val row = t * (groups * 2) + matrix / 2 * groups + group;
    Val word = row * paddedState + matrix % 2 * (paddedState / 2) + piece * 4;
    b.copyAsync(b.address(inputs.words, {matrix, token, piece * 4}),
                b.address(from, {word}));
  };
  if (threads % perToken == 0)
    b.loop(b.thread() / perToken, chunk, threads / perToken,
           [&](Val token) { copy(token, b.thread() % perToken); });
  else
    b.loop(b.thread(), chunk * perToken, threads,
           [&](Val i) { copy(i / perToken, i % perToken); });
}

/// What a thread convolves: its channel of half a chunk and the inputs before.
Vals ScanChunks::loadTokens(Val first, const Sequence &sequence) {
  Convolution conv = getConvolution(sequence, channel);
  Val t = first + b.thread() / rows * half;
  Vals raw;
  for (int64_t i = 1 - taps; i < half; ++i)
    raw.push_back(conv.input(t + i, /*maybeOfState=*/i < 0));
  return raw;
}

Vals ScanChunks::convolve(ArrayRef<Val> raw) {
  Vals x;
  for (int64_t i = 0; i < half; ++i) {
    Val sum = bias;
    for (int64_t w = 0; w < taps; ++w)
      sum = fma(raw[i + w], weight[w], sum);
    x.push_back(fastSilu(sum));
  }
  return x;
}

/// The inputs of the step sizes that a lane has: adjacent tokens.
Vals ScanChunks::loadSteps(Val first, const Sequence &sequence) {
  int64_t count = chunk / SimtBuilder::kWarp;
  Vals raw;
  for (int64_t i = 0; i < count; ++i)
    raw.push_back(getRawStep(
        min(first + b.lane() * count + i, sequence.end - 1), warpHead));
  return raw;
}

/// By the first warp of each head. Tokens behind the end have δ = 0: they
/// change nothing.
void ScanChunks::emitDecays(Val first, const Sequence &sequence,
                            ArrayRef<Val> raw) {
  int64_t count = raw.size(), warps = partChannels / kRows;
  Val head = b.warp() / warps;
  b.when(b.warp() % warps == 0, [&] {
    Val a = b.load(b.buffer("A"), {warpHead}) * kLog2E;
    Vals delta, sum;
    for (int64_t i = 0; i < count; ++i) {
      Val t = first + b.lane() * count + i;
      delta.push_back(select(t < sequence.end, getStep(raw[i]), 0.0));
      Val own = delta[i] * a;
      sum.push_back(i == 0 ? own : sum.back() + own);
    }
    Val total = sum.back(), before = total;
    for (int64_t distance = 1; distance < SimtBuilder::kWarp; distance *= 2)
      before = select(b.lane() < distance, before,
                      before + b.shuffleUp(before, distance));
    before = select(b.lane() == 0, 0.0, b.shuffleUp(before, 1));
    for (Val &s : sum)
      s = s + before;
    Val last = b.broadcastLane(sum.back(), SimtBuilder::kWarp - 1);
    for (int64_t i = 0; i < count; ++i) {
      SmallVector<Operand> at = {head, b.lane() * count + i};
      b.store(sum[i], sums, at);
      b.store(delta[i], steps, at);
      b.store(b.fastExp2(last - sum[i]) * delta[i], remaining, at);
      b.store(b.fastExp2(sum[i]), decays, at);
    }
  });
}

//===--------------------------------------------------------------------===//
// A chunk
//===--------------------------------------------------------------------===//

/// M_lj = (C_l·B_j) exp(s_l − s_j) δ_j for j ≤ l, and D more for j = l. The
/// warps share out the squares of 16 tokens that are not above the diagonal.
void ScanChunks::emitMixing() {
  int64_t tiles = chunk / 16, squares = tiles * (tiles + 1) / 2;
  int64_t warps = threads / SimtBuilder::kWarp;
  for (int64_t round = 0; round < squares; round += warps) {
    Val square = b.warp() + round;
    auto emitSquare = [&] {
      Val tile = b.index(0);
      for (int64_t i = 1; i < tiles; ++i)
        tile = select(square > i * (i + 1) / 2 - 1, b.index(i), tile);
      Val l0 = tile * 16, j0 = (square - tile * (tile + 1) / 2) * 16;
      Vals zeros(4, b.constant(b.getF32Type(), 0));
      Vals g[2] = {zeros, zeros};
      Val c = getFirst(inputs, 2, l0 + b.lane() % 16);
      Val ofB = getSecond(inputs, 0, j0);
      int64_t low = inputs.offset(1, 0, 0);
      for (int64_t n = 0; n < paddedState; n += 16)
        multiply(b.loadMatrices(c, 2 * n), b.loadMatrices(c, 2 * n + low),
                 b.loadMatrices(ofB, 2 * n), b.loadMatrices(ofB, 2 * n + low),
                 g);
      for (int64_t head = 0; head < blockHeads; ++head) {
        Val d = b.load(b.buffer("D"), {firstHead + head});
        for (int64_t below = 0; below < 2; ++below) {
          Val l = l0 + quad() + 8 * below;
          Val sumL = b.load(sums, {head, l});
          for (int64_t right = 0; right < 2; ++right) {
            Val j = j0 + inQuad() * 2 + 8 * right;
            Vals m;
            for (int64_t i = 0; i < 2; ++i) {
              Val decay = b.fastExp2(sumL - b.load(sums, {head, j + i}));
              Val value = g[right][2 * below + i] * decay *
                          b.load(steps, {head, j + i});
              value = select(l < j + i, 0.0, value);
              m.push_back(select(l == j + i, value + d, value));
            }
            auto [high, low] = b.split(m[0], m[1]);
            Val word = j0 / 2 + inQuad() + 4 * right;
            b.store(high, mixing.words, {2 * head, l, word});
            b.store(low, mixing.words, {2 * head + 1, l, word});
          }
        }
      }
    };
    if (round + warps <= squares)
      emitSquare();
    else
      b.when(square < squares, emitSquare);
  }
}

/// Between the slot and the sums that are Sᵀ: tile i has n = 8i … 8i + 7.
void ScanChunks::accessState(const Sequence &sequence,
                             MutableArrayRef<Vals> state, bool isStore) {
  Val p = warpChannel + quad() * 2;
  for (int64_t tile = 0; tile < paddedState / 8; ++tile)
    for (int64_t i = 0; i < 2; ++i) {
      Val n = inQuad() * 2 + (8 * tile + i);
      bool always = paddedState == stateSize;
      Val exists = n < stateSize;
      Val atN = always ? n : min(n, stateSize - 1);
      // Sums i and i + 2 are two adjacent channels.
      Val *values[2] = {&state[tile][i], &state[tile][i + 2]};
      if (headdim % 2 == 0) {
        SmallVector<Operand> at = {sequence.slot, warpHead, atN,
                                   isWhole() ? p : min(p, headdim - 2)};
        if (isStore) {
          Val pair =
              b.concat(b.broadcast(*values[0], 1), b.broadcast(*values[1], 1));
          auto keep = [&] { storeState(pair, at); };
          if (always && isWhole())
            keep();
          else
            b.when(exists & (p < headdim), keep);
          continue;
        }
        Val pair = loadState(at, 2);
        for (int64_t k = 0; k < 2; ++k) {
          Val value = b.extract(pair, k);
          *values[k] = always ? value : select(exists, value, 0.0);
        }
        continue;
      }
      for (int64_t k = 0; k < 2; ++k) {
        SmallVector<Operand> at = {sequence.slot, warpHead, atN,
                                   min(p + k, headdim - 1)};
        if (isStore)
          b.when(exists & (p + k < headdim),
                 [&] { storeState(*values[k], at); });
        else
          *values[k] = select(exists, loadState(at), 0.0);
      }
    }
}

/// The gates of a warp's outputs: of tile i, tokens 8i … 8i + 7, in the order
/// of its sums.
SmallVector<Vals> ScanChunks::loadGates(Val first, const Sequence &sequence) {
  Val zxbcdt = b.buffer("zxbcdt");
  Val p = warpChannel + quad() * 2, at = warpHead * headdim;
  bool isPair = headdim % 2 == 0;
  bool isAligned = isPair && (2 * inner + channels + heads) % 2 == 0;
  SmallVector<Vals> gates(chunk / 8, Vals(4));
  for (auto [tile, z] : llvm::enumerate(gates))
    for (int64_t i = 0; i < 2; ++i) {
      Val t = first + inQuad() * 2 + int64_t(8 * tile + i);
      t = min(t, sequence.end - 1);
      if (isPair) {
        Val pair = b.load(zxbcdt, {t, at + min(p, headdim - 2)}, 2,
                          llvm::Align(isAligned ? 8 : 4));
        z[i] = b.extract(pair, 0);
        z[i + 2] = b.extract(pair, 1);
        continue;
      }
      for (int64_t k = 0; k < 2; ++k)
        z[i + 2 * k] = b.load(zxbcdt, {t, at + min(p + k, headdim - 1)});
    }
  return gates;
}

void ScanChunks::storeOutput(Val first, const Sequence &sequence,
                             ArrayRef<Vals> y, ArrayRef<Vals> gates) {
  Val out = b.buffer("y");
  Val p = warpChannel + quad() * 2, at = warpHead * headdim + p;
  for (int64_t tile = 0; tile < chunk / 8; ++tile)
    for (int64_t i = 0; i < 2; ++i) {
      Val t = first + inQuad() * 2 + (8 * tile + i);
      Val gated[2];
      for (int64_t k = 0; k < 2; ++k)
        gated[k] = y[tile][i + 2 * k] * fastSilu(gates[tile][i + 2 * k]);
      if (headdim % 2 == 0) {
        Val pair = b.concat(b.broadcast(gated[0], 1), b.broadcast(gated[1], 1));
        b.when((t < sequence.end) & (p < headdim),
               [&] { b.store(pair, out, {t, at}, llvm::Align(8)); });
        continue;
      }
      for (int64_t k = 0; k < 2; ++k)
        b.when((t < sequence.end) & (p + k < headdim),
               [&] { b.store(gated[k], out, {t, at + k}); });
    }
}

void ScanChunks::emitChunks(const Sequence &sequence, Val block) {
  Type f32 = b.getF32Type();
  int64_t warps = partChannels / kRows; // of a head
  firstHead = block / parts * blockHeads;
  group = firstHead / (heads / groups);
  Val firstChannel = block % parts * partChannels;
  warpHead = firstHead + b.warp() / warps;
  warpChannel = firstChannel + b.warp() % warps * kRows;
  Val row = b.thread() % rows;
  Val p = firstChannel + row % partChannels;
  Val isOwn = p < headdim;
  channel = (firstHead + row / partChannels) * headdim + min(p, headdim - 1);

  inputs = allocate(4, chunk, paddedState);
  mixing = allocate(2 * blockHeads, chunk, chunk);
  tokens = allocate(4, rows, chunk);
  for (Val *vector : {&sums, &steps, &remaining, &decays})
    *vector = b.dynamicShared({blockHeads, chunk}, f32);

  Convolution conv = getConvolution(sequence, channel);
  weight = conv.weight;
  bias = conv.bias;
  copyGroup(sequence.begin, sequence);

  SmallVector<Vals> state(paddedState / 8, Vals(4));
  accessState(sequence, state, /*isStore=*/false);
  Vals carried;
  for (const Vals &tile : state)
    carried.append(tile);
  size_t numSums = carried.size();
  carried.append(loadTokens(sequence.begin, sequence));
  size_t numTokens = carried.size() - numSums;
  carried.append(loadSteps(sequence.begin, sequence));

  Val head = b.warp() / warps;
  // A lane's row of its warp's 16, and where it loads operands.
  Val inRows = b.lane() % 8 * 2 + b.lane() / 8 % 2;
  Val ofX = getFirst(tokens, 0, b.warp() * kRows + inRows);
  Val ofC = getSecond(inputs, 0, 0), ofM = getSecond(mixing, head * 2, 0);
  Val ofB = getFirst(inputs, 0, b.lane() % 16);
  carried = b.loop(
      sequence.begin, sequence.end, chunk, carried,
      [&](Val first, ArrayRef<Val> values) {
        ArrayRef<Val> raw = values.slice(numSums, numTokens);
        emitDecays(first, sequence, values.drop_front(numSums + numTokens));
        Vals x = convolve(raw);
        b.waitForCopies();
        b.barrier();

        Val ofHead = row / partChannels, l0 = b.thread() / rows * half;
        for (int64_t i = 0; i < half; i += 8) {
          Vals words[4];
          for (int64_t k = i; k < i + 8; k += 2) {
            auto [high, low] = b.split(x[k], x[k + 1]);
            words[0].push_back(high);
            words[1].push_back(low);
            std::tie(high, low) =
                b.split(x[k] * b.load(remaining, {ofHead, l0 + k}),
                        x[k + 1] * b.load(remaining, {ofHead, l0 + (k + 1)}));
            words[2].push_back(high);
            words[3].push_back(low);
          }
          for (int64_t m = 0; m < 4; ++m) {
            auto one = [&](int64_t k) { return b.broadcast(words[m][k], 1); };
            b.store(
                b.concat(b.concat(one(0), one(1)), b.concat(one(2), one(3))),
                tokens.words, {m, row, l0 / 2 + i / 2}, llvm::Align(16));
          }
        }
        emitMixing();
        b.barrier();

        // From the state before.
        SmallVector<Vals> y(chunk / 8, Vals(4, b.constant(f32, 0)));
        MutableArrayRef<Vals> sum(y);
        SmallVector<Vals> state;
        for (size_t i = 0; i < numSums; i += 4)
          state.push_back(Vals(values.slice(i, 4)));
        for (int64_t n = 0; n < paddedState; n += 16) {
          Vals high, low;
          for (int64_t k = 0; k < 4; ++k) {
            const Vals &tile = state[n / 8 + k / 2];
            auto words = b.split(tile[k % 2 * 2], tile[k % 2 * 2 + 1]);
            high.push_back(words.first);
            low.push_back(words.second);
          }
          for (int64_t l = 0; l < chunk; l += 16)
            multiply(high, low, b.loadMatrices(ofC, inputs.offset(2, l, n)),
                     b.loadMatrices(ofC, inputs.offset(3, l, n)),
                     sum.slice(l / 8, 2));
        }
        for (int64_t tile = 0; tile < chunk / 8; ++tile) {
          Val pair = b.load(decays, {head, inQuad() * 2 + 8 * tile}, 2,
                            llvm::Align(8));
          for (int64_t i = 0; i < 4; ++i)
            y[tile][i] = y[tile][i] * b.extract(pair, i % 2);
        }
        // From the chunk itself.
        for (int64_t j = 0; j < chunk; j += 16) {
          Vals high = b.loadMatrices(ofX, tokens.offset(0, 0, j));
          Vals low = b.loadMatrices(ofX, tokens.offset(1, 0, j));
          for (int64_t l = j; l < chunk; l += 16)
            multiply(high, low, b.loadMatrices(ofM, mixing.offset(0, l, j)),
                     b.loadMatrices(ofM, mixing.offset(1, l, j)),
                     sum.slice(l / 8, 2));
        }
        // For later, while the tensor cores are busy.
        SmallVector<Vals> gates = loadGates(first, sequence);
        Vals next = loadTokens(first + chunk, sequence);
        next.append(loadSteps(first + chunk, sequence));

        // The state after.
        Val decay = b.load(decays, {head, chunk - 1});
        for (Vals &tile : state)
          for (Val &s : tile)
            s = s * decay;
        for (int64_t j = 0; j < chunk; j += 16) {
          Vals high = b.loadMatrices(ofX, tokens.offset(2, 0, j));
          Vals low = b.loadMatrices(ofX, tokens.offset(3, 0, j));
          for (int64_t n = 0; n < paddedState; n += 16)
            multiply(high, low,
                     b.loadMatrices(ofB, inputs.offset(0, j, n), true),
                     b.loadMatrices(ofB, inputs.offset(1, j, n), true),
                     MutableArrayRef<Vals>(state).slice(n / 8, 2));
        }
        b.barrier();
        copyGroup(first + chunk, sequence);
        storeOutput(first, sequence, y, gates);

        Vals result;
        for (const Vals &tile : state)
          result.append(tile);
        result.append(next);
        return result;
      });
  b.waitForCopies();
  for (size_t i = 0; i < numSums; i += 4)
    state[i / 4] = Vals(ArrayRef<Val>(carried).slice(i, 4));
  accessState(sequence, state, /*isStore=*/true);
  Vals window = conv.window();
  b.when((b.thread() < rows) & isOwn, [&] { conv.replaceState(window); });
}

bool cuda::emitScanChunks(SimtBuilder &b, mamba::ScanOp op) {
  ScanChunks chunks(b, op);
  if (chunks.fits())
    chunks.emit();
  return chunks.fits();
}
