//===- ExpandBlocks.cpp - write a block as what it means ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace mambit {
#define GEN_PASS_DEF_EXPANDBLOCKS
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;
namespace names = mamba::names;

namespace {
/// Emits the operations of one block. The verifier has checked that the
/// weights are there and have the right shapes.
class Expander {
public:
  Expander(mamba::BlockOp block, mamba::WeightsOp group, SymbolTable &weights,
           OpBuilder &builder)
      : block(block), group(group), weights(weights), builder(builder),
        loc(block.getLoc()) {}

  /// The new values of x, conv_state and ssm_state.
  std::array<Value, 3> expand() {
    mamba::BlockConfigAttr config = block.getConfig();
    Value x = block.getX();
    Type activations = getActivations(config.getDInner());

    Value u = mamba::RMSNormOp::create(
                  builder, loc, x.getType(), Type(), x, weight(names::norm),
                  Value(), config.getEps(), builder.getI64IntegerAttr(1))
                  .getY();
    Value zxbcdt =
        project(u, config.getInProjRows(), names::inProj, names::inProjScale,
                names::inProjShift, names::inProjBias);
    auto split = mamba::SplitOp::create(
        builder, loc,
        TypeRange{activations, getActivations(config.getConvChannels()),
                  getActivations(config.getHeads())},
        zxbcdt);
    Value z = split.getResult(0), xbc = split.getResult(1),
          dt = split.getResult(2);
    auto conv = mamba::CausalConvOp::create(
        builder, loc, xbc.getType(), block.getConvState().getType(), xbc,
        block.getConvState(), weight(names::convWeight), block.getSeqs(),
        weight(names::convBias));
    auto scan = mamba::SelectiveScanOp::create(
        builder, loc, activations, block.getSsmState().getType(), conv.getY(),
        dt, block.getSsmState(), weight(names::dtBias), weight(names::a),
        weight(names::d), block.getSeqs(),
        builder.getI64IntegerAttr(config.getGroups()), config.getDtMin(),
        config.getDtMax());
    Value gated = mamba::GatedRMSNormOp::create(
                      builder, loc, activations, Type(), scan.getY(), z,
                      weight(names::gatedNorm), Value(), config.getGatedEps(),
                      builder.getI64IntegerAttr(config.getNormGroups()))
                      .getY();
    Value h =
        project(gated, config.getDModel(), names::outProj, names::outProjScale,
                names::outProjShift, names::outProjBias);
    Value y = mamba::AddOp::create(builder, loc, x.getType(), x, h);
    return {y, conv.getNewState(), scan.getNewState()};
  }

private:
  Type getActivations(int64_t features) {
    return RankedTensorType::get({ShapedType::kDynamic, features},
                                 builder.getF32Type());
  }

  /// The value of a weight; null if the group has none of that name.
  Value weight(StringRef name) {
    auto op = weights.lookup<mamba::WeightOp>(name);
    if (!op)
      return {};
    auto symbol = SymbolRefAttr::get(
        group.getSymNameAttr(), FlatSymbolRefAttr::get(op.getSymNameAttr()));
    return mamba::GetWeightOp::create(builder, loc, op.getType(), symbol);
  }

  Value project(Value x, int64_t rows, StringRef name, StringRef scaleName,
                StringRef shiftName, StringRef biasName) {
    Type type = getActivations(rows);
    Value matrix = weight(name);
    if (!isa<mamba::BitsType>(matrix.getType()))
      return mamba::LinearOp::create(builder, loc, type, x, matrix,
                                     weight(biasName));
    Value scale = weight(scaleName), shift = weight(shiftName);
    return mamba::BitLinearOp::create(builder, loc, type, x, matrix, scale,
                                      shift, weight(biasName),
                                      /*act_scale=*/Value(),
                                      /*token_shift=*/Value());
  }

  mamba::BlockOp block;
  mamba::WeightsOp group;
  SymbolTable &weights;
  OpBuilder &builder;
  Location loc;
};

struct ExpandBlock : OpRewritePattern<mamba::BlockOp> {
  ExpandBlock(MLIRContext *context, SymbolTableCollection &symbols,
              int64_t &count)
      : OpRewritePattern(context), symbols(symbols), count(count) {}

  LogicalResult matchAndRewrite(mamba::BlockOp block,
                                PatternRewriter &rewriter) const override {
    auto group = symbols.lookupNearestSymbolFrom<mamba::WeightsOp>(
        block, block.getWeightsAttr());
    Expander expander(block, group, symbols.getSymbolTable(group), rewriter);
    rewriter.replaceOp(block, expander.expand());
    ++count;
    return success();
  }

  SymbolTableCollection &symbols;
  int64_t &count;
};

struct ExpandBlocks : mambit::impl::ExpandBlocksBase<ExpandBlocks> {
  void runOnOperation() override {
    SymbolTableCollection symbols;
    int64_t count = 0;
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandBlock>(&getContext(), symbols, count);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    recordStatistics(getOperation(), *this, {{blocks, "blocks", count}});
  }
};
} // namespace
