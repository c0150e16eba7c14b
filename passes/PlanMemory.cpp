//===- PlanMemory.cpp - place buffers in one arena ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/plan/Lifetimes.h"
#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

namespace mambit {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;
using plan::Lifetime;

/// The start of the tightest gap of at least `size` bytes beside the buffers
/// in `neighbours`, or the end of them all.
static int64_t findOffset(SmallVectorImpl<const Lifetime *> &neighbours,
                          int64_t size) {
  llvm::sort(neighbours, [](const Lifetime *a, const Lifetime *b) {
    return *a->offset < *b->offset;
  });
  int64_t end = 0, best = -1, tightest = std::numeric_limits<int64_t>::max();
  for (const Lifetime *other : neighbours) {
    int64_t gap = *other->offset - end;
    if (gap >= size && gap < tightest) {
      best = end;
      tightest = gap;
    }
    end = std::max(end, *other->offset + other->size);
  }
  return best >= 0 ? best : end;
}

namespace {
struct PlanMemory : mambit::impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    plan::ProgramOp program = getOperation();
    SmallVector<Lifetime> lifetimes = plan::getLifetimes(program);
    SmallVector<Lifetime *> order;
    int64_t launches = 1, total = 0;
    for (Lifetime &buffer : lifetimes) {
      buffer.size = llvm::alignTo(buffer.size, plan::alignment);
      order.push_back(&buffer);
      launches = std::max(launches, buffer.last + 1);
      total += buffer.size;
    }
    // Of the same size, the earlier in the program first. Inputs, which are
    // small and alive throughout, come last and so lie side by side: they can
    // be copied at once.
    llvm::sort(order, [](const Lifetime *a, const Lifetime *b) {
      auto key = [](const Lifetime *buffer) {
        bool isInput = isa<plan::InputOp>(buffer->op);
        return std::tuple(isInput, isInput ? 0 : -buffer->size, buffer);
      };
      return key(a) < key(b);
    });

    // What has been placed, by the launches it is alive at: few buffers each,
    // so that the whole takes time in proportion to the program.
    SmallVector<SmallVector<const Lifetime *>> aliveAt(launches);
    SmallVector<int64_t> bytesAt(launches);
    int64_t arena = 0;
    for (Lifetime *buffer : order) {
      SmallVector<const Lifetime *> neighbours;
      for (int64_t at = buffer->first; at <= buffer->last; ++at)
        for (const Lifetime *other : aliveAt[at])
          if (at == std::max(buffer->first, other->first)) // once each
            neighbours.push_back(other);
      buffer->offset = findOffset(neighbours, buffer->size);
      arena = std::max(arena, *buffer->offset + buffer->size);
      for (int64_t at = buffer->first; at <= buffer->last; ++at) {
        aliveAt[at].push_back(buffer);
        bytesAt[at] += buffer->size;
      }
    }

    Builder builder(&getContext());
    for (const Lifetime &buffer : lifetimes)
      buffer.op->setAttr("offset", builder.getI64IntegerAttr(*buffer.offset));
    program.setArenaSize(arena);

    recordStatistics(program, *this,
                     {{arenaBytes, "arena-bytes", arena},
                      {liveBytes, "live-bytes", *llvm::max_element(bytesAt)},
                      {bufferBytes, "buffer-bytes", total}});
  }
};
} // namespace
