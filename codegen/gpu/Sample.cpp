//===- Sample.cpp - draws a token of a row of logits --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Sample.h"
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

static Val greatest(ArrayRef<Val> ranks) {
  size_t half = ranks.size() / 2;
  return half == 0 ? ranks[0]
                   : max(greatest(ranks.take_front(half)),
                         greatest(ranks.drop_front(half)));
}

/// Calls found(i, rank), by one thread, for the best `count` in order of what
/// the block's threads hold.
static void findBest(SimtBuilder &b, Val count, ArrayRef<Val> ranks,
                     function_ref<void(Val i, Val rank)> found) {
  // What is found next is not written where the slowest warp still reads.
  Val ofWarps = b.shared({2, b.numWarps()}, b.getI64Type());
  Val ofWarp = greatestOfWarp(b, greatest(ranks));
  b.loop(0, count, 1, ofWarp, [&](Val i, ArrayRef<Val> ofWarp) {
    b.when(b.lane() == 0,
           [&] { b.store(ofWarp[0], ofWarps, {i % 2, b.warp()}); });
    b.barrier();
    Val best =
        greatestOfWarp(b, b.load(ofWarps, {i % 2, b.lane() % b.numWarps()}));
    b.when(b.thread() == 0, [&] { found(i, best); });
    // The warp that had it looks for what is next there.
    return b.choose(
        ofWarp[0] == best,
        [&] {
          Vals left;
          for (Val rank : ranks)
            left.push_back(Sampling::below(rank, best));
          return Vals{greatestOfWarp(b, greatest(left))};
        },
        [&] { return Vals{ofWarp[0]}; });
  });
}

/// Puts the best `count` of a row into `ranks`, in order: one warp, whose lanes
/// hold the first of the parts' lists that have not been taken.
static void mergeParts(SimtBuilder &b, const Sampling &sampling, Val row,
                       Val count, Val ranks) {
  Val best = b.buffer("best");
  Vals parts;
  for (int64_t first = 0; first < sampling.parts; first += SimtBuilder::kWarp)
    parts.push_back(b.lane() + first);
  // The rank at the head of a list; none where there is no list, or its end.
  auto load = [&](Val i, Val part) {
    Val exists = (i < count) & (part < sampling.parts);
    Val at = sampling.place(min(i, count - 1), min(part, sampling.parts - 1));
    return select(exists, b.load(best, {row, at}), Sampling::none(b));
  };
  // Of each list the head, the rank behind it, which is asked for early, and
  // how many were taken.
  Vals lists;
  for (Val part : parts)
    lists.append({load(b.index(0), part), load(b.index(1), part), b.index(0)});
  b.loop(0, count, 1, lists, [&](Val i, ArrayRef<Val> lists) {
    Vals heads;
    for (size_t list = 0; list < parts.size(); ++list)
      heads.push_back(lists[3 * list]);
    Val best = greatestOfWarp(b, greatest(heads));
    b.when(b.lane() == 0, [&] { b.store(best, ranks, {i}); });
    Vals next;
    for (auto [list, part] : llvm::enumerate(parts)) {
      Val head = heads[list], behind = lists[3 * list + 1],
          taken = lists[3 * list + 2];
      taken = select(head == best, taken + 1, taken);
      next.append(
          {select(head == best, behind, head), load(taken + 1, part), taken});
    }
    return next;
  });
}

void cuda::emitSample(SimtBuilder &b, mamba::SampleOp op) {
  Sampling sampling(op);
  auto parts = [&](ArrayRef<Val> tile) {
    Val row = tile[0], count = sampling.count(b, row);
    Val logits = b.buffer("logits"), best = b.buffer("best");
    b.waitForPrevious();
    Vals ranks;
    for (int64_t first = 0; first < kSamplePart; first += kThreads) {
      Val token = tile[1] * kSamplePart + (b.thread() + first);
      Val logit = b.load(logits, {row, min(token, sampling.vocab - 1)});
      ranks.push_back(select(token < sampling.vocab,
                             Sampling::rank(logit, b.toInteger(token, 32)),
                             Sampling::none(b)));
    }
    findBest(b, count, ranks, [&](Val i, Val rank) {
      b.store(rank, best, {row, sampling.place(i, tile[1])});
    });
  };
  auto merge = [&](ArrayRef<Val> tile) {
    Val row = tile[0], count = sampling.count(b, row);
    Sampling::Parameters parameters = Sampling::load(b, row);
    b.waitForPrevious();
    Val ranks = b.shared({sampling.limit}, b.getI64Type());
    Val weights = b.shared({sampling.limit}, b.getF64Type());
    mergeParts(b, sampling, row, count, ranks);
    b.barrier();
    b.loop(b.lane(), count, SimtBuilder::kWarp, [&](Val i) {
      b.store(Sampling::weight(b, parameters, b.load(ranks, {i}),
                               b.load(ranks, {0})),
              weights, {i});
    });
    b.barrier();
    b.when(b.lane() == 0,
           [&] { Sampling::draw(b, parameters, row, count, ranks, weights); });
  };
  GridTerm rows{plan::Dim::rows};
  b.phase("parts", {rows, {plan::Dim::none, sampling.vocab, kSamplePart}},
          kThreads, parts);
  b.phase("merge", {rows}, SimtBuilder::kWarp, merge);
}
