//===- TopK.cpp - the best logits of a row ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/TopK.h"
#include "codegen/cpu/Kernels.h"
#include "passes/KernelSignature.h"

#include <numeric>

using namespace mlir;
using namespace mambit;

static constexpr int64_t kLanes = KernelBuilder::kLanes;

static Val greater(Val a, Val c) { return max(a, c); }

/// Calls found(i, rank) for the best `count` in order. `load(at, lanes)` gives
/// ranks, from `begin` to below `end`.
static void findBest(KernelBuilder &b, int64_t count, Val begin, Val end,
                     function_ref<Val(Val at, int64_t lanes)> load,
                     function_ref<void(Val i, Val rank)> found) {
  Val whole = begin + (end - begin) / kLanes * kLanes;
  b.loop(0, count, 1, TopK::limit(b), [&](Val i, ArrayRef<Val> last) -> Vals {
    auto search = [&](Val from, Val to, int64_t lanes, Val best) {
      return b.loop(from, to, lanes, best, [&](Val at, ArrayRef<Val> best) {
        return Vals{max(TopK::below(load(at, lanes), last[0]), best[0])};
      })[0];
    };
    Val best = b.reduce(
        search(begin, whole, kLanes, b.broadcast(TopK::none(b))), greater);
    best = b.extract(search(whole, end, 1, b.broadcast(best, 1)), 0);
    found(i, best);
    return {best};
  });
}

void cpu::emitTopK(KernelBuilder &b, mamba::TopKOp op) {
  TopK topK(op);
  auto parts = [&](ArrayRef<Val> tile) {
    Val row = tile[0], begin = tile[1] * kTopKPart;
    Val logits = b.buffer("logits"), best = b.buffer("best");
    findBest(
        b, topK.count, begin, min(begin + kTopKPart, topK.vocab),
        [&](Val at, int64_t lanes) {
          SmallVector<int32_t> numbers(lanes);
          std::iota(numbers.begin(), numbers.end(), 0);
          return TopK::rank(b.load(logits, {row, at}, lanes),
                            b.toInteger(at, 32) + b.lanes(numbers));
        },
        [&](Val i, Val rank) {
          b.store(rank, best, {row, tile[1] * topK.count + i});
        });
  };
  auto merge = [&](ArrayRef<Val> tile) {
    Val row = tile[0], best = b.buffer("best");
    findBest(
        b, topK.count, b.index(0), b.index(topK.getCandidates()),
        [&](Val at, int64_t lanes) { return b.load(best, {row, at}, lanes); },
        [&](Val i, Val rank) { TopK::store(b, row, i, rank); });
  };
  GridTerm rows{plan::Dim::rows};
  b.phase("parts", {rows, {plan::Dim::none, topK.vocab, kTopKPart}}, parts);
  b.phase("merge", {rows}, merge);
}
