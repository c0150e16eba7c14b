//===- Interpreter.cpp - executes functions of the mamba dialect ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Checks what types cannot say (numbers of tokens, indices, slots), then calls
// the operation's function of Semantics.h.
//
//===----------------------------------------------------------------------===//

#include "dialects/mamba/interpreter/Interpreter.h"
#include "dialects/mamba/interpreter/Semantics.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

#include <numeric>

using namespace mambit::mamba;
using namespace mambit::mamba::interpreter;
using namespace mlir;

using Results = std::vector<Datum>;

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

Tensor::Tensor(ArrayRef<int64_t> shape, std::vector<double> values)
    : shape(shape), values(std::move(values)) {}

Tensor::Tensor(ArrayRef<int64_t> shape)
    : shape(shape), values(std::accumulate(shape.begin(), shape.end(),
                                           int64_t(1), std::multiplies<>())) {}

int64_t Tensor::rowSize() const {
  return std::accumulate(shape.begin() + 1, shape.end(), int64_t(1),
                         std::multiplies<>());
}

static const Tensor *getOptional(const Datum &datum) {
  return std::get<std::shared_ptr<const Tensor>>(datum).get();
}
static const Tensor &getTensor(const Datum &datum) {
  return *getOptional(datum);
}
static const Signs &getSigns(const Datum &datum) {
  return *std::get<std::shared_ptr<const Signs>>(datum);
}
static const Sequences &getSequences(const Datum &datum) {
  return *std::get<std::shared_ptr<const Sequences>>(datum);
}
static Matrix getMatrix(const Datum &datum) {
  if (auto *signs = std::get_if<std::shared_ptr<const Signs>>(&datum))
    return signs->get();
  return getOptional(datum);
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

template <typename... Args>
static llvm::Error makeError(const char *format, Args &&...args) {
  return llvm::createStringError(
      llvm::formatv(format, std::forward<Args>(args)...).str());
}

/// Whether a value may be passed for a type.
static bool matches(const Datum &datum, Type type) {
  if (isa<SequencesType>(type)) {
    auto *seqs = std::get_if<std::shared_ptr<const Sequences>>(&datum);
    return seqs && *seqs;
  }
  if (auto bits = dyn_cast<BitsType>(type)) {
    auto *signs = std::get_if<std::shared_ptr<const Signs>>(&datum);
    return signs && *signs && (*signs)->rows == bits.getRows() &&
           (*signs)->columns == bits.getColumns() &&
           int64_t((*signs)->values.size()) ==
               bits.getRows() * bits.getColumns();
  }
  auto expected = dyn_cast<RankedTensorType>(type);
  auto *held = std::get_if<std::shared_ptr<const Tensor>>(&datum);
  if (!expected || !held || !*held)
    return false;
  const Tensor &tensor = **held;
  int64_t count = 1;
  for (int64_t size : tensor.shape)
    count *= size;
  return succeeded(verifyCompatibleShape(expected.getShape(), tensor.shape)) &&
         int64_t(tensor.values.size()) == count;
}

/// All the tensors have the same number of tokens.
static llvm::Error checkTokens(std::initializer_list<const Tensor *> tensors) {
  const Tensor *first = *tensors.begin();
  for (const Tensor *tensor : tensors)
    if (tensor && tensor->shape[0] != first->shape[0])
      return makeError("expected {0} tokens, found {1}", first->shape[0],
                       tensor->shape[0]);
  return llvm::Error::success();
}

/// Indices select rows of `size` ones.
static llvm::Error checkIndices(const Tensor &indices, int64_t size,
                                const char *what) {
  for (auto [i, index] : llvm::enumerate(indices.values))
    if (!(index >= 0 && index < size))
      return makeError("{0} {1} at {2} is out of range, expected less than {3}",
                       what, int64_t(index), i, size);
  return llvm::Error::success();
}

/// The sequences divide `tokens` tokens, and have slots of their own.
static llvm::Error checkSequences(const Sequences &seqs, int64_t tokens,
                                  const Tensor &pool) {
  size_t count = seqs.slots.size();
  if (seqs.offsets.size() != count + 1)
    return makeError("expected {0} offsets for {1} sequences, found {2}",
                     count + 1, count, seqs.offsets.size());
  if (seqs.offsets.front() != 0 || seqs.offsets.back() != tokens)
    return makeError("expected offsets from 0 to {0}, found {1} to {2}", tokens,
                     seqs.offsets.front(), seqs.offsets.back());
  if (!llvm::is_sorted(seqs.offsets))
    return makeError("expected ascending offsets");
  std::vector<bool> used(pool.shape[0]);
  for (int64_t slot : seqs.slots) {
    if (slot < 0 || slot >= pool.shape[0])
      return makeError("slot {0} is out of range, expected less than {1}", slot,
                       pool.shape[0]);
    if (used[slot])
      return makeError("slot {0} is named twice", slot);
    used[slot] = true;
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// The operands of an operation, by name; an absent one is null.
template <typename Op>
using In = typename Op::template GenericAdaptor<ArrayRef<Datum>>;

template <typename... Tensors>
static Results makeResults(Tensors &&...tensors) {
  return {makeDatum<Tensor>(std::forward<Tensors>(tensors))...};
}

static Results makeResults(Normed normed) {
  Results results = makeResults(std::move(normed.y));
  if (normed.shift)
    results.push_back(makeDatum(std::move(*normed.shift)));
  return results;
}

template <typename Op>
static ScanParameters getScanParameters(Op op, In<Op> in,
                                        RankedTensorType state) {
  return {getOptional(in.getDtBias()),     getOptional(in.getA()),
          getOptional(in.getD()),          int64_t(op.getGroups()),
          op.getDtMin().convertToDouble(), op.getDtMax().convertToDouble(),
          state.getElementType()};
}

static llvm::Expected<Results> evaluate(EmbeddingOp, In<EmbeddingOp> in) {
  const Tensor &ids = getTensor(in.getIds()), &table = getTensor(in.getTable());
  if (llvm::Error error = checkIndices(ids, table.shape[0], "id"))
    return error;
  return makeResults(selectRows(table, ids));
}

static llvm::Expected<Results> evaluate(RMSNormOp op, In<RMSNormOp> in) {
  return makeResults(rmsNorm(getTensor(in.getX()), getTensor(in.getWeight()),
                             getOptional(in.getShiftWeight()),
                             op.getEps().convertToDouble(), op.getGroups()));
}

static llvm::Expected<Results> evaluate(GatedRMSNormOp op,
                                        In<GatedRMSNormOp> in) {
  const Tensor &x = getTensor(in.getX()), &z = getTensor(in.getZ());
  if (llvm::Error error = checkTokens({&x, &z}))
    return error;
  return makeResults(rmsNorm(gate(x, z), getTensor(in.getWeight()),
                             getOptional(in.getShiftWeight()),
                             op.getEps().convertToDouble(), op.getGroups()));
}

static llvm::Expected<Results> evaluate(QuantizeOp op, In<QuantizeOp> in) {
  Type element = cast<ShapedType>(op.getQ().getType()).getElementType();
  Quantized quantized =
      quantize(getTensor(in.getX()), element.getIntOrFloatBitWidth());
  return makeResults(std::move(quantized.q), std::move(quantized.scale));
}

static llvm::Expected<Results> evaluate(BitLinearOp, In<BitLinearOp> in) {
  BitLinearOptions options = {
      getOptional(in.getScale()), getOptional(in.getShift()),
      getOptional(in.getBias()), getOptional(in.getActScale()),
      getOptional(in.getTokenShift())};
  const Tensor &x = getTensor(in.getX());
  if (llvm::Error error =
          checkTokens({&x, options.actScale, options.tokenShift}))
    return error;
  return makeResults(bitLinear(x, getSigns(in.getWeight()), options));
}

static llvm::Expected<Results> evaluate(LinearOp, In<LinearOp> in) {
  return makeResults(linear(getTensor(in.getX()), getTensor(in.getWeight()),
                            getOptional(in.getBias())));
}

static llvm::Expected<Results> evaluate(SplitOp op, In<SplitOp> in) {
  SmallVector<int64_t> features;
  for (Type type : op.getResultTypes())
    features.push_back(cast<ShapedType>(type).getDimSize(1));
  Results results;
  for (Tensor &part : split(getTensor(in.getX()), features))
    results.push_back(makeDatum(std::move(part)));
  return results;
}

static llvm::Expected<Results> evaluate(CausalConvOp, In<CausalConvOp> in) {
  const Tensor &x = getTensor(in.getX()), &state = getTensor(in.getState());
  const Sequences &seqs = getSequences(in.getSeqs());
  if (llvm::Error error = checkSequences(seqs, x.shape[0], state))
    return error;
  WithState result = causalConv(x, state, getTensor(in.getWeight()),
                                getOptional(in.getBias()), seqs);
  return makeResults(std::move(result.y), std::move(result.state));
}

static llvm::Expected<Results> evaluate(SelectiveScanOp op,
                                        In<SelectiveScanOp> in) {
  const Tensor &xbc = getTensor(in.getXbc()), &dt = getTensor(in.getDt());
  const Tensor &state = getTensor(in.getState());
  const Sequences &seqs = getSequences(in.getSeqs());
  if (llvm::Error error = checkTokens({&xbc, &dt}))
    return error;
  if (llvm::Error error = checkSequences(seqs, xbc.shape[0], state))
    return error;
  WithState result = selectiveScan(
      xbc, dt, state, getScanParameters(op, in, op.getState().getType()), seqs);
  return makeResults(std::move(result.y), std::move(result.state));
}

static llvm::Expected<Results> evaluate(AddOp, In<AddOp> in) {
  const Tensor &lhs = getTensor(in.getLhs()), &rhs = getTensor(in.getRhs());
  if (llvm::Error error = checkTokens({&lhs, &rhs}))
    return error;
  return makeResults(add(lhs, rhs));
}

static llvm::Expected<Results> evaluate(SelectRowsOp, In<SelectRowsOp> in) {
  const Tensor &x = getTensor(in.getX()), &rows = getTensor(in.getRows());
  if (llvm::Error error = checkIndices(rows, x.shape[0], "row"))
    return error;
  return makeResults(selectRows(x, rows));
}

static llvm::Expected<Results> evaluate(LMHeadOp, In<LMHeadOp> in) {
  return makeResults(
      linear(getTensor(in.getX()), getTensor(in.getWeight()), nullptr));
}

static llvm::Expected<Results> evaluate(SampleOp op, In<SampleOp> in) {
  const Tensor &logits = getTensor(in.getLogits());
  SamplingParameters parameters = {
      getTensor(in.getRandom()), getTensor(in.getTemperature()),
      getTensor(in.getTopK()),   getTensor(in.getTopP()),
      getTensor(in.getMinP()),   int64_t(op.getLimit())};
  if (llvm::Error error =
          checkTokens({&logits, &parameters.random, &parameters.temperature,
                       &parameters.topK, &parameters.topP, &parameters.minP}))
    return error;
  Sampled sampled = sample(logits, parameters);
  return makeResults(std::move(sampled.chosen), std::move(sampled.highest),
                     std::move(sampled.nextRandom));
}

static llvm::Expected<Results> evaluate(FusedLinearOp op,
                                        In<FusedLinearOp> in) {
  FusedLinearOptions options;
  options.rows = getOptional(in.getRows());
  options.normWeight = getOptional(in.getNormWeight());
  options.shiftWeight = getOptional(in.getShiftWeight());
  options.rowScale = getOptional(in.getRowScale());
  options.rowShift = getOptional(in.getRowShift());
  options.bias = getOptional(in.getBias());
  options.residual = getOptional(in.getResidual());
  options.activationBits = op.getActivationBits();
  options.normGroups = op.getNormGroups();
  options.eps = op.getEps().convertToDouble();
  const Tensor &x = getTensor(in.getX());
  if (options.rows)
    if (llvm::Error error = checkIndices(*options.rows, x.shape[0], "row"))
      return error;
  if (llvm::Error error =
          checkTokens({options.rows ? options.rows : &x, options.residual}))
    return error;
  return makeResults(fusedLinear(x, getMatrix(in.getWeight()), options));
}

static llvm::Expected<Results> evaluate(ScanOp op, In<ScanOp> in) {
  const Tensor &zxbcdt = getTensor(in.getZxbcdt());
  const Tensor &convState = getTensor(in.getConvState());
  const Tensor &ssmState = getTensor(in.getSsmState());
  const Sequences &seqs = getSequences(in.getSeqs());
  for (const Tensor *state : {&convState, &ssmState})
    if (llvm::Error error = checkSequences(seqs, zxbcdt.shape[0], *state))
      return error;
  Scanned scanned =
      scan(zxbcdt, convState, ssmState, getTensor(in.getConvWeight()),
           getOptional(in.getConvBias()),
           getScanParameters(op, in, op.getSsmState().getType()), seqs);
  return makeResults(std::move(scanned.y), std::move(scanned.convState),
                     std::move(scanned.ssmState));
}

//===----------------------------------------------------------------------===//
// Interpreter
//===----------------------------------------------------------------------===//

Interpreter::Interpreter(ModuleOp module, WeightSource &weights)
    : module(module), weights(weights) {}

llvm::Expected<Datum> Interpreter::getWeight(WeightOp weight) {
  if (auto known = cache.find(weight); known != cache.end())
    return known->second;
  llvm::Expected<Datum> value = executeRecipe(weight, weights);
  if (!value)
    return makeError("@{0}: {1}", weight.getSymName(),
                     llvm::toString(value.takeError()));
  return cache[weight] = std::move(*value);
}

/// The block, as `expand-blocks` writes it down.
llvm::Expected<Results> Interpreter::evaluateBlock(BlockOp op,
                                                   ArrayRef<Datum> operands) {
  In<BlockOp> in(operands, op);
  BlockConfigAttr config = op.getConfig();
  const Tensor &x = getTensor(in.getX());
  const Tensor &convState = getTensor(in.getConvState());
  const Tensor &ssmState = getTensor(in.getSsmState());
  const Sequences &seqs = getSequences(in.getSeqs());
  for (const Tensor *state : {&convState, &ssmState})
    if (llvm::Error error = checkSequences(seqs, x.shape[0], *state))
      return error;

  // The weights by name; absent ones are null.
  llvm::StringMap<Datum> group;
  auto weightsOp =
      symbols.lookupNearestSymbolFrom<WeightsOp>(op, op.getWeightsAttr());
  for (auto weight : weightsOp.getOps<WeightOp>()) {
    llvm::Expected<Datum> value = getWeight(weight);
    if (!value)
      return value.takeError();
    group[weight.getSymName()] = std::move(*value);
  }
  auto get = [&](const Twine &name) {
    return getOptional(group.lookup(name.str()));
  };
  auto project = [&](const Tensor &u, StringRef name) {
    Matrix weight = getMatrix(group.lookup(name));
    if (auto *signs = std::get_if<const Signs *>(&weight))
      return bitLinear(
          u, **signs,
          {get(name + "_scale"), get(name + "_shift"), get(name + "_bias")});
    return linear(u, *std::get<const Tensor *>(weight), get(name + "_bias"));
  };

  Tensor u = rmsNorm(x, *get(names::norm), nullptr,
                     config.getEps().getValueAsDouble(), 1)
                 .y;
  Scanned scanned =
      scan(project(u, names::inProj), convState, ssmState,
           *get(names::convWeight), get(names::convBias),
           {get(names::dtBias), get(names::a), get(names::d),
            config.getGroups(), config.getDtMin().getValueAsDouble(),
            config.getDtMax().getValueAsDouble(),
            op.getSsmState().getType().getElementType()},
           seqs);
  Tensor normed =
      rmsNorm(scanned.y, *get(names::gatedNorm), nullptr,
              config.getGatedEps().getValueAsDouble(), config.getNormGroups())
          .y;
  return makeResults(add(x, project(normed, names::outProj)),
                     std::move(scanned.convState), std::move(scanned.ssmState));
}

llvm::Expected<Results> Interpreter::execute(Operation *op,
                                             ArrayRef<Datum> operands) {
  return llvm::TypeSwitch<Operation *, llvm::Expected<Results>>(op)
      .Case([&](func::CallOp op) -> llvm::Expected<Results> {
        auto callee = symbols.lookupNearestSymbolFrom<func::FuncOp>(
            op, op.getCalleeAttr());
        return call(callee, operands);
      })
      .Case([&](GetWeightOp op) -> llvm::Expected<Results> {
        auto weight =
            symbols.lookupNearestSymbolFrom<WeightOp>(op, op.getWeightAttr());
        llvm::Expected<Datum> value = getWeight(weight);
        if (!value)
          return value.takeError();
        return Results{std::move(*value)};
      })
      .Case([&](BlockOp op) { return evaluateBlock(op, operands); })
      .Case<EmbeddingOp, RMSNormOp, GatedRMSNormOp, QuantizeOp, BitLinearOp,
            LinearOp, SplitOp, CausalConvOp, SelectiveScanOp, AddOp,
            SelectRowsOp, LMHeadOp, SampleOp, FusedLinearOp, ScanOp>(
          [&](auto op) { return evaluate(op, In<decltype(op)>(operands, op)); })
      .Default([](Operation *) -> llvm::Expected<Results> {
        return makeError("the interpreter does not execute this operation");
      });
}

/// `function.operation.result`, the result by its suggested name or its number.
static std::string getName(func::FuncOp function, OpResult result) {
  std::string name = std::to_string(result.getResultNumber());
  if (auto named = dyn_cast<OpAsmOpInterface>(result.getOwner()))
    named.getAsmResultNames([&](Value value, StringRef suggestion) {
      if (value == result)
        name = suggestion.str();
    });
  return llvm::formatv("{0}.{1}.{2}", function.getSymName(),
                       result.getOwner()->getName().stripDialect(), name);
}

llvm::Expected<Results> Interpreter::call(func::FuncOp function,
                                          ArrayRef<Datum> arguments) {
  StringRef name = function.getSymName();
  if (!function.getBody().hasOneBlock())
    return makeError("expected @{0} to have a body of one block", name);
  if (llvm::is_contained(callStack, function))
    return makeError("@{0} calls itself", name);
  callStack.push_back(function);
  llvm::scope_exit pop([&] { callStack.pop_back(); });

  Block &body = function.getBody().front();
  if (arguments.size() != body.getNumArguments())
    return makeError("@{0}: expected {1} arguments, found {2}", name,
                     body.getNumArguments(), arguments.size());
  llvm::DenseMap<Value, Datum> values;
  for (auto [argument, datum] : llvm::zip(body.getArguments(), arguments)) {
    if (!matches(datum, argument.getType()))
      return makeError("@{0}: argument {1} does not fit its type {2}", name,
                       argument.getArgNumber(), argument.getType());
    values[argument] = datum;
  }

  // A value is let go after its last use.
  llvm::DenseMap<Value, unsigned> usesLeft;
  for (Operation &op : body) {
    Results operands;
    for (Value operand : op.getOperands())
      operands.push_back(values[operand]);
    for (Value operand : op.getOperands()) {
      auto [entry, isNew] = usesLeft.try_emplace(operand);
      if (isNew)
        entry->second = llvm::range_size(operand.getUses());
      if (--entry->second == 0)
        values.erase(operand);
    }
    if (isa<func::ReturnOp>(op))
      return operands;

    llvm::Expected<Results> results = execute(&op, operands);
    if (!results)
      return makeError("{0}: {1}", op.getName(),
                       llvm::toString(results.takeError()));
    for (auto [result, datum] : llvm::zip(op.getResults(), *results)) {
      if (!result.use_empty())
        values[result] = datum;
      if (observer && !isa<GetWeightOp>(op))
        observer(result, getName(function, result), datum);
    }
  }
  llvm_unreachable("a function's body ends in func.return");
}

llvm::Expected<Results> Interpreter::run(StringRef name,
                                         ArrayRef<Datum> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return makeError("there is no function @{0}", name);
  return call(function, arguments);
}
