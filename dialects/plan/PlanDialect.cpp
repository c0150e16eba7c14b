//===- PlanDialect.cpp - registration, attributes ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"
#include "dialects/plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mambit::plan;

#include "dialects/plan/PlanDialect.cpp.inc"
#include "dialects/plan/PlanEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/plan/PlanAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/plan/PlanTypes.cpp.inc"

void PlanDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/plan/PlanAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/plan/PlanTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/plan/PlanOps.cpp.inc"
      >();
}

Type ParamAttr::getElementType() const {
  auto tensor = dyn_cast<RankedTensorType>(getType());
  return tensor ? tensor.getElementType() : Type();
}

SmallVector<int64_t> ParamAttr::getShape() const {
  if (auto bits = dyn_cast<mambit::mamba::BitsType>(getType()))
    return {bits.getRows(), bits.getColumns()};
  return llvm::to_vector(cast<RankedTensorType>(getType()).getShape());
}

Attribute ParamAttr::getLayout() const {
  if (auto bits = dyn_cast<mambit::mamba::BitsType>(getType()))
    return bits.getLayout();
  return cast<RankedTensorType>(getType()).getEncoding();
}

LogicalResult ZerosAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t rows) {
  // (C1) rows is positive
  if (rows <= 0)
    return emitError() << "expected rows to be positive, found " << rows;
  return success();
}

LogicalResult ParamAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                StringRef name, Access access, Type type,
                                int64_t fixedBytes, int64_t dimBytes, Dim dim) {
  // (C1) the type is a static ranked tensor or packed signs
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!(tensor && tensor.hasStaticShape()) &&
      !isa<mambit::mamba::BitsType>(type))
    return emitError() << "expected a static tensor or packed signs as the "
                          "type of parameter '"
                       << name << "', found " << type;
  // (C2) sizes are not negative
  if (fixedBytes < 0 || dimBytes < 0)
    return emitError() << "expected sizes of parameter '" << name
                       << "' not to be negative, found " << fixedBytes
                       << " and " << dimBytes;
  return success();
}
