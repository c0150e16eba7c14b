//===- MambaFolds.cpp - folders and canonicalisations -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mambit::mamba;

LogicalResult SplitOp::fold(FoldAdaptor adaptor,
                            SmallVectorImpl<OpFoldResult> &results) {
  // split(x) into one part is x.
  if (getNumResults() != 1)
    return failure();
  results.push_back(getX());
  return success();
}
