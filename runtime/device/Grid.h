//===- Grid.h - the number of tiles of a phase -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_GRID_H
#define MAMBIT_RUNTIME_DEVICE_GRID_H

#include "runtime/device/Device.h"

namespace mambit {

inline int64_t extentOf(artifact::Dim dim, const Extents &extents,
                        int64_t otherwise) {
  switch (dim) {
  case artifact::Dim::tokens:
    return extents.tokens;
  case artifact::Dim::sequences:
    return extents.sequences;
  case artifact::Dim::rows:
    return extents.rows;
  default:
    return otherwise;
  }
}

/// The terms of a phase's grid and its condition, out of the artifact's tables.
class Grid {
public:
  explicit Grid(const artifact::Phase &phase) {
    if (const artifact::Condition *when = phase.when())
      condition = {when->dim(), when->less(), when->low(), when->high()};
    if (phase.grid())
      for (const artifact::GridTerm *term : *phase.grid())
        terms.push_back(
            {term->dim(), int64_t(term->extent()), int64_t(term->divisor())});
  }

  /// 0 where the condition does not hold.
  int64_t tiles(const Extents &extents) const {
    int64_t value = extentOf(condition.dim, extents, 0) -
                    extentOf(condition.less, extents, 0);
    return condition.low <= value && value <= condition.high
               ? mostTiles(extents)
               : 0;
  }

  /// Whatever the condition.
  int64_t mostTiles(const Extents &extents) const {
    int64_t product = 1;
    for (const Term &term : terms) {
      int64_t extent = extentOf(term.dim, extents, term.extent);
      product *= extent / term.divisor + (extent % term.divisor != 0);
    }
    return product;
  }

private:
  struct Term {
    artifact::Dim dim;
    int64_t extent, divisor;
  };
  struct Condition {
    artifact::Dim dim, less;
    int64_t low, high;
  };
  std::vector<Term> terms;
  Condition condition{artifact::Dim::none, artifact::Dim::none, 0, 0};
};

} // namespace mambit

#endif // MAMBIT_RUNTIME_DEVICE_GRID_H
