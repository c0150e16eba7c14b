//===- Compare.h - where two runs of a model part ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_COMPARE_COMPARE_H
#define MAMBIT_TOOLS_MAMBIT_COMPARE_COMPARE_H

#include "tools/mambit-compare/Values.h"

namespace mambit::tools {

/// ‖a − b‖ / ‖b‖; infinite if a value is not finite, and where b alone is 0.
double relativeError(const std::vector<float> &a, const std::vector<float> &b);

struct CompareOptions {
  double bound = 1e-3;
  bool all = false; // print every value
};

/// Exit status where values differ by more than the bound.
constexpr int kDifferent = 2;

/// Prints the first value whose error exceeds the bound. Returns the exit
/// status.
int compare(Run &a, Run &b, const CompareOptions &options);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_COMPARE_COMPARE_H
