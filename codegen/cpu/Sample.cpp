//===- Sample.cpp - draws a token of a row of logits --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Sample.h"
#include "codegen/cpu/Kernels.h"
#include "passes/KernelSignature.h"

#include <numeric>

using namespace mlir;
using namespace mambit;

static constexpr int64_t kLanes = KernelBuilder::kLanes;

static Val greater(Val a, Val c) { return max(a, c); }

/// Calls found(i, rank) for the best `count` in order. `load(at, lanes)` gives
/// ranks, from `begin` to below `end`.
static void findBest(KernelBuilder &b, Val count, Val begin, Val end,
                     function_ref<Val(Val at, int64_t lanes)> load,
                     function_ref<void(Val i, Val rank)> found) {
  Val whole = begin + (end - begin) / kLanes * kLanes;
  b.loop(
      0, count, 1, Sampling::limitOfRanks(b),
      [&](Val i, ArrayRef<Val> last) -> Vals {
        auto search = [&](Val from, Val to, int64_t lanes, Val best) {
          return b.loop(from, to, lanes, best, [&](Val at, ArrayRef<Val> best) {
            Val next = Sampling::below(load(at, lanes), last[0]);
            return Vals{max(next, best[0])};
          })[0];
        };
        Val none = Sampling::none(b);
        Val best =
            b.reduce(search(begin, whole, kLanes, b.broadcast(none)), greater);
        best = b.extract(search(whole, end, 1, b.broadcast(best, 1)), 0);
        found(i, best);
        return {best};
      });
}

void cpu::emitSample(KernelBuilder &b, mamba::SampleOp op) {
  Sampling sampling(op);
  auto parts = [&](ArrayRef<Val> tile) {
    Val row = tile[0], begin = tile[1] * kSamplePart;
    Val logits = b.buffer("logits"), best = b.buffer("best");
    findBest(
        b, sampling.count(b, row), begin,
        min(begin + kSamplePart, sampling.vocab),
        [&](Val at, int64_t lanes) {
          SmallVector<int32_t> numbers(lanes);
          std::iota(numbers.begin(), numbers.end(), 0);
          return Sampling::rank(b.load(logits, {row, at}, lanes),
                                b.toInteger(at, 32) + b.lanes(numbers));
        },
        [&](Val i, Val rank) {
          b.store(rank, best, {row, sampling.place(i, tile[1])});
        });
  };
  auto merge = [&](ArrayRef<Val> tile) {
    Val row = tile[0], count = sampling.count(b, row);
    Sampling::Parameters parameters = Sampling::load(b, row);
    Val best = b.buffer("best");
    Val ranks = b.scratch(sampling.limit, b.getI64Type());
    Val weights = b.scratch(sampling.limit, b.getF64Type());
    findBest(
        b, count, b.index(0), count * sampling.parts,
        [&](Val at, int64_t lanes) { return b.load(best, {row, at}, lanes); },
        [&](Val i, Val rank) {
          b.store(rank, ranks, {i});
          b.store(Sampling::weight(b, parameters, rank, b.load(ranks, {0})),
                  weights, {i});
        });
    Sampling::draw(b, parameters, row, count, ranks, weights);
  };
  GridTerm rows{plan::Dim::rows};
  b.phase("parts", {rows, {plan::Dim::none, sampling.vocab, kSamplePart}},
          parts);
  b.phase("merge", {rows}, merge);
}
