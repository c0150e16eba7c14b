//===- LowerToPlan.cpp - turn @forward into programs -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "passes/KernelSignature.h"
#include "passes/Passes.h"
#include "passes/Statistics.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

namespace mambit {
#define GEN_PASS_DEF_LOWERTOPLAN
#include "passes/Passes.h.inc"
} // namespace mambit

using namespace mlir;
using namespace mambit;
using plan::Access;
using plan::Dim;
using plan::ParamAttr;

namespace {
struct Kernel {
  func::FuncOp function;
  Operation *fused; // moves into the plan.kernel
  SmallVector<ParamAttr> params;

  /// What is behind operands and results.
  ArrayRef<ParamAttr> getScratch() const {
    size_t before = 0;
    for (Value operand : fused->getOperands())
      before += getNumBuffers(operand.getType());
    for (OpResult result : fused->getResults())
      before += !getStateOperand(result);
    return ArrayRef(params).drop_front(before);
  }
};

/// A state as it goes through @forward.
struct State {
  BlockArgument argument;
  Value last; // the value after the calls seen so far
  StringAttr symbol;
};

/// @forward, checked to be what programs can be made of.
struct Forward {
  func::FuncOp function;
  SmallVector<func::CallOp> calls;
  Value ids, seqs, rows;
  /// Other arguments that are not states, and the parameters that they are.
  llvm::MapVector<Value, ParamAttr> inputs;
  /// Results that are not states, and their names.
  llvm::DenseMap<Value, StringRef> outputs;
  SmallVector<State> states;
  /// The state, by number, that a value is a version of.
  llvm::DenseMap<Value, unsigned> stateOf;
};

/// Lowers one module.
class Lowering {
public:
  explicit Lowering(ModuleOp module) : module(module) {}

  /// Reports an error where the module is not what programs are made of.
  LogicalResult read();

  /// Replaces @forward by `prefill` and `decode`.
  void write(int64_t maxTokens, int64_t maxSequences);

  int64_t getLaunches() const { return forward.calls.size(); }
  int64_t getSlotBytes() const { return slotBytes; }

private:
  LogicalResult collectKernels();
  LogicalResult readArguments();
  LogicalResult readCalls();
  LogicalResult readResults();
  /// The parameter of a kernel that a result of its call is.
  ParamAttr getParam(Value result);
  void createStates();
  /// Gives a state its place in the slot and returns its symbol.
  StringAttr createState(Location loc, StringRef name, RankedTensorType type);
  void createKernels();
  void createProgram(StringRef name, int64_t maxTokens, int64_t maxSequences);

  ModuleOp module;
  llvm::MapVector<StringAttr, Kernel> kernels;
  Forward forward;
  llvm::DenseMap<ParamAttr, StringAttr> counters; // states of the kernels' own
  int64_t slotBytes = 0;
};
} // namespace

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

LogicalResult Lowering::collectKernels() {
  for (auto function : module.getOps<func::FuncOp>()) {
    if (isKernel(function)) {
      Operation *fused = &function.getBody().front().front();
      FailureOr<SmallVector<ParamAttr>> params = getKernelSignature(fused);
      if (failed(params))
        return failure();
      kernels.insert(
          {function.getSymNameAttr(), {function, fused, std::move(*params)}});
    } else if (function.getSymName() == "forward" &&
               llvm::hasSingleElement(function.getBody())) {
      forward.function = function;
    } else {
      return function.emitError("expected kernels and a @forward of one block, "
                                "found function @")
             << function.getSymName();
    }
  }
  if (!forward.function)
    return emitError(module.getLoc(), "expected a function @forward");
  return success();
}

LogicalResult Lowering::readArguments() {
  for (BlockArgument argument : forward.function.getArguments()) {
    Type type = argument.getType();
    auto tensor = dyn_cast<RankedTensorType>(type);
    auto isIndices = tensor && tensor.getRank() == 1 &&
                     tensor.getElementType().isInteger(32);
    if (isIndices && !forward.ids) {
      forward.ids = argument;
    } else if (isIndices && !forward.rows) {
      forward.rows = argument;
    } else if (isa<mamba::SequencesType>(type) && !forward.seqs) {
      forward.seqs = argument;
    } else if (tensor && tensor.getRank() >= 3 && mamba::isPacked(type)) {
      forward.stateOf[argument] = forward.states.size();
      forward.states.push_back({argument, argument, {}});
    } else if (tensor && mamba::isPacked(type)) {
      forward.inputs[argument] = {};
    } else {
      return emitError(argument.getLoc())
             << "expected the arguments of @forward to be ids, sequences, "
                "rows, inputs and states, found "
             << type;
    }
  }
  if (!forward.ids || !forward.seqs || !forward.rows)
    return forward.function.emitError(
        "expected the arguments ids, sequences and rows");
  return success();
}

LogicalResult Lowering::readCalls() {
  // By which extent a value's rows are counted.
  llvm::DenseMap<Value, Dim> dims = {{forward.ids, Dim::tokens},
                                     {forward.rows, Dim::rows}};
  // A weight lies in one way.
  llvm::DenseMap<Attribute, mamba::GetWeightOp> weights;

  for (Operation &op : forward.function.getBody().front()) {
    if (auto get = dyn_cast<mamba::GetWeightOp>(op)) {
      mamba::GetWeightOp first =
          weights.try_emplace(get.getWeightAttr(), get).first->second;
      if (first.getType() != get.getType()) {
        InFlightDiagnostic diagnostic = get.emitError("weight ")
                                        << get.getWeightAttr()
                                        << " has two layouts";
        diagnostic.attachNote(first.getLoc()) << "the other one is here";
        return diagnostic;
      }
      continue;
    }
    if (isa<func::ReturnOp>(op))
      continue;
    auto call = dyn_cast<func::CallOp>(op);
    auto *it =
        call ? kernels.find(call.getCalleeAttr().getAttr()) : kernels.end();
    if (it == kernels.end())
      return op.emitError("expected calls of kernels alone in @forward");
    forward.calls.push_back(call);
    Kernel &kernel = it->second;

    // Each value counts by the extent its parameter asks for.
    const ParamAttr *param = kernel.params.begin();
    for (Value operand : call.getOperands()) {
      auto dim = dims.find(operand);
      if (dim != dims.end() && dim->second != param->getDim())
        return call.emitError("parameter '")
               << param->getName() << "' of @" << call.getCallee()
               << " expected one value for each of the "
               << stringifyDim(param->getDim()) << ", found "
               << stringifyDim(dim->second);
      if (auto *input = forward.inputs.find(operand);
          input != forward.inputs.end()) {
        if (!input->second)
          input->second = *param;
        else if (input->second != *param)
          return call.emitError("takes as '")
                 << param->getName() << "' what is '" << input->second.getName()
                 << "' before";
      }
      param += getNumBuffers(operand.getType());
    }

    for (OpResult result : kernel.fused->getResults()) {
      Value value = call.getResult(result.getResultNumber());
      std::optional<unsigned> operand = getStateOperand(result);
      if (!operand) {
        dims[value] = (param++)->getDim();
        continue;
      }
      // In place: nobody else may want the old state.
      Value old = call.getOperand(*operand);
      auto state = forward.stateOf.find(old);
      if (state == forward.stateOf.end() || !old.hasOneUse())
        return call.emitError("expected the state to come from an argument of "
                              "@forward and to be used once");
      unsigned number = state->second;
      forward.stateOf[value] = number;
      forward.states[number].last = value;
    }
  }
  for (auto [input, param] : forward.inputs)
    if (!param)
      return emitError(input.getLoc(), "expected a kernel to take the input");
  return success();
}

ParamAttr Lowering::getParam(Value result) {
  auto call = result.getDefiningOp<func::CallOp>();
  Kernel &kernel = kernels.find(call.getCalleeAttr().getAttr())->second;
  size_t number = 0;
  for (Value operand : kernel.fused->getOperands())
    number += getNumBuffers(operand.getType());
  for (OpResult before : kernel.fused->getResults().take_front(
           cast<OpResult>(result).getResultNumber()))
    number += !getStateOperand(before);
  return kernel.params[number];
}

/// The first output is the logits; others have the names of their kernels'
/// parameters.
LogicalResult Lowering::readResults() {
  Operation *ret = forward.function.getBody().front().getTerminator();
  size_t states = forward.states.size();
  if (ret->getNumOperands() < 1 + states)
    return ret->emitError("expected logits and ")
           << states << " states, found " << ret->getNumOperands()
           << " results";
  size_t first = ret->getNumOperands() - states; // of the states
  for (auto [number, value] :
       llvm::enumerate(ret->getOperands().take_front(first))) {
    auto call = value.getDefiningOp<func::CallOp>();
    if (!call || forward.stateOf.count(value))
      return ret->emitError("expected ")
             << (number ? "result " + std::to_string(number) : "the logits")
             << " to be the result of a kernel";
    StringRef name = number ? getParam(value).getName() : "logits";
    if (!forward.outputs.try_emplace(value, name).second)
      return ret->emitError("result ") << number << " is returned twice";
  }
  for (auto [number, state] : llvm::enumerate(forward.states))
    if (ret->getOperand(first + number) != state.last)
      return ret->emitError("expected result ")
             << first + number << " to be the last version of state " << number;
  return success();
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

void Lowering::createStates() {
  unsigned convs = 0, ssms = 0;
  for (State &state : forward.states) {
    auto type = cast<RankedTensorType>(state.argument.getType());
    std::string name = type.getRank() == 3 ? "conv" + std::to_string(convs++)
                                           : "ssm" + std::to_string(ssms++);
    state.symbol =
        createState(state.argument.getLoc(), name,
                    RankedTensorType::get(type.getShape().drop_front(),
                                          type.getElementType()));
  }
  // Counters that are alike are one.
  for (auto &[name, kernel] : kernels)
    for (ParamAttr param : kernel.getScratch())
      if (param.getDim() == Dim::slots && !counters.count(param))
        counters[param] = createState(kernel.function.getLoc(), param.getName(),
                                      cast<RankedTensorType>(param.getType()));
}

StringAttr Lowering::createState(Location loc, StringRef name,
                                 RankedTensorType type) {
  OpBuilder builder(forward.function);
  auto op = plan::StateOp::create(builder, loc, name, slotBytes, type);
  slotBytes += llvm::alignTo(op.getBytes(), plan::alignment);
  return SymbolTable(module).insert(op);
}

void Lowering::createKernels() {
  for (auto &[name, kernel] : kernels) {
    bool hasState = llvm::any_of(kernel.params, [](ParamAttr param) {
      return param.getDim() == Dim::slots;
    });
    OpBuilder builder(kernel.function);
    SmallVector<Attribute> params(kernel.params.begin(), kernel.params.end());
    auto op = plan::KernelOp::create(
        builder, kernel.function.getLoc(), name, builder.getArrayAttr(params),
        hasState ? builder.getI64IntegerAttr(slotBytes) : IntegerAttr());
    op.getBody().takeBody(kernel.function.getBody());
    Operation *ret = op.getBody().front().getTerminator();
    builder.setInsertionPoint(ret);
    plan::ReturnOp::create(builder, ret->getLoc(), ret->getOperands());
    ret->erase();
    kernel.function.erase();
  }
}

namespace {
/// Emits the launches of one program.
class ProgramBuilder {
public:
  ProgramBuilder(OpBuilder &builder, plan::ProgramOp program)
      : builder(builder), program(program),
        type(builder.getType<plan::BufferType>()) {}

  Value createInput(Location loc, StringRef name, Dim dim, int64_t extra = 0) {
    auto i32 = builder.getI32Type();
    auto port =
        ParamAttr::get(builder.getContext(), name, Access::read,
                       RankedTensorType::get({}, i32), 4 * extra, 4, dim);
    return plan::InputOp::create(builder, loc, type, port, getSize(port),
                                 IntegerAttr());
  }

  Value createInput(Location loc, ParamAttr param) {
    return plan::InputOp::create(builder, loc, type, param, getSize(param),
                                 IntegerAttr());
  }

  Value createOutput(Location loc, StringRef name, ParamAttr param) {
    auto port = ParamAttr::get(builder.getContext(), name, Access::write,
                               param.getType(), param.getFixedBytes(),
                               param.getDimBytes(), param.getDim());
    return plan::OutputOp::create(builder, loc, type, port, getSize(port),
                                  IntegerAttr());
  }

  Value createBuffer(Location loc, ParamAttr param) {
    return plan::BufferOp::create(builder, loc, type, param.getName(),
                                  getSize(param), IntegerAttr());
  }

  Value getState(Location loc, StringAttr symbol) {
    return plan::GetStateOp::create(builder, loc, type, symbol);
  }

  Value getWeight(mamba::GetWeightOp get, Type laidOut) {
    Value &value = weights[{get.getWeightAttr(), laidOut}];
    if (!value)
      value = plan::GetWeightOp::create(builder, get.getLoc(), type,
                                        get.getWeightAttr(), laidOut);
    return value;
  }

private:
  int64_t getSize(ParamAttr param) {
    return param.getBytes(program.getMaximum(param.getDim()));
  }

  OpBuilder &builder;
  plan::ProgramOp program;
  plan::BufferType type;
  llvm::DenseMap<std::pair<Attribute, Type>, Value> weights;
};
} // namespace

void Lowering::createProgram(StringRef name, int64_t maxTokens,
                             int64_t maxSequences) {
  Location loc = forward.function.getLoc();
  OpBuilder builder(forward.function);
  auto program =
      plan::ProgramOp::create(builder, loc, name, maxTokens, maxSequences,
                              /*max_rows=*/maxTokens, slotBytes, IntegerAttr());
  builder.setInsertionPointToStart(&program.getBody().emplaceBlock());
  ProgramBuilder values(builder, program);

  llvm::DenseMap<Value, SmallVector<Value, 2>> buffers;
  buffers[forward.ids] = {
      values.createInput(forward.ids.getLoc(), "ids", Dim::tokens)};
  buffers[forward.seqs] = {
      values.createInput(forward.seqs.getLoc(), "offsets", Dim::sequences,
                         /*extra=*/1),
      values.createInput(forward.seqs.getLoc(), "slots", Dim::sequences)};
  buffers[forward.rows] = {
      values.createInput(forward.rows.getLoc(), "rows", Dim::rows)};
  for (auto [input, param] : forward.inputs)
    buffers[input] = {values.createInput(input.getLoc(), param)};
  for (State &state : forward.states)
    buffers[state.argument] = {
        values.getState(state.argument.getLoc(), state.symbol)};

  for (func::CallOp call : forward.calls) {
    Kernel &kernel = kernels.find(call.getCalleeAttr().getAttr())->second;
    const ParamAttr *param = kernel.params.begin();
    SmallVector<Value> args;
    for (Value operand : call.getOperands()) {
      unsigned count = getNumBuffers(operand.getType());
      if (auto get = operand.getDefiningOp<mamba::GetWeightOp>())
        for (unsigned i = 0; i < count; ++i)
          args.push_back(values.getWeight(get, param[i].getType()));
      else
        llvm::append_range(args, buffers.at(operand));
      param += count;
    }
    for (OpResult result : kernel.fused->getResults()) {
      Value value = call.getResult(result.getResultNumber());
      if (std::optional<unsigned> operand = getStateOperand(result)) {
        auto state = buffers.at(call.getOperand(*operand));
        buffers[value] = state;
        continue;
      }
      StringRef output = forward.outputs.lookup(value);
      args.push_back(output.empty()
                         ? values.createBuffer(call.getLoc(), *param)
                         : values.createOutput(call.getLoc(), output, *param));
      buffers[value] = {args.back()};
      ++param;
    }
    for (; param != kernel.params.end(); ++param) // scratch
      args.push_back(param->getDim() == Dim::slots
                         ? values.getState(call.getLoc(), counters.at(*param))
                         : values.createBuffer(call.getLoc(), *param));
    plan::LaunchOp::create(builder, call.getLoc(), call.getCallee(), args);
  }
}

LogicalResult Lowering::read() {
  return success(succeeded(collectKernels()) && succeeded(readArguments()) &&
                 succeeded(readCalls()) && succeeded(readResults()));
}

void Lowering::write(int64_t maxTokens, int64_t maxSequences) {
  createStates();
  createKernels();
  createProgram("prefill", maxTokens, std::min(maxSequences, maxTokens));
  // One token of each sequence.
  createProgram("decode", maxSequences, maxSequences);
  forward.function.erase();
}

namespace {
struct LowerToPlan : mambit::impl::LowerToPlanBase<LowerToPlan> {
  using LowerToPlanBase::LowerToPlanBase;

  void runOnOperation() override {
    if (failed(expectPositive("max-tokens", maxTokens)) ||
        failed(expectPositive("max-sequences", maxSequences)))
      return signalPassFailure();
    Lowering lowering(getOperation());
    if (failed(lowering.read()))
      return signalPassFailure();
    lowering.write(maxTokens, maxSequences);
    recordStatistics(getOperation(), *this,
                     {{launches, "launches", lowering.getLaunches()},
                      {slotBytes, "slot-bytes", lowering.getSlotBytes()}});
  }

  LogicalResult expectPositive(StringRef option, int64_t value) {
    if (value > 0)
      return success();
    return emitError(getOperation().getLoc())
           << "expected " << option << " to be positive, found " << value;
  }
};
} // namespace
