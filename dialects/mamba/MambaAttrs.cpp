//===- MambaAttrs.cpp - attributes of the mamba dialect ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mambit::mamba;

#define GET_ATTRDEF_CLASSES
#include "dialects/mamba/MambaAttrs.cpp.inc"

void MambaDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/mamba/MambaAttrs.cpp.inc"
      >();
}

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

LogicalResult BitTileAttr::verify(EmitError emitError, int64_t rows) {
  // (C1) rows is a positive multiple of 16.
  if (rows <= 0 || rows % 16 != 0)
    return emitError()
           << "expected rows to be a positive multiple of 16, found " << rows;
  return success();
}

LogicalResult InterleaveAttr::verify(EmitError emitError, int64_t rows) {
  // (C1) rows is positive.
  if (rows <= 0)
    return emitError() << "expected rows to be positive, found " << rows;
  return success();
}

LogicalResult InterleaveAttr::verifyEncoding(ArrayRef<int64_t> shape,
                                             Type elementType,
                                             EmitError emitError) const {
  // (C2) The tensor is a static matrix.
  if (shape.size() != 2 || ShapedType::isDynamicShape(shape))
    return emitError() << "expected a static matrix under " << *this;
  return success();
}

LogicalResult SourceAttr::verify(EmitError emitError, StringRef file,
                                 StringRef key, RankedTensorType type) {
  // (C1) The tensor is static, of an element type that checkpoints hold.
  Type element = type.getElementType();
  if (!type.hasStaticShape() ||
      !(isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(element) ||
        element.isSignlessInteger(8) || element.isSignlessInteger(32)))
    return emitError() << "expected a static tensor of f16, bf16, f32, f64, i8 "
                          "or i32, found "
                       << type;
  return success();
}

LogicalResult CastAttr::verify(EmitError emitError, Type type) {
  // (C1) type is f16, bf16 or f32.
  if (!type.isF16() && !type.isBF16() && !type.isF32())
    return emitError() << "expected f16, bf16 or f32, found " << type;
  return success();
}

LogicalResult BlockConfigAttr::verify(EmitError emitError, int64_t dModel,
                                      int64_t heads, int64_t headdim,
                                      int64_t groups, int64_t dState,
                                      int64_t dConv, int64_t normGroups,
                                      FloatAttr eps, FloatAttr gatedEps,
                                      FloatAttr dtMin, FloatAttr dtMax) {
  // (C1) All dimensions are positive.
  for (auto [name, value] : {std::pair<StringRef, int64_t>("d_model", dModel),
                             {"heads", heads},
                             {"headdim", headdim},
                             {"groups", groups},
                             {"d_state", dState},
                             {"norm_groups", normGroups}})
    if (value <= 0)
      return emitError() << "expected " << name << " to be positive, found "
                         << value;
  // (C2) d_conv is at least 2: there is a convolution state.
  if (dConv < 2)
    return emitError() << "expected d_conv to be at least 2, found " << dConv;
  // (C3) groups divides heads.
  if (heads % groups != 0)
    return emitError() << "expected groups to divide heads, found " << groups
                       << " groups and " << heads << " heads";
  // (C4) norm_groups divides d_inner.
  if (heads * headdim % normGroups != 0)
    return emitError() << "expected norm_groups to divide d_inner, found "
                       << normGroups << " groups of " << heads * headdim
                       << " channels";
  // (C5) The constants are f32 and not negative, eps finite, and
  // dt_min <= dt_max.
  auto isConstant = [](FloatAttr value) {
    return value.getType().isF32() && value.getValueAsDouble() >= 0;
  };
  for (auto [name, value] :
       {std::pair<StringRef, FloatAttr>("eps", eps), {"gated_eps", gatedEps}})
    if (!isConstant(value) || !value.getValue().isFinite())
      return emitError() << "expected " << name
                         << " to be an f32, finite and not negative, found "
                         << value;
  for (auto [name, value] :
       {std::pair<StringRef, FloatAttr>("dt_min", dtMin), {"dt_max", dtMax}})
    if (!isConstant(value))
      return emitError() << "expected " << name
                         << " to be an f32 and not negative, found " << value;
  if (dtMin.getValueAsDouble() > dtMax.getValueAsDouble())
    return emitError() << "expected dt_min to be at most dt_max, found "
                       << dtMin << " and " << dtMax;
  return success();
}
