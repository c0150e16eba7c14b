//===- ToyModel.cpp - an artifact made by hand ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "test/runtime/ToyModel.h"

#include "runtime/Error.h"
#include "runtime/artifact/Layout.h"

#include <cstring>
#include <filesystem>
#include <fstream>

using namespace mambit;
using namespace mambit::artifact;
using namespace mambit::test;

namespace {

std::vector<uint8_t> readBytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail("cannot read ", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::unique_ptr<ParamT> param(const char *name, Access access, DType dtype,
                              Dim dim, Shape shape, uint64_t fixed,
                              uint64_t perDim) {
  auto result = std::make_unique<ParamT>();
  result->name = name;
  result->access = access;
  result->dtype = dtype;
  result->dim = dim;
  result->shape = shape;
  result->fixed_bytes = fixed;
  result->bytes_per_dim = perDim;
  return result;
}

std::unique_ptr<PortT> port(const char *name, DType dtype, Dim dim, Shape shape,
                            uint64_t fixed, uint64_t perDim, uint64_t offset,
                            uint64_t size) {
  auto result = std::make_unique<PortT>();
  result->name = name;
  result->dtype = dtype;
  result->dim = dim;
  result->shape = shape;
  result->fixed_bytes = fixed;
  result->bytes_per_dim = perDim;
  result->offset = offset;
  result->size = size;
  return result;
}

std::unique_ptr<ArgT> arg(ArgKind kind, uint32_t index, uint64_t offset = 0,
                          uint64_t size = 0) {
  auto result = std::make_unique<ArgT>();
  result->kind = kind;
  result->index = index;
  result->offset = offset;
  result->size = size;
  return result;
}

std::unique_ptr<GridTermT> term(Dim dim, uint64_t extent, uint64_t divisor) {
  auto result = std::make_unique<GridTermT>();
  result->dim = dim;
  result->extent = extent;
  result->divisor = divisor;
  return result;
}

template <typename... Terms>
std::unique_ptr<PhaseT> phase(const char *symbol, Terms... terms) {
  auto result = std::make_unique<PhaseT>();
  result->symbol = symbol;
  (result->grid.push_back(std::move(terms)), ...);
  return result;
}

template <typename... Phases>
std::unique_ptr<KernelCodeT> code(Phases... phases) {
  auto result = std::make_unique<KernelCodeT>();
  (result->phases.push_back(std::move(phases)), ...);
  return result;
}

template <typename... Params>
std::unique_ptr<KernelT> kernel(const char *name, Params... params) {
  auto result = std::make_unique<KernelT>();
  result->name = name;
  (result->params.push_back(std::move(params)), ...);
  return result;
}

template <typename... Args>
std::unique_ptr<CommandT> command(uint32_t kernel, Args... args) {
  auto result = std::make_unique<CommandT>();
  result->kernel = kernel;
  (result->args.push_back(std::move(args)), ...);
  return result;
}

/// What sampling takes and makes, in the kernel's order.
struct RowPort {
  const char *name;
  DType dtype;
  unsigned words;
  bool isInput;
  uint64_t bytes() const { return words * 4; }
  Shape shape() const { return words == 1 ? Shape{} : Shape{words}; }
};
const RowPort kSamplingPorts[] = {
    {"random", DType::i32, 2, true},   {"temperature", DType::f32, 1, true},
    {"top_k", DType::i32, 1, true},    {"top_p", DType::f32, 1, true},
    {"min_p", DType::f32, 1, true},    {"chosen", DType::i32, 1, false},
    {"highest", DType::f32, 1, false}, {"next_random", DType::i32, 2, false},
};

std::unique_ptr<ProgramT> makeProgram(const char *name, uint64_t tokens,
                                      uint64_t sequences, uint64_t rows,
                                      uint32_t head, unsigned vocab,
                                      bool samples) {
  auto program = std::make_unique<ProgramT>();
  program->name = name;
  program->max_tokens = tokens;
  program->max_sequences = sequences;
  program->max_rows = rows;
  struct Buffer {
    uint64_t offset, size;
  };
  auto place = [&](uint64_t bytes) {
    Buffer buffer{program->arena_size, bytes};
    program->arena_size += (bytes + 63) / 64 * 64;
    return buffer;
  };
  Buffer ids = place(tokens * 4), offsets = place(sequences * 4 + 4),
         slots = place(sequences * 4), wanted = place(rows * 4),
         x = place(tokens * 4), h = place(tokens * 4),
         scratch = place(tokens * 4), logits = place(rows * vocab * 4);
  auto input = [&](const char *name, Dim dim, uint64_t fixed, Buffer buffer) {
    program->inputs.push_back(
        port(name, DType::i32, dim, {}, fixed, 4, buffer.offset, buffer.size));
  };
  input("ids", Dim::tokens, 0, ids);
  input("offsets", Dim::sequences, 4, offsets);
  input("slots", Dim::sequences, 0, slots);
  input("rows", Dim::rows, 0, wanted);
  program->outputs.push_back(port("logits", DType::f32, Dim::rows, {vocab}, 0,
                                  vocab * 4, logits.offset, logits.size));
  auto arena = [](Buffer buffer) {
    return arg(ArgKind::arena, 0, buffer.offset, buffer.size);
  };
  program->commands.push_back(
      command(0, arena(ids), arg(ArgKind::weight, 0), arena(x)));
  program->commands.push_back(
      command(1, arena(x), arena(offsets), arena(slots), arg(ArgKind::state, 0),
              arg(ArgKind::state, 1), arena(h), arena(scratch)));
  program->commands.push_back(
      command(head, arena(h), arena(wanted), arena(logits)));
  if (samples) {
    auto sampling = command(4, arena(logits));
    for (const RowPort &row : kSamplingPorts) {
      Buffer buffer = place(rows * row.bytes());
      (row.isInput ? program->inputs : program->outputs)
          .push_back(port(row.name, row.dtype, Dim::rows, row.shape(), 0,
                          row.bytes(), buffer.offset, buffer.size));
      sampling->args.push_back(arena(buffer));
    }
    program->commands.push_back(std::move(sampling));
  }
  return program;
}

/// The tables of a device, without targets: the same for all kinds.
std::unique_ptr<DeviceT> makeDevice(const char *kind, unsigned vocab,
                                    bool samples) {
  auto device = std::make_unique<DeviceT>();
  device->kind = kind;
  device->slot_bytes = 128;
  for (uint64_t i = 0; i < 2; ++i) {
    auto state = std::make_unique<StateT>();
    state->name = i == 0 ? "hash" : "count";
    state->offset = i * 64;
    state->size = 4;
    device->states.push_back(std::move(state));
  }
  auto tokens = [](const char *name, Access access) {
    return param(name, access, DType::i32, Dim::tokens, {}, 0, 4);
  };
  auto state = [](const char *name) {
    return param(name, Access::read_write, DType::i32, Dim::slots, {1}, 0, 4);
  };
  device->kernels.push_back(kernel("embed", tokens("ids", Access::read),
                                   param("table", Access::read, DType::f32,
                                         Dim::none, {vocab}, vocab * 4, 0),
                                   tokens("x", Access::write)));
  device->kernels.push_back(kernel(
      "scan", tokens("x", Access::read),
      param("offsets", Access::read, DType::i32, Dim::sequences, {}, 4, 4),
      param("slots", Access::read, DType::i32, Dim::sequences, {}, 0, 4),
      state("hash"), state("count"), tokens("h", Access::write),
      tokens("scratch", Access::read_write)));
  for (const char *name : {"head", "head_decode"})
    device->kernels.push_back(
        kernel(name, tokens("h", Access::read),
               param("rows", Access::read, DType::i32, Dim::rows, {}, 0, 4),
               param("logits", Access::write, DType::f32, Dim::rows, {vocab}, 0,
                     vocab * 4)));
  if (samples) {
    auto sampling = kernel("sample", param("logits", Access::read, DType::f32,
                                           Dim::rows, {vocab}, 0, vocab * 4));
    for (const RowPort &row : kSamplingPorts)
      sampling->params.push_back(
          param(row.name, row.isInput ? Access::read : Access::write, row.dtype,
                Dim::rows, row.shape(), 0, row.bytes()));
    device->kernels.push_back(std::move(sampling));
  }
  device->programs.push_back(makeProgram("prefill", kToyPrefillTokens,
                                         kToyPrefillSequences,
                                         kToyPrefillTokens, 2, vocab, samples));
  device->programs.push_back(
      makeProgram("decode", kToyDecodeSequences, kToyDecodeSequences,
                  kToyDecodeSequences, 3, vocab, samples));
  return device;
}

std::vector<std::unique_ptr<KernelCodeT>> makeCode(unsigned vocab,
                                                   bool samples) {
  std::vector<std::unique_ptr<KernelCodeT>> kernels;
  kernels.push_back(code(phase("embed", term(Dim::tokens, 0, 3))));
  kernels.push_back(code(phase("scan_0", term(Dim::tokens, 0, 1)),
                         phase("scan_1", term(Dim::sequences, 0, 1))));
  for (const char *name : {"head", "head_decode"})
    kernels.push_back(
        code(phase(name, term(Dim::rows, 0, 1), term(Dim::none, vocab, 1))));
  if (samples)
    kernels.push_back(code(phase("sample", term(Dim::rows, 0, 1))));
  return kernels;
}

} // namespace

std::string test::toyFile(const char *name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "toy" /
         name;
}

Draft test::makeToy(const ToyOptions &options) {
  Draft draft;
  IndexT &index = draft.index;
  index.producer = "toy 1";
  index.config = std::make_unique<ModelConfigT>();
  index.config->format = "toy";
  index.config->d_model = 1;
  index.config->layers = 1;
  index.config->activation_bits = 32;
  index.config->vocab = options.vocab;

  auto weight = std::make_unique<WeightT>();
  weight->name = "table";
  weight->dtype = DType::f32;
  weight->shape = {options.vocab};
  auto source = std::make_unique<SourceT>();
  source->file = "toy.bin";
  source->key = "table";
  source->dtype = DType::f32;
  source->shape = {options.vocab};
  weight->sources.push_back(std::move(source));
  if (!options.skeleton) {
    std::vector<float> table;
    for (unsigned token = 0; token < options.vocab; ++token)
      table.push_back(float(ToyReference::tableEntry(token)));
    std::vector<uint8_t> bytes(table.size() * 4);
    memcpy(bytes.data(), table.data(), bytes.size());
    weight->section = draft.addSection("weight/table", bytes);
  }
  index.weights.push_back(std::move(weight));

  if (!options.tokenizer.empty()) {
    index.tokenizer = std::make_unique<TokenizerT>();
    index.tokenizer->kind = "sentencepiece";
    index.tokenizer->section =
        draft.addSection("tokenizer", readBytes(options.tokenizer));
  }

  auto device = makeDevice("cpu", options.vocab, options.samples);
  for (const ToyTarget &wanted : options.targets) {
    auto target = std::make_unique<TargetT>();
    target->name = wanted.name;
    target->triple = wanted.triple;
    target->chip = wanted.name;
    target->features = wanted.features;
    auto image = std::make_unique<ImageT>();
    image->kind = ImageKind::elf;
    image->section = draft.addSection("code/cpu/" + wanted.name + ".elf",
                                      readBytes(options.image));
    target->images.push_back(std::move(image));
    target->kernels = makeCode(options.vocab, options.samples);
    device->targets.push_back(std::move(target));
  }
  index.devices.push_back(std::move(device));

  if (options.cudaTargets.empty())
    return draft;
  device = makeDevice("cuda", options.vocab, /*samples=*/false);
  for (const ToyCudaTarget &wanted : options.cudaTargets) {
    auto target = std::make_unique<TargetT>();
    target->name = wanted.chip;
    target->triple = "nvptx64-nvidia-cuda";
    target->chip = wanted.chip;
    auto addImage = [&](ImageKind kind, const std::string &path) {
      if (path.empty())
        return;
      auto image = std::make_unique<ImageT>();
      image->kind = kind;
      image->section = draft.addSection("code/cuda/" + wanted.chip + "." +
                                            EnumNameImageKind(kind),
                                        readBytes(path));
      target->images.push_back(std::move(image));
    };
    addImage(ImageKind::cubin, wanted.cubin);
    addImage(ImageKind::ptx, wanted.ptx);
    target->kernels = makeCode(options.vocab, /*samples=*/false);
    for (auto &kernel : target->kernels)
      for (auto &phase : kernel->phases) {
        phase->resources = std::make_unique<ResourcesT>();
        phase->resources->threads = 32;
        if (phase->symbol == "scan_1")
          phase->resources->shared_bytes = kToyPrefillTokens * 4;
      }
    device->targets.push_back(std::move(target));
  }
  index.devices.push_back(std::move(device));
  return draft;
}
