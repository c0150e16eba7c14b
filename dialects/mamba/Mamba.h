//===- Mamba.h - the mamba dialect: attributes, types, operations ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_MAMBA_H
#define MAMBIT_DIALECTS_MAMBA_MAMBA_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/mamba/MambaDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/mamba/MambaAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/mamba/MambaTypes.h.inc"

namespace mambit::mamba {

/// Whether `type` is a ranked tensor with a dynamic leading dimension and all
/// others static: activations, states, indices.
bool isPacked(mlir::Type type);

/// `type` without its layout: what a `mamba.weight` declares.
mlir::Type withoutLayout(mlir::Type type);

/// How the scale or shift of a bit_linear of a rows × columns matrix varies.
enum class ScaleKind { single, column, row };
ScaleKind getScaleKind(mlir::RankedTensorType type);

/// The names of the weights of a `mamba.block`.
namespace names {
inline constexpr llvm::StringLiteral norm = "norm", inProj = "in_proj",
                                     inProjScale = "in_proj_scale",
                                     inProjShift = "in_proj_shift",
                                     inProjBias = "in_proj_bias",
                                     convWeight = "conv_weight",
                                     convBias = "conv_bias", dtBias = "dt_bias",
                                     a = "A", d = "D", gatedNorm = "gated_norm",
                                     outProj = "out_proj",
                                     outProjScale = "out_proj_scale",
                                     outProjShift = "out_proj_shift",
                                     outProjBias = "out_proj_bias";
} // namespace names

} // namespace mambit::mamba

#define GET_OP_CLASSES
#include "dialects/mamba/MambaOps.h.inc"

#endif // MAMBIT_DIALECTS_MAMBA_MAMBA_H
