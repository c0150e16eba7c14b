//===- Lifetimes.cpp - when arena buffers are alive --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/plan/Lifetimes.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mambit::plan;

SmallVector<Lifetime> mambit::plan::getLifetimes(ProgramOp program) {
  Block &body = program.getBody().front();
  llvm::DenseMap<Operation *, int64_t> launches;
  for (auto launch : body.getOps<LaunchOp>())
    launches.try_emplace(launch, launches.size());
  const int64_t end = std::max<int64_t>(launches.size(), 1) - 1;

  SmallVector<Lifetime> lifetimes;
  for (Operation &op : body) {
    Lifetime lifetime{&op, 0, std::nullopt, end, 0};
    bool isArena = llvm::TypeSwitch<Operation *, bool>(&op)
                       .Case<InputOp, OutputOp, BufferOp>([&](auto buffer) {
                         lifetime.size = buffer.getSize();
                         lifetime.offset = buffer.getOffset();
                         return true;
                       })
                       .Default([](Operation *) { return false; });
    if (!isArena)
      continue;
    for (Operation *user : op.getUsers()) {
      int64_t at = launches.lookup(user);
      lifetime.first = std::min(lifetime.first, at);
      lifetime.last = std::max(lifetime.last, at);
    }
    // Inputs stay for the next run, which may go on from this one.
    if (op.use_empty() || isa<InputOp>(op))
      lifetime.first = 0;
    if (isa<InputOp, OutputOp>(op))
      lifetime.last = end;
    lifetimes.push_back(lifetime);
  }
  return lifetimes;
}
