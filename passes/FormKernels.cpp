//===- FormKernels.cpp - outline fused operations ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/KernelSignature.h"
#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

namespace mambit {
#define GEN_PASS_DEF_FORMKERNELS
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;

//===----------------------------------------------------------------------===//
// Names, for people: distinct kernels of one name get a number
//===----------------------------------------------------------------------===//

static std::string toString(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

static std::string getName(mamba::EmbeddingOp op) {
  RankedTensorType table = op.getTable().getType();
  return llvm::formatv("embedding_{0}x{1}_{2}", table.getDimSize(0),
                       table.getDimSize(1), toString(table.getElementType()));
}

static std::string getName(mamba::ScanOp op) {
  RankedTensorType state = op.getSsmState().getType();
  std::string name =
      llvm::formatv("scan_h{0}_p{1}_g{2}_s{3}", state.getDimSize(1),
                    state.getDimSize(3), op.getGroups(), state.getDimSize(2));
  if (!state.getElementType().isF32())
    name += "_" + toString(state.getElementType());
  return name;
}

static std::string getName(mamba::FusedLinearOp op) {
  Type weight = op.getWeight().getType();
  auto bits = dyn_cast<mamba::BitsType>(weight);
  auto dense = dyn_cast<RankedTensorType>(weight);
  std::string name = llvm::formatv(
      "fused_linear_{0}x{1}_", bits ? bits.getRows() : dense.getDimSize(0),
      bits ? bits.getColumns() : dense.getDimSize(1));
  name += bits ? "b" + std::to_string(op.getActivationBits())
               : toString(dense.getElementType());
  if (op.getRows())
    name += "_rows";
  if (op.getNormGroups())
    name += "_norm";
  if (op.getNormGroups() > 1)
    name += std::to_string(op.getNormGroups());
  if (op.getShiftWeight())
    name += "_shift";
  if (op.getRowScale())
    name += "_row_scale";
  if (op.getRowShift())
    name += "_row_shift";
  if (op.getBias())
    name += "_bias";
  if (op.getResidual())
    name += "_residual";
  return name;
}

static std::string getName(mamba::SampleOp op) {
  return llvm::formatv("sample_{0}_{1}", op.getLogits().getType().getDimSize(1),
                       op.getLimit());
}

static std::string getKernelName(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case<mamba::EmbeddingOp, mamba::ScanOp, mamba::FusedLinearOp,
            mamba::SampleOp>([](auto fused) { return getName(fused); });
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// What two operations that share a kernel have in common.
static Attribute getKey(Operation *op) {
  Builder builder(op->getContext());
  return builder.getArrayAttr(
      {op->getName().getIdentifier(), op->getAttrDictionary(),
       TypeAttr::get(builder.getFunctionType(op->getOperandTypes(),
                                             op->getResultTypes()))});
}

/// A private function with the fused operation as its body.
static func::FuncOp outline(Operation *op, SymbolTable &symbols,
                            Block::iterator insertBefore) {
  OpBuilder builder(op->getContext());
  auto kernel = func::FuncOp::create(
      builder, op->getLoc(), getKernelName(op),
      builder.getFunctionType(op->getOperandTypes(), op->getResultTypes()));
  kernel.setPrivate();
  Block *body = kernel.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Operation *inner = builder.clone(*op);
  inner->setOperands(body->getArguments());
  func::ReturnOp::create(builder, op->getLoc(), inner->getResults());
  symbols.insert(kernel, insertBefore); // gives a taken name a number
  return kernel;
}

namespace {
struct FormKernels : mambit::impl::FormKernelsBase<FormKernels> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    llvm::DenseMap<Attribute, func::FuncOp> kernelOf;
    int64_t sharedCount = 0;
    auto functions = llvm::to_vector(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp function : functions) {
      if (isKernel(function))
        continue;
      WalkResult result = function.walk([&](Operation *op) {
        if (isa<mamba::GetWeightOp, func::FuncOp, func::CallOp, func::ReturnOp>(
                op))
          return WalkResult::advance();
        if (!isFusedOp(op)) {
          op->emitError("no kernel can be made of ")
              << op->getName()
              << ": it is not fused into mamba.fused_linear or mamba.scan";
          return WalkResult::interrupt();
        }
        func::FuncOp &kernel = kernelOf[getKey(op)];
        if (kernel) {
          ++sharedCount;
        } else {
          kernel = outline(op, symbols, Block::iterator(function));
        }
        OpBuilder builder(op);
        auto call = func::CallOp::create(builder, op->getLoc(), kernel,
                                         op->getOperands());
        op->replaceAllUsesWith(call);
        op->erase();
        return WalkResult::advance();
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
    recordStatistics(getOperation(), *this,
                     {{kernels, "kernels", int64_t(kernelOf.size())},
                      {shared, "shared", sharedCount}});
  }
};
} // namespace
