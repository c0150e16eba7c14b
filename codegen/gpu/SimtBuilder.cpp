//===- SimtBuilder.cpp - writes kernels of threads ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/SimtBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mambit;
using cuda::SimtBuilder;

/// NVPTX's number for shared memory.
static constexpr int64_t kSharedSpace = 3;

void SimtBuilder::phase(StringRef suffix, ArrayRef<GridTerm> grid,
                        int64_t numThreads,
                        function_ref<void(ArrayRef<Val>)> body,
                        const Condition &condition) {
  assert(numThreads % kWarp == 0 && numThreads <= target.gpu.threads);
  threads = numThreads;
  staticShared = sharedBytes = cluster = 0;
  waited = false;
  auto ofThread = [&](ArrayRef<Val> tile) {
    function->setAttr("threads", getI64IntegerAttr(threads));
    Value id = create<NVVM::ThreadIdXOp>(getI32Type());
    threadIndex = wrap(create<arith::IndexCastUIOp>(getIndexType(), id));
    // The next phase may start whenever there is room: it waits by itself.
    if (targetHas(Capability::dependentLaunch))
      create<NVVM::GriddepcontrolOp>(
          NVVM::GridDepActionKind::launch_dependents);
    body(tile);
    assert(waited && "a phase must wait for the one before");
  };
  KernelBuilder::phase(suffix, grid, ofThread, condition);
  phases.back().resources.threads = threads;
  phases.back().resources.sharedBytes = sharedBytes;
  phases.back().resources.cluster = cluster;
}

void SimtBuilder::waitForPrevious() {
  assert(getInsertionBlock() == &function.front() &&
         "not every thread may come here");
  waited = true;
  if (!targetHas(Capability::dependentLaunch))
    return;
  create<NVVM::GriddepcontrolOp>(NVVM::GridDepActionKind::wait);
  // LLVM does not know that buffers change here, and would load them as what
  // never changes: the assembler moves such loads across the wait, either way.
  SmallVector<Value> pointers;
  for (Value argument : function.getArguments())
    if (isa<MemRefType>(argument.getType())) {
      Val pointer =
          wrap(create<memref::ExtractAlignedPointerAsIndexOp>(argument));
      pointers.push_back(toInteger(pointer, 64));
    }
  SmallVector<StringRef> constraints(pointers.size(), "l");
  constraints.push_back("~{memory}");
  create<LLVM::InlineAsmOp>(TypeRange(), pointers, "",
                            llvm::join(constraints, ","),
                            /*has_side_effects=*/true, /*is_align_stack=*/false,
                            LLVM::TailCallKind::None, /*asm_dialect=*/nullptr,
                            /*operand_attrs=*/nullptr);
}

void SimtBuilder::joinBlocks(int64_t blocks) {
  require(Capability::cluster, "clusters of blocks");
  cluster = blocks;
  function->setAttr("cluster", getI64IntegerAttr(blocks));
}

static Val constantI32(SimtBuilder &b, int64_t value) {
  return b.constant(b.getI32Type(), value);
}

void SimtBuilder::require(Capability capability, StringRef instruction) {
  if (!targetHas(capability))
    refuse("needs " + instruction + ", but target " + target.name + " lacks " +
           stringify(capability));
}

void SimtBuilder::refuse(const Twine &why) {
  // Once is enough for a kernel.
  if (!std::exchange(refused, true))
    kernel.emitOpError(why);
}

void SimtBuilder::barrier() { create<NVVM::BarrierOp>(); }

void SimtBuilder::barrier(int64_t threads) {
  // Number 0 is that of the whole block.
  create<NVVM::BarrierOp>(TypeRange(), constantI32(*this, 1),
                          constantI32(*this, threads),
                          NVVM::BarrierReductionAttr(), Value());
}

MemRefType SimtBuilder::getSharedType(ArrayRef<int64_t> shape, Type element) {
  return MemRefType::get(shape, element, MemRefLayoutAttrInterface(),
                         getI64IntegerAttr(kSharedSpace));
}

static int64_t getBytes(MemRefType type) {
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

void SimtBuilder::checkShared(int64_t bytes, int64_t limit) {
  if (bytes > limit)
    refuse("phase " + function.getSymName() + " needs " + Twine(bytes) +
           " bytes of shared memory, but a block of target " + target.name +
           " has " + Twine(limit));
}

Val SimtBuilder::shared(ArrayRef<int64_t> shape, Type element) {
  MemRefType type = getSharedType(shape, element);
  staticShared += llvm::alignTo(getBytes(type), 16);
  checkShared(staticShared, target.gpu.staticSharedBytes);
  std::string symbol =
      (function.getSymName() + "_shared" + Twine(buffers++)).str();
  {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPoint(function);
    create<memref::GlobalOp>(symbol, getStringAttr("private"), type,
                             getUnitAttr(), /*constant=*/false,
                             /*alignment=*/getI64IntegerAttr(16));
  }
  return wrap(create<memref::GetGlobalOp>(type, symbol));
}

Val SimtBuilder::dynamicShared(ArrayRef<int64_t> shape, Type element,
                               int64_t alignment) {
  MemRefType type = getSharedType(shape, element),
             all = getSharedType({0}, getI8Type());
  int64_t offset = llvm::alignTo(sharedBytes, alignment);
  sharedBytes = offset + getBytes(type);
  checkShared(staticShared + sharedBytes, target.gpu.sharedBytes);
  constexpr StringLiteral symbol = "dynamic_shared";
  if (!module.lookupSymbol(symbol)) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(module.getBody());
    // Without a value it is a declaration: all phases have it in common.
    create<memref::GlobalOp>(symbol, getStringAttr("public"), all,
                             /*initial_value=*/Attribute(), /*constant=*/false,
                             getI64IntegerAttr(1024));
  }
  Value start = create<memref::GetGlobalOp>(all, symbol);
  return wrap(create<memref::ViewOp>(type, start, index(offset), ValueRange()));
}

//===--------------------------------------------------------------------===//
// Lanes
//===--------------------------------------------------------------------===//

Val SimtBuilder::shuffle(Val x, int64_t operand, int64_t clamp,
                         NVVM::ShflKind kind) {
  return wrap(create<NVVM::ShflOp>(
      x.getType(), constantI32(*this, -1), x, constantI32(*this, operand),
      constantI32(*this, clamp), kind, UnitAttr()));
}

Val SimtBuilder::shuffleXor(Val x, int64_t mask) {
  return shuffle(x, mask, kWarp - 1, NVVM::ShflKind::bfly);
}

Val SimtBuilder::shuffleUp(Val x, int64_t distance) {
  return shuffle(x, distance, 0, NVVM::ShflKind::up);
}

Val SimtBuilder::broadcastLane(Val x, int64_t lane) {
  return shuffle(x, lane, kWarp - 1, NVVM::ShflKind::idx);
}

Val SimtBuilder::reduceLanes(Val x, function_ref<Val(Val, Val)> combine,
                             int64_t firstMask, int64_t lanes) {
  for (int64_t mask = firstMask; mask < lanes; mask *= 2)
    x = combine(x, shuffleXor(x, mask));
  return x;
}

Val SimtBuilder::reduceWarp(Val x, Reduction reduction) {
  return wrap(create<NVVM::ReduxOp>(
      x.getType(), x,
      reduction == Reduction::add ? NVVM::ReduxKind::ADD : NVVM::ReduxKind::MAX,
      constantI32(*this, -1)));
}

//===--------------------------------------------------------------------===//
// Tensor cores
//===--------------------------------------------------------------------===//

Vals SimtBuilder::mma(ArrayRef<int64_t> shape, bool bits, ArrayRef<Val> a,
                      ArrayRef<Val> b, ArrayRef<Val> acc) {
  auto values = [](ArrayRef<Val> vals) {
    return SmallVector<Value>(vals.begin(), vals.end());
  };
  NVVM::MMATypes type = bits ? NVVM::MMATypes::b1 : NVVM::MMATypes::s8;
  auto result = LLVM::LLVMStructType::getLiteral(
      getContext(), SmallVector<Type>(acc.size(), getI32Type()));
  Value sums = create<NVVM::MmaOp>(
      result, values(a), values(b), values(acc), shape,
      bits ? std::optional(NVVM::MMAB1Op::and_popc) : std::nullopt,
      bits ? std::nullopt : std::optional(NVVM::MMAIntOverflow::wrapped),
      std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  Vals next;
  for (size_t i = 0; i < acc.size(); ++i)
    next.push_back(
        wrap(create<LLVM::ExtractValueOp>(sums, ArrayRef<int64_t>(i))));
  return next;
}

Vals SimtBuilder::mmaBits(ArrayRef<Val> a, ArrayRef<Val> b, ArrayRef<Val> acc) {
  require(Capability::b1Mma, "mma.m16n8k256 of bits");
  return mma({16, 8, 256}, true, a, b, acc);
}

Vals SimtBuilder::mmaBytes(ArrayRef<Val> a, ArrayRef<Val> b,
                           ArrayRef<Val> acc) {
  require(Capability::s8Mma, "mma.m16n8k32 of bytes");
  return mma({16, 8, 32}, false, a, b, acc);
}

//===--------------------------------------------------------------------===//
// Words
//===--------------------------------------------------------------------===//

Val SimtBuilder::rotateLeft(Val word, Val amount) {
  return wrap(create<LLVM::FshlOp>(word, word, amount));
}

Val SimtBuilder::packBytes(Val words, int64_t byte) {
  auto permute = [&](Val low, Val high, int64_t selector) {
    return intrinsic("llvm.nvvm.prmt", getI32Type(),
                     {low, high, constantI32(*this, selector)});
  };
  int64_t count = cast<VectorType>(words.getType()).getNumElements() / 4;
  Val packed = zeros(getI32Type(), count);
  // Byte 4 is the lowest of `high`.
  int64_t pair = byte | (4 + byte) << 4;
  for (int64_t i = 0; i < count; ++i) {
    Val low = permute(extract(words, 4 * i), extract(words, 4 * i + 1), pair);
    Val high =
        permute(extract(words, 4 * i + 2), extract(words, 4 * i + 3), pair);
    packed = insert(permute(low, high, 0x5410), packed, i);
  }
  return packed;
}

Val SimtBuilder::flatten(Val bytes) {
  auto type = cast<MemRefType>(bytes.getType());
  int64_t rowBytes = 1;
  for (int64_t size : type.getShape().drop_front())
    rowBytes *= size;
  auto flat =
      MemRefType::get({ShapedType::kDynamic, rowBytes}, type.getElementType());
  // The number of rows is never asked for.
  return wrap(create<memref::ReinterpretCastOp>(
      flat, bytes, getIndexAttr(0),
      ArrayRef<OpFoldResult>{OpFoldResult(Value(index(1))),
                             getIndexAttr(rowBytes)},
      ArrayRef<OpFoldResult>{getIndexAttr(rowBytes), getIndexAttr(1)}));
}

Val SimtBuilder::loadWords(Val bytes, Val row, Val byte, int64_t lanes) {
  Val loaded =
      load(flatten(bytes), {row, byte}, 4 * lanes, llvm::Align(4 * lanes));
  return bitcast(loaded, vector(getI32Type(), lanes));
}

void SimtBuilder::storeWord(Val word, Val bytes, Val row, Val byte) {
  store(bitcast(broadcast(word, 1), vector(getI8Type(), 4)), flatten(bytes),
        {row, byte}, llvm::Align(4));
}

Val SimtBuilder::round(Val x, Type element) {
  auto vector = dyn_cast<VectorType>(x.getType());
  Type type = vector ? Type(vector.clone(element)) : element;
  return wrap(create<arith::TruncFOp>(type, x));
}

Val SimtBuilder::fromF32(Val x, Type element) {
  if (element.isF32())
    return x;
  Val rounded = round(x, element);
  Val largest =
      constant(rounded.getType(),
               APFloat::getLargest(cast<FloatType>(element).getFloatSemantics())
                   .convertToDouble());
  // Infinity is what is out of range; pairs take one instruction each.
  rounded = wrap(create<arith::MinimumFOp>(rounded, largest));
  return wrap(
      create<arith::MaximumFOp>(rounded, wrap(create<arith::NegFOp>(largest))));
}

//===--------------------------------------------------------------------===//
// Addresses
//===--------------------------------------------------------------------===//

void SimtBuilder::request(ArrayRef<Val> loaded) {
  SmallVector<Value> scalars;
  SmallVector<StringRef> constraints;
  auto add = [&](Value scalar) {
    scalars.push_back(scalar);
    unsigned bits = scalar.getType().getIntOrFloatBitWidth();
    constraints.push_back(scalar.getType().isF32() ? "f"
                          : bits == 16             ? "h"
                                                   : "r");
  };
  for (Val value : loaded) {
    auto type = dyn_cast<VectorType>(value.getType());
    // Pairs of 16 bits are asked for as the words they lie in.
    if (type && type.getElementTypeBitWidth() == 16 &&
        type.getNumElements() % 2 == 0) {
      type = VectorType::get({type.getNumElements() / 2}, getI32Type());
      value = bitcast(value, type);
    }
    if (!type && value.getType().getIntOrFloatBitWidth() == 16)
      value = bitcast(value, getI16Type());
    if (!type)
      add(value);
    for (int64_t i = 0; type && i < type.getNumElements(); ++i)
      add(extract(value, i));
  }
  // A use of no instructions; the assembler never sees it.
  create<LLVM::InlineAsmOp>(TypeRange(), scalars, "",
                            llvm::join(constraints, ","),
                            /*has_side_effects=*/true, /*is_align_stack=*/false,
                            LLVM::TailCallKind::None, /*asm_dialect=*/nullptr,
                            /*operand_attrs=*/nullptr);
}

Val SimtBuilder::flat(Val buffer) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  return wrap(create<memref::ReinterpretCastOp>(
      MemRefType::get({ShapedType::kDynamic}, element), buffer, getIndexAttr(0),
      ArrayRef<OpFoldResult>{OpFoldResult(Value(index(1)))},
      ArrayRef<OpFoldResult>{getIndexAttr(1)}));
}

Val SimtBuilder::address(Val buffer, ArrayRef<Operand> at) {
  auto type = cast<MemRefType>(buffer.getType());
  auto [strides, offset] = type.getStridesAndOffset();
  assert(offset == 0 && "buffers begin where they begin");
  Val element = index(0);
  for (auto [i, stride] : llvm::zip(at, strides))
    element = element + materialize(i, getIndexType()) * stride;
  Val base = wrap(create<memref::ExtractAlignedPointerAsIndexOp>(buffer));
  Val byte = base + element * (type.getElementTypeBitWidth() / 8);
  auto space = dyn_cast_or_null<IntegerAttr>(type.getMemorySpace());
  return wrap(create<LLVM::IntToPtrOp>(
      LLVM::LLVMPointerType::get(getContext(), space ? space.getInt() : 1),
      Value(toInteger(byte, 64))));
}

Val SimtBuilder::advance(Val address, const Operand &bytes) {
  LLVM::GEPArg offset = int32_t(bytes.number);
  if (bytes.value)
    offset = Value(toInteger(bytes.value, 64));
  return wrap(
      create<LLVM::GEPOp>(address.getType(), getI8Type(), address, offset));
}

Val SimtBuilder::atomicIncrement(Val buffer, ArrayRef<Operand> at,
                                 int64_t last) {
  return wrap(create<LLVM::AtomicRMWOp>(
      LLVM::AtomicBinOp::uinc_wrap, Value(address(buffer, at)),
      Value(constantI32(*this, last)), LLVM::AtomicOrdering::monotonic));
}

//===--------------------------------------------------------------------===//
// Halves
//===--------------------------------------------------------------------===//

std::pair<Val, Val> SimtBuilder::split(Val first, Val second) {
  auto pack = [&](Val low, Val high) {
    Val pair = intrinsic("llvm.nvvm.ff2bf16x2.rn", vector(getBF16Type(), 2),
                         {high, low});
    return extract(bitcast(pair, vector(getI32Type(), 1)), 0);
  };
  Val high = pack(first, second);
  Type f32 = getF32Type();
  return {high, pack(first - bitcast(high << 16, f32),
                     second - bitcast(high & -65536, f32))};
}

Vals SimtBuilder::mmaHalves(ArrayRef<Val> a, ArrayRef<Val> b, ArrayRef<Val> acc,
                            bool isF16) {
  require(Capability::bf16Mma, "mma.m16n8k16 of 16-bit floats");
  auto operands = [&](ArrayRef<Val> words) {
    return llvm::map_to_vector(words, [&](Val word) -> Value {
      if (!isF16)
        return word;
      return create<LLVM::BitcastOp>(vector(getF16Type(), 2), word);
    });
  };
  auto type = isF16 ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  auto result = LLVM::LLVMStructType::getLiteral(
      getContext(), SmallVector<Type>(4, getF32Type()));
  Value sums = create<NVVM::MmaOp>(
      result, operands(a), operands(b),
      SmallVector<Value>(acc.begin(), acc.end()), ArrayRef<int64_t>{16, 8, 16},
      std::nullopt, std::nullopt, std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  Vals next;
  for (int64_t i = 0; i < 4; ++i)
    next.push_back(
        wrap(create<LLVM::ExtractValueOp>(sums, ArrayRef<int64_t>(i))));
  return next;
}

Vals SimtBuilder::loadMatrices(Val address, int64_t offset, bool transposed) {
  auto result = LLVM::LLVMStructType::getLiteral(
      getContext(), SmallVector<Type>(4, getI32Type()));
  Value words = create<NVVM::LdMatrixOp>(
      result, advance(address, offset), 4,
      transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
      NVVM::LdStMatrixShapeAttr::get(getContext(), 8, 8),
      NVVM::LdStMatrixEltType::B16);
  Vals matrices;
  for (int64_t i = 0; i < 4; ++i)
    matrices.push_back(
        wrap(create<LLVM::ExtractValueOp>(words, ArrayRef<int64_t>(i))));
  return matrices;
}

void SimtBuilder::copyAsync(Val to, Val from, int64_t bytes, Val existing) {
  create<NVVM::CpAsyncOp>(to, from, bytes,
                          bytes == 16 ? NVVM::LoadCacheModifierKind::CG
                                      : NVVM::LoadCacheModifierKind::CA,
                          existing);
}

void SimtBuilder::waitForCopies() {
  create<NVVM::CpAsyncCommitGroupOp>();
  create<NVVM::CpAsyncWaitGroupOp>(0);
}

Val SimtBuilder::fastExp2(Val x) {
  return intrinsic("llvm.nvvm.ex2.approx.ftz", getF32Type(), {x});
}

Val SimtBuilder::fastReciprocal(Val x) {
  return intrinsic("llvm.nvvm.rcp.approx.ftz.f", getF32Type(), {x});
}
