//===- Synthetic.h - a small artifact to test with ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TEST_RUNTIME_ARTIFACT_SYNTHETIC_H
#define MAMBIT_TEST_RUNTIME_ARTIFACT_SYNTHETIC_H

#include "runtime/Error.h"
#include "runtime/artifact/Format.h"
#include "runtime/artifact/Pack.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace mambit::artifact::test {

/// A path that is free, and freed again at the end.
class ScratchFile {
public:
  ScratchFile() {
    static int number = 0;
    path = "artifact-test-" + std::to_string(::getpid()) + "-" +
           std::to_string(number++) + ".mbt";
  }
  ~ScratchFile() { std::remove(path.c_str()); }
  operator const std::string &() const { return path; }

  std::vector<uint8_t> read() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool exists() const { return ::access(path.c_str(), F_OK) == 0; }

  std::string path;
};

/// The message of the error that a function throws; empty if it throws none.
template <typename Function>
std::string errorOf(Function function) {
  try {
    function();
  } catch (const Error &error) {
    return error.what();
  }
  return {};
}

/// Bytes kept in memory.
class MemorySink : public Sink {
public:
  void write(const void *data, size_t size) override {
    const uint8_t *from = static_cast<const uint8_t *>(data);
    bytes.insert(bytes.end(), from, from + size);
  }

  template <typename T>
  std::vector<T> as() const {
    std::vector<T> result(bytes.size() / sizeof(T));
    if (!bytes.empty())
      std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }

  std::vector<uint8_t> bytes;
};

/// Tensors of f32 by key.
class MemoryTensors : public TensorSource {
public:
  void add(const std::string &key, Shape shape, std::vector<float> values) {
    tensors[key] = {std::move(shape), std::move(values)};
  }

  TensorView find(const std::string &file, const std::string &key) override {
    auto found = tensors.find(key);
    if (found == tensors.end())
      fail("key '", key, "' is not in '", file, "'");
    TensorView view;
    view.shape = found->second.first;
    view.data = found->second.second.data();
    return view;
  }

  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors;
};

inline std::unique_ptr<LayoutT> makeLayout(LayoutKind kind, uint32_t rows) {
  auto layout = std::make_unique<LayoutT>();
  layout->kind = kind;
  layout->rows = rows;
  return layout;
}

inline std::unique_ptr<SourceT> makeSource(std::string key, Shape shape,
                                           DType dtype = DType::f32) {
  auto source = std::make_unique<SourceT>();
  source->file = "model.safetensors";
  source->key = std::move(key);
  source->dtype = dtype;
  source->shape = std::move(shape);
  return source;
}

inline std::unique_ptr<StepT> makeStep(StepKind kind, uint32_t source = 0,
                                       DType dtype = DType::f32) {
  auto step = std::make_unique<StepT>();
  step->kind = kind;
  step->source = source;
  step->dtype = dtype;
  return step;
}

/// A weight of one source, `key` of the same shape.
inline std::unique_ptr<WeightT> makeWeight(std::string name, std::string key,
                                           DType dtype, Shape shape) {
  auto weight = std::make_unique<WeightT>();
  weight->name = std::move(name);
  weight->dtype = dtype;
  weight->shape = shape;
  weight->sources.push_back(makeSource(std::move(key), shape));
  return weight;
}

inline std::unique_ptr<ParamT> makeParam(std::string name, Access access,
                                         DType dtype, Dim dim, uint64_t fixed,
                                         uint64_t perDim) {
  auto param = std::make_unique<ParamT>();
  param->name = std::move(name);
  param->access = access;
  param->dtype = dtype;
  param->dim = dim;
  param->fixed_bytes = fixed;
  param->bytes_per_dim = perDim;
  return param;
}

inline std::unique_ptr<PortT> makePort(std::string name, DType dtype, Dim dim,
                                       uint64_t fixed, uint64_t perDim,
                                       uint64_t offset, uint64_t size) {
  auto port = std::make_unique<PortT>();
  port->name = std::move(name);
  port->dtype = dtype;
  port->dim = dim;
  port->fixed_bytes = fixed;
  port->bytes_per_dim = perDim;
  port->offset = offset;
  port->size = size;
  return port;
}

inline std::unique_ptr<ArgT> makeArg(ArgKind kind, uint32_t index,
                                     uint64_t offset = 0, uint64_t size = 0) {
  auto arg = std::make_unique<ArgT>();
  arg->kind = kind;
  arg->index = index;
  arg->offset = offset;
  arg->size = size;
  return arg;
}

constexpr uint64_t kN = 17, kK = 33; // of the matrix of signs

/// A skeleton with one device, target, kernel and program, and three weights:
/// bits and zeros of a matrix and a vector.
inline Draft makeSkeleton() {
  Draft draft;
  IndexT &index = draft.index;
  index.producer = "test 1.0";
  index.flags = {"--activation-bits=16"};
  index.config = std::make_unique<ModelConfigT>();
  index.config->format = "official";
  index.config->vocab = kN;

  for (bool zeros : {false, true}) {
    auto weight = makeWeight(zeros ? "layer0::w.zeros" : "layer0::w", "w",
                             zeros ? DType::i32 : DType::bits, {kN, kK});
    weight->layout =
        makeLayout(zeros ? LayoutKind::zeros : LayoutKind::bit_tile, 16);
    weight->steps.push_back(makeStep(StepKind::sign));
    index.weights.push_back(std::move(weight));
  }
  index.weights.push_back(makeWeight("norm", "norm", DType::f32, {kK}));

  auto device = std::make_unique<DeviceT>();
  device->kind = "cpu";
  device->slot_bytes = 192;
  for (uint64_t i = 0; i < 2; ++i) {
    auto state = std::make_unique<StateT>();
    state->name = i ? "ssm0" : "conv0";
    state->offset = i * 64;
    state->size = i ? 128 : 60;
    device->states.push_back(std::move(state));
  }

  auto kernel = std::make_unique<KernelT>();
  kernel->name = "linear_17x33";
  auto bits = makeParam("w", Access::read, DType::bits, Dim::none, 256, 0);
  bits->shape = {kN, kK};
  bits->layout = makeLayout(LayoutKind::bit_tile, 16);
  auto zeros = makeParam("w_zeros", Access::read, DType::i32, Dim::none, 12, 0);
  zeros->shape = {kN, kK};
  zeros->layout = makeLayout(LayoutKind::zeros, 16);
  auto norm = makeParam("norm", Access::read, DType::f32, Dim::none, 132, 0);
  norm->shape = {kK};
  kernel->params.push_back(
      makeParam("ids", Access::read, DType::i32, Dim::tokens, 0, 4));
  kernel->params.push_back(
      makeParam("offsets", Access::read, DType::i32, Dim::sequences, 4, 4));
  kernel->params.push_back(std::move(bits));
  kernel->params.push_back(std::move(zeros));
  kernel->params.push_back(std::move(norm));
  kernel->params.push_back(
      makeParam("ssm", Access::read_write, DType::f32, Dim::slots, 0, 128));
  kernel->params.push_back(
      makeParam("out", Access::write, DType::f32, Dim::rows, 0, kN * 4));
  device->kernels.push_back(std::move(kernel));

  auto program = std::make_unique<ProgramT>();
  program->name = "decode";
  program->max_tokens = 8;
  program->max_sequences = 4;
  program->max_rows = 2;
  program->arena_size = 320;
  program->inputs.push_back(
      makePort("ids", DType::i32, Dim::tokens, 0, 4, 0, 32));
  program->inputs.push_back(
      makePort("offsets", DType::i32, Dim::sequences, 4, 4, 64, 20));
  program->outputs.push_back(
      makePort("logits", DType::f32, Dim::rows, 0, kN * 4, 128, 136));
  auto command = std::make_unique<CommandT>();
  command->args.push_back(makeArg(ArgKind::arena, 0, 0, 32));
  command->args.push_back(makeArg(ArgKind::arena, 0, 64, 20));
  command->args.push_back(makeArg(ArgKind::weight, 0));
  command->args.push_back(makeArg(ArgKind::weight, 1));
  command->args.push_back(makeArg(ArgKind::weight, 2));
  command->args.push_back(makeArg(ArgKind::state, 1));
  command->args.push_back(makeArg(ArgKind::arena, 0, 128, 136));
  program->commands.push_back(std::move(command));
  device->programs.push_back(std::move(program));

  auto target = std::make_unique<TargetT>();
  target->name = "x86-64-v4";
  target->triple = "x86_64-unknown-linux-gnu";
  target->chip = "x86-64-v4";
  target->features = {"avx512f", "avx512vnni"};
  auto image = std::make_unique<ImageT>();
  image->section = draft.addSection("code/cpu/x86-64-v4.elf",
                                    std::vector<uint8_t>(100, 0x90));
  target->images.push_back(std::move(image));
  auto phase = std::make_unique<PhaseT>();
  phase->symbol = "linear_17x33_0";
  auto term = std::make_unique<GridTermT>();
  term->dim = Dim::tokens;
  term->divisor = 3;
  phase->grid.push_back(std::move(term));
  auto code = std::make_unique<KernelCodeT>();
  code->phases.push_back(std::move(phase));
  target->kernels.push_back(std::move(code));
  device->targets.push_back(std::move(target));

  index.devices.push_back(std::move(device));
  return draft;
}

/// A checkpoint for the skeleton; the matrix has `zeros` exact zeros.
inline MemoryTensors makeTensors(size_t zeros = 3) {
  MemoryTensors tensors;
  std::vector<float> matrix(kN * kK);
  for (size_t i = 0; i < matrix.size(); ++i)
    matrix[i] = (i * 2654435761u >> 7) % 2 ? 0.5f : -0.25f;
  for (size_t i = 0; i < zeros; ++i)
    matrix[(i * 101 + 7) % matrix.size()] = i % 2 ? -0.0f : 0.0f;
  std::vector<float> norm(kK);
  for (size_t i = 0; i < kK; ++i)
    norm[i] = float(i) - 3;
  tensors.add("w", {kN, kK}, std::move(matrix));
  tensors.add("norm", {kK}, std::move(norm));
  return tensors;
}

/// Bytes of the packed artifact.
inline std::vector<uint8_t> makeArtifact() {
  ScratchFile file;
  MemoryTensors tensors = makeTensors();
  pack(makeSkeleton(), tensors, file);
  return file.read();
}

} // namespace mambit::artifact::test

#endif // MAMBIT_TEST_RUNTIME_ARTIFACT_SYNTHETIC_H
