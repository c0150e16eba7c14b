//===- Statistics.cpp - what a pass counted ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Statistics.h"

#include "mlir/IR/Remarks.h"

using namespace mlir;

void mambit::recordStatistics(Operation *op, const Pass &pass,
                              std::initializer_list<StatisticValue> values) {
  auto remark = remark::analysis(
      op->getLoc(),
      remark::RemarkOpts::name(pass.getArgument()).category("mambit"));
  for (const StatisticValue &value : values) {
    value.statistic += value.value;
    remark << remark::metric(value.name, value.value);
  }
}
