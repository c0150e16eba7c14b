//===- PlanOps.cpp - verifiers of the plan dialect ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"
#include "dialects/plan/Lifetimes.h"
#include "dialects/plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mambit;
using namespace mambit::plan;

//===----------------------------------------------------------------------===//
// Params: `[` param, one a line `]`
//===----------------------------------------------------------------------===//

static ParseResult parseParams(OpAsmParser &parser, ArrayAttr &params) {
  SmallVector<Attribute> list;
  auto parseParam = [&]() -> ParseResult {
    ParamAttr param;
    if (parser.parseCustomAttributeWithFallback(param))
      return failure();
    list.push_back(param);
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseParam))
    return failure();
  params = parser.getBuilder().getArrayAttr(list);
  return success();
}

static void printParams(OpAsmPrinter &printer, KernelOp, ArrayAttr params) {
  printer << '[';
  printer.increaseIndent();
  llvm::interleave(
      params.getAsRange<ParamAttr>(),
      [&](ParamAttr param) {
        printer.printNewline();
        printer.printStrippedAttrOrType(param);
      },
      [&] { printer << ','; });
  printer.decreaseIndent();
  printer << ']';
}

#define GET_OP_CLASSES
#include "dialects/plan/PlanOps.cpp.inc"

//===----------------------------------------------------------------------===//
// KernelOp
//===----------------------------------------------------------------------===//

LogicalResult KernelOp::verify() {
  // (C1) one operation and a plan.return of its results
  Block &block = getBody().front();
  auto ret = block.empty() ? ReturnOp() : dyn_cast<ReturnOp>(block.back());
  if (!ret || !llvm::hasNItems(block, 2))
    return emitOpError("expected one operation and plan.return in the body");
  Operation *fused = getFusedOp();
  if (!llvm::equal(ret.getResults(), fused->getResults()))
    return ret.emitOpError("expected the results of ")
           << fused->getName() << " in order";
  // (C2) the operands are the block arguments
  if (!llvm::equal(fused->getOperands(), block.getArguments()))
    return fused->emitOpError("expected the kernel's block arguments in order "
                              "as operands");
  llvm::StringSet<> names;
  bool hasState = false;
  for (ParamAttr param : getParamRange()) {
    // (C3) unique names
    if (!names.insert(param.getName()).second)
      return emitOpError("has two parameters named '")
             << param.getName() << "'";
    if (param.getDim() != Dim::slots)
      continue;
    hasState = true;
    // (C5) states are read and written, and fit in a slot
    if (param.getAccess() != Access::readWrite)
      return emitOpError("expected state '")
             << param.getName() << "' to be read_write, found "
             << stringifyAccess(param.getAccess());
    if (getSlotBytes() && param.getDimBytes() > int64_t(*getSlotBytes()))
      return emitOpError("state '")
             << param.getName() << "' of " << param.getDimBytes()
             << " bytes does not fit in a slot of " << *getSlotBytes();
  }
  // (C4) slot_bytes if and only if there is a state
  if (hasState != getSlotBytes().has_value())
    return emitOpError("expected ")
           << (hasState ? "slot_bytes, for it has a state"
                        : "no slot_bytes, for it has no state");
  return success();
}

//===----------------------------------------------------------------------===//
// StateOp
//===----------------------------------------------------------------------===//

int64_t StateOp::getBytes() {
  auto type = cast<RankedTensorType>(getType());
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

LogicalResult StateOp::verify() {
  // (C1) aligned, not negative
  int64_t offset = getOffset();
  if (offset < 0 || offset % alignment)
    return emitOpError("expected an offset that is a multiple of ")
           << alignment << ", found " << offset;
  return success();
}

//===----------------------------------------------------------------------===//
// ProgramOp
//===----------------------------------------------------------------------===//

int64_t ProgramOp::getMaximum(Dim dim) {
  switch (dim) {
  case Dim::tokens:
    return getMaxTokens();
  case Dim::sequences:
    return getMaxSequences();
  case Dim::rows:
    return getMaxRows();
  case Dim::none:
  case Dim::slots:
    return 1;
  }
  llvm_unreachable("unknown dim");
}

LogicalResult ProgramOp::verifyRegions() {
  // (C1) positive maxima
  for (Dim dim : {Dim::tokens, Dim::sequences, Dim::rows})
    if (getMaximum(dim) <= 0)
      return emitOpError("expected max_")
             << stringifyDim(dim) << " to be positive, found "
             << getMaximum(dim);
  // (C2) unique names of ports
  llvm::StringSet<> names;
  for (Operation &op : getBody().front()) {
    // (C6) operations of the plan alone
    if (!isa<PlanDialect>(op.getDialect()))
      return op.emitOpError("in a program, expected operations of the plan "
                            "dialect");
    ParamAttr port = isa<InputOp>(op)    ? cast<InputOp>(op).getPort()
                     : isa<OutputOp>(op) ? cast<OutputOp>(op).getPort()
                                         : ParamAttr();
    if (port && !names.insert(port.getName()).second)
      return op.emitOpError("is the second port named '")
             << port.getName() << "'";
  }

  SmallVector<Lifetime> lifetimes = getLifetimes(*this);
  for (const Lifetime &buffer : lifetimes) {
    // (C3) planned or not, as a whole
    if (buffer.offset.has_value() != getArenaSize().has_value())
      return buffer.op->emitOpError("expected ")
             << (buffer.offset
                     ? "no offset, for the program has no arena_size"
                     : "an offset, for the program has an arena_size");
    if (!buffer.offset)
      continue;
    // (C4) aligned, in the arena
    if (*buffer.offset < 0 || *buffer.offset % alignment)
      return buffer.op->emitOpError("expected an offset that is a multiple of ")
             << alignment << ", found " << *buffer.offset;
    int64_t arena = *getArenaSize();
    if (buffer.size > arena || *buffer.offset > arena - buffer.size)
      return buffer.op->emitOpError("of ")
             << buffer.size << " bytes at " << *buffer.offset
             << " does not lie in the arena of " << arena;
  }
  if (!getArenaSize())
    return success();

  // (C5) what lives at one time lies apart: sweep over the launches
  llvm::sort(lifetimes, [](const Lifetime &a, const Lifetime &b) {
    return a.first != b.first ? a.first < b.first : a.op->isBeforeInBlock(b.op);
  });
  SmallVector<const Lifetime *> alive;
  for (const Lifetime &buffer : lifetimes) {
    llvm::erase_if(alive, [&](const Lifetime *other) {
      return other->last < buffer.first;
    });
    for (const Lifetime *other : alive)
      if (*buffer.offset < *other->offset + other->size &&
          *other->offset < *buffer.offset + buffer.size) {
        InFlightDiagnostic diagnostic = buffer.op->emitOpError(
            "overlaps in the arena with a buffer alive at the same time");
        diagnostic.attachNote(other->op->getLoc()) << "the other buffer";
        return diagnostic;
      }
    alive.push_back(&buffer);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Values of a program
//===----------------------------------------------------------------------===//

template <typename Port>
static LogicalResult verifyPort(Port op, Access access) {
  ParamAttr port = op.getPort();
  // (C1) inputs are read, outputs written
  if (port.getAccess() != access)
    return op.emitOpError("expected port '")
           << port.getName() << "' to be " << stringifyAccess(access)
           << ", found " << stringifyAccess(port.getAccess());
  // (C2) an extent the program bounds
  if (port.getDim() == Dim::slots)
    return op.emitOpError("port '")
           << port.getName() << "' cannot extend over slots";
  // (C3) big enough
  auto program = cast<ProgramOp>(op->getParentOp());
  int64_t needed = port.getBytes(program.getMaximum(port.getDim()));
  if (int64_t(op.getSize()) < needed)
    return op.emitOpError("expected at least ")
           << needed << " bytes, found " << op.getSize();
  return success();
}

LogicalResult InputOp::verify() { return verifyPort(*this, Access::read); }
LogicalResult OutputOp::verify() { return verifyPort(*this, Access::write); }

LogicalResult BufferOp::verify() {
  // (C1) positive size
  if (int64_t(getSize()) <= 0)
    return emitOpError("expected a positive size, found ")
           << int64_t(getSize());
  return success();
}

void InputOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getBuffer(), getPort().getName());
}
void OutputOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getBuffer(), getPort().getName());
}
void BufferOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getBuffer(), getName());
}
void GetStateOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getBuffer(), getState());
}
void GetWeightOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getBuffer(), getWeight().getLeafReference());
}

LogicalResult GetWeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // (C1) a mamba.weight
  auto weight =
      symbols.lookupNearestSymbolFrom<mamba::WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError("expected ") << getWeight() << " to be a mamba.weight";
  // (C2) its type, or its zeros
  Type declared = weight.getType();
  if (mamba::withoutLayout(getType()) == declared)
    return success();
  auto zeros = dyn_cast<RankedTensorType>(getType());
  auto bits = dyn_cast<mamba::BitsType>(declared);
  if (zeros && bits && isa_and_nonnull<ZerosAttr>(zeros.getEncoding()) &&
      zeros.getElementType().isSignlessInteger(32) &&
      zeros.getShape() == ArrayRef{bits.getRows(), bits.getColumns()})
    return success();
  InFlightDiagnostic diagnostic = emitOpError("expected type ")
                                  << declared << " with a layout"
                                  << (bits ? ", or its zeros" : "")
                                  << ", found " << getType();
  diagnostic.attachNote(weight.getLoc()) << "the weight";
  return diagnostic;
}

LogicalResult GetStateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // (C1) a plan.state
  auto state = symbols.lookupNearestSymbolFrom<StateOp>(*this, getStateAttr());
  if (!state)
    return emitOpError("expected ") << getStateAttr() << " to be a plan.state";
  // (C2) in the slot
  int64_t slotBytes = cast<ProgramOp>((*this)->getParentOp()).getSlotBytes();
  if (state.getBytes() > slotBytes ||
      int64_t(state.getOffset()) > slotBytes - state.getBytes())
    return emitOpError("state of ")
           << state.getBytes() << " bytes at " << state.getOffset()
           << " does not lie in a slot of " << slotBytes;
  return success();
}

//===----------------------------------------------------------------------===//
// LaunchOp
//===----------------------------------------------------------------------===//

/// Whether an argument of a launch can be what the parameter asks for.
static LogicalResult verifyArgument(LaunchOp launch, ParamAttr param,
                                    Operation *arg,
                                    SymbolTableCollection &symbols) {
  auto error = [&]() -> InFlightDiagnostic {
    return launch.emitOpError("argument for parameter '")
           << param.getName() << "': ";
  };
  const bool isStateParam = param.getDim() == Dim::slots;
  // (C4) states, and nothing else, for state parameters
  if (isa<GetStateOp>(arg) != isStateParam)
    return error() << "expected " << (isStateParam ? "a state" : "no state");
  if (auto get = dyn_cast<GetStateOp>(arg)) {
    auto state =
        symbols.lookupNearestSymbolFrom<StateOp>(get, get.getStateAttr());
    if (state && state.getType() != param.getType())
      return error() << "expected " << param.getType() << ", found a state of "
                     << state.getType();
    return success();
  }
  // (C3) weights are read, and of the parameter's type
  if (auto weight = dyn_cast<GetWeightOp>(arg)) {
    if (param.getAccess() != Access::read)
      return error() << "a weight cannot be written";
    if (weight.getType() != param.getType())
      return error() << "expected " << param.getType() << ", found a weight of "
                     << weight.getType();
    return success();
  }
  // (C6) inputs are read
  if (isa<InputOp>(arg) && param.getAccess() != Access::read)
    return error() << "an input cannot be written";
  // (C5) big enough
  int64_t size = cast<IntegerAttr>(arg->getAttr("size")).getInt();
  auto program = cast<ProgramOp>(launch->getParentOp());
  int64_t needed = param.getBytes(program.getMaximum(param.getDim()));
  if (size < needed)
    return error() << "expected at least " << needed << " bytes, found "
                   << size;
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // (C1) a plan.kernel
  auto kernel =
      symbols.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("expected ")
           << getKernelAttr() << " to be a plan.kernel";
  // (C2) an argument for each parameter
  if (getArgs().size() != kernel.getParams().size())
    return emitOpError("expected ") << kernel.getParams().size()
                                    << " arguments, found " << getArgs().size();
  // (C7) one slot size
  int64_t slotBytes = cast<ProgramOp>((*this)->getParentOp()).getSlotBytes();
  if (kernel.getSlotBytes() && int64_t(*kernel.getSlotBytes()) != slotBytes)
    return emitOpError("expected a kernel for slots of ")
           << slotBytes << " bytes, found " << *kernel.getSlotBytes();
  for (auto [param, arg] : llvm::zip(kernel.getParamRange(), getArgs()))
    if (failed(verifyArgument(*this, param, arg.getDefiningOp(), symbols)))
      return failure();
  return success();
}
