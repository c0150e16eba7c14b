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
  int64_t width = table.getDimSize(1);
  auto body = [&](ArrayRef<Val> tile) {
    b.waitForPrevious();
    Val t = tile[0], from = b.buffer("table"), y = b.buffer("y");
    Val id = b.toIndex(b.load(b.buffer("ids"), {t}));
    Val k = tile[1] * kThreads + b.thread();
    b.when(k < width, [&] {
      Val x = layout ? b.load(from,
                              {id / layout.getRows(), k, id % layout.getRows()})
                     : b.load(from, {id, k});
      b.store(b.toF32(x), y, {t, k});
    });
  };
  b.phase("gather", {{plan::Dim::tokens}, {plan::Dim::none, width, kThreads}},
          kThreads, body);
}
