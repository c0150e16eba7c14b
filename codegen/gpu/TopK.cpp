//===- TopK.cpp - the best logits of a row ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/TopK.h"
#include "codegen/gpu/Kernels.h"
#include "passes/KernelSignature.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

static constexpr int64_t kThreads = 256;

/// The greatest of the warp's ranks: by the upper halves, then, of those that
/// have the greatest, by the lower.
static Val greatestOfWarp(SimtBuilder &b, Val rank) {
  Val upper = b.toInteger(rank >> 32, 32);
  // As signed, which orders complements of tokens alike.
  Val lower = b.toInteger(rank, 32);
  Val most = b.reduceWarp(upper, SimtBuilder::Reduction::max);
  lower = select(upper == most, lower, double(INT32_MIN));
  lower = b.reduceWarp(lower, SimtBuilder::Reduction::max);
  return b.toInteger(most, 64) << 32 | b.zeroExtend(lower, b.getI64Type());
}

/// Calls found(i, rank), by one thread, for the best `count` in order of what
/// the threads hold.
static void findBest(SimtBuilder &b, int64_t count, int64_t threads,
                     ArrayRef<Val> ranks,
                     function_ref<void(Val i, Val rank)> found) {
  int64_t warps = threads / SimtBuilder::kWarp;
  // What is found next is not written where the slowest warp still reads.
  Val ofWarps = b.shared({2, warps}, b.getI64Type());
  b.loop(0, count, 1, TopK::limit(b), [&](Val i, ArrayRef<Val> last) -> Vals {
    Val best = TopK::none(b);
    for (Val rank : ranks)
      best = max(TopK::below(rank, last[0]), best);
    best = greatestOfWarp(b, best);
    if (warps > 1) {
      b.when(b.lane() == 0, [&] { b.store(best, ofWarps, {i % 2, b.warp()}); });
      b.barrier();
      for (int64_t warp = 0; warp < warps; ++warp)
        best = max(b.load(ofWarps, {i % 2, warp}), best);
    }
    b.when(b.thread() == 0, [&] { found(i, best); });
    return {best};
  });
}

void cuda::emitTopK(SimtBuilder &b, mamba::TopKOp op) {
  TopK topK(op);
  auto parts = [&](ArrayRef<Val> tile) {
    b.waitForPrevious();
    Val row = tile[0], logits = b.buffer("logits"), best = b.buffer("best");
    Vals ranks;
    for (int64_t first = 0; first < kTopKPart; first += kThreads) {
      Val token = tile[1] * kTopKPart + (b.thread() + first);
      Val logit = b.load(logits, {row, min(token, topK.vocab - 1)});
      ranks.push_back(select(token < topK.vocab,
                             TopK::rank(logit, b.toInteger(token, 32)),
                             TopK::none(b)));
    }
    findBest(b, topK.count, kThreads, ranks, [&](Val i, Val rank) {
      b.store(rank, best, {row, tile[1] * topK.count + i});
    });
  };
  int64_t candidates = topK.getCandidates();
  int64_t threads = std::min(
      kThreads, int64_t(llvm::alignTo(candidates, SimtBuilder::kWarp)));
  auto merge = [&](ArrayRef<Val> tile) {
    b.waitForPrevious();
    Val row = tile[0], best = b.buffer("best");
    Vals ranks;
    for (int64_t first = 0; first < candidates; first += threads) {
      Val i = b.thread() + first;
      ranks.push_back(select(i < candidates,
                             b.load(best, {row, min(i, candidates - 1)}),
                             TopK::none(b)));
    }
    findBest(b, topK.count, threads, ranks,
             [&](Val i, Val rank) { TopK::store(b, row, i, rank); });
  };
  GridTerm rows{plan::Dim::rows};
  b.phase("parts", {rows, {plan::Dim::none, topK.vocab, kTopKPart}}, kThreads,
          parts);
  b.phase("merge", {rows}, threads, merge);
}
