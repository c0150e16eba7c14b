//===- MambaOps.cpp - verifiers, builders and names of the operations -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A constraint's label, such as (C1), is the one of the operation's
// description, and ends the name of its negative test.
//
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mambit::mamba;

#define GET_OP_CLASSES
#include "dialects/mamba/MambaOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Shared checks
//===----------------------------------------------------------------------===//

constexpr int64_t dynamic = ShapedType::kDynamic;

/// A shape as types print it: `?x3x208`; the empty shape as `single`.
static std::string toString(ArrayRef<int64_t> shape) {
  if (shape.empty())
    return "single";
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(
      shape, os,
      [&](int64_t size) { size == dynamic ? os << '?' : os << size; }, "x");
  return text;
}

/// rows x columns of a linear's weight, packed or dense.
static std::array<int64_t, 2> getMatrixShape(Type type) {
  if (auto bits = dyn_cast<BitsType>(type))
    return {bits.getRows(), bits.getColumns()};
  auto tensor = cast<RankedTensorType>(type);
  return {tensor.getDimSize(0), tensor.getDimSize(1)};
}

static int64_t getFeatures(Value activations) {
  return cast<RankedTensorType>(activations.getType()).getDimSize(1);
}

/// Checks the shape of a value; an absent optional operand has any.
static LogicalResult expectShape(Operation *op, StringRef name, Value value,
                                 ArrayRef<int64_t> expected) {
  if (!value)
    return success();
  ArrayRef<int64_t> found = cast<RankedTensorType>(value.getType()).getShape();
  if (found == expected)
    return success();
  return op->emitOpError() << "expected " << name << " of shape "
                           << toString(expected) << ", found "
                           << toString(found);
}

/// Checks a scale or shift of a `rows` x `columns` matrix of signs.
static LogicalResult expectScale(Operation *op, StringRef name, Type type,
                                 int64_t rows, int64_t columns) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(type).getShape();
  if (shape.empty() || shape == ArrayRef<int64_t>{1, columns} ||
      shape == ArrayRef<int64_t>{rows, 1})
    return success();
  return op->emitOpError() << "expected " << name << " of shape "
                           << toString({1, columns}) << ", "
                           << toString({rows, 1}) << " or single, found "
                           << toString(shape);
}

static LogicalResult expectConstant(Operation *op, StringRef name,
                                    APFloat value) {
  if (value.isFinite() && !value.isNegative())
    return success();
  return op->emitOpError() << "expected " << name
                           << " to be finite and not negative, found "
                           << value.convertToFloat();
}

static LogicalResult expectGroups(Operation *op, StringRef name, int64_t groups,
                                  int64_t features) {
  if (groups > 0 && features % groups == 0)
    return success();
  return op->emitOpError() << "expected " << name << " to divide " << features
                           << ", found " << groups;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

void WeightsOp::build(OpBuilder &builder, OperationState &state,
                      StringRef name) {
  state.addAttribute(getSymNameAttrName(state.name),
                     builder.getStringAttr(name));
  state.addRegion()->emplaceBlock();
}

LogicalResult WeightsOp::verifyRegions() {
  // (C1) The group holds weights only.
  for (Operation &op : getBody().front())
    if (!isa<WeightOp>(op))
      return op.emitOpError() << "in a group of weights, expected mamba.weight";
  return success();
}

/// `shape` without its dimensions of size 1.
static SmallVector<int64_t> squeeze(ArrayRef<int64_t> shape) {
  return llvm::to_vector(
      llvm::make_filter_range(shape, [](int64_t size) { return size != 1; }));
}

LogicalResult WeightOp::verify() {
  // (C1) There is a source.
  auto sources = getSources().getAsRange<SourceAttr>();
  if (sources.empty())
    return emitOpError("expected at least one source");
  RankedTensorType first = (*sources.begin()).getType();
  SmallVector<int64_t> shape = squeeze(first.getShape());

  for (Attribute step : getRecipe()) {
    // (C2) A step is one of the recipe's attributes.
    if (!isa<SignAttr, NegExpAttr, TransposeAttr, MultiplyAttr, CastAttr>(step))
      return emitOpError() << "expected a recipe step, found " << step;
    // (C3) multiply names a source after the first, with one element or as
    // many as the first.
    if (auto multiply = dyn_cast<MultiplyAttr>(step)) {
      unsigned index = multiply.getSource();
      if (index == 0 || index >= getSources().size())
        return emitOpError() << step << " names no source among 1 to "
                             << static_cast<int64_t>(getSources().size()) - 1;
      int64_t count =
          cast<SourceAttr>(getSources()[index]).getType().getNumElements();
      if (count != 1 && count != first.getNumElements())
        return emitOpError()
               << step << " expected 1 or " << first.getNumElements()
               << " elements, found " << count;
    }
    // (C4) transpose applies to a matrix.
    if (isa<TransposeAttr>(step)) {
      if (shape.size() != 2)
        return emitOpError()
               << step << " expected a matrix, found shape " << toString(shape);
      std::swap(shape[0], shape[1]);
    }
  }

  // (C5) The type is packed signs or a static tensor of floats, without a
  // layout.
  auto bits = dyn_cast<BitsType>(getType());
  auto tensor = dyn_cast<RankedTensorType>(getType());
  if (withoutLayout(getType()) != getType() ||
      !(bits ||
        (tensor && tensor.hasStaticShape() &&
         isa<Float16Type, BFloat16Type, Float32Type>(tensor.getElementType()))))
    return emitOpError() << "expected !mamba.bits or a static tensor of f32, "
                            "f16 or bf16, without a layout, found "
                         << getType();

  // (C6) But for dimensions of size 1 the recipe's shape is the type's.
  SmallVector<int64_t> declared =
      bits ? SmallVector<int64_t>{bits.getRows(), bits.getColumns()}
           : llvm::to_vector(tensor.getShape());
  if (shape != squeeze(declared))
    return emitOpError() << "expected a recipe of shape " << toString(declared)
                         << ", found " << toString(shape);

  // (C7) The recipe ends in sign for packed signs, else in the cast to the
  // element type, which f32 may leave out: every source is converted to it.
  Attribute last =
      getRecipe().empty() ? Attribute() : getRecipe()[getRecipe().size() - 1];
  if (bits) {
    if (!isa_and_nonnull<SignAttr>(last))
      return emitOpError() << "expected a recipe of " << getType()
                           << " to end in #mamba.sign";
    return success();
  }
  auto cast = dyn_cast_or_null<CastAttr>(last);
  Type found = cast ? cast.getType() : Float32Type::get(getContext());
  if (found != tensor.getElementType())
    return emitOpError() << "expected a recipe that ends in "
                         << tensor.getElementType() << ", found " << found;
  return success();
}

LogicalResult GetWeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // (C1) The symbol is a weight.
  auto weight =
      symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError() << getWeightAttr() << " does not name a mamba.weight";
  // (C2) The type is the weight's, with or without a layout.
  if (withoutLayout(getValue().getType()) != weight.getType()) {
    InFlightDiagnostic diagnostic = emitOpError()
                                    << "expected type " << weight.getType()
                                    << ", found " << getValue().getType();
    diagnostic.attachNote(weight.getLoc()) << "the weight is here";
    return diagnostic;
  }
  return success();
}

void GetWeightOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getValue(), getWeight().getLeafReference());
}

//===----------------------------------------------------------------------===//
// The block
//===----------------------------------------------------------------------===//

LogicalResult BlockOp::verify() {
  BlockConfigAttr config = getConfig();
  // (C1) x has d_model features.
  if (failed(expectShape(*this, "x", getX(), {dynamic, config.getDModel()})))
    return failure();
  // (C2) The convolution state holds d_conv - 1 rows of its channels.
  if (failed(expectShape(
          *this, "conv_state", getConvState(),
          {dynamic, config.getDConv() - 1, config.getConvChannels()})))
    return failure();
  // (C3) The SSM state is heads x d_state x headdim.
  return expectShape(
      *this, "ssm_state", getSsmState(),
      {dynamic, config.getHeads(), config.getDState(), config.getHeaddim()});
}

namespace {
/// Checks the weights of a block one by one.
class BlockWeights {
public:
  BlockWeights(BlockOp block, WeightsOp group) : block(block), group(group) {}

  WeightOp lookup(StringRef name) {
    return dyn_cast_or_null<WeightOp>(SymbolTable::lookupSymbolIn(group, name));
  }

  LogicalResult expectVector(StringRef name, ArrayRef<int64_t> shape,
                             bool optional = false) {
    WeightOp weight = lookup(name);
    if (!weight)
      return optional ? success() : missing(name);
    auto type =
        RankedTensorType::get(shape, Float32Type::get(block.getContext()));
    if (weight.getType() == type)
      return success();
    return mismatch(weight) << "expected " << name << " of type " << type
                            << ", found " << weight.getType();
  }

  /// `stem`, and its `_scale`, `_shift` and `_bias`.
  LogicalResult expectProjection(StringRef stem, int64_t rows,
                                 int64_t columns) {
    WeightOp weight = lookup(stem);
    if (!weight)
      return missing(stem);
    bool signs = isa<BitsType>(weight.getType());
    auto tensor = dyn_cast<RankedTensorType>(weight.getType());
    if (!(signs || (tensor && tensor.getRank() == 2)) ||
        getMatrixShape(weight.getType()) !=
            std::array<int64_t, 2>{rows, columns})
      return mismatch(weight)
             << "expected " << stem << " to be " << rows << " x " << columns
             << ", found " << weight.getType();
    for (const char *suffix : {"_scale", "_shift"}) {
      std::string name = (stem + suffix).str();
      WeightOp scale = lookup(name);
      if (!scale)
        continue;
      if (!signs)
        return mismatch(scale)
               << name << " needs " << stem << " to be packed signs";
      if (failed(expectScale(block, name, scale.getType(), rows, columns)))
        return failure();
    }
    return expectVector((stem + "_bias").str(), {rows}, /*optional=*/true);
  }

private:
  LogicalResult missing(StringRef name) {
    InFlightDiagnostic diagnostic = block.emitOpError()
                                    << "expected a weight named " << name
                                    << " in " << block.getWeightsAttr();
    diagnostic.attachNote(group.getLoc()) << "the group is here";
    return diagnostic;
  }
  InFlightDiagnostic mismatch(WeightOp weight) {
    InFlightDiagnostic diagnostic = block.emitOpError();
    diagnostic.attachNote(weight.getLoc()) << "the weight is here";
    return diagnostic;
  }

  BlockOp block;
  WeightsOp group;
};
} // namespace

LogicalResult BlockOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // (C4) The symbol is a group of weights.
  auto group =
      symbols.lookupNearestSymbolFrom<WeightsOp>(*this, getWeightsAttr());
  if (!group)
    return emitOpError() << getWeightsAttr()
                         << " does not name a mamba.weights";
  // (C5) The weights are there, with the shapes that config asks for.
  BlockConfigAttr config = getConfig();
  BlockWeights weights(*this, group);
  int64_t channels = config.getConvChannels(), heads = config.getHeads();
  return success(
      succeeded(weights.expectVector(names::norm, {config.getDModel()})) &&
      succeeded(weights.expectProjection(names::inProj, config.getInProjRows(),
                                         config.getDModel())) &&
      succeeded(weights.expectVector(names::convWeight,
                                     {config.getDConv(), channels})) &&
      succeeded(weights.expectVector(names::convBias, {channels}, true)) &&
      succeeded(weights.expectVector(names::dtBias, {heads})) &&
      succeeded(weights.expectVector(names::a, {heads})) &&
      succeeded(weights.expectVector(names::d, {heads})) &&
      succeeded(weights.expectVector(names::gatedNorm, {config.getDInner()})) &&
      succeeded(weights.expectProjection(names::outProj, config.getDModel(),
                                         config.getDInner())));
}

//===----------------------------------------------------------------------===//
// What a block expands to
//===----------------------------------------------------------------------===//

LogicalResult EmbeddingOp::verify() {
  // (C1) y is as wide as the table.
  return expectShape(*this, "y", getY(),
                     {dynamic, getTable().getType().getDimSize(1)});
}

/// What rms_norm and gated_rms_norm have in common.
template <typename NormOp>
static LogicalResult verifyNorm(NormOp op) {
  int64_t features = getFeatures(op.getX());
  // (C1) weight, shift_weight and y have the features of x.
  if (failed(expectShape(op, "weight", op.getWeight(), {features})) ||
      failed(
          expectShape(op, "shift_weight", op.getShiftWeight(), {features})) ||
      failed(expectShape(op, "y", op.getY(), {dynamic, features})))
    return failure();
  // (C2) groups divides the features.
  if (failed(expectGroups(op, "groups", op.getGroups(), features)))
    return failure();
  // (C3) eps is finite and not negative.
  if (failed(expectConstant(op, "eps", op.getEps())))
    return failure();
  // (C4) There is a shift just where there is a shift_weight.
  if (!op.getShiftWeight() != !op.getShift())
    return op.emitOpError() << "expected a shift result just where there is a "
                               "shift operand";
  return success();
}

LogicalResult RMSNormOp::verify() { return verifyNorm(*this); }

LogicalResult GatedRMSNormOp::verify() {
  if (failed(verifyNorm(*this)))
    return failure();
  // (C5) z has the shape of x.
  return expectShape(*this, "z", getZ(), {dynamic, getFeatures(getX())});
}

LogicalResult QuantizeOp::verify() {
  // (C1) q has the features of x.
  return expectShape(*this, "q", getQ(), {dynamic, getFeatures(getX())});
}

void QuantizeOp::build(OpBuilder &builder, OperationState &state, Value x,
                       unsigned bits) {
  auto type = cast<RankedTensorType>(x.getType());
  build(builder, state, type.clone(builder.getIntegerType(bits)),
        RankedTensorType::get({dynamic}, builder.getF32Type()), x);
}

LogicalResult BitLinearOp::verify() {
  auto [rows, columns] = getMatrixShape(getWeight().getType());
  auto x = cast<RankedTensorType>(getX().getType());
  // (C1) x has the weight's columns.
  if (failed(expectShape(*this, "x", getX(), {dynamic, columns})))
    return failure();
  // (C2) y and bias have the weight's rows.
  if (failed(expectShape(*this, "y", getY(), {dynamic, rows})) ||
      failed(expectShape(*this, "bias", getBias(), {rows})))
    return failure();
  // (C3) scale and shift are by column, by row or single.
  if ((getScale() && failed(expectScale(*this, "scale", getScale().getType(),
                                        rows, columns))) ||
      (getShift() && failed(expectScale(*this, "shift", getShift().getType(),
                                        rows, columns))))
    return failure();
  auto isColumn = [](TypedValue<RankedTensorType> value) {
    return value && getScaleKind(value.getType()) == ScaleKind::column;
  };
  // (C4) act_scale goes with quantised activations, and these with act_scale.
  bool quantized = x.getElementType().isInteger();
  if (quantized != bool(getActScale()))
    return emitOpError() << "expected act_scale just where x is quantised";
  // (C5) Quantised activations have no column scale: it belongs before the
  // rounding.
  if (quantized && isColumn(getScale()))
    return emitOpError("expected no column scale on quantised activations");
  // (C6) token_shift replaces a column shift.
  if (getTokenShift() && isColumn(getShift()))
    return emitOpError("expected no column shift beside token_shift");
  // (C7) The shift of quantised activations is a token_shift's.
  if (quantized && getShift() && !getTokenShift())
    return emitOpError("expected token_shift for the shift of quantised "
                       "activations");
  return success();
}

LogicalResult LinearOp::verify() {
  auto [rows, columns] = getMatrixShape(getWeight().getType());
  // (C1) x has the weight's columns.
  if (failed(expectShape(*this, "x", getX(), {dynamic, columns})))
    return failure();
  // (C2) y and bias have the weight's rows.
  if (failed(expectShape(*this, "y", getY(), {dynamic, rows})))
    return failure();
  return expectShape(*this, "bias", getBias(), {rows});
}

LogicalResult SplitOp::verify() {
  // (C1) The parts' features add up to those of x.
  int64_t sum = 0;
  for (Value part : getParts())
    sum += getFeatures(part);
  if (sum != getFeatures(getX()))
    return emitOpError() << "expected the parts to add up to "
                         << getFeatures(getX()) << " features, found " << sum;
  return success();
}

LogicalResult CausalConvOp::verify() {
  int64_t taps = getWeight().getType().getDimSize(0);
  int64_t channels = getWeight().getType().getDimSize(1);
  // (C1) x, y and bias have the weight's channels.
  if (failed(expectShape(*this, "x", getX(), {dynamic, channels})) ||
      failed(expectShape(*this, "y", getY(), {dynamic, channels})) ||
      failed(expectShape(*this, "bias", getBias(), {channels})))
    return failure();
  // (C2) The state holds d_conv - 1 rows, before and after.
  if (failed(expectShape(*this, "state", getState(),
                         {dynamic, taps - 1, channels})))
    return failure();
  return expectShape(*this, "new_state", getNewState(),
                     {dynamic, taps - 1, channels});
}

/// Checks that a new state has the type of the old one.
static LogicalResult expectSameType(Operation *op, StringRef name, Value state,
                                    Value old) {
  if (state.getType() == old.getType())
    return success();
  return op->emitOpError() << "expected " << name << " of type "
                           << old.getType() << ", found " << state.getType();
}

/// What selective_scan and scan have in common.
template <typename Op>
static LogicalResult verifyScan(Op op, RankedTensorType state) {
  int64_t heads = state.getDimSize(1);
  // (C1) dt_bias, A and D are by head.
  if (failed(expectShape(op, "dt_bias", op.getDtBias(), {heads})) ||
      failed(expectShape(op, "A", op.getA(), {heads})) ||
      failed(expectShape(op, "D", op.getD(), {heads})))
    return failure();
  // (C2) groups divides the heads.
  if (failed(expectGroups(op, "groups", op.getGroups(), heads)))
    return failure();
  // (C3) 0 <= dt_min <= dt_max.
  if (!(op.getDtMin().convertToFloat() >= 0 && op.getDtMin() <= op.getDtMax()))
    return op.emitOpError()
           << "expected 0 <= dt_min <= dt_max, found " << op.getDtMinAttr()
           << " and " << op.getDtMaxAttr();
  return success();
}

LogicalResult SelectiveScanOp::verify() {
  RankedTensorType state = getState().getType();
  if (failed(verifyScan(*this, state)))
    return failure();
  int64_t heads = state.getDimSize(1), dState = state.getDimSize(2);
  int64_t inner = heads * state.getDimSize(3);
  // (C4) xbc holds x, and B and C of each group; dt is by head.
  if (failed(
          expectShape(*this, "xbc", getXbc(),
                      {dynamic, inner + 2 * int64_t(getGroups()) * dState})) ||
      failed(expectShape(*this, "dt", getDt(), {dynamic, heads})))
    return failure();
  // (C5) y has the features of x, and the state's type stays.
  if (failed(expectShape(*this, "y", getY(), {dynamic, inner})))
    return failure();
  return expectSameType(*this, "new_state", getNewState(), getState());
}

LogicalResult LMHeadOp::verify() {
  auto [rows, columns] = getMatrixShape(getWeight().getType());
  // (C1) x has the weight's columns.
  if (failed(expectShape(*this, "x", getX(), {dynamic, columns})))
    return failure();
  // (C2) There is a logit for each of the weight's rows.
  return expectShape(*this, "logits", getLogits(), {dynamic, rows});
}

LogicalResult SampleOp::verify() {
  int64_t limit = getLimit(), logits = getFeatures(getLogits());
  // (C1) There are so many to choose from.
  if (limit < 1 || limit > logits)
    return emitOpError() << "expected a limit between 1 and " << logits
                         << ", found " << limit;
  return success();
}

//===----------------------------------------------------------------------===//
// Fused operations
//===----------------------------------------------------------------------===//

LogicalResult FusedLinearOp::verify() {
  auto [rows, columns] = getMatrixShape(getWeight().getType());
  // (C1) x, norm_weight and shift_weight have the weight's columns.
  if (failed(expectShape(*this, "x", getX(), {dynamic, columns})) ||
      failed(expectShape(*this, "norm_weight", getNormWeight(), {columns})) ||
      failed(expectShape(*this, "shift_weight", getShiftWeight(), {columns})))
    return failure();
  // (C2) y, residual, row_scale, row_shift and bias have the weight's rows.
  if (failed(expectShape(*this, "y", getY(), {dynamic, rows})) ||
      failed(expectShape(*this, "residual", getResidual(), {dynamic, rows})) ||
      failed(expectShape(*this, "row_scale", getRowScale(), {rows})) ||
      failed(expectShape(*this, "row_shift", getRowShift(), {rows})) ||
      failed(expectShape(*this, "bias", getBias(), {rows})))
    return failure();
  // (C3) activation_bits is 8, 16 or 32, and 32 for a dense weight.
  int64_t bits = getActivationBits();
  if (bits != 8 && bits != 16 && bits != 32)
    return emitOpError() << "expected activation_bits of 8, 16 or 32, found "
                         << bits;
  if (bits != 32 && !isa<BitsType>(getWeight().getType()))
    return emitOpError() << "expected activation_bits of 32 for a dense "
                            "weight, found "
                         << bits;
  // (C4) norm_groups is 0 or divides the columns.
  if (getNormGroups() != 0 &&
      failed(expectGroups(*this, "norm_groups", getNormGroups(), columns)))
    return failure();
  // (C5) eps is finite and not negative.
  if (failed(expectConstant(*this, "eps", getEps())))
    return failure();
  // (C6) row_shift needs the token's shift.
  if (getRowShift() && !getShiftWeight())
    return emitOpError("expected shift_weight beside row_shift");
  return success();
}

LogicalResult ScanOp::verify() {
  RankedTensorType state = getSsmState().getType();
  if (failed(verifyScan(*this, state)))
    return failure();
  int64_t inner = getDInner(), channels = getConvChannels(), taps = getDConv();
  // (C4) zxbcdt holds z, x, B, C and dt.
  if (failed(expectShape(*this, "zxbcdt", getZxbcdt(),
                         {dynamic, inner + channels + getHeads()})))
    return failure();
  // (C5) The convolution's weight, bias and state have the channels of xBC,
  // and the state d_conv - 1 rows.
  if (failed(expectShape(*this, "conv_weight", getConvWeight(),
                         {taps, channels})) ||
      failed(expectShape(*this, "conv_bias", getConvBias(), {channels})) ||
      failed(expectShape(*this, "conv_state", getConvState(),
                         {dynamic, taps - 1, channels})))
    return failure();
  // (C6) y has the features of x, and the states' types stay.
  if (failed(expectShape(*this, "y", getY(), {dynamic, inner})) ||
      failed(expectSameType(*this, "new_conv_state", getNewConvState(),
                            getConvState())))
    return failure();
  return expectSameType(*this, "new_ssm_state", getNewSsmState(),
                        getSsmState());
}

//===----------------------------------------------------------------------===//
// Names of results in the printed form
//===----------------------------------------------------------------------===//

/// Names the results in order; an absent optional result leaves out the last.
static void nameResults(Operation *op, ArrayRef<StringRef> names,
                        OpAsmSetValueNameFn setName) {
  for (auto [result, name] : llvm::zip(op->getResults(), names))
    setName(result, name);
}

void BlockOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"x", "conv", "ssm"}, setName);
}
void EmbeddingOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"x"}, setName);
}
void RMSNormOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"u", "shift"}, setName);
}
void GatedRMSNormOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"u", "shift"}, setName);
}
void QuantizeOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"q", "scale"}, setName);
}
void CausalConvOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"xbc", "conv"}, setName);
}
void SelectiveScanOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"y", "ssm"}, setName);
}
void LMHeadOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"logits"}, setName);
}
void SampleOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"chosen", "highest", "next_random"}, setName);
}
void SelectRowsOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"selected"}, setName);
}
void ScanOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"y", "conv", "ssm"}, setName);
}
void AddOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  nameResults(*this, {"x"}, setName);
}
