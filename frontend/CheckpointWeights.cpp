//===- CheckpointWeights.cpp - a checkpoint's weights, for interpreting ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "frontend/CheckpointWeights.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringExtras.h"

#include <cstring>

using namespace mambit;
using checkpoint::DType;
using checkpoint::Tensor;

template <typename T>
static T load(const unsigned char *data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

/// By LLVM's own arithmetic, apart from what packing uses.
static double loadHalf(const unsigned char *data,
                       const llvm::fltSemantics &semantics) {
  llvm::APFloat value(semantics, llvm::APInt(16, load<uint16_t>(data)));
  bool exact;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven,
                &exact);
  return value.convertToDouble();
}

static double loadElement(DType dtype, const unsigned char *data) {
  switch (dtype) {
  case DType::f64:
    return load<double>(data);
  case DType::f32:
    return load<float>(data);
  case DType::f16:
    return loadHalf(data, llvm::APFloat::IEEEhalf());
  case DType::bf16:
    return loadHalf(data, llvm::APFloat::BFloat());
  case DType::i64:
    return static_cast<double>(load<int64_t>(data));
  case DType::i32:
    return load<int32_t>(data);
  case DType::i16:
    return load<int16_t>(data);
  case DType::i8:
    return load<int8_t>(data);
  case DType::u8:
  case DType::boolean:
    return *data;
  }
  llvm_unreachable("all element types are handled");
}

/// Appends the elements of dimensions `dim` and up, row-major.
static void readElements(const Tensor &tensor, size_t dim,
                         const unsigned char *data,
                         std::vector<double> &values) {
  if (dim == tensor.shape.size()) {
    values.push_back(loadElement(tensor.dtype, data));
    return;
  }
  int64_t stride = tensor.strides[dim] * dtypeSize(tensor.dtype);
  for (int64_t i = 0; i < tensor.shape[dim]; ++i)
    readElements(tensor, dim + 1, data + i * stride, values);
}

llvm::Expected<std::vector<double>>
CheckpointWeights::read(mamba::SourceAttr source) {
  const Tensor *tensor = checkpoint.find(source.getKey().str());
  if (!tensor)
    return llvm::createStringError("'" + checkpoint.directory() +
                                   "' has no tensor '" + source.getKey().str() +
                                   "'");
  if (llvm::ArrayRef<int64_t>(tensor->shape) != source.getType().getShape())
    return llvm::createStringError(
        "'" + tensor->file + "', tensor '" + tensor->key +
        "': expected shape " +
        checkpoint::toString(source.getType().getShape().vec()) + ", found " +
        checkpoint::toString(tensor->shape));
  std::vector<double> values;
  values.reserve(tensor->elementCount());
  readElements(*tensor, 0, tensor->data, values);
  return values;
}
