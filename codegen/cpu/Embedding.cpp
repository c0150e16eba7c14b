//===- Embedding.cpp - rows of the embedding table ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/cpu/Kernels.h"

using namespace mlir;
using namespace mambit;

void cpu::emitEmbedding(KernelBuilder &b, mamba::EmbeddingOp op) {
  auto table = cast<RankedTensorType>(op.getTable().getType());
  int64_t width = table.getDimSize(1);
  auto layout = dyn_cast_or_null<mamba::InterleaveAttr>(table.getEncoding());

  b.phase("gather", {{plan::Dim::tokens}}, [&](ArrayRef<Val> tile) {
    Val t = tile[0], from = b.buffer("table"), y = b.buffer("y");
    Val id = b.toIndex(b.load(b.buffer("ids"), {t}));
    if (!layout) {
      b.chunks(width, [&](Val k, int64_t lanes) {
        b.store(b.toF32(b.load(from, {id, k}, lanes)), y, {t, k});
      });
      return;
    }
    Val rowTile = id / layout.getRows(), row = id % layout.getRows();
    b.loop(0, width, 1, [&](Val k) {
      b.store(b.toF32(b.load(from, {rowTile, k, row})), y, {t, k});
    });
  });
}
