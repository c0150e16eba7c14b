//===- Plan.h - the plan dialect: attributes, types, operations -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_PLAN_PLAN_H
#define MAMBIT_DIALECTS_PLAN_PLAN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/plan/PlanDialect.h.inc"
#include "dialects/plan/PlanEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/plan/PlanAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/plan/PlanTypes.h.inc"

namespace mambit::plan {

/// Arena buffers and states are aligned to this many bytes.
inline constexpr int64_t alignment = 64;

} // namespace mambit::plan

#define GET_OP_CLASSES
#include "dialects/plan/PlanOps.h.inc"

#endif // MAMBIT_DIALECTS_PLAN_PLAN_H
