//===- Recipe.cpp - makes weights of the checkpoint's tensors ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/interpreter/Semantics.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mambit::mamba;
using namespace mambit::mamba::interpreter;
using namespace mlir;

static llvm::Error roundAll(std::vector<double> &values, Type type,
                            SourceAttr source) {
  const llvm::fltSemantics &semantics =
      cast<FloatType>(type).getFloatSemantics();
  for (double &value : values) {
    double rounded = roundTo(value, semantics);
    if (std::isinf(rounded) && !std::isinf(value))
      return llvm::createStringError("%s: %g is out of the range of %s",
                                     source.getKey().str().c_str(), value,
                                     type.isF16()    ? "f16"
                                     : type.isBF16() ? "bf16"
                                                     : "f32");
    value = rounded;
  }
  return llvm::Error::success();
}

/// The elements of a source, as f32.
static llvm::Expected<std::vector<double>> readSource(WeightSource &weights,
                                                      SourceAttr source) {
  llvm::Expected<std::vector<double>> values = weights.read(source);
  if (!values)
    return values;
  if (int64_t(values->size()) != source.getType().getNumElements())
    return llvm::createStringError(
        "%s: expected %lld elements, found %zu", source.getKey().str().c_str(),
        (long long)source.getType().getNumElements(), values->size());
  if (llvm::Error error =
          roundAll(*values, Float32Type::get(source.getContext()), source))
    return error;
  return values;
}

/// rows x columns, the dimensions of a matrix other than 1 before a transpose.
static std::vector<double> transpose(const std::vector<double> &values,
                                     int64_t rows, int64_t columns) {
  std::vector<double> result(values.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      result[c * rows + r] = values[r * columns + c];
  return result;
}

llvm::Expected<Datum> interpreter::executeRecipe(WeightOp weight,
                                                 WeightSource &weights) {
  auto sources = llvm::to_vector(weight.getSources().getAsRange<SourceAttr>());
  llvm::Expected<std::vector<double>> values = readSource(weights, sources[0]);
  if (!values)
    return values.takeError();
  SmallVector<int64_t> shape = llvm::to_vector(llvm::make_filter_range(
      sources[0].getType().getShape(), [](int64_t size) { return size != 1; }));
  auto f32 = Float32Type::get(weight.getContext());

  for (Attribute step : weight.getRecipe()) {
    if (isa<SignAttr>(step)) {
      for (double &value : *values) {
        if (std::isnan(value))
          return llvm::createStringError("%s: a weight is not a number",
                                         sources[0].getKey().str().c_str());
        value = (value > 0) - (value < 0);
      }
    } else if (isa<NegExpAttr>(step)) {
      for (double &value : *values)
        value = -std::exp(value);
      if (llvm::Error error = roundAll(*values, f32, sources[0]))
        return error;
    } else if (isa<TransposeAttr>(step)) {
      *values = transpose(*values, shape[0], shape[1]);
      std::swap(shape[0], shape[1]);
    } else if (auto multiply = dyn_cast<MultiplyAttr>(step)) {
      llvm::Expected<std::vector<double>> factors =
          readSource(weights, sources[multiply.getSource()]);
      if (!factors)
        return factors.takeError();
      bool single = factors->size() == 1;
      for (size_t i = 0; i < values->size(); ++i)
        (*values)[i] *= (*factors)[single ? 0 : i];
      if (llvm::Error error = roundAll(*values, f32, sources[0]))
        return error;
    } else if (auto cast = dyn_cast<CastAttr>(step)) {
      if (llvm::Error error = roundAll(*values, cast.getType(), sources[0]))
        return error;
    }
  }

  if (auto bits = dyn_cast<BitsType>(weight.getType()))
    return makeDatum(Signs{
        bits.getRows(), bits.getColumns(), {values->begin(), values->end()}});
  return makeDatum(Tensor(cast<RankedTensorType>(weight.getType()).getShape(),
                          std::move(*values)));
}
