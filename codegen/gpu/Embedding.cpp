//===- Embedding.cpp - rows of the embedding table ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/Kernels.h"

using namespace mlir;
using namespace mambit;

static constexpr int64_t kThreads = 256;

void cuda::emitEmbedding(SimtBuilder &b, mamba::EmbeddingOp op) {
  auto table = cast<RankedTensorType>(op.getTable().getType());
  auto layout = dyn_cast_or_null<mamba::InterleaveAttr>(table.getEncoding());
  b.phase("gather", {{plan::Dim::tokens}}, kThreads, [&](ArrayRef<Val> tile) {
    b.waitForPrevious();
    Val t = tile[0], from = b.buffer("table"), y = b.buffer("y");
    Val id = b.toIndex(b.load(b.buffer("ids"), {t}));
    b.loop(b.thread(), table.getDimSize(1), kThreads, [&](Val k) {
      Val x = layout ? b.load(from,
                              {id / layout.getRows(), k, id % layout.getRows()})
                     : b.load(from, {id, k});
      b.store(b.toF32(x), y, {t, k});
    });
  });
}
