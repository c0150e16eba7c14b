//===- Statistics.h - what a pass counted ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_PASSES_STATISTICS_H
#define MAMBIT_PASSES_STATISTICS_H

#include "mlir/Pass/Pass.h"

namespace mambit {

struct StatisticValue {
  mlir::Pass::Statistic &statistic;
  llvm::StringRef name;
  int64_t value;
};

/// Adds to the statistics of a pass, and tells the values in a remark. LLVM's
/// release builds, such as Debian's, leave statistics out: there
/// --mlir-pass-statistics prints none, but --remarks-filter=mambit does.
void recordStatistics(mlir::Operation *op, const mlir::Pass &pass,
                      std::initializer_list<StatisticValue> values);

} // namespace mambit

#endif // MAMBIT_PASSES_STATISTICS_H
