//===- KernelBuilder.cpp - writes kernels in few words ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/KernelBuilder.h"

#include "dialects/mamba/Mamba.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "mlir/Dialect/Utils/IndexingUtils.h"

#include <numeric>

using namespace mlir;
using namespace mambit;

//===--------------------------------------------------------------------===//
// Operators
//===--------------------------------------------------------------------===//

static bool isFloat(Type type) {
  return isa<FloatType>(getElementTypeOrSelf(type));
}

/// Both operands as values of one type: that of the one that is a vector.
static std::pair<Val, Val> match(const Operand &lhs, const Operand &rhs) {
  assert((lhs.value || rhs.value) && "an operator needs a value");
  KernelBuilder &b = (lhs.value ? lhs : rhs).value.getBuilder();
  Type type = (lhs.value ? lhs : rhs).value.getType();
  if (rhs.value && isa<VectorType>(rhs.value.getType()))
    type = rhs.value.getType();
  return {b.materialize(lhs, type), b.materialize(rhs, type)};
}

template <typename OnFloat, typename OnInteger>
static Val arithmetic(const Operand &lhs, const Operand &rhs) {
  auto [a, c] = match(lhs, rhs);
  KernelBuilder &b = a.getBuilder();
  if (isFloat(a.getType()))
    return b.wrap(b.createOrFold<OnFloat>(a, c));
  return b.wrap(b.createOrFold<OnInteger>(a, c));
}

template <typename Op>
static Val bitwise(const Operand &lhs, const Operand &rhs) {
  auto [a, c] = match(lhs, rhs);
  KernelBuilder &b = a.getBuilder();
  return b.wrap(b.createOrFold<Op>(a, c));
}

static Val compare(const Operand &lhs, const Operand &rhs,
                   arith::CmpFPredicate onFloat,
                   arith::CmpIPredicate onInteger) {
  auto [a, c] = match(lhs, rhs);
  KernelBuilder &b = a.getBuilder();
  if (isFloat(a.getType()))
    return b.wrap(b.createOrFold<arith::CmpFOp>(onFloat, a, c));
  return b.wrap(b.createOrFold<arith::CmpIOp>(onInteger, a, c));
}

namespace mambit {

Val operator+(const Operand &lhs, const Operand &rhs) {
  return arithmetic<arith::AddFOp, arith::AddIOp>(lhs, rhs);
}
Val operator-(const Operand &lhs, const Operand &rhs) {
  return arithmetic<arith::SubFOp, arith::SubIOp>(lhs, rhs);
}
Val operator*(const Operand &lhs, const Operand &rhs) {
  return arithmetic<arith::MulFOp, arith::MulIOp>(lhs, rhs);
}
Val operator/(const Operand &lhs, const Operand &rhs) {
  return arithmetic<arith::DivFOp, arith::DivUIOp>(lhs, rhs);
}
Val operator%(const Operand &lhs, const Operand &rhs) {
  return arithmetic<arith::RemFOp, arith::RemUIOp>(lhs, rhs);
}
Val operator&(const Operand &lhs, const Operand &rhs) {
  return bitwise<arith::AndIOp>(lhs, rhs);
}
Val operator|(const Operand &lhs, const Operand &rhs) {
  return bitwise<arith::OrIOp>(lhs, rhs);
}
Val operator^(const Operand &lhs, const Operand &rhs) {
  return bitwise<arith::XOrIOp>(lhs, rhs);
}
Val operator<<(const Operand &lhs, const Operand &rhs) {
  return bitwise<arith::ShLIOp>(lhs, rhs);
}
Val operator>>(const Operand &lhs, const Operand &rhs) {
  return bitwise<arith::ShRUIOp>(lhs, rhs);
}
Val operator<(const Operand &lhs, const Operand &rhs) {
  return compare(lhs, rhs, arith::CmpFPredicate::OLT,
                 arith::CmpIPredicate::slt);
}
Val operator>(const Operand &lhs, const Operand &rhs) {
  return compare(lhs, rhs, arith::CmpFPredicate::OGT,
                 arith::CmpIPredicate::sgt);
}
Val operator==(const Operand &lhs, const Operand &rhs) {
  return compare(lhs, rhs, arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq);
}

Val fma(Val a, const Operand &b, const Operand &c) {
  auto [x, y] = match(a, b);
  auto [z, unused] = match(c, x);
  KernelBuilder &builder = x.getBuilder();
  // The addend may be the only vector.
  auto [p, q] = match(x, z);
  return builder.wrap(
      builder.create<math::FmaOp>(p, builder.materialize(y, q.getType()), q));
}

Val sqrt(Val x) {
  return x.getBuilder().wrap(x.getBuilder().create<math::SqrtOp>(x));
}

Val abs(Val x) {
  return x.getBuilder().wrap(x.getBuilder().create<math::AbsFOp>(x));
}

Val countBits(Val x) {
  return x.getBuilder().wrap(x.getBuilder().create<math::CtPopOp>(x));
}

Val roundEven(Val x) {
  return x.getBuilder().wrap(x.getBuilder().create<math::RoundEvenOp>(x));
}

Val select(Val condition, const Operand &whenTrue, const Operand &whenFalse) {
  auto [a, c] = match(whenTrue, whenFalse);
  KernelBuilder &b = condition.getBuilder();
  return b.wrap(b.createOrFold<arith::SelectOp>(condition, a, c));
}

Val min(const Operand &a, const Operand &b) { return select(a < b, a, b); }
Val max(const Operand &a, const Operand &b) { return select(a > b, a, b); }

} // namespace mambit

LogicalResult mambit::verifyLayouts(plan::KernelOp kernel) {
  for (plan::ParamAttr param : kernel.getParamRange()) {
    int64_t rows = KernelBuilder::kLanes;
    if (auto bits = dyn_cast<mamba::BitsType>(param.getType()))
      rows = bits.getLayout().getRows();
    else if (auto layout =
                 dyn_cast_or_null<mamba::InterleaveAttr>(param.getLayout()))
      rows = layout.getRows();
    else if (isa<mamba::FusedLinearOp>(kernel.getFusedOp()) &&
             param.getName() == "weight")
      return kernel.emitOpError("cannot read a row-major weight of ")
             << param.getType() << "; expected #mamba.interleave";
    if (rows != KernelBuilder::kLanes)
      return kernel.emitOpError("cannot read '")
             << param.getName() << "' in tiles of " << rows
             << " rows, expected " << KernelBuilder::kLanes;
  }
  return success();
}

//===--------------------------------------------------------------------===//
// Phases
//===--------------------------------------------------------------------===//

/// How a kernel sees a buffer.
static MemRefType getBufferType(plan::ParamAttr param, int64_t slotBytes) {
  MLIRContext *context = param.getContext();
  if (auto bits = dyn_cast<mamba::BitsType>(param.getType())) {
    int64_t rows = bits.getLayout().getRows();
    return MemRefType::get({llvm::divideCeilSigned(bits.getRows(), rows),
                            llvm::divideCeilSigned(bits.getColumns(), 32),
                            rows},
                           IntegerType::get(context, 32));
  }
  auto tensor = cast<RankedTensorType>(param.getType());
  Type element = tensor.getElementType();
  SmallVector<int64_t> shape(tensor.getShape());
  if (isa_and_present<plan::ZerosAttr>(param.getLayout()))
    return MemRefType::get({ShapedType::kDynamic}, element);
  if (auto interleave =
          dyn_cast_or_null<mamba::InterleaveAttr>(param.getLayout())) {
    int64_t rows = interleave.getRows();
    return MemRefType::get(
        {llvm::divideCeilSigned(shape[0], rows), shape[1], rows}, element);
  }
  if (param.getDim() == plan::Dim::none)
    return MemRefType::get(shape, element);
  shape.insert(shape.begin(), ShapedType::kDynamic);
  if (param.getDim() != plan::Dim::slots)
    return MemRefType::get(shape, element);
  // States of a slot lie together, so those of the next are a slot away.
  SmallVector<int64_t> strides = computeSuffixProduct(shape);
  strides[0] = slotBytes * 8 / element.getIntOrFloatBitWidth();
  return MemRefType::get(shape, element,
                         StridedLayoutAttr::get(context, 0, strides));
}

KernelBuilder::KernelBuilder(ModuleOp module, plan::KernelOp kernel)
    : ImplicitLocOpBuilder(kernel.getLoc(), module.getContext()),
      module(module), kernel(kernel) {}

/// A grid for people to read.
static std::string toString(ArrayRef<GridTerm> grid) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleave(
      grid, stream,
      [&](const GridTerm &term) {
        if (term.dim == plan::Dim::none)
          stream << term.extent;
        else
          stream << plan::stringifyDim(term.dim);
        if (term.divisor != 1)
          stream << " / " << term.divisor;
      },
      ", ");
  return text;
}

/// The same of a condition: 1 <= tokens - sequences.
static std::string toString(const Condition &condition) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (condition.low > 0)
    stream << condition.low << " <= ";
  stream << plan::stringifyDim(condition.dim);
  if (condition.less != plan::Dim::none)
    stream << " - " << plan::stringifyDim(condition.less);
  if (condition.high != Condition::kNoLimit)
    stream << " <= " << condition.high;
  return text;
}

void KernelBuilder::phase(StringRef suffix, ArrayRef<GridTerm> grid,
                          function_ref<void(ArrayRef<Val>)> body,
                          const Condition &condition) {
  SmallVector<Type> arguments;
  for (plan::ParamAttr param : kernel.getParamRange())
    arguments.push_back(
        getBufferType(param, kernel.getSlotBytes().value_or(0)));
  // The extents, and the number of the tile.
  arguments.append(4, getIndexType());
  phases.push_back({(kernel.getSymName() + "_" + suffix).str(),
                    SmallVector<GridTerm>(grid), condition, Resources()});

  setInsertionPointToEnd(module.getBody());
  function = create<func::FuncOp>(phases.back().symbol,
                                  getFunctionType(arguments, {}));
  function.setPrivate();
  function->setAttr("grid", getStringAttr(toString(grid)));
  if (!condition.isAlways())
    function->setAttr("when", getStringAttr(toString(condition)));
  setInsertionPointToStart(function.addEntryBlock());

  // The last term varies fastest.
  Vals tile(grid.size());
  Val rest = wrap(function.getArguments().back());
  for (size_t i = grid.size(); i-- > 1;) {
    const GridTerm &term = grid[i];
    Val count = term.dim == plan::Dim::none
                    ? index(llvm::divideCeilSigned(term.extent, term.divisor))
                    : (extent(term.dim) + (term.divisor - 1)) / term.divisor;
    tile[i] = rest % count;
    rest = rest / count;
  }
  if (!grid.empty())
    tile[0] = rest;
  body(tile);
  create<func::ReturnOp>();
}

std::optional<unsigned> KernelBuilder::find(StringRef parameter) {
  for (auto [i, param] : llvm::enumerate(kernel.getParamRange()))
    if (param.getName() == parameter)
      return i;
  return std::nullopt;
}

bool KernelBuilder::has(StringRef parameter) {
  return find(parameter).has_value();
}

Val KernelBuilder::buffer(StringRef parameter) {
  return wrap(function.getArgument(*find(parameter)));
}

Val KernelBuilder::extent(plan::Dim dim) {
  unsigned first = kernel.getParams().size();
  switch (dim) {
  case plan::Dim::tokens:
    return wrap(function.getArgument(first));
  case plan::Dim::sequences:
    return wrap(function.getArgument(first + 1));
  case plan::Dim::rows:
    return wrap(function.getArgument(first + 2));
  case plan::Dim::none:
  case plan::Dim::slots:
    break;
  }
  llvm_unreachable("not an extent that kernels are told");
}

//===--------------------------------------------------------------------===//
// Constants
//===--------------------------------------------------------------------===//

Val KernelBuilder::index(int64_t value) {
  return wrap(create<arith::ConstantIndexOp>(value));
}

Val KernelBuilder::constant(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr;
  if (auto floating = dyn_cast<FloatType>(element))
    attr = getFloatAttr(floating, value);
  else
    attr = getIntegerAttr(element, int64_t(value));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return wrap(create<arith::ConstantOp>(attr));
}

Val KernelBuilder::zeros(Type element, int64_t lanes) {
  return constant(vector(element, lanes), 0);
}

Val KernelBuilder::lanes(ArrayRef<int32_t> values) {
  return wrap(create<arith::ConstantOp>(
      DenseElementsAttr::get(vector(getI32Type(), values.size()), values)));
}

Val KernelBuilder::lanes(ArrayRef<int8_t> values) {
  return wrap(create<arith::ConstantOp>(
      DenseElementsAttr::get(vector(getI8Type(), values.size()), values)));
}

Val KernelBuilder::materialize(const Operand &operand, Type type) {
  if (!operand.value)
    return constant(type, operand.number);
  auto wanted = dyn_cast<VectorType>(type);
  if (wanted && !isa<VectorType>(operand.value.getType()))
    return broadcast(operand.value, wanted.getNumElements());
  return operand.value;
}

//===--------------------------------------------------------------------===//
// Memory
//===--------------------------------------------------------------------===//

SmallVector<Value> KernelBuilder::indices(ArrayRef<Operand> at) {
  return llvm::map_to_vector(at, [&](const Operand &i) -> Value {
    return materialize(i, getIndexType());
  });
}

Val KernelBuilder::load(Val buffer, ArrayRef<Operand> at) {
  return wrap(create<memref::LoadOp>(buffer, indices(at)));
}

Val KernelBuilder::load(Val buffer, ArrayRef<Operand> at, int64_t lanes,
                        llvm::MaybeAlign alignment) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  return wrap(create<vector::LoadOp>(vector(element, lanes), buffer,
                                     indices(at), /*nontemporal=*/false,
                                     alignment));
}

void KernelBuilder::store(Val value, Val buffer, ArrayRef<Operand> at,
                          llvm::MaybeAlign alignment) {
  if (isa<VectorType>(value.getType()))
    create<vector::StoreOp>(value, buffer, indices(at), /*nontemporal=*/false,
                            alignment);
  else
    create<memref::StoreOp>(value, buffer, indices(at));
}

void KernelBuilder::prefetch(Val buffer, ArrayRef<Operand> at) {
  create<memref::PrefetchOp>(buffer, indices(at), /*isWrite=*/false,
                             /*localityHint=*/3, /*isDataCache=*/true);
}

Val KernelBuilder::scratch(int64_t size, Type element,
                           llvm::MaybeAlign alignment) {
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&function.getBody().front());
  return wrap(create<memref::AllocaOp>(
      MemRefType::get({size}, element),
      alignment ? getI64IntegerAttr(alignment->value()) : IntegerAttr()));
}

//===--------------------------------------------------------------------===//
// Conversions and lanes
//===--------------------------------------------------------------------===//

/// `type`, or a vector of it as long as `like`.
static Type withShapeOf(Type like, Type type) {
  if (auto vector = dyn_cast<VectorType>(like))
    return vector.clone(type);
  return type;
}

Val KernelBuilder::toIndex(Val x) {
  return wrap(createOrFold<arith::IndexCastOp>(getIndexType(), x));
}

Val KernelBuilder::toInteger(Val x, unsigned bits) {
  Type type = withShapeOf(x.getType(), getIntegerType(bits));
  if (isFloat(x.getType()))
    return wrap(create<arith::FPToSIOp>(type, x));
  if (isa<IndexType>(x.getType()))
    return wrap(createOrFold<arith::IndexCastOp>(type, x));
  unsigned from = getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth();
  if (from == bits)
    return x;
  if (from > bits)
    return wrap(create<arith::TruncIOp>(type, x));
  return wrap(create<arith::ExtSIOp>(type, x));
}

Val KernelBuilder::zeroExtend(Val x, Type type) {
  return wrap(create<arith::ExtUIOp>(type, x));
}

Val KernelBuilder::toF32(Val x) {
  Type element = getElementTypeOrSelf(x.getType());
  Type f32 = withShapeOf(x.getType(), getF32Type());
  if (element.isF32())
    return x;
  if (element.isBF16()) {
    // The upper half of an f32, moved there by integer instructions.
    Val bits = bitcast(x, withShapeOf(x.getType(), getI16Type()));
    Type i32 = withShapeOf(x.getType(), getI32Type());
    return bitcast(wrap(create<arith::ExtUIOp>(i32, bits)) << 16, f32);
  }
  if (isa<FloatType>(element))
    return wrap(create<arith::ExtFOp>(f32, x, arith::FastMathFlagsAttr()));
  return wrap(create<arith::SIToFPOp>(f32, x));
}

Val KernelBuilder::toF64(Val x) {
  Type f64 = withShapeOf(x.getType(), getF64Type());
  if (isFloat(x.getType()))
    return wrap(create<arith::ExtFOp>(f64, x, arith::FastMathFlagsAttr()));
  return wrap(create<arith::SIToFPOp>(f64, x));
}

Val KernelBuilder::fromF32(Val x, Type element) {
  if (element.isF32())
    return x;
  double largest =
      APFloat::getLargest(cast<FloatType>(element).getFloatSemantics())
          .convertToDouble();
  x = min(largest, max(-largest, x)); // in this order, for NaN
  Type type = withShapeOf(x.getType(), element);
  if (!element.isBF16())
    return wrap(create<arith::TruncFOp>(type, x));
  // The upper half of the f32, by integer instructions.
  Val bits = bitcast(x, withShapeOf(x.getType(), getI32Type()));
  Val rounded = (bits + ((bits >> 16) & 1) + 0x7fff) >> 16;
  // Not a number must not round to one.
  Val upper = select(x == x, rounded, (bits >> 16) | 0x40);
  return bitcast(toInteger(upper, 16), type);
}

Val KernelBuilder::bitcast(Val x, Type type) {
  if (x.getType() == type)
    return x;
  if (isa<VectorType>(type))
    return wrap(create<vector::BitCastOp>(type, x));
  return wrap(create<arith::BitcastOp>(type, x));
}

Val KernelBuilder::broadcast(Val x, int64_t lanes) {
  return wrap(createOrFold<vector::BroadcastOp>(vector(x.getType(), lanes), x));
}

Val KernelBuilder::extract(Val vector, int64_t lane) {
  return wrap(createOrFold<vector::ExtractOp>(vector, lane));
}

Val KernelBuilder::insert(Val value, Val vector, int64_t lane) {
  return wrap(createOrFold<vector::InsertOp>(value, vector, lane));
}

Val KernelBuilder::slice(Val vector, int64_t begin, int64_t lanes) {
  SmallVector<int64_t> mask(lanes);
  std::iota(mask.begin(), mask.end(), begin);
  return wrap(create<vector::ShuffleOp>(vector, vector, mask));
}

Val KernelBuilder::shuffle(Val low, Val high, ArrayRef<int64_t> mask) {
  return wrap(create<vector::ShuffleOp>(low, high, mask));
}

Val KernelBuilder::concat(Val low, Val high) {
  auto lanes = [](Val v) {
    return cast<VectorType>(v.getType()).getNumElements();
  };
  SmallVector<int64_t> mask(lanes(low) + lanes(high));
  std::iota(mask.begin(), mask.end(), 0);
  return wrap(create<vector::ShuffleOp>(low, high, mask));
}

Val KernelBuilder::pad(Val v, double fill, int64_t lanes) {
  auto type = cast<VectorType>(v.getType());
  int64_t missing = lanes - type.getNumElements();
  if (missing == 0)
    return v;
  return concat(v, constant(vector(type.getElementType(), missing), fill));
}

Val KernelBuilder::reduce(Val v, function_ref<Val(Val, Val)> combine) {
  for (int64_t half = cast<VectorType>(v.getType()).getNumElements() / 2;
       half > 0; half /= 2)
    v = combine(slice(v, 0, half), slice(v, half, half));
  return extract(v, 0);
}

Val KernelBuilder::sum(Val v) {
  return reduce(v, [](Val a, Val b) { return a + b; });
}

//===--------------------------------------------------------------------===//
// Control
//===--------------------------------------------------------------------===//

Vals KernelBuilder::loop(const Operand &begin, const Operand &end, int64_t step,
                         ArrayRef<Val> init,
                         function_ref<Vals(Val, ArrayRef<Val>)> body) {
  if (!begin.value && !end.value) {
    if (begin.number >= end.number)
      return Vals(init);
    if (begin.number + step >= end.number)
      return body(index(int64_t(begin.number)), init);
  }
  SmallVector<Value> initial(init.begin(), init.end());
  auto loop = create<scf::ForOp>(
      materialize(begin, getIndexType()), materialize(end, getIndexType()),
      index(step), initial,
      [&](OpBuilder &, Location, Value iv, ValueRange args) {
        OpBuilder::InsertionGuard guard(*this);
        setInsertionPointToEnd(iv.getParentBlock());
        Vals carried =
            llvm::map_to_vector(args, [&](Value v) { return wrap(v); });
        Vals next = body(wrap(iv), carried);
        create<scf::YieldOp>(SmallVector<Value>(next.begin(), next.end()));
      });
  return llvm::map_to_vector(loop.getResults(),
                             [&](Value v) { return wrap(v); });
}

void KernelBuilder::loop(const Operand &begin, const Operand &end, int64_t step,
                         function_ref<void(Val)> body) {
  loop(begin, end, step, {}, [&](Val i, ArrayRef<Val>) -> Vals {
    body(i);
    return {};
  });
}

Vals KernelBuilder::chunks(
    int64_t size, ArrayRef<Val> init,
    function_ref<Vals(Val, int64_t, ArrayRef<Val>)> body) {
  int64_t whole = size / kLanes * kLanes;
  Vals carried = loop(0, whole, kLanes, init, [&](Val i, ArrayRef<Val> values) {
    return body(i, kLanes, values);
  });
  if (size == whole)
    return carried;
  return body(index(whole), size - whole, carried);
}

void KernelBuilder::chunks(int64_t size,
                           function_ref<void(Val, int64_t)> body) {
  chunks(size, {}, [&](Val offset, int64_t lanes, ArrayRef<Val>) -> Vals {
    body(offset, lanes);
    return {};
  });
}

void KernelBuilder::when(Val condition, function_ref<void()> then,
                         function_ref<void()> otherwise) {
  auto branch = create<scf::IfOp>(condition, bool(otherwise));
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
  if (otherwise) {
    setInsertionPointToStart(branch.elseBlock());
    otherwise();
  }
}

Vals KernelBuilder::choose(Val condition, function_ref<Vals()> then,
                           function_ref<Vals()> otherwise) {
  auto side = [this](function_ref<Vals()> body) {
    return [this, body](OpBuilder &builder, Location) {
      OpBuilder::InsertionGuard guard(*this);
      setInsertionPointToEnd(builder.getInsertionBlock());
      Vals values = body();
      create<scf::YieldOp>(SmallVector<Value>(values.begin(), values.end()));
    };
  };
  auto branch = create<scf::IfOp>(condition, side(then), side(otherwise));
  return llvm::map_to_vector(branch.getResults(),
                             [&](Value v) { return wrap(v); });
}

Val KernelBuilder::intrinsic(StringRef intrinsicName, Type result,
                             ArrayRef<Val> operands) {
  SmallVector<Value> values(operands.begin(), operands.end());
  return wrap(create<LLVM::CallIntrinsicOp>(
                  result, getStringAttr(intrinsicName), values)
                  .getResults());
}
