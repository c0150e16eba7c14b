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
// "inputs" and "products" leave in `xbc` what many blocks need: the halves of B
// and C after their convolution, the exponentials of each head, and the
// products C_l·B_j of each group. "chunks" walks over the chunks of a sequence;
// a block has a head, or some channels of a large one; a warp has 16 channels,
// the rows of all its products: yᵀ = Sᵀ·Cᵀ + xᵀ·Mᵀ and Sᵀ. So the sums that are
// Sᵀ, rows of channels, are as they lie the first operand of Sᵀ·Cᵀ.
//
// Row i < 8 of a warp's 16 is channel 2i, row i + 8 channel 2i + 1: a lane has
// pairs of adjacent channels. Column 2i of 8 is in lane i of a quad, as is
// column 2i + 1: a lane has the same tokens of x and of y.
//
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Scan.h"
#include "passes/KernelSignature.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

namespace {
constexpr int64_t kRows = 16; // channels of a warp
constexpr int64_t kMaxWarps = 4;
constexpr int64_t kPieceWords = 4;
/// Tokens of a chunk; a lane of a warp may have one.
constexpr int64_t kChunk = kScanChunk;
static_assert(kChunk == SimtBuilder::kWarp);
/// Adjacent tokens of B or C that a thread convolves together.
constexpr int64_t kRun = 8;
static_assert(kChunk % kRun == 0);
constexpr double kLog2E = 1.4426950408889634;

class ScanChunks : cuda::ScanStrategy {
public:
  ScanChunks(SimtBuilder &b, mamba::ScanOp op);
  bool fits() const;
  void emit();

private:
  /// Matrices of halves in shared memory, in pieces of 16 bytes: the first
  /// piece of all rows, then the second.
  struct Matrices {
    Val words;
    int64_t rows, pieces; // a matrix; pieces of a row

    /// The bytes from the first element to that of a constant place.
    int64_t offset(int64_t matrix, int64_t row, int64_t column) const {
      return ((matrix * pieces + column / 8) * rows + row) * kPieceWords * 4;
    }
  };
  /// 16 columns of a first operand: the words of a lane.
  struct Halves {
    Vals high, low;
  };
  /// A second operand: two matrices, its halves. Its columns lie as rows,
  /// unless it is the other way round.
  struct Second {
    const Matrices &matrices;
    int64_t high;
    bool transposed;
    Val lane; // where a lane loads from
  };
  Matrices allocate(int64_t count, int64_t rows, int64_t columns);
  Second getSecond(const Matrices &m, int64_t high, bool transposed = false);
  /// sums += 16 columns of a times those rows of b from k on; sums[0] is of
  /// column `from` of b.
  void multiply(const Halves &a, const Second &b, int64_t k, int64_t from,
                MutableArrayRef<Vals> sums);
  Halves split(ArrayRef<Val> values);

  /// Tokens of a sequence, kChunk of them but at its end.
  struct Chunk {
    Val first, tokens;
  };
  Chunk getChunk(const Sequence &sequence, Val first) {
    return {first, min(sequence.end - first, kChunk)};
  }
  // What lies where in `xbc`, as words.
  enum Matrix { ofB, ofC };
  Val getMatrix(const Chunk &of, Matrix matrix, Val ofGroup);
  Val getProducts(Val token, Val ofGroup);
  enum Step { sum, delta, decay, remaining, kSteps };
  Val getSteps(Val ofHead, const Operand &step);

  void emitGroupInputs(const Sequence &sequence, Val part, int64_t splits,
                       Val tile);
  void emitSteps(const Sequence &sequence, Val part, int64_t splits,
                 Val ofHead);
  void emitProducts(const Sequence &sequence, Val part, int64_t splits,
                    Val ofGroup);
  void emitChunks(const Sequence &sequence, Val block);

  void emitRounds(int64_t columns, int64_t rows,
                  function_ref<void(Val column, Val row, int64_t more)> body);
  void copyMatrix(const Chunk &of, const Matrices &to, int64_t high,
                  Matrix matrix, Val ofGroup);
  void copySteps(const Chunk &of, int64_t from, int64_t to);
  void copyTokens(const Chunk &of, bool isFirst);
  Val getToken(Val token, Val channel);
  Val atToken(Val address, Val row, int64_t more, Val last);
  void loadHistory(const Sequence &sequence);
  Vals convolve(int64_t tile);
  void forPieces(function_ref<void(Val piece)> body);
  Vals loadProducts(const Chunk &of);
  void emitMixing(ArrayRef<Val> products);
  void accessState(const Sequence &sequence, MutableArrayRef<Vals> state,
                   bool isStore);
  void copyGates(const Chunk &of);
  void storeOutput(const Chunk &of, ArrayRef<Vals> y);

  Val fastSilu(Val x) {
    return x * b.fastReciprocal(b.fastExp2(x * -kLog2E) + 1.0);
  }
  /// A lane's number in its quad, and that of the quad.
  Val inQuad() { return b.lane() % 4; }
  Val quad() { return b.lane() / 4; }
  /// Of a row of x: so that the tokens of a quad lie in other banks.
  int64_t rawWords() const { return partChannels + 4; }
  /// Of a thread, about: the state, y, x and what the products need.
  int64_t registers() const {
    return std::max<int64_t>(paddedState / 2 + kChunk + 72, 168);
  }
  /// Of a token in zxbcdt.
  int64_t rowWidth() const { return inner + channels + heads; }
  bool isWhole() const { return headdim % partChannels == 0; }

  int64_t paddedState;          // a multiple of 16
  int64_t partChannels;         // of a head to a block, a multiple of 16
  int64_t parts;                // of a head
  int64_t threads, sharedBytes; // of a block of "chunks"
  // Of the block: its group, its head, the first channel of the block and of a
  // warp.
  Val group, warpHead, blockChannel, warpChannel;
  /// Of a lane's two channels.
  Convolution convs[2];
  /// B and C, each high and low; M, high and low.
  Matrices inputs, mixing;
  /// x before the convolution, from the tokens before the chunk on; by step and
  /// token; by place and thread.
  Val raw, steps, gates;
};
} // namespace

ScanChunks::ScanChunks(SimtBuilder &b, mamba::ScanOp op) : ScanStrategy(b, op) {
  paddedState = llvm::alignTo(stateSize, 16);
  partChannels =
      std::min<int64_t>(llvm::alignTo(headdim, kRows), kMaxWarps * kRows);
  parts = llvm::divideCeilSigned(headdim, partChannels);
  threads = partChannels / kRows * SimtBuilder::kWarp;

  sharedBytes = (4 * kChunk * paddedState + 2 * kChunk * kChunk) * 2 +
                ((kChunk + taps - 1) * rawWords() + kChunk * partChannels +
                 kSteps * kChunk) *
                    4;
}

bool ScanChunks::fits() const {
  return b.targetHas(Capability::bf16Mma) &&
         sharedBytes <= b.getTarget().gpu.sharedBytes && taps - 1 <= kChunk &&
         registers() <= 255;
}

void ScanChunks::emit() {
  // The last inputs of a token may be of the state before: the block that
  // replaces it must be the only one that reads it.
  constexpr int64_t kWarps = 16, kInputSplits = 16, kSplits = 32;
  static_assert(kWarps * kRun >= kChunk, "the first block has all of those");
  int64_t pairTiles =
      llvm::divideCeilSigned(groups * paddedState, SimtBuilder::kWarp);
  int64_t headTiles = llvm::divideCeilSigned(heads, kWarps);
  b.phase(
      "inputs",
      {{plan::Dim::sequences},
       {plan::Dim::none, kInputSplits},
       {plan::Dim::none, pairTiles + headTiles}},
      kWarps * SimtBuilder::kWarp,
      [&](ArrayRef<Val> tile) {
        b.fitBlocks(2);
        b.waitForPrevious();
        Sequence sequence = getSequence(tile[0]);
        b.when(sequence.begin + 1 < sequence.end, [&] {
          b.when(
              tile[2] < pairTiles,
              [&] {
                emitGroupInputs(sequence, tile[1], kInputSplits, tile[2]);
              },
              [&] {
                Val ofHead = (tile[2] - pairTiles) * kWarps + b.warp();
                b.when(ofHead < heads, [&] {
                  emitSteps(sequence, tile[1], kInputSplits, ofHead);
                });
              });
        });
      },
      Condition::several());

  b.phase(
      "products",
      {{plan::Dim::sequences},
       {plan::Dim::none, kSplits},
       {plan::Dim::none, groups}},
      kChunk / kRows * SimtBuilder::kWarp,
      [&](ArrayRef<Val> tile) {
        b.waitForPrevious();
        Sequence sequence = getSequence(tile[0]);
        b.when(sequence.begin + 1 < sequence.end,
               [&] { emitProducts(sequence, tile[1], kSplits, tile[2]); });
      },
      Condition::several());

  b.phase(
      "chunks", {{plan::Dim::sequences}, {plan::Dim::none, heads * parts}},
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
  int64_t pieces = columns / 8;
  return {b.dynamicShared({count * pieces, rows, kPieceWords}, b.getI32Type()),
          rows, pieces};
}

ScanChunks::Second ScanChunks::getSecond(const Matrices &m, int64_t high,
                                         bool transposed) {
  // Two times two matrices of 8 x 8: along the products' terms first.
  Val inRow = b.lane() % 8, terms = b.lane() / 8 % 2, columns = b.lane() / 16;
  SmallVector<Operand> at =
      transposed ? SmallVector<Operand>{columns, terms * 8 + inRow, 0}
                 : SmallVector<Operand>{terms, columns * 8 + inRow, 0};
  return {m, high, transposed, b.address(m.words, at)};
}

void ScanChunks::multiply(const Halves &a, const Second &second, int64_t k,
                          int64_t from, MutableArrayRef<Vals> sums) {
  // Some tiles of 8 columns together, so that products need not wait for each
  // other.
  constexpr size_t kTogether = 4;
  for (size_t first = 0; first < sums.size(); first += kTogether) {
    size_t count = std::min(kTogether, sums.size() - first);
    Vals halves[2];
    for (int64_t half = 0; half < 2; ++half)
      for (size_t tile = first; tile < first + count; tile += 2) {
        int64_t column = from + int64_t(tile) * 8;
        auto [row, at] =
            second.transposed ? std::pair(k, column) : std::pair(column, k);
        halves[half].append(b.loadMatrices(
            second.lane, second.matrices.offset(second.high + half, row, at),
            second.transposed));
      }
    auto add = [&](const Vals &words, const Vals &terms) {
      for (size_t i = 0; i < count; ++i)
        sums[first + i] = b.mmaHalves(words, {terms[2 * i], terms[2 * i + 1]},
                                      sums[first + i]);
    };
    add(a.low, halves[0]);
    add(a.high, halves[1]);
    add(a.high, halves[0]);
  }
}

/// Of values in the order of the words, two a word.
ScanChunks::Halves ScanChunks::split(ArrayRef<Val> values) {
  Halves result;
  for (size_t i = 0; i < values.size(); i += 2) {
    auto [high, low] = b.split(values[i], values[i + 1]);
    result.high.push_back(high);
    result.low.push_back(low);
  }
  return result;
}

//===--------------------------------------------------------------------===//
// What many blocks need
//===--------------------------------------------------------------------===//

/// Where a matrix of halves begins, the low ones behind the high ones: pieces
/// of 16 bytes, the first of all tokens of the chunk, then the second.
Val ScanChunks::getMatrix(const Chunk &of, Matrix matrix, Val ofGroup) {
  Val number = ofGroup + int64_t(matrix) * groups;
  return (of.first * (2 * groups) + of.tokens * number) * paddedState;
}

/// Where a token's products with all tokens of its chunk begin.
Val ScanChunks::getProducts(Val token, Val ofGroup) {
  return b.extent(plan::Dim::tokens) * (2 * groups * paddedState) +
         (token * groups + ofGroup) * kScanChunk;
}

/// Where those of all tokens begin.
Val ScanChunks::getSteps(Val ofHead, const Operand &step) {
  Val before =
      groups * (2 * paddedState + kScanChunk) + ofHead * int64_t(kSteps) + step;
  return b.extent(plan::Dim::tokens) * before;
}

/// The halves of B and C, of some pairs of their channels.
void ScanChunks::emitGroupInputs(const Sequence &sequence, Val part,
                                 int64_t splits, Val tile) {
  int64_t warps = b.numWarps(), pairs = groups * paddedState;
  Val pair = tile * SimtBuilder::kWarp + b.lane();
  Val isThere = pair < pairs;
  pair = min(pair, pairs - 1);
  // Of B or C, then of the group.
  Val matrix = pair / (paddedState / 2);
  Val n = pair % (paddedState / 2) * 2;
  Convolution convs[2];
  for (int64_t i = 0; i < 2; ++i)
    convs[i] = getConvolution(sequence, matrix * stateSize +
                                            min(n + i, stateSize - 1) + inner);
  Val out = b.flat(b.buffer("xbc"));
  b.loop(
      sequence.begin + (part * warps + b.warp()) * kRun, sequence.end,
      warps * splits * kRun, [&](Val first) {
        Vals raw[2];
        for (int64_t i = 0; i < 2; ++i)
          for (int64_t w = 1 - taps; w < kRun; ++w)
            raw[i].push_back(convs[i].input(first + w, /*maybeOfState=*/w < 0));
        Val row = (first - sequence.begin) % kChunk;
        Chunk of = getChunk(sequence, first - row);
        Val at = getMatrix(of, ofB, matrix) +
                 (n / 8 * of.tokens + row) * kPieceWords + n % 8 / 2;
        for (int64_t t = 0; t < kRun; ++t) {
          Vals x;
          for (int64_t i = 0; i < 2; ++i) {
            Val y = fastSilu(convs[i].of(ArrayRef<Val>(raw[i]).slice(t, taps)));
            x.push_back(select(n + i < stateSize, y, 0.0));
          }
          Halves halves = split(x);
          b.when(isThere & (row + t < of.tokens), [&] {
            Type f32 = b.getF32Type();
            Val word = at + t * kPieceWords;
            b.store(b.bitcast(halves.high[0], f32), out, {word});
            b.store(b.bitcast(halves.low[0], f32), out,
                    {word + of.tokens * (paddedState / 2)});
          });
        }
      });
  Vals windows[2];
  for (int64_t i = 0; i < 2; ++i)
    windows[i] = convs[i].window();
  b.barrier();
  b.when((b.warp() == 0) & (part == 0) & isThere, [&] {
    for (int64_t i = 0; i < 2; ++i)
      b.when(n + i < stateSize, [&] { convs[i].replaceState(windows[i]); });
  });
}

/// Of a head by a warp: s and δ, exp(s), exp(s_Q − s)·δ, with s in powers of 2.
void ScanChunks::emitSteps(const Sequence &sequence, Val part, int64_t splits,
                           Val ofHead) {
  Val a = b.load(b.buffer("A"), {ofHead}) * kLog2E;
  Val out = b.flat(b.buffer("xbc"));
  b.loop(sequence.begin + part * kChunk, sequence.end, kChunk * splits,
         [&](Val first) {
           Val t = first + b.lane();
           Val isThere = t < sequence.end;
           Val values[kSteps];
           values[delta] = select(
               isThere, getStep(getRawStep(min(t, sequence.end - 1), ofHead)),
               0.0);
           Val s = values[delta] * a;
           for (int64_t distance = 1; distance < kChunk; distance *= 2)
             s = select(b.lane() < distance, s, s + b.shuffleUp(s, distance));
           values[sum] = s;
           values[decay] = b.fastExp2(s);
           values[remaining] =
               b.fastExp2(b.broadcastLane(s, kChunk - 1) - s) * values[delta];
           b.when(isThere, [&] {
             for (int64_t step = 0; step < kSteps; ++step)
               b.store(values[step], out, {getSteps(ofHead, step) + t});
           });
         });
}

/// The C_l·B_j of j ≤ l, of a group; a warp has 16 rows.
void ScanChunks::emitProducts(const Sequence &sequence, Val part,
                              int64_t splits, Val ofGroup) {
  inputs = allocate(4, kChunk, paddedState);
  Second bs = getSecond(inputs, 0);
  Val l0 = b.warp() * kRows;
  Val c = b.address(inputs.words, {b.lane() / 16, l0 + b.lane() % 16, 0});
  Val out = b.flat(b.buffer("xbc"));
  b.loop(sequence.begin + part * kChunk, sequence.end, kChunk * splits,
         [&](Val first) {
           Chunk of = getChunk(sequence, first);
           copyMatrix(of, inputs, 0, ofB, ofGroup);
           copyMatrix(of, inputs, 2, ofC, ofGroup);
           b.waitForCopies();
           b.barrier();
           for (int64_t j = 0; j < kChunk; j += 16)
             b.when(l0 > j - 1, [&] {
               SmallVector<Vals> g(2, Vals(4, b.constant(b.getF32Type(), 0)));
               for (int64_t n = 0; n < paddedState; n += 16)
                 multiply({b.loadMatrices(c, inputs.offset(2, 0, n)),
                           b.loadMatrices(c, inputs.offset(3, 0, n))},
                          bs, n, j, g);
               for (int64_t below = 0; below < 2; ++below) {
                 Val l = l0 + quad() + 8 * below;
                 b.when(l < of.tokens, [&] {
                   Val at = getProducts(first + l, ofGroup) + inQuad() * 2 + j;
                   for (int64_t right = 0; right < 2; ++right)
                     b.store(b.concat(b.broadcast(g[right][2 * below], 1),
                                      b.broadcast(g[right][2 * below + 1], 1)),
                             out, {at + 8 * right}, llvm::Align(8));
                 });
               }
             });
           b.barrier();
         });
}

//===--------------------------------------------------------------------===//
// Copies to shared memory
//===--------------------------------------------------------------------===//

/// Shares out rows and columns among the threads, adjacent rows to adjacent
/// threads. `body` gets a row and a column, which is so many columns more.
void ScanChunks::emitRounds(
    int64_t columns, int64_t numRows,
    function_ref<void(Val column, Val row, int64_t more)> body) {
  int64_t threads = b.numThreads();
  if (threads % numRows != 0)
    return b.loop(b.thread(), columns * numRows, threads,
                  [&](Val i) { body(i / numRows, i % numRows, 0); });
  Val column = b.thread() / numRows, row = b.thread() % numRows;
  for (int64_t more = 0; more < columns; more += threads / numRows)
    if (more + threads / numRows <= columns)
      body(column, row, more);
    else
      b.when(column < columns - more, [&] { body(column, row, more); });
}

/// A matrix of halves, zeros behind the last token.
void ScanChunks::copyMatrix(const Chunk &of, const Matrices &to, int64_t high,
                            Matrix matrix, Val ofGroup) {
  Val words = b.flat(b.buffer("xbc"));
  Val start = getMatrix(of, matrix, ofGroup);
  emitRounds(2 * to.pieces, kChunk, [&](Val piece, Val row, int64_t more) {
    Val at = b.address(to.words, {piece, row, 0});
    Val from =
        b.address(words, {start + (piece * of.tokens + row) * kPieceWords});
    b.copyAsync(b.advance(at, to.offset(high, 0, more * 8)),
                b.advance(from, of.tokens * (more * kPieceWords * 4)), 16,
                select(row < of.tokens, b.constant(b.getI32Type(), 16), 0));
  });
}

/// Steps from one on up to another, zeros behind the last token.
void ScanChunks::copySteps(const Chunk &of, int64_t from, int64_t to) {
  Val words = b.flat(b.buffer("xbc"));
  emitRounds(to - from, kChunk, [&](Val step, Val row, int64_t more) {
    step = step + (more + from);
    b.copyAsync(b.address(steps, {step, row}),
                b.address(words, {getSteps(warpHead, step) + of.first + row}),
                4, select(row < of.tokens, b.constant(b.getI32Type(), 4), 0));
  });
}

/// Where a channel of a token lies.
Val ScanChunks::getToken(Val token, Val channel) {
  return b.address(b.buffer("zxbcdt"), {token, channel});
}

/// That of so many tokens behind, but for those behind the last.
Val ScanChunks::atToken(Val address, Val row, int64_t more, Val last) {
  Val clamped = min(b.toInteger(row, 32) + more, b.toInteger(last, 32));
  return b.advance(address, b.toIndex(clamped) * (rowWidth() * 4));
}

/// x of a chunk and, but for a sequence's first one, of the tokens before that
/// the convolution needs.
void ScanChunks::copyTokens(const Chunk &of, bool isFirst) {
  // As many channels at once as all rows are aligned for.
  int64_t width = headdim % 4 == 0 && (channels + heads) % 4 == 0 ? 4 : 1;
  int64_t skipped = isFirst ? taps - 1 : 0, before = taps - 1 - skipped;
  emitRounds(kChunk + before, partChannels / width,
             [&](Val row, Val piece, int64_t more) {
               Val channel = piece * width;
               Val p = min(blockChannel + channel, headdim - width);
               Val from =
                   getToken(of.first - before, warpHead * headdim + p + inner);
               Val last = of.tokens + (before - 1);
               b.copyAsync(b.advance(b.address(raw, {row + skipped, channel}),
                                     more * rawWords() * 4),
                           atToken(from, row, more, last), 4 * width);
             });
}

/// The inputs before a sequence.
void ScanChunks::loadHistory(const Sequence &sequence) {
  if (taps == 1)
    return;
  emitRounds(taps - 1, partChannels, [&](Val row, Val channel, int64_t more) {
    row = row + more;
    Val p = min(blockChannel + channel, headdim - 1);
    b.store(b.load(b.buffer("conv_state"),
                   {sequence.slot, row, warpHead * headdim + p}),
            raw, {row, channel});
  });
}

//===--------------------------------------------------------------------===//
// A chunk
//===--------------------------------------------------------------------===//

/// Of tokens 8·tile … 8·tile + 7 those of a lane, as its sums lie.
Vals ScanChunks::convolve(int64_t tile) {
  Vals x(4);
  Val at = b.warp() * kRows + quad() * 2;
  Vals window;
  for (int64_t w = 0; w < taps + 1; ++w)
    window.push_back(
        b.load(raw, {inQuad() * 2 + (8 * tile + w), at}, 2, llvm::Align(8)));
  for (int64_t k = 0; k < 2; ++k) {
    Vals ofChannel;
    for (Val pair : window)
      ofChannel.push_back(b.extract(pair, k));
    for (int64_t i = 0; i < 2; ++i)
      x[2 * k + i] =
          fastSilu(convs[k].of(ArrayRef<Val>(ofChannel).slice(i, taps)));
  }
  return x;
}

/// Shares out the pieces of a row of M among the warps; a lane has a row.
void ScanChunks::forPieces(function_ref<void(Val piece)> body) {
  for (int64_t round = 0; round < mixing.pieces; round += b.numWarps())
    // The last one may be made twice.
    body(min(b.warp() + round, mixing.pieces - 1));
}

/// A lane's products for its pieces.
Vals ScanChunks::loadProducts(const Chunk &of) {
  Val words = b.flat(b.buffer("xbc"));
  Vals products;
  Val l = min(b.lane(), of.tokens - 1);
  Val row = getProducts(of.first + l, group);
  Val lastPiece = l / kRows * (kRows / 8) + (kRows / 8 - 1); // that there is
  forPieces([&](Val piece) {
    Val at = row + min(piece, lastPiece) * 8;
    for (int64_t i = 0; i < 8; i += 4)
      products.push_back(b.load(words, {at + i}, 4, llvm::Align(16)));
  });
  return products;
}

/// M_lj = (C_l·B_j) exp(s_l − s_j) δ_j for j ≤ l, and D more for j = l.
void ScanChunks::emitMixing(ArrayRef<Val> products) {
  Val d = b.load(b.buffer("D"), {warpHead});
  Val l = b.lane(), sumL = b.load(steps, {int64_t(sum), l});
  forPieces([&](Val piece) {
    Vals m;
    for (int64_t i = 0; i < 8; i += 4) {
      Val j = piece * 8 + i;
      auto load = [&](int64_t step) {
        return b.load(steps, {step, j}, 4, llvm::Align(16));
      };
      Val product = products.front(), sums = load(sum), deltas = load(delta);
      products = products.drop_front();
      for (int64_t k = 0; k < 4; ++k) {
        Val value = b.extract(product, k) *
                    b.fastExp2(sumL - b.extract(sums, k)) *
                    b.extract(deltas, k);
        value = select(l < j + k, 0.0, value);
        m.push_back(select(l == j + k, value + d, value));
      }
    }
    Halves halves = split(m);
    b.store(b.gather(halves.high), mixing.words, {piece, l, 0},
            llvm::Align(16));
    b.store(b.gather(halves.low), mixing.words, {piece + mixing.pieces, l, 0},
            llvm::Align(16));
  });
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

/// The gates of a thread's outputs: of tile i, tokens 8i … 8i + 7, in the order
/// of its sums, each in a place of the thread alone.
void ScanChunks::copyGates(const Chunk &of) {
  bool together = headdim % 2 == 0 && (channels + heads) % 2 == 0;
  int64_t width = together ? 2 : 1;
  for (int64_t k = 0; k < 2; k += width) {
    Val p = min(warpChannel + quad() * 2 + k, headdim - width);
    Val from = getToken(of.first, warpHead * headdim + p);
    for (int64_t i = 0; i < kChunk / 4; ++i)
      b.copyAsync(b.address(gates, {i, b.thread(), k}),
                  atToken(from, inQuad() * 2, i / 2 * 8 + i % 2, of.tokens - 1),
                  4 * width);
  }
}

void ScanChunks::storeOutput(const Chunk &of, ArrayRef<Vals> y) {
  Val out = b.buffer("y");
  Val p = warpChannel + quad() * 2, at = warpHead * headdim + p;
  for (int64_t i = 0; i < kChunk / 4; ++i) {
    Val row = inQuad() * 2 + (i / 2 * 8 + i % 2), t = of.first + row;
    Val z = b.load(gates, {i, b.thread(), 0}, 2, llvm::Align(8));
    Val gated[2];
    for (int64_t k = 0; k < 2; ++k)
      gated[k] = y[i / 2][i % 2 + 2 * k] * fastSilu(b.extract(z, k));
    if (headdim % 2 == 0) {
      Val pair = b.concat(b.broadcast(gated[0], 1), b.broadcast(gated[1], 1));
      b.when((row < of.tokens) & (p < headdim),
             [&] { b.store(pair, out, {t, at}, llvm::Align(8)); });
      continue;
    }
    for (int64_t k = 0; k < 2; ++k)
      b.when((row < of.tokens) & (p + k < headdim),
             [&] { b.store(gated[k], out, {t, at + k}); });
  }
}

void ScanChunks::emitChunks(const Sequence &sequence, Val block) {
  Type f32 = b.getF32Type();
  warpHead = block / parts;
  group = warpHead / (heads / groups);
  blockChannel = block % parts * partChannels;
  warpChannel = blockChannel + b.warp() * kRows;
  for (int64_t k = 0; k < 2; ++k) {
    Val p = min(warpChannel + quad() * 2 + k, headdim - 1);
    convs[k] = getConvolution(sequence, warpHead * headdim + p);
  }

  // As many blocks together as have room.
  const GpuLimits &limits = b.getTarget().gpu;
  constexpr int64_t kReserved = 1024; // bytes of a block
  b.fitBlocks(std::max<int64_t>(
      1,
      std::min(limits.registers / (threads * registers()),
               (limits.sharedBytes + kReserved) / (sharedBytes + kReserved))));

  inputs = allocate(4, kChunk, paddedState);
  mixing = allocate(2, kChunk, kChunk);
  raw = b.dynamicShared({kChunk + taps - 1, rawWords()}, f32);
  steps = b.dynamicShared({kSteps, kChunk}, f32);
  gates = b.dynamicShared({kChunk / 4, threads, 2}, f32);

  // B and what goes with it is there when C is no longer needed, and the other
  // way round.
  auto copyForState = [&](const Chunk &of) {
    copyMatrix(of, inputs, 2, ofC, group);
    copySteps(of, sum, remaining);
  };
  auto copyForTokens = [&](const Chunk &of) {
    copyMatrix(of, inputs, 0, ofB, group);
    copySteps(of, remaining, kSteps);
  };
  copyForState(getChunk(sequence, sequence.begin));
  copyTokens(getChunk(sequence, sequence.begin), /*isFirst=*/true);
  loadHistory(sequence);

  SmallVector<Vals> state(paddedState / 8, Vals(4));
  accessState(sequence, state, /*isStore=*/false);
  Vals carried;
  for (const Vals &tile : state)
    carried.append(tile);

  Second bs = getSecond(inputs, 0, /*transposed=*/true);
  Second cs = getSecond(inputs, 2), ms = getSecond(mixing, 0);
  carried = b.loop(
      sequence.begin, sequence.end, kChunk, carried,
      [&](Val first, ArrayRef<Val> values) {
        Chunk of = getChunk(sequence, first);
        Vals products = loadProducts(of);
        b.waitForCopies();
        b.barrier();
        copyForTokens(of);
        b.commitCopies();
        copyGates(of);
        b.commitCopies();

        // From the state before.
        SmallVector<Vals> y(kChunk / 8, Vals(4, b.constant(f32, 0))), state;
        MutableArrayRef<Vals> sums(y);
        for (size_t i = 0; i < values.size(); i += 4)
          state.push_back(Vals(values.slice(i, 4)));
        for (int64_t n = 0; n < paddedState; n += 16) {
          Vals columns = state[n / 8];
          columns.append(state[n / 8 + 1]);
          multiply(split(columns), cs, n, 0, sums);
        }
        for (int64_t tile = 0; tile < kChunk / 8; ++tile) {
          Val decays = b.load(steps, {int64_t(decay), inQuad() * 2 + 8 * tile},
                              2, llvm::Align(8));
          for (int64_t i = 0; i < 4; ++i)
            y[tile][i] = y[tile][i] * b.extract(decays, i % 2);
        }
        Val whole = b.load(steps, {int64_t(decay), of.tokens - 1});
        for (Vals &tile : state)
          for (Val &s : tile)
            s = s * whole;

        emitMixing(products);
        SmallVector<Vals> x;
        for (int64_t tile = 0; tile < kChunk / 8; ++tile)
          x.push_back(convolve(tile));
        b.waitForCopies(1); // but for the gates
        b.barrier();

        Val next = first + kChunk;
        b.when(next < sequence.end, [&] {
          Chunk ofNext = getChunk(sequence, next);
          copyForState(ofNext);
          copyTokens(ofNext, /*isFirst=*/false);
        });
        b.commitCopies();

        // From the chunk itself, and the state after.
        for (int64_t j = 0; j < kChunk; j += 16) {
          Vals columns, weighted;
          for (int64_t tile = j / 8; tile < j / 8 + 2; ++tile) {
            Val weight =
                b.load(steps, {int64_t(remaining), inQuad() * 2 + 8 * tile}, 2,
                       llvm::Align(8));
            columns.append(x[tile]);
            for (int64_t i = 0; i < 4; ++i)
              weighted.push_back(x[tile][i] * b.extract(weight, i % 2));
          }
          multiply(split(columns), ms, j, j, sums.drop_front(j / 8));
          multiply(split(weighted), bs, j, 0, state);
        }
        b.waitForCopies(1); // but for the next chunk
        storeOutput(of, y);

        Vals result;
        for (const Vals &tile : state)
          result.append(tile);
        return result;
      });
  for (size_t i = 0; i < carried.size(); i += 4)
    state[i / 4] = Vals(ArrayRef<Val>(carried).slice(i, 4));
  accessState(sequence, state, /*isStore=*/true);

  // The new inputs before.
  Val p = blockChannel + b.thread();
  b.when((b.thread() < partChannels) & (p < headdim), [&] {
    Convolution conv = getConvolution(sequence, warpHead * headdim + p);
    conv.replaceState(conv.window());
  });
}

bool cuda::emitScanChunks(SimtBuilder &b, mamba::ScanOp op) {
  ScanChunks chunks(b, op);
  if (chunks.fits())
    chunks.emit();
  return chunks.fits();
}
