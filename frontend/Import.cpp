//===- Import.cpp - a checkpoint as a module of the mamba dialect ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "frontend/Import.h"

#include "dialects/mamba/Mamba.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::mamba;
using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::ModelConfig;

/// The likeliest tokens of a row among which a program can draw one; as many as
/// runtime/artifact/Format.h promises.
static constexpr int64_t kSampleLimit = 64;

static Type getElementType(Builder &builder, DType dtype) {
  switch (dtype) {
  case DType::f64:
    return builder.getF64Type();
  case DType::f32:
    return builder.getF32Type();
  case DType::f16:
    return builder.getF16Type();
  case DType::bf16:
    return builder.getBF16Type();
  case DType::i64:
    return builder.getI64Type();
  case DType::i32:
    return builder.getI32Type();
  case DType::i16:
    return builder.getI16Type();
  case DType::i8:
    return builder.getI8Type();
  case DType::u8:
    return builder.getIntegerType(8, /*isSigned=*/false);
  case DType::boolean:
    return builder.getI1Type();
  }
  llvm_unreachable("all element types are handled");
}

namespace {

class Importer {
public:
  Importer(MLIRContext &context, const Checkpoint &checkpoint,
           const ModelConfig &config, DenseType denseType)
      : builder(UnknownLoc::get(&context), &context), checkpoint(checkpoint),
        config(config), denseType(denseType) {}

  OwningOpRef<ModuleOp> run();

private:
  void beginGroup(StringRef name);
  void addWeight(StringRef name, Type type, StringRef key,
                 ArrayRef<Attribute> recipe);
  /// A weight of f32 elements.
  void addVector(StringRef name, ArrayRef<int64_t> shape, StringRef key,
                 ArrayRef<Attribute> recipe = {});
  void addDense(StringRef name, StringRef key);
  void addScale(StringRef name, const checkpoint::Linear &linear,
                checkpoint::Pattern pattern, StringRef key);
  void addLinear(const checkpoint::Linear &linear, StringRef weight,
                 StringRef scale, StringRef shift, StringRef bias);
  void addLayer(const checkpoint::Layer &layer, StringRef name);
  void addForward();

  std::string layerName(size_t i) const { return "layer" + std::to_string(i); }
  RankedTensorType packed(ArrayRef<int64_t> inner, Type element);
  Value getWeight(StringRef name, Type type);
  RankedTensorType matrixType(StringRef key);

  ImplicitLocOpBuilder builder;
  const Checkpoint &checkpoint;
  const ModelConfig &config;
  DenseType denseType;
  OwningOpRef<ModuleOp> module;
};

} // namespace

void Importer::beginGroup(StringRef name) {
  builder.setInsertionPointToEnd(module->getBody());
  auto group = WeightsOp::create(builder, name);
  builder.setInsertionPointToEnd(&group.getBody().front());
}

void Importer::addWeight(StringRef name, Type type, StringRef key,
                         ArrayRef<Attribute> recipe) {
  const checkpoint::Tensor &tensor = checkpoint.get(key.str());
  auto source = SourceAttr::get(
      builder.getContext(), builder.getStringAttr(tensor.file).getValue(),
      builder.getStringAttr(key).getValue(),
      RankedTensorType::get(tensor.shape,
                            getElementType(builder, tensor.dtype)));
  WeightOp::create(builder, builder.getStringAttr(name), TypeAttr::get(type),
                   builder.getArrayAttr({source}),
                   builder.getArrayAttr(recipe));
}

void Importer::addVector(StringRef name, ArrayRef<int64_t> shape, StringRef key,
                         ArrayRef<Attribute> recipe) {
  addWeight(name, RankedTensorType::get(shape, builder.getF32Type()), key,
            recipe);
}

RankedTensorType Importer::matrixType(StringRef key) {
  const checkpoint::Tensor &tensor = checkpoint.get(key.str());
  Type element = builder.getF32Type();
  switch (denseType) {
  case DenseType::asStored:
    if (tensor.dtype == DType::f16 || tensor.dtype == DType::bf16)
      element = getElementType(builder, tensor.dtype);
    break;
  case DenseType::f16:
    element = builder.getF16Type();
    break;
  case DenseType::bf16:
    element = builder.getBF16Type();
    break;
  case DenseType::f32:
    break;
  }
  return RankedTensorType::get(tensor.shape, element);
}

void Importer::addDense(StringRef name, StringRef key) {
  RankedTensorType type = matrixType(key);
  addWeight(name, type, key,
            {CastAttr::get(builder.getContext(), type.getElementType())});
}

void Importer::addScale(StringRef name, const checkpoint::Linear &linear,
                        checkpoint::Pattern pattern, StringRef key) {
  if (key.empty())
    return;
  switch (pattern) {
  case checkpoint::Pattern::column:
    return addVector(name, {1, linear.columns}, key);
  case checkpoint::Pattern::row:
    return addVector(name, {linear.rows, 1}, key);
  case checkpoint::Pattern::single:
    return addVector(name, {}, key);
  }
}

void Importer::addLinear(const checkpoint::Linear &linear, StringRef weight,
                         StringRef scale, StringRef shift, StringRef bias) {
  if (linear.binarised) {
    MLIRContext *context = builder.getContext();
    addWeight(weight, BitsType::get(context, linear.rows, linear.columns, {}),
              linear.weight, {SignAttr::get(context)});
    addScale(scale, linear, linear.scalePattern, linear.scale);
    addScale(shift, linear, linear.shiftPattern, linear.shift);
  } else {
    addDense(weight, linear.weight);
  }
  if (!linear.bias.empty())
    addVector(bias, {linear.rows}, linear.bias);
}

void Importer::addLayer(const checkpoint::Layer &layer, StringRef name) {
  MLIRContext *context = builder.getContext();
  beginGroup(name);
  addVector(names::norm, {config.dModel}, layer.norm);
  addLinear(layer.inProj, names::inProj, names::inProjScale, names::inProjShift,
            names::inProjBias);
  addVector(names::convWeight, {config.dConv, config.convChannels()},
            layer.convWeight, {TransposeAttr::get(context)});
  if (!layer.convBias.empty())
    addVector(names::convBias, {config.convChannels()}, layer.convBias);
  addVector(names::dtBias, {config.nHeads}, layer.dtBias);
  addVector(names::a, {config.nHeads}, layer.aLog, {NegExpAttr::get(context)});
  addVector(names::d, {config.nHeads}, layer.d);
  addVector(names::gatedNorm, {config.dInner}, layer.gatedNorm);
  addLinear(layer.outProj, names::outProj, names::outProjScale,
            names::outProjShift, names::outProjBias);
}

RankedTensorType Importer::packed(ArrayRef<int64_t> inner, Type element) {
  SmallVector<int64_t> shape = {ShapedType::kDynamic};
  shape.append(inner.begin(), inner.end());
  return RankedTensorType::get(shape, element);
}

Value Importer::getWeight(StringRef name, Type type) {
  auto symbol =
      SymbolRefAttr::get(builder.getContext(), "model",
                         {FlatSymbolRefAttr::get(builder.getContext(), name)});
  return GetWeightOp::create(builder, type, symbol);
}

void Importer::addForward() {
  Type f32 = builder.getF32Type(), i32 = builder.getI32Type();
  RankedTensorType conv =
      packed({config.dConv - 1, config.convChannels()}, f32);
  RankedTensorType ssm =
      packed({config.nHeads, config.dState, config.headdim}, f32);
  RankedTensorType hidden = packed({config.dModel}, f32);
  RankedTensorType logits = packed({config.vocabSize}, f32);
  // Of each row: a generator's state, a real number, an integer.
  RankedTensorType random = packed({2}, i32), real = packed({}, f32),
                   integer = packed({}, i32);

  SmallVector<Type> arguments = {
      integer, SequencesType::get(builder.getContext()), integer};
  arguments.append({random, real, integer, real, real}); // of sampling
  size_t firstState = arguments.size();
  SmallVector<Type> results = {logits, integer, real, random};
  for (int64_t i = 0; i < config.nLayer; ++i) {
    arguments.append({conv, ssm});
    results.append({conv, ssm});
  }
  builder.setInsertionPointToEnd(module->getBody());
  auto forward = func::FuncOp::create(
      builder, "forward", builder.getFunctionType(arguments, results));
  Block *body = forward.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Value ids = body->getArgument(0), seqs = body->getArgument(1),
        rows = body->getArgument(2);

  auto f32Attr = [&](double value) {
    return builder.getF32FloatAttr(static_cast<float>(value));
  };
  auto block = BlockConfigAttr::get(
      builder.getContext(), config.dModel, config.nHeads, config.headdim,
      config.nGroups, config.dState, config.dConv, config.gatedNormGroups,
      f32Attr(config.normEps), f32Attr(config.gatedNormEps),
      f32Attr(config.dtMin), f32Attr(config.dtMax));

  Value embedding = getWeight("embedding", matrixType(config.embedding));
  Value x = EmbeddingOp::create(builder, hidden, ids, embedding);
  SmallVector<Value> states;
  for (int64_t i = 0; i < config.nLayer; ++i) {
    auto layer = BlockOp::create(
        builder, hidden, conv, ssm, x, body->getArgument(firstState + 2 * i),
        body->getArgument(firstState + 2 * i + 1), seqs,
        FlatSymbolRefAttr::get(builder.getContext(), layerName(i)), block);
    x = layer.getY();
    states.append({layer.getNewConvState(), layer.getNewSsmState()});
  }
  x = SelectRowsOp::create(builder, hidden, x, rows);
  x = RMSNormOp::create(
          builder, hidden, Type(), x,
          getWeight("norm_f", RankedTensorType::get({config.dModel}, f32)),
          Value(), f32Attr(config.normEps), builder.getI64IntegerAttr(1))
          .getY();
  Value head = config.tieEmbeddings
                   ? embedding
                   : getWeight("lm_head", matrixType(config.lmHead));
  Value y = LMHeadOp::create(builder, logits, x, head);
  auto sampled = SampleOp::create(
      builder, y, body->getArgument(3), body->getArgument(4),
      body->getArgument(5), body->getArgument(6), body->getArgument(7),
      std::min<int64_t>(kSampleLimit, config.vocabSize));
  SmallVector<Value> returned = {y, sampled.getChosen(), sampled.getHighest(),
                                 sampled.getNextRandom()};
  returned.append(states);
  func::ReturnOp::create(builder, returned);
}

OwningOpRef<ModuleOp> Importer::run() {
  module = ModuleOp::create(builder.getLoc());
  for (size_t i = 0; i < config.layers.size(); ++i)
    addLayer(config.layers[i], layerName(i));
  beginGroup("model");
  addDense("embedding", config.embedding);
  addVector("norm_f", {config.dModel}, config.finalNorm);
  if (!config.tieEmbeddings)
    addDense("lm_head", config.lmHead);
  addForward();
  return std::move(module);
}

OwningOpRef<ModuleOp> mambit::importCheckpoint(MLIRContext &context,
                                               const Checkpoint &checkpoint,
                                               const ModelConfig &config,
                                               DenseType denseType) {
  context.loadDialect<MambaDialect, func::FuncDialect>();
  return Importer(context, checkpoint, config, denseType).run();
}
