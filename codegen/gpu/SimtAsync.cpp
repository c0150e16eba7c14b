//===- SimtAsync.cpp - copies and products under way --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/SimtBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

/// NVPTX's number for global memory.
static constexpr unsigned kGlobalSpace = 1;

//===--------------------------------------------------------------------===//
// Memory
//===--------------------------------------------------------------------===//

Val SimtBuilder::pointer(Val buffer, const Operand &byte) {
  auto type = cast<MemRefType>(buffer.getType());
  auto pointerType =
      LLVM::LLVMPointerType::get(getContext(), type.getMemorySpaceAsInt());
  auto toI64 = [&](Value index) -> Value {
    return create<arith::IndexCastOp>(getI64Type(), index);
  };
  Value start = create<LLVM::IntToPtrOp>(
      pointerType,
      toI64(create<memref::ExtractAlignedPointerAsIndexOp>(buffer)));
  return wrap(create<LLVM::GEPOp>(
      pointerType, getI8Type(), start,
      ArrayRef<LLVM::GEPArg>{toI64(materialize(byte, getIndexType()))}));
}

Val SimtBuilder::bytes(Val buffer) {
  auto type = MemRefType::get({ShapedType::kDynamic}, getI8Type());
  return wrap(create<memref::ReinterpretCastOp>(
      type, buffer, getIndexAttr(0),
      ArrayRef<OpFoldResult>{OpFoldResult(Value(index(1)))},
      ArrayRef<OpFoldResult>{getIndexAttr(1)}));
}

Val SimtBuilder::loadFour(Val bytes, Val at) {
  return bitcast(load(bytes, {at}, 16, llvm::Align(16)),
                 vector(getI32Type(), 4));
}

Val SimtBuilder::gather(ArrayRef<Val> lanes) {
  SmallVector<Value> values(lanes.begin(), lanes.end());
  return wrap(create<vector::FromElementsOp>(
      vector(lanes.front().getType(), lanes.size()), values));
}

Vals SimtBuilder::loadMatrices(Val pointer) {
  Type i32 = getI32Type();
  auto shape = NVVM::LdStMatrixShapeAttr::get(getContext(), 8, 8);
  Value loaded = create<NVVM::LdMatrixOp>(
      LLVM::LLVMStructType::getLiteral(getContext(), {i32, i32, i32, i32}),
      pointer, /*num=*/4, NVVM::MMALayout::row, shape,
      NVVM::LdStMatrixEltType::B16);
  Vals matrices;
  for (int64_t i = 0; i < 4; ++i)
    matrices.push_back(
        wrap(create<LLVM::ExtractValueOp>(loaded, ArrayRef<int64_t>(i))));
  return matrices;
}

//===--------------------------------------------------------------------===//
// Copies
//===--------------------------------------------------------------------===//

static Value toGlobal(SimtBuilder &b, Val pointer) {
  return b.create<LLVM::AddrSpaceCastOp>(
      LLVM::LLVMPointerType::get(b.getContext(), kGlobalSpace), pointer);
}

void SimtBuilder::startCopy(Val to, Val from, Val existing) {
  create<NVVM::CpAsyncOp>(to, toGlobal(*this, from), 16,
                          NVVM::LoadCacheModifierKind::CG, existing);
}

void SimtBuilder::commitCopies() { create<NVVM::CpAsyncCommitGroupOp>(); }

void SimtBuilder::waitForCopies(int64_t underWay) {
  create<NVVM::CpAsyncWaitGroupOp>(underWay);
}

void SimtBuilder::initBarrier(Val barrier, int64_t arrivals) {
  create<NVVM::MBarrierInitOp>(barrier, constant(getI32Type(), arrivals),
                               Value());
}

void SimtBuilder::fenceBarriers() { create<NVVM::FenceMbarrierInitOp>(); }

void SimtBuilder::arrive(Val barrier) {
  create<NVVM::MBarrierArriveOp>(getI64Type(), barrier, Value());
}

void SimtBuilder::arriveExpecting(Val barrier, Val bytes) {
  create<NVVM::MBarrierArriveExpectTxOp>(
      TypeRange{}, barrier, toInteger(bytes, 32), NVVM::MemScopeKind::CTA,
      /*relaxed=*/false, Value());
}

void SimtBuilder::waitForPhase(Val barrier, Val parity) {
  constexpr int64_t kNanoseconds = 10'000'000; // then it looks again
  create<NVVM::MBarrierTryWaitParityOp>(barrier, parity,
                                        constant(getI32Type(), kNanoseconds));
}

void SimtBuilder::fenceAsync() {
  create<NVVM::FenceProxyOp>(
      NVVM::ProxyKind::async_shared,
      NVVM::SharedSpaceAttr::get(getContext(), NVVM::SharedSpace::shared_cta));
}

void SimtBuilder::startBulkCopy(Val to, Val from, Val bytes, Val barrier) {
  require(Capability::bulkCopy, "cp.async.bulk");
  // Before PTX 8.6 a cluster's memory alone is a destination; of it, a block's
  // own has the addresses that it has for the block.
  auto cluster = LLVM::LLVMPointerType::get(
      getContext(), unsigned(NVVM::NVVMMemorySpace::SharedCluster));
  Value address = create<LLVM::PtrToIntOp>(getI64Type(), to);
  create<NVVM::CpAsyncBulkGlobalToSharedClusterOp>(
      create<LLVM::IntToPtrOp>(cluster, address), toGlobal(*this, from),
      barrier, toInteger(bytes, 32), Value(), Value());
}

void SimtBuilder::prefetchBulk(Val from, Val bytes) {
  require(Capability::bulkCopy, "cp.async.bulk.prefetch");
  Value address = create<LLVM::PtrToIntOp>(getI64Type(), toGlobal(*this, from));
  assembly("{ .reg .b64 policy; "
           "createpolicy.fractional.L2::evict_last.b64 policy, 1.0; "
           "cp.async.bulk.prefetch.L2.global.L2::cache_hint [$0], $1, policy; "
           "}",
           {wrap(address), toInteger(bytes, 32)}, {});
}

//===--------------------------------------------------------------------===//
// Clusters
//===--------------------------------------------------------------------===//

void SimtBuilder::arriveAtCluster() {
  create<NVVM::ClusterArriveRelaxedOp>(getUnitAttr());
}

void SimtBuilder::waitForCluster() {
  create<NVVM::ClusterWaitOp>(getUnitAttr());
}

Val SimtBuilder::inBlock(Val pointer, Val rank) {
  auto cluster = LLVM::LLVMPointerType::get(
      getContext(), unsigned(NVVM::NVVMMemorySpace::SharedCluster));
  return wrap(create<NVVM::MapaOp>(cluster, pointer, toInteger(rank, 32)));
}

// `waitForPhase` acquires in the scope of a block, where PTX asks for the
// cluster's after a store by another block. All that this would add is to empty
// the cache of global memory, which is not where the store goes.
void SimtBuilder::startStore(Val four, Val to, Val barrier) {
  Vals operands = {wrap(create<LLVM::PtrToIntOp>(getI32Type(), to)),
                   wrap(create<LLVM::PtrToIntOp>(getI32Type(), barrier))};
  for (int64_t i = 0; i < 4; ++i)
    operands.push_back(extract(four, i));
  assembly("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 "
           "[$0], {$2, $3, $4, $5}, [$1];",
           operands, {});
}

//===--------------------------------------------------------------------===//
// Products of a warpgroup
//===--------------------------------------------------------------------===//

/// Assembly with operands $0 and up: the results, which start as `tied`, and
/// the inputs.
Vals SimtBuilder::assembly(StringRef text, ArrayRef<Val> inputs,
                           ArrayRef<Val> tied) {
  std::string constraints;
  llvm::raw_string_ostream stream(constraints);
  llvm::ListSeparator comma(",");
  SmallVector<Value> operands;
  for (size_t i = 0; i < tied.size(); ++i)
    stream << comma << "=r";
  for (Val input : inputs) {
    stream << comma << (input.getType().isInteger(64) ? "l" : "r");
    operands.push_back(input);
  }
  for (auto [i, value] : llvm::enumerate(tied)) {
    stream << comma << i;
    operands.push_back(value);
  }
  stream << comma << "~{memory}";
  SmallVector<Type> types(tied.size(), getI32Type());
  Type result;
  if (!tied.empty())
    result = LLVM::LLVMStructType::getLiteral(getContext(), types);
  auto op = create<LLVM::InlineAsmOp>(
      result, operands, text, constraints, /*has_side_effects=*/true,
      /*is_align_stack=*/false, LLVM::TailCallKind::None,
      LLVM::AsmDialectAttr(), ArrayAttr());
  Vals results;
  for (size_t i = 0; i < tied.size(); ++i)
    results.push_back(
        wrap(create<LLVM::ExtractValueOp>(op.getRes(), ArrayRef<int64_t>(i))));
  return results;
}

/// A product of a warpgroup, `a` in registers.
Vals SimtBuilder::startMma(StringRef shape, StringRef immediates,
                           ArrayRef<Val> a, Val b, ArrayRef<Val> acc) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  auto list = [&](size_t first, size_t count) {
    stream << '{';
    llvm::ListSeparator comma;
    for (size_t i = 0; i < count; ++i)
      stream << comma << '$' << first + i;
    stream << '}';
  };
  stream << "{ .reg .pred p; setp.eq.b32 p, 0, 0; "
            "wgmma.mma_async.sync.aligned."
         << shape << ' ';
  list(0, acc.size());
  stream << ", ";
  list(acc.size(), a.size());
  stream << ", $" << acc.size() + a.size() << ", p" << immediates << "; }";
  Vals inputs(a);
  inputs.push_back(b);
  return assembly(text, inputs, acc);
}

Vals SimtBuilder::startMmaBytes(ArrayRef<Val> a, Val b, ArrayRef<Val> acc) {
  return startMma("m64n128k32.s32.s8.s8", "", a, b, acc);
}

Vals SimtBuilder::startMmaHalves(ArrayRef<Val> a, Val b, ArrayRef<Val> acc,
                                 bool isF16) {
  require(Capability::wgmma, "wgmma of 16-bit floats");
  // Neither is negated, and the rows of b lie together.
  return startMma(isF16 ? "m64n128k16.f32.f16.f16" : "m64n128k16.f32.bf16.bf16",
                  ", 1, 1, 1", a, b, acc);
}

void SimtBuilder::takeRegisters(int64_t count) {
  create<NVVM::SetMaxRegisterOp>(count, NVVM::SetMaxRegisterAction::increase);
}

void SimtBuilder::giveRegisters(int64_t count) {
  create<NVVM::SetMaxRegisterOp>(count, NVVM::SetMaxRegisterAction::decrease);
}

void SimtBuilder::beginProducts() { create<NVVM::WgmmaFenceAlignedOp>(); }

void SimtBuilder::commitProducts(int64_t underWay) {
  create<NVVM::WgmmaGroupSyncAlignedOp>();
  create<NVVM::WgmmaWaitGroupSyncOp>(underWay);
}

Vals SimtBuilder::waitForProducts(ArrayRef<Val> acc) {
  // That it changes them keeps their uses behind it.
  return assembly("wgmma.wait_group.sync.aligned 0;", {}, acc);
}

Val SimtBuilder::describeMatrix(Val pointer, Val pitch) {
  Val address = wrap(create<LLVM::PtrToIntOp>(getI64Type(), pointer));
  constexpr int64_t kEightRows = 8; // in pieces
  return ((address & 0x3FFFF) >> 4) + (toInteger(pitch, 64) << 16) +
         double(kEightRows << 32);
}

Val SimtBuilder::describeColumns(Val pointer, int64_t pitch) {
  Val address = wrap(create<LLVM::PtrToIntOp>(getI64Type(), pointer));
  constexpr int64_t kEightColumns = 16; // in pieces
  Val layout =
      constant(getI64Type(), double(kEightColumns << 32 | (pitch / 16) << 16));
  constexpr int64_t kExchanged = 3; // how pieces are
  return ((address & 0x3FFFF) >> 4) + layout +
         (constant(getI64Type(), kExchanged) << 62);
}
