//===- Compile.cpp - from a planned module to an artifact ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Compile.h"

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Lower.h"
#include "codegen/gpu/Kernels.h"
#include "codegen/gpu/Lower.h"
#include "dialects/mamba/Mamba.h"
#include "dialects/plan/Plan.h"
#include "runtime/artifact/Format.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mambit;

void mambit::registerCodegenDialects(DialectRegistry &registry) {
  registry
      .insert<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
              LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect,
              NVVM::NVVMDialect, scf::SCFDialect, vector::VectorDialect,
              mamba::MambaDialect, plan::PlanDialect>();
}

//===--------------------------------------------------------------------===//
// Code
//===--------------------------------------------------------------------===//

/// Writes a form of the code to FOLDER/FILE.
static LogicalResult writeDump(Operation *op, StringRef folder, StringRef file,
                               StringRef text) {
  SmallString<128> path(folder);
  llvm::sys::path::append(path, file);
  std::error_code error = llvm::sys::fs::create_directories(folder);
  if (!error) {
    llvm::raw_fd_ostream stream(path, error);
    if (!error) {
      stream << text;
      stream.flush();
      error = stream.error();
      stream.clear_error();
    }
  }
  if (error)
    return op->emitError("cannot write ") << path << ": " << error.message();
  return success();
}

static bool isCpu(const Target &target) { return target.device == "cpu"; }

FailureOr<SmallVector<Phase>>
mambit::emitKernel(plan::KernelOp kernel, const Target &target, ModuleOp module,
                   const CodegenOptions &options) {
  return isCpu(target)
             ? cpu::emitKernel(kernel, target, module, options.bitSums)
             : cuda::emitKernel(kernel, target, module, options.matmulStrategy);
}

/// The shared object of a CPU's kernels.
static LogicalResult makeCpuImages(ModuleOp module, const Target &target,
                                   DumpFn dump, TargetCode &code) {
  FailureOr<std::vector<uint8_t>> image =
      cpu::compileToImage(module, target, dump);
  if (failed(image))
    return failure();
  code.images.push_back({artifact::ImageKind::elf, std::move(*image)});
  return success();
}

/// The PTX of a GPU's kernels and, where there is an assembler, machine code
/// for the very chip.
static LogicalResult makeGpuImages(ModuleOp module, const Target &target,
                                   StringRef ptxas, DumpFn dump,
                                   TargetCode &code) {
  FailureOr<std::string> ptx = cuda::compileToPtx(module, target, dump);
  if (failed(ptx))
    return failure();
  llvm::Expected<std::string> assembler = cuda::findPtxas(ptxas);
  if (!assembler)
    return module.emitError(llvm::toString(assembler.takeError()));
  if (!assembler->empty()) {
    llvm::Expected<cuda::Cubin> cubin =
        cuda::assemble(*assembler, *ptx, target);
    if (!cubin)
      return module.emitError(llvm::toString(cubin.takeError()));
    for (SmallVector<Phase> &phases : code.kernels)
      for (Phase &phase : phases) {
        Resources asked = phase.resources;
        phase.resources = cubin->resources.lookup(phase.symbol);
        phase.resources.threads = asked.threads;
        phase.resources.cluster = asked.cluster;
        phase.resources.sharedBytes = asked.sharedBytes;
      }
    code.images.push_back(
        {artifact::ImageKind::cubin, std::move(cubin->bytes)});
  }
  code.images.push_back({artifact::ImageKind::ptx,
                         std::vector<uint8_t>(ptx->begin(), ptx->end())});
  return success();
}

FailureOr<TargetCode> mambit::compileKernels(ModuleOp planned,
                                             const Target &target,
                                             const CodegenOptions &options) {
  MLIRContext *context = planned.getContext();
  DialectRegistry registry;
  registerCodegenDialects(registry);
  context->appendDialectRegistry(registry);
  context->loadAllAvailableDialects();

  OwningOpRef<ModuleOp> module = ModuleOp::create(planned.getLoc());
  TargetCode code;
  for (auto kernel : planned.getOps<plan::KernelOp>()) {
    FailureOr<SmallVector<Phase>> phases =
        emitKernel(kernel, target, *module, options);
    if (failed(phases))
      return failure();
    code.kernels.push_back(std::move(*phases));
  }

  LogicalResult dumped = success();
  auto writeForm = [&](StringRef ending, StringRef text) {
    SmallString<128> folder(options.dumpTo);
    llvm::sys::path::append(folder, target.name);
    if (failed(writeDump(planned, folder, ("kernels." + ending).str(), text)))
      dumped = failure();
  };
  DumpFn dump;
  if (!options.dumpTo.empty())
    dump = writeForm;
  LogicalResult made =
      isCpu(target) ? makeCpuImages(*module, target, dump, code)
                    : makeGpuImages(*module, target, options.ptxas, dump, code);
  if (failed(made) || failed(dumped))
    return failure();
  return std::move(code);
}

//===--------------------------------------------------------------------===//
// Tables
//===--------------------------------------------------------------------===//

namespace {
/// Fills in the index from a planned module.
class SkeletonBuilder {
public:
  SkeletonBuilder(ModuleOp planned) : planned(planned), symbols(planned) {}

  FailureOr<artifact::Draft> build(ArrayRef<const Target *> targets,
                                   const CodegenOptions &options);

private:
  LogicalResult addDevice(StringRef kind, ArrayRef<const Target *> targets,
                          const CodegenOptions &options);
  LogicalResult addPrograms(artifact::DeviceT &device);
  LogicalResult addTarget(artifact::DeviceT &device, const Target &target,
                          const CodegenOptions &options);
  FailureOr<artifact::CommandT> getCommand(plan::LaunchOp launch);
  FailureOr<uint32_t> getWeight(plan::GetWeightOp op);

  ModuleOp planned;
  SymbolTable symbols;
  artifact::Draft draft;
  llvm::StringMap<uint32_t> kernels, states;
  /// By symbol and type: the bits of a matrix and their zeros are two.
  llvm::MapVector<std::pair<Attribute, Type>, uint32_t> weights;
  llvm::StringMap<Type> weightNames;
};
} // namespace

static artifact::DType getDType(Type type) {
  return llvm::TypeSwitch<Type, artifact::DType>(type)
      .Case([](Float32Type) { return artifact::DType::f32; })
      .Case([](Float16Type) { return artifact::DType::f16; })
      .Case([](BFloat16Type) { return artifact::DType::bf16; })
      .Case([](Float64Type) { return artifact::DType::f64; })
      .Case([](IntegerType integer) {
        bool isUnsigned = integer.isUnsigned();
        switch (integer.getWidth()) {
        case 8:
          return isUnsigned ? artifact::DType::u8 : artifact::DType::i8;
        case 16:
          return isUnsigned ? artifact::DType::u16 : artifact::DType::i16;
        case 32:
          return isUnsigned ? artifact::DType::u32 : artifact::DType::i32;
        case 64:
          return artifact::DType::i64;
        }
        llvm_unreachable("integer that no buffer has");
      });
}

/// Element type, shape and layout of a weight's or parameter's type.
template <typename Table>
static void setType(Table &table, Type type) {
  auto setLayout = [&](artifact::LayoutKind kind, int64_t rows) {
    table.layout = std::make_unique<artifact::LayoutT>();
    table.layout->kind = kind;
    table.layout->rows = rows;
  };
  if (auto bits = dyn_cast<mamba::BitsType>(type)) {
    table.dtype = artifact::DType::bits;
    table.shape = {uint64_t(bits.getRows()), uint64_t(bits.getColumns())};
    return setLayout(artifact::LayoutKind::bit_tile,
                     bits.getLayout().getRows());
  }
  auto tensor = cast<RankedTensorType>(type);
  table.dtype = getDType(tensor.getElementType());
  table.shape.assign(tensor.getShape().begin(), tensor.getShape().end());
  if (auto zeros = dyn_cast_or_null<plan::ZerosAttr>(tensor.getEncoding()))
    setLayout(artifact::LayoutKind::zeros, zeros.getRows());
  else if (auto interleave =
               dyn_cast_or_null<mamba::InterleaveAttr>(tensor.getEncoding()))
    setLayout(artifact::LayoutKind::interleave, interleave.getRows());
}

template <typename Table>
static void setParam(Table &table, plan::ParamAttr param) {
  table.name = param.getName().str();
  table.dim = static_cast<artifact::Dim>(param.getDim());
  table.fixed_bytes = param.getFixedBytes();
  table.bytes_per_dim = param.getDimBytes();
}

static artifact::KernelT getKernel(plan::KernelOp op) {
  artifact::KernelT kernel;
  kernel.name = op.getSymName().str();
  kernel.op = op.getFusedOp()->getName().getStringRef().str();
  for (plan::ParamAttr param : op.getParamRange()) {
    auto table = std::make_unique<artifact::ParamT>();
    setParam(*table, param);
    setType(*table, param.getType());
    table->access = static_cast<artifact::Access>(param.getAccess());
    kernel.params.push_back(std::move(table));
  }
  return kernel;
}

/// An input or output.
template <typename Op>
static std::unique_ptr<artifact::PortT> getPort(Op op) {
  plan::ParamAttr param = op.getPort();
  auto type = cast<RankedTensorType>(param.getType());
  auto port = std::make_unique<artifact::PortT>();
  setParam(*port, param);
  port->dtype = getDType(type.getElementType());
  port->shape.assign(type.getShape().begin(), type.getShape().end());
  port->offset = *op.getOffset();
  port->size = op.getSize();
  return port;
}

static std::unique_ptr<artifact::StepT> getStep(Attribute attr) {
  auto step = std::make_unique<artifact::StepT>();
  llvm::TypeSwitch<Attribute>(attr)
      .Case([&](mamba::SignAttr) { step->kind = artifact::StepKind::sign; })
      .Case(
          [&](mamba::NegExpAttr) { step->kind = artifact::StepKind::neg_exp; })
      .Case([&](mamba::TransposeAttr) {
        step->kind = artifact::StepKind::transpose;
      })
      .Case([&](mamba::MultiplyAttr multiply) {
        step->kind = artifact::StepKind::multiply;
        step->source = multiply.getSource();
      })
      .Case([&](mamba::CastAttr cast) {
        step->kind = artifact::StepKind::cast;
        step->dtype = getDType(cast.getType());
      })
      .DefaultUnreachable("recipe step without a table");
  return step;
}

FailureOr<uint32_t> SkeletonBuilder::getWeight(plan::GetWeightOp op) {
  auto [it, inserted] = weights.insert(
      {{op.getWeight(), op.getType()}, uint32_t(weights.size())});
  if (!inserted)
    return it->second;

  auto weight = std::make_unique<artifact::WeightT>();
  SymbolRefAttr symbol = op.getWeight();
  weight->name = symbol.getRootReference().str();
  for (FlatSymbolRefAttr nested : symbol.getNestedReferences())
    weight->name += "::" + nested.getValue().str();
  setType(*weight, op.getType());
  if (weight->layout && weight->layout->kind == artifact::LayoutKind::zeros)
    weight->name += ".zeros";
  if (!weightNames.insert({weight->name, op.getType()}).second)
    return op.emitOpError("has type ")
           << op.getType() << ", but the same weight is used as "
           << weightNames[weight->name];

  auto source = dyn_cast_or_null<mamba::WeightOp>(
      symbols.lookupNearestSymbolFrom(planned, symbol));
  if (!source)
    return op.emitOpError("has no mamba.weight");
  for (auto from : source.getSources().getAsRange<mamba::SourceAttr>()) {
    auto table = std::make_unique<artifact::SourceT>();
    table->file = from.getFile().str();
    table->key = from.getKey().str();
    table->dtype = getDType(from.getType().getElementType());
    ArrayRef<int64_t> shape = from.getType().getShape();
    table->shape.assign(shape.begin(), shape.end());
    weight->sources.push_back(std::move(table));
  }
  for (Attribute step : source.getRecipe())
    weight->steps.push_back(getStep(step));
  draft.index.weights.push_back(std::move(weight));
  return it->second;
}

FailureOr<artifact::CommandT>
SkeletonBuilder::getCommand(plan::LaunchOp launch) {
  artifact::CommandT command;
  command.kernel = kernels.lookup(launch.getKernel());
  for (Value value : launch.getArgs()) {
    auto arg = std::make_unique<artifact::ArgT>();
    Operation *op = value.getDefiningOp();
    auto inArena = [&](auto buffer) {
      arg->kind = artifact::ArgKind::arena;
      arg->offset = *buffer.getOffset();
      arg->size = buffer.getSize();
      return success();
    };
    LogicalResult done =
        llvm::TypeSwitch<Operation *, LogicalResult>(op)
            .Case<plan::InputOp, plan::OutputOp, plan::BufferOp>(inArena)
            .Case([&](plan::GetStateOp state) {
              arg->kind = artifact::ArgKind::state;
              arg->index = states.lookup(state.getState());
              return success();
            })
            .Case([&](plan::GetWeightOp get) {
              FailureOr<uint32_t> index = getWeight(get);
              arg->kind = artifact::ArgKind::weight;
              arg->index = index.value_or(0);
              return LogicalResult(index);
            })
            .Default([](Operation *other) {
              return other->emitOpError("is no argument of a command");
            });
    if (failed(done))
      return failure();
    command.args.push_back(std::move(arg));
  }
  return command;
}

/// The runtime counts on how many tokens a device can draw among.
static LogicalResult verifyLimits(ModuleOp planned) {
  auto result = planned.walk([](mamba::SampleOp op) {
    int64_t vocab = op.getLogits().getType().getDimSize(1);
    int64_t expected = std::min<int64_t>(artifact::kMostTopK, vocab);
    if (int64_t(op.getLimit()) == expected)
      return WalkResult::advance();
    op.emitOpError() << "draws among " << op.getLimit()
                     << " tokens; the runtime expects " << expected;
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

LogicalResult SkeletonBuilder::addPrograms(artifact::DeviceT &device) {
  if (failed(verifyLimits(planned)))
    return failure();
  for (auto op : planned.getOps<plan::ProgramOp>()) {
    if (!op.getArenaSize())
      return op.emitOpError("has no memory plan; run plan-memory first");
    device.slot_bytes = op.getSlotBytes();
    auto program = std::make_unique<artifact::ProgramT>();
    program->name = op.getSymName().str();
    program->max_tokens = op.getMaxTokens();
    program->max_sequences = op.getMaxSequences();
    program->max_rows = op.getMaxRows();
    program->arena_size = *op.getArenaSize();
    for (auto input : op.getBody().getOps<plan::InputOp>())
      program->inputs.push_back(getPort(input));
    for (auto output : op.getBody().getOps<plan::OutputOp>())
      program->outputs.push_back(getPort(output));
    for (auto launch : op.getBody().getOps<plan::LaunchOp>()) {
      FailureOr<artifact::CommandT> command = getCommand(launch);
      if (failed(command))
        return failure();
      program->commands.push_back(
          std::make_unique<artifact::CommandT>(std::move(*command)));
    }
    device.programs.push_back(std::move(program));
  }
  return success();
}

LogicalResult SkeletonBuilder::addTarget(artifact::DeviceT &device,
                                         const Target &target,
                                         const CodegenOptions &options) {
  FailureOr<TargetCode> code = compileKernels(planned, target, options);
  if (failed(code))
    return failure();

  auto table = std::make_unique<artifact::TargetT>();
  table->name = target.name;
  table->triple = target.triple;
  table->chip = target.cpu;
  table->features = target.required;
  for (Capability capability : target.capabilities)
    table->capabilities.push_back(stringify(capability).str());
  for (const SmallVector<Phase> &phases : code->kernels) {
    auto kernel = std::make_unique<artifact::KernelCodeT>();
    for (const Phase &from : phases) {
      auto phase = std::make_unique<artifact::PhaseT>();
      phase->symbol = from.symbol;
      if (from.resources.threads > 0) {
        phase->resources = std::make_unique<artifact::ResourcesT>();
        phase->resources->threads = from.resources.threads;
        phase->resources->cluster = from.resources.cluster;
        phase->resources->shared_bytes = from.resources.sharedBytes;
        phase->resources->static_shared_bytes =
            from.resources.staticSharedBytes;
        phase->resources->registers = from.resources.registers;
        phase->resources->spill_bytes = from.resources.spillBytes;
      }
      if (!from.condition.isAlways()) {
        phase->when = std::make_unique<artifact::ConditionT>();
        phase->when->dim = static_cast<artifact::Dim>(from.condition.dim);
        phase->when->less = static_cast<artifact::Dim>(from.condition.less);
        phase->when->low = from.condition.low;
        phase->when->high = from.condition.high;
        draft.require(artifact::kConditionsFeature);
      }
      for (const GridTerm &term : from.grid) {
        auto to = std::make_unique<artifact::GridTermT>();
        to->dim = static_cast<artifact::Dim>(term.dim);
        to->extent = term.dim == plan::Dim::none ? term.extent : 0;
        to->divisor = term.divisor;
        phase->grid.push_back(std::move(to));
      }
      kernel->phases.push_back(std::move(phase));
    }
    table->kernels.push_back(std::move(kernel));
  }
  for (TargetCode::Image &from : code->images) {
    auto image = std::make_unique<artifact::ImageT>();
    image->kind = from.kind;
    image->section =
        draft.addSection("code/" + target.device + "/" + target.name + "." +
                             artifact::EnumNameImageKind(from.kind),
                         std::move(from.bytes));
    table->images.push_back(std::move(image));
  }
  device.targets.push_back(std::move(table));
  return success();
}

LogicalResult SkeletonBuilder::addDevice(StringRef kind,
                                         ArrayRef<const Target *> targets,
                                         const CodegenOptions &options) {
  auto device = std::make_unique<artifact::DeviceT>();
  device->kind = kind.str();
  for (auto kernel : planned.getOps<plan::KernelOp>()) {
    kernels[kernel.getSymName()] = device->kernels.size();
    device->kernels.push_back(
        std::make_unique<artifact::KernelT>(getKernel(kernel)));
  }
  for (auto op : planned.getOps<plan::StateOp>()) {
    states[op.getSymName()] = device->states.size();
    auto state = std::make_unique<artifact::StateT>();
    state->name = op.getSymName().str();
    state->offset = op.getOffset();
    state->size = op.getBytes();
    device->states.push_back(std::move(state));
  }
  if (failed(addPrograms(*device)))
    return failure();
  for (const Target *target : targets)
    if (target->device == kind && failed(addTarget(*device, *target, options)))
      return failure();
  draft.index.devices.push_back(std::move(device));
  return success();
}

FailureOr<artifact::Draft>
SkeletonBuilder::build(ArrayRef<const Target *> targets,
                       const CodegenOptions &options) {
  draft.index.producer = "mambit " MAMBIT_VERSION;
  llvm::SmallSetVector<StringRef, 2> devices;
  for (const Target *target : targets)
    devices.insert(target->device);
  for (StringRef device : devices)
    if (failed(addDevice(device, targets, options)))
      return failure();
  return std::move(draft);
}

FailureOr<artifact::Draft>
mambit::makeSkeleton(ModuleOp planned, ArrayRef<const Target *> targets,
                     const CodegenOptions &options) {
  return SkeletonBuilder(planned).build(targets, options);
}
