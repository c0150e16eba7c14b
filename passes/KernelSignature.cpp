//===- KernelSignature.cpp - the buffers a kernel takes ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/KernelSignature.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mambit;
using plan::Access;
using plan::Dim;
using plan::ParamAttr;

static int64_t getElementBytes(RankedTensorType type) {
  return type.getElementTypeBitWidth() / 8;
}

/// Bytes of a weight in its layout.
static int64_t getWeightBytes(Type type) {
  if (auto bits = dyn_cast<mamba::BitsType>(type)) {
    int64_t rows = bits.getLayout().getRows();
    return llvm::divideCeil(bits.getRows(), rows) *
           llvm::divideCeil(bits.getColumns(), 32) * rows * 4;
  }
  auto tensor = cast<RankedTensorType>(type);
  if (auto zeros = dyn_cast_or_null<plan::ZerosAttr>(tensor.getEncoding()))
    return (llvm::divideCeil(tensor.getDimSize(0), zeros.getRows()) + 1) * 4;
  int64_t elements = tensor.getNumElements();
  if (auto interleave =
          dyn_cast_or_null<mamba::InterleaveAttr>(tensor.getEncoding()))
    elements = llvm::alignTo(tensor.getDimSize(0), interleave.getRows()) *
               tensor.getDimSize(1);
  return elements * getElementBytes(tensor);
}

namespace {
/// Collects the parameters of one operation.
class SignatureBuilder {
public:
  SignatureBuilder(Operation *op, Dim dim) : op(op), dim(dim) {}

  /// Adds the operands of an ODS operand group, of which there may be none.
  LogicalResult addOperand(StringRef name, ValueRange values,
                           std::optional<Dim> extent = std::nullopt) {
    for (Value value : values)
      if (failed(addOperand(name, value.getType(), extent.value_or(dim))))
        return failure();
    return success();
  }

  void addResult(StringRef name, Value value) {
    addPacked(name, Access::write, cast<RankedTensorType>(value.getType()),
              dim);
  }

  void addScratch(StringRef name, ArrayRef<int64_t> shape, Type element) {
    add(name, Access::readWrite, RankedTensorType::get(shape, element), dim);
  }

  /// Integers of a slot that are zero before and after a launch.
  void addCounters(StringRef name, int64_t count) {
    add(name, Access::readWrite,
        RankedTensorType::get({count}, IntegerType::get(op->getContext(), 32)),
        Dim::slots);
  }

  SmallVector<ParamAttr> take() { return std::move(params); }

private:
  LogicalResult addOperand(StringRef name, Type type, Dim extent) {
    MLIRContext *context = op->getContext();
    auto i32 = IntegerType::get(context, 32);
    if (isa<mamba::SequencesType>(type)) {
      auto scalar = RankedTensorType::get({}, i32);
      add("offsets", Access::read, scalar, Dim::sequences, /*extra=*/1);
      add("slots", Access::read, scalar, Dim::sequences);
      return success();
    }
    if (auto bits = dyn_cast<mamba::BitsType>(type)) {
      if (!bits.getLayout())
        return op->emitError("operand '")
               << name << "' of " << type << " has no layout";
      addWeight(name, bits);
      addWeight((name + ".zeros").str(),
                RankedTensorType::get(
                    {bits.getRows(), bits.getColumns()}, i32,
                    plan::ZerosAttr::get(context, bits.getLayout().getRows())));
      return success();
    }
    auto tensor = cast<RankedTensorType>(type);
    if (mamba::isPacked(type)) {
      bool isState = tensor.getRank() >= 3;
      addPacked(name, isState ? Access::readWrite : Access::read, tensor,
                isState ? Dim::slots : extent);
      return success();
    }
    if (!tensor.hasStaticShape())
      return op->emitError("operand '")
             << name << "' of " << type << " is neither packed nor static";
    addWeight(name, tensor);
    return success();
  }

  void addPacked(StringRef name, Access access, RankedTensorType type,
                 Dim extent) {
    add(name, access,
        RankedTensorType::get(type.getShape().drop_front(),
                              type.getElementType()),
        extent);
  }

  void addWeight(StringRef name, Type type) {
    params.push_back(ParamAttr::get(op->getContext(), name, Access::read, type,
                                    getWeightBytes(type), 0, Dim::none));
  }

  /// One of `type` for each unit of `extent`, and `extra` ones.
  void add(StringRef name, Access access, RankedTensorType type, Dim extent,
           int64_t extra = 0) {
    int64_t bytes = type.getNumElements() * getElementBytes(type);
    params.push_back(ParamAttr::get(op->getContext(), name, access, type,
                                    extra * bytes, bytes, extent));
  }

  Operation *op;
  Dim dim; // extent of the results
  SmallVector<ParamAttr> params;
};
} // namespace

static FailureOr<SmallVector<ParamAttr>> getSignature(mamba::EmbeddingOp op) {
  SignatureBuilder builder(op, Dim::tokens);
  if (failed(builder.addOperand("ids", op.getIds())) ||
      failed(builder.addOperand("table", op.getTable())))
    return failure();
  builder.addResult("y", op.getY());
  return builder.take();
}

static FailureOr<SmallVector<ParamAttr>> getSignature(mamba::FusedLinearOp op) {
  SignatureBuilder builder(op, op.getRows() ? Dim::rows : Dim::tokens);
  static constexpr StringLiteral names[] = {
      "x",         "weight",    "rows", "norm_weight", "shift_weight",
      "row_scale", "row_shift", "bias", "residual"};
  for (auto [index, name] : llvm::enumerate(names))
    if (failed(builder.addOperand(name, op.getODSOperands(index),
                                  index == 0 ? std::optional(Dim::tokens)
                                             : std::nullopt)))
      return failure();
  builder.addResult("y", op.getY());

  MLIRContext *context = op.getContext();
  auto f32 = Float32Type::get(context);
  int64_t k = cast<RankedTensorType>(op.getX().getType()).getDimSize(1);
  bool isBits = isa<mamba::BitsType>(op.getWeight().getType());
  int64_t bits = op.getActivationBits();
  if (isBits) {
    int64_t padded = llvm::alignTo(k, 32);
    auto i8 = IntegerType::get(context, 8);
    builder.addScratch("digits", {bits / 8, padded}, i8);
    if (bits < 32)
      builder.addScratch("tables", {padded / 4 * (bits == 16 ? 48 : 32)}, i8);
    builder.addScratch("scale", {}, f32);
    builder.addScratch("qsum", {},
                       IntegerType::get(context, bits == 32 ? 64 : 32));
  }
  if (bits == 32 &&
      (isBits || op.getRows() || op.getNormGroups() || op.getNormWeight()))
    builder.addScratch("v", {k}, f32);
  if (op.getShiftWeight())
    builder.addScratch("tau", {}, f32);
  return builder.take();
}

static FailureOr<SmallVector<ParamAttr>> getSignature(mamba::ScanOp op) {
  SignatureBuilder builder(op, Dim::tokens);
  static constexpr StringLiteral names[] = {
      "zxbcdt", "conv_state", "ssm_state", "conv_weight", "dt_bias",
      "A",      "D",          "seqs",      "conv_bias"};
  for (auto [index, name] : llvm::enumerate(names))
    if (failed(builder.addOperand(name, op.getODSOperands(index))))
      return failure();
  builder.addResult("y", op.getY());

  auto f32 = Float32Type::get(op.getContext());
  int64_t chunks =
      op.getGroups() * (2 * llvm::alignTo(op.getDState(), 16) + kScanChunk) +
      op.getHeads() * 4;
  builder.addScratch("xbc", {std::max(op.getConvChannels(), chunks)}, f32);
  builder.addScratch("dt", {op.getHeads()}, f32);
  builder.addScratch("decay", {op.getHeads()}, f32);
  builder.addCounters("tickets", op.getGroups());
  return builder.take();
}

static FailureOr<SmallVector<ParamAttr>> getSignature(mamba::SampleOp op) {
  SignatureBuilder builder(op, Dim::rows);
  static constexpr StringLiteral names[] = {"logits", "random", "temperature",
                                            "top_k",  "top_p",  "min_p"};
  for (auto [index, name] : llvm::enumerate(names))
    if (failed(builder.addOperand(name, op.getOperand(index))))
      return failure();
  builder.addResult("chosen", op.getChosen());
  builder.addResult("highest", op.getHighest());
  builder.addResult("next_random", op.getNextRandom());
  int64_t vocab = op.getLogits().getType().getDimSize(1);
  builder.addScratch(
      "best",
      {llvm::divideCeilSigned(vocab, kSamplePart) * int64_t(op.getLimit())},
      IntegerType::get(op.getContext(), 64));
  return builder.take();
}

bool mambit::isFusedOp(Operation *op) {
  return isa<mamba::EmbeddingOp, mamba::FusedLinearOp, mamba::ScanOp,
             mamba::SampleOp>(op);
}

bool mambit::isKernel(func::FuncOp function) {
  if (!function.isPrivate() || function.isExternal())
    return false;
  Block &body = function.getBody().front();
  return llvm::hasNItems(body, 2) && isFusedOp(&body.front()) &&
         llvm::equal(body.front().getOperands(), body.getArguments());
}

FailureOr<SmallVector<ParamAttr>> mambit::getKernelSignature(Operation *op) {
  return llvm::TypeSwitch<Operation *, FailureOr<SmallVector<ParamAttr>>>(op)
      .Case<mamba::EmbeddingOp, mamba::FusedLinearOp, mamba::ScanOp,
            mamba::SampleOp>([](auto fused) { return getSignature(fused); })
      .Default([](Operation *other) {
        return other->emitError("no kernel can be made of ")
               << other->getName();
      });
}

unsigned mambit::getNumBuffers(Type type) {
  return isa<mamba::BitsType, mamba::SequencesType>(type) ? 2 : 1;
}

std::optional<unsigned> mambit::getStateOperand(OpResult result) {
  if (!isa<mamba::ScanOp>(result.getOwner()) || result.getResultNumber() == 0)
    return std::nullopt;
  // y, conv state, ssm state; zxbcdt, conv state, ssm state, ...
  return result.getResultNumber();
}

std::optional<unsigned> mambit::findParam(ArrayRef<ParamAttr> params,
                                          StringRef name) {
  const auto *it = llvm::find_if(
      params, [&](ParamAttr param) { return param.getName() == name; });
  if (it == params.end())
    return std::nullopt;
  return it - params.begin();
}
