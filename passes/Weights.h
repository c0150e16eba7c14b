//===- Weights.h - making weights of weights ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_PASSES_WEIGHTS_H
#define MAMBIT_PASSES_WEIGHTS_H

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SetVector.h"

namespace mambit {

/// Makes weights whose recipes build on those of other weights. Asking twice
/// for the same weight gives the same symbol.
class Weights {
public:
  explicit Weights(mlir::ModuleOp module) : module(module) {}

  /// The elementwise product of two weights, shaped like the first; `factor`
  /// may have one element. Null if one is no `get_weight`, or the factor's
  /// recipe is more than a product of sources.
  mlir::Value multiply(mlir::OpBuilder &builder, mlir::Value weight,
                       mlir::Value factor);

  /// Whether `multiply` would succeed.
  bool canMultiply(mlir::Value weight, mlir::Value factor);

  /// The weight as a vector. Null if it is no `get_weight`.
  mlir::Value flatten(mlir::OpBuilder &builder, mlir::Value weight);

  /// Erases the weights that others were made of and nothing uses any more,
  /// and unused `get_weight`s.
  void eraseDead();

private:
  mamba::WeightOp lookup(mlir::Value weight);
  mlir::Value get(mlir::OpBuilder &builder, mamba::GetWeightOp base,
                  const llvm::Twine &name, mlir::Type type,
                  mlir::ArrayAttr sources, mlir::ArrayAttr recipe);

  mlir::ModuleOp module;
  mlir::SymbolTableCollection symbols;
  /// By group, and type, sources and recipe.
  llvm::DenseMap<std::pair<mlir::Operation *, mlir::Attribute>,
                 mlir::SymbolRefAttr>
      made;
  llvm::SmallSetVector<mlir::Operation *, 16> bases;
};

} // namespace mambit

#endif // MAMBIT_PASSES_WEIGHTS_H
