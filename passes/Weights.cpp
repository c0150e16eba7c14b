//===- Weights.cpp - making weights of weights -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Weights.h"

using namespace mlir;
using namespace mambit;
using mamba::CastAttr;
using mamba::GetWeightOp;
using mamba::MultiplyAttr;
using mamba::WeightOp;

static bool isCastToF32(Attribute step) {
  auto cast = dyn_cast<CastAttr>(step);
  return cast && cast.getType().isF32();
}

/// Whether a weight is a product of its sources, in f32.
static bool isProduct(WeightOp weight) {
  return llvm::all_of(weight.getRecipe(), [](Attribute step) {
    return isa<MultiplyAttr>(step) || isCastToF32(step);
  });
}

WeightOp Weights::lookup(Value weight) {
  auto get = weight.getDefiningOp<GetWeightOp>();
  return get ? symbols.lookupNearestSymbolFrom<WeightOp>(get,
                                                         get.getWeightAttr())
             : WeightOp();
}

bool Weights::canMultiply(Value weight, Value factor) {
  WeightOp factorOp = lookup(factor);
  return lookup(weight) && factorOp && isProduct(factorOp);
}

Value Weights::multiply(OpBuilder &builder, Value weight, Value factor) {
  if (!canMultiply(weight, factor))
    return {};
  WeightOp lhs = lookup(weight), rhs = lookup(factor);
  bases.insert(lhs);
  bases.insert(rhs);

  MLIRContext *context = builder.getContext();
  SmallVector<Attribute> sources = llvm::to_vector(lhs.getSources());
  SmallVector<Attribute> recipe = llvm::to_vector(lhs.getRecipe());
  // Sources are converted to f32, and multiplying rounds to it.
  if (!recipe.empty() && isCastToF32(recipe.back()))
    recipe.pop_back();
  // The factor's source 0, then those its recipe multiplies by.
  unsigned first = sources.size();
  llvm::append_range(sources, rhs.getSources());
  recipe.push_back(MultiplyAttr::get(context, first));
  for (Attribute step : rhs.getRecipe())
    if (auto multiply = dyn_cast<MultiplyAttr>(step))
      recipe.push_back(
          MultiplyAttr::get(context, first + multiply.getSource()));

  return get(builder, weight.getDefiningOp<GetWeightOp>(),
             lhs.getSymName() + "_times_" + rhs.getSymName(), lhs.getType(),
             builder.getArrayAttr(sources), builder.getArrayAttr(recipe));
}

Value Weights::flatten(OpBuilder &builder, Value weight) {
  WeightOp op = lookup(weight);
  if (!op)
    return {};
  auto type = cast<RankedTensorType>(op.getType());
  if (type.getRank() == 1)
    return weight;
  bases.insert(op);
  return get(
      builder, weight.getDefiningOp<GetWeightOp>(), op.getSymName() + "_vector",
      RankedTensorType::get({type.getNumElements()}, type.getElementType()),
      op.getSources(), op.getRecipe());
}

Value Weights::get(OpBuilder &builder, GetWeightOp base, const Twine &name,
                   Type type, ArrayAttr sources, ArrayAttr recipe) {
  WeightOp baseOp = lookup(base);
  Operation *group = baseOp->getParentOp();
  Attribute key = builder.getArrayAttr({TypeAttr::get(type), sources, recipe});
  SymbolRefAttr &symbol = made[{group, key}];
  if (!symbol) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(baseOp);
    auto made = WeightOp::create(builder, baseOp.getLoc(), name.str(), type,
                                 sources, recipe);
    // Renames the weight if its name is taken.
    symbols.getSymbolTable(group).insert(made);
    SmallVector<FlatSymbolRefAttr> path =
        llvm::to_vector(base.getWeight().getNestedReferences());
    auto leaf = FlatSymbolRefAttr::get(made.getSymNameAttr());
    if (path.empty()) {
      symbol = leaf;
    } else {
      path.back() = leaf;
      symbol = SymbolRefAttr::get(base.getWeight().getRootReference(), path);
    }
  }
  return GetWeightOp::create(builder, base.getLoc(), type, symbol);
}

void Weights::eraseDead() {
  llvm::SmallPtrSet<Operation *, 32> used;
  module.walk([&](Operation *op) {
    if (auto get = dyn_cast<GetWeightOp>(op)) {
      if (get.use_empty())
        get.erase();
      else
        used.insert(lookup(get));
    } else if (auto block = dyn_cast<mamba::BlockOp>(op)) {
      // A block may need any weight of its group.
      Operation *group =
          symbols.lookupNearestSymbolFrom(block, block.getWeightsAttr());
      for (Operation &weight : group->getRegion(0).front())
        used.insert(&weight);
    }
  });
  for (Operation *base : bases)
    if (!used.contains(base))
      symbols.getSymbolTable(base->getParentOp()).erase(base);
  bases.clear();
}
