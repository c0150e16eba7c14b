//===- Lifetimes.h - when the arena buffers of a program are alive ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_PLAN_LIFETIMES_H
#define MAMBIT_DIALECTS_PLAN_LIFETIMES_H

#include "dialects/plan/Plan.h"

#include <optional>

namespace mambit::plan {

/// An arena buffer and the launches, numbered in order, between which its
/// bytes matter; both ends included.
struct Lifetime {
  mlir::Operation *op; // plan.input, plan.output or plan.buffer
  int64_t size;
  std::optional<int64_t> offset;
  int64_t first, last;

  bool overlaps(const Lifetime &other) const {
    return first <= other.last && other.first <= last;
  }
};

/// The arena buffers of a program, in program order. Inputs live throughout,
/// outputs to the end; another that no launch uses lives at the start alone.
llvm::SmallVector<Lifetime> getLifetimes(ProgramOp program);

} // namespace mambit::plan

#endif // MAMBIT_DIALECTS_PLAN_LIFETIMES_H
