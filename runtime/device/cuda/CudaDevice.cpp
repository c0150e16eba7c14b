//===- CudaDevice.cpp - runs programs on a GPU -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//
//
// All work of a device goes through one stream. A run copies the program's
// inputs from pinned memory to their places in the arena, launches a kernel for
// each phase and copies the outputs back; it returns when all is done. Where
// every sequence has one token, as in decoding, the run of given extents is
// captured as a graph the first time and replayed from then on: nothing in it
// changes but the contents of the pinned memory. In a chain of runs a graph
// has the kernels, which leave the inputs as they are, and then copies outputs
// to inputs; the host waits for the last run alone.
//
// Where the code's target has dependent launch, a kernel that follows a kernel
// may start before that one has ended. This is safe because every thread of
// every kernel waits for the end of the kernel ahead before it reads what a
// kernel of the run has written, and before it writes at all. What a kernel
// waits for has itself waited, so then all kernels ahead have ended: none of
// them still reads what is written over. Before it waits, a kernel may read
// what was there when the run began: weights, inputs, and states that no kernel
// ahead of it writes. The first kernel of a run follows a copy and starts after
// it, as the copy starts after the run before.
//
//===-----------------------------------------------------------------===//

#include "runtime/Status.h"
#include "runtime/artifact/Format.h"
#include "runtime/device/Grid.h"
#include "runtime/device/cuda/Bandwidth.h"
#include "runtime/device/cuda/Energy.h"
#include "runtime/device/cuda/Memory.h"
#include "runtime/device/cuda/Module.h"
#include "runtime/device/cuda/Targets.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

using namespace mambit;
using namespace mambit::cuda;
using artifact::ArgKind;

namespace {

/// More graphs than this are not kept; what has none is launched one by one.
/// Of a step of each number of sequences there are three: with logits, with
/// greedy tokens and with drawn ones.
constexpr size_t kMaxGraphs = 3 * 64;
/// Outputs larger than this are copied piece by piece.
constexpr uint64_t kMaxStagedOutput = uint64_t(32) << 20;
constexpr uint64_t kPieceBytes = uint64_t(16) << 20;
/// Of weights; a line of the caches and more.
constexpr uint64_t kWeightAlignment = 256;

struct Phase {
  std::string symbol;
  Function function;
  unsigned threads, shared;
  Grid grid;
};

struct Kernel {
  std::string name;
  std::vector<Phase> phases;
};

struct Command {
  const Kernel *kernel;
  std::vector<Pointer> buffers;
  std::vector<void *> parameters; // addresses of the buffers and the extents
};

/// An input or output and its place in the pinned memory.
struct StagedPort {
  artifact::Dim dim;
  uint64_t fixedBytes, bytesPerDim;
  uint64_t arena, size, staging;

  bool holds(uint64_t offset) const {
    return offset >= arena && offset - arena < size;
  }
  uint64_t bytes(const Extents &extents) const {
    return fixedBytes + bytesPerDim * uint64_t(extentOf(dim, extents, 0));
  }
};

/// Inputs that lie side by side in the arena are copied at once.
struct StagedRange {
  uint64_t arena, size, staging;
};

struct Program {
  std::string name;
  std::vector<Command> commands;
  std::vector<StagedPort> inputs, outputs;
  std::vector<StagedRange> ranges; // of the inputs
};

class CudaDevice final : public Device {
public:
  CudaDevice(const artifact::Artifact &artifact, const artifact::Device &device,
             const DeviceOptions &options);
  ~CudaDevice() override;

  std::string name() const override { return gpu.name(); }
  std::string target() const override { return chosen.name()->str(); }
  unsigned threads() const override { return 1; }

  void copyIn(size_t program, uint64_t offset, const void *data,
              uint64_t size) override;
  void copyOut(size_t program, uint64_t offset, void *data,
               uint64_t size) override;
  bool run(size_t program, const Extents &extents,
           const std::vector<uint64_t> &outputs,
           const std::function<bool()> &stop,
           std::vector<PhaseTime> *times) override;
  size_t runChain(size_t program, const Extents &extents, const Chain &chain,
                  const std::function<bool()> &stop, void *kept) override;
  void runCommand(size_t program, size_t command,
                  const Extents &extents) override;
  void readArena(uint64_t offset, void *data, uint64_t size) override;

  void prepareSlot(unsigned slot) override {
    Gpu::Use use(gpu);
    states.prepare(slot, stream.get());
  }
  void zeroSlot(unsigned slot) override {
    Gpu::Use use(gpu);
    api.check(api.setBytes(states.slot(slot), 0, slotBytes, stream.get()),
              "zeroing the state of a session");
  }
  void copySlot(unsigned from, unsigned to) override {
    Gpu::Use use(gpu);
    api.check(api.copyOnDevice(states.slot(to), states.slot(from), slotBytes,
                               stream.get()),
              "copying the state of a session");
  }
  void readSlot(unsigned slot, void *data) override;
  void writeSlot(unsigned slot, const void *data) override;

  double measureReadBandwidth() override {
    Gpu::Use use(gpu);
    return cuda::measureReadBandwidth(gpu, stream.get());
  }
  std::optional<double> energy() override { return readEnergy(gpu.pciBusId()); }

private:
  static uint64_t arenaSize(const artifact::Device &device);

  void resolveKernels(const artifact::Device &device);
  void checkLimits(const artifact::Device &device, size_t kernel,
                   const Phase &phase, const artifact::Resources *resources);
  void placeWeights(const artifact::Artifact &artifact,
                    const artifact::Device &device);
  void uploadWeights(const artifact::Artifact &artifact);
  void resolvePrograms(const artifact::Device &device);
  /// Lays the ports out in the pinned memory and returns its size.
  uint64_t stagePorts(const artifact::Program &table, Program &program);

  /// Calls visit(begin, bytes) for parts that fit into `piece`, which it makes.
  template <typename Visit>
  void forEachPiece(uint64_t size, const Visit &visit);
  void copyFrom(Pointer source, void *data, uint64_t size, const char *what);
  void copyInputs(const Program &program);
  void copyOutputs(const Program &program, const Extents &extents,
                   const std::vector<uint64_t> &outputs);
  /// `early`: it may start before the kernel ahead has ended.
  void launch(const Program &program, size_t command, const Phase &phase,
              int64_t tiles, bool early);
  /// Calls visit(command, phase, tiles) for all that has tiles.
  template <typename Visit>
  void forEachPhase(const Program &program, const Extents &extents,
                    const Visit &visit);
  /// Puts copies and launches in the stream; false if stopped.
  bool enqueue(const Program &program, const Extents &extents,
               const std::vector<uint64_t> &outputs,
               const std::function<bool()> &stop);
  bool enqueueKernels(const Program &program, const Extents &extents,
                      const std::function<bool()> &stop);
  void setDims(const Extents &extents);
  /// What `body` puts in the stream, as a graph.
  template <typename Body>
  void capture(OwnedGraphExec &graph, const Body &body);
  /// What `body` puts in the stream for a decoding run, as a graph that is
  /// kept; null if there is none. `what` tells graphs of the same extents
  /// apart.
  template <typename Body>
  GraphExec graphOf(size_t program, const Extents &extents,
                    const std::vector<uint64_t> &what, const Body &body);
  void runTimed(size_t program, const Extents &extents,
                const std::vector<uint64_t> &outputs,
                std::vector<PhaseTime> &times);
  void finish(const Program &program, const Extents &extents);
  std::string where(const Program &program, size_t command,
                    const Phase &phase) const;

  Gpu gpu;
  const Driver &api;
  // While members are made and ended the context is the thread's.
  std::optional<Gpu::Use> living;
  const artifact::Target &chosen;
  Code code;
  OwnedStream stream;
  DeviceMemory arena;
  uint64_t slotBytes;
  StatePool states;
  std::map<uint32_t, uint64_t> weightOffsets;
  uint64_t weightBytes = 0;
  std::optional<DeviceMemory> weights;
  std::vector<Kernel> kernels;
  std::vector<Program> programs;
  std::optional<PinnedMemory> staging;
  std::optional<PinnedMemory> piece; // of large copies, made when needed
  int64_t dims[3] = {};              // of the run, where launches read them
  std::optional<PinnedMemory> chainMemory; // of what chains keep
  uint64_t chainBytes = 0;
  using GraphKey = std::pair<std::array<int64_t, 4>, std::vector<uint64_t>>;
  std::map<GraphKey, OwnedGraphExec> graphs;
  // To find the kernel that fails: the driver reports a failure at the next
  // wait, so this waits after every launch.
  const bool synchronous = std::getenv("MAMBIT_CUDA_SYNC") != nullptr;
  const bool dependentLaunch;
};

} // namespace

//===----------------------------------------------------------------------===//
// Making
//===----------------------------------------------------------------------===//

/// Whether kernels are made to wait for the one ahead by themselves.
static bool hasDependentLaunch(const artifact::Target &target) {
  if (target.capabilities())
    for (const flatbuffers::String *capability : *target.capabilities())
      if (capability->str() == "dependent_launch")
        return true;
  return false;
}

static Capability capabilityOf(const Gpu &gpu) {
  return {gpu.attribute(kCapabilityMajor), gpu.attribute(kCapabilityMinor)};
}

CudaDevice::CudaDevice(const artifact::Artifact &artifact,
                       const artifact::Device &device,
                       const DeviceOptions &options)
    : gpu(options.ordinal), api(gpu.driver()), living(std::in_place, gpu),
      chosen(chooseTarget(device, options.target, capabilityOf(gpu))),
      code(api, artifact, chosen), stream(api),
      arena(api, arenaSize(device), "the arena"),
      slotBytes(device.slot_bytes()), states(gpu, slotBytes, options.slots),
      dependentLaunch(hasDependentLaunch(chosen) && api.launchesDependent()) {
  // It does not wait for the stream that others in the process may use.
  constexpr unsigned kNonBlocking = 1;
  api.check(api.streamCreate(stream.address(), kNonBlocking),
            "creating a stream");
  placeWeights(artifact, device);
  uploadWeights(artifact);
  resolveKernels(device);
  resolvePrograms(device);
  living.reset();
}

CudaDevice::~CudaDevice() {
  try {
    living.emplace(gpu);
    api.streamSynchronize(stream.get());
  } catch (const Error &) { // members end as well as they can
  }
}

uint64_t CudaDevice::arenaSize(const artifact::Device &device) {
  uint64_t size = 0;
  for (const artifact::Program *program : *device.programs())
    size = std::max(size, program->arena_size());
  return size;
}

void CudaDevice::placeWeights(const artifact::Artifact &artifact,
                              const artifact::Device &device) {
  for (const artifact::Program *program : *device.programs())
    for (const artifact::Command *command : *program->commands())
      for (const artifact::Arg *arg : *command->args())
        if (arg->kind() == ArgKind::weight)
          weightOffsets[arg->index()] = 0;
  for (auto &[weight, offset] : weightOffsets) {
    offset = artifact::alignTo(weightBytes, kWeightAlignment);
    weightBytes = offset + artifact.weight(weight).size;
  }
  weights.emplace(api, weightBytes, "the weights");
}

/// From the mapped file through two pieces of pinned memory: one is filled
/// while the other is on its way.
void CudaDevice::uploadWeights(const artifact::Artifact &artifact) {
  struct Piece {
    explicit Piece(const Driver &api, uint64_t size)
        : memory(api, size, "uploading weights"), sent(api) {
      api.check(api.eventCreate(sent.address(), 0), "creating an event");
    }
    PinnedMemory memory;
    OwnedEvent sent;
  };
  uint64_t pieceBytes = std::min(kPieceBytes, weightBytes);
  Piece first(api, pieceBytes), second(api, pieceBytes);
  Piece *current = &first, *other = &second;
  uint64_t begin = 0, end = 0; // of the current piece, among the weights
  auto send = [&] {
    api.check(api.copyToDevice(weights->address() + begin,
                               current->memory.data(), end - begin,
                               stream.get()),
              "uploading weights");
    api.check(api.eventRecord(current->sent.get(), stream.get(), 0),
              "recording an event");
    std::swap(current, other);
    api.check(api.eventSynchronize(current->sent.get()), "uploading weights");
  };
  for (auto [weight, offset] : weightOffsets) {
    artifact::Bytes bytes = artifact.weight(weight);
    for (uint64_t done = 0; done < bytes.size;) {
      uint64_t at = offset + done;
      if (at - begin >= pieceBytes) {
        send();
        begin = at;
      }
      uint64_t size =
          std::min<uint64_t>(bytes.size - done, pieceBytes - (at - begin));
      // The gap before a weight is copied too: let it be defined.
      if (at > end)
        memset(current->memory.data() + (std::max(end, begin) - begin), 0,
               at - std::max(end, begin));
      memcpy(current->memory.data() + (at - begin), bytes.data + done, size);
      done += size;
      end = at + size;
    }
  }
  if (end > begin)
    send();
  api.check(api.streamSynchronize(stream.get()), "uploading weights");
}

void CudaDevice::resolveKernels(const artifact::Device &device) {
  for (size_t k = 0; k < device.kernels()->size(); ++k) {
    Kernel &kernel = kernels.emplace_back();
    kernel.name = device.kernels()->Get(k)->name()->str();
    for (const artifact::Phase *phase : *chosen.kernels()->Get(k)->phases()) {
      const artifact::Resources *resources = phase->resources();
      std::string symbol = phase->symbol()->str();
      kernel.phases.push_back(
          {symbol, code.function(symbol), resources ? resources->threads() : 0,
           resources ? resources->shared_bytes() : 0, Grid(*phase)});
      checkLimits(device, k, kernel.phases.back(), resources);
    }
  }
}

void CudaDevice::checkLimits(const artifact::Device &device, size_t kernel,
                             const Phase &phase,
                             const artifact::Resources *resources) {
  auto attribute = [&](FunctionAttribute which) {
    int value;
    api.check(api.functionGetAttribute(&value, which, phase.function),
              "reading attribute ", int(which), " of kernel '", phase.symbol,
              "'");
    return uint64_t(value);
  };
  int64_t blocks = 0;
  for (const artifact::Program *program : *device.programs())
    for (const artifact::Command *command : *program->commands())
      if (command->kernel() == kernel)
        blocks = std::max(
            blocks, phase.grid.mostTiles({int64_t(program->max_tokens()),
                                          int64_t(program->max_sequences()),
                                          int64_t(program->max_rows())}));
  // Every GPU with clusters has such of eight blocks. The code itself asks for
  // them; drivers that are asked here know the attribute, as they know the
  // code.
  constexpr uint64_t kMaxCluster = 8;
  LaunchNeeds needs{blocks, phase.threads, resources ? resources->cluster() : 0,
                    phase.shared, attribute(kStaticShared)};
  LaunchLimits limits{
      gpu.attribute(kMaxGridX), uint64_t(gpu.attribute(kMaxThreadsOfBlock)),
      attribute(kMaxThreads),
      needs.cluster > 1 && gpu.attribute(kClusterLaunch) ? kMaxCluster : 1,
      uint64_t(gpu.attribute(kMaxSharedOfBlock))};
  std::string reason = exceeded(needs, limits);
  if (!reason.empty())
    failWith(MAMBIT_UNSUPPORTED, "kernel '", phase.symbol, "' of target '",
             target(), "' needs ", reason);
  api.check(api.functionSetAttribute(phase.function, kMaxDynamicShared,
                                     int(phase.shared)),
            "asking for ", phase.shared, " bytes of shared memory for kernel '",
            phase.symbol, "'");
}

void CudaDevice::resolvePrograms(const artifact::Device &device) {
  uint64_t stagingBytes = 0;
  for (const artifact::Program *table : *device.programs()) {
    Program &program = programs.emplace_back();
    program.name = table->name()->str();
    for (const artifact::Command *command : *table->commands()) {
      Command &resolved = program.commands.emplace_back();
      resolved.kernel = &kernels[command->kernel()];
      for (const artifact::Arg *arg : *command->args())
        switch (arg->kind()) {
        case ArgKind::arena:
          resolved.buffers.push_back(arena.address() + arg->offset());
          break;
        case ArgKind::weight:
          resolved.buffers.push_back(weights->address() +
                                     weightOffsets.at(arg->index()));
          break;
        case ArgKind::state:
          // Of slot 0: kernels know the stride of slots.
          resolved.buffers.push_back(
              states.slot(0) + device.states()->Get(arg->index())->offset());
          break;
        }
      for (Pointer &buffer : resolved.buffers)
        resolved.parameters.push_back(&buffer);
      for (int64_t &dim : dims)
        resolved.parameters.push_back(&dim);
    }
    stagingBytes = std::max(stagingBytes, stagePorts(*table, program));
  }
  // Programs do not run at once: they share the place.
  staging.emplace(api, stagingBytes, "inputs and outputs");
  memset(staging->data(), 0, stagingBytes);
}

uint64_t CudaDevice::stagePorts(const artifact::Program &table,
                                Program &program) {
  auto portOf = [](const artifact::Port &port) {
    return StagedPort{port.dim(),    port.fixed_bytes(), port.bytes_per_dim(),
                      port.offset(), port.size(),        0};
  };
  uint64_t end = 0;
  for (const artifact::Port *port : *table.inputs())
    program.inputs.push_back(portOf(*port));
  std::sort(program.inputs.begin(), program.inputs.end(),
            [](auto &a, auto &b) { return a.arena < b.arena; });
  for (StagedPort &port : program.inputs) {
    std::vector<StagedRange> &ranges = program.ranges;
    // Nothing else lies in the padding between two buffers.
    if (ranges.empty() ||
        port.arena > artifact::alignTo(ranges.back().arena + ranges.back().size,
                                       artifact::kBufferAlignment))
      ranges.push_back(
          {port.arena, 0, artifact::alignTo(end, artifact::kBufferAlignment)});
    StagedRange &range = ranges.back();
    range.size = port.arena + port.size - range.arena;
    port.staging = range.staging + (port.arena - range.arena);
    end = range.staging + range.size;
  }
  for (const artifact::Port *port : *table.outputs()) {
    if (port->size() > kMaxStagedOutput)
      continue;
    StagedPort staged = portOf(*port);
    staged.staging = artifact::alignTo(end, artifact::kBufferAlignment);
    end = staged.staging + staged.size;
    program.outputs.push_back(staged);
  }
  return end;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

void CudaDevice::copyIn(size_t program, uint64_t offset, const void *data,
                        uint64_t size) {
  for (const StagedPort &port : programs[program].inputs)
    if (port.holds(offset)) {
      memcpy(staging->data() + port.staging + (offset - port.arena), data,
             size);
      return;
    }
  fail("program '", programs[program].name, "' has no input at ", offset);
}

void CudaDevice::copyOut(size_t program, uint64_t offset, void *data,
                         uint64_t size) {
  for (const StagedPort &port : programs[program].outputs)
    if (port.holds(offset)) {
      memcpy(data, staging->data() + port.staging + (offset - port.arena),
             size);
      return;
    }
  readArena(offset, data, size);
}

void CudaDevice::readArena(uint64_t offset, void *data, uint64_t size) {
  Gpu::Use use(gpu);
  copyFrom(arena.address() + offset, data, size, "copying an output");
}

void CudaDevice::copyFrom(Pointer source, void *data, uint64_t size,
                          const char *what) {
  forEachPiece(size, [&](uint64_t begin, uint64_t bytes) {
    api.check(
        api.copyToHost(piece->data(), source + begin, bytes, stream.get()),
        what);
    api.check(api.streamSynchronize(stream.get()), what);
    memcpy(static_cast<char *>(data) + begin, piece->data(), bytes);
  });
}

void CudaDevice::readSlot(unsigned slot, void *data) {
  Gpu::Use use(gpu);
  copyFrom(states.slot(slot), data, slotBytes,
           "reading the state of a session");
}

void CudaDevice::writeSlot(unsigned slot, const void *data) {
  Gpu::Use use(gpu);
  forEachPiece(slotBytes, [&](uint64_t begin, uint64_t bytes) {
    memcpy(piece->data(), static_cast<const char *>(data) + begin, bytes);
    api.check(api.copyToDevice(states.slot(slot) + begin, piece->data(), bytes,
                               stream.get()),
              "writing the state of a session");
    api.check(api.streamSynchronize(stream.get()),
              "writing the state of a session");
  });
}

template <typename Visit>
void CudaDevice::forEachPiece(uint64_t size, const Visit &visit) {
  if (!piece)
    piece.emplace(api, kPieceBytes, "copying in pieces");
  for (uint64_t done = 0; done < size; done += kPieceBytes)
    visit(done, std::min(size - done, kPieceBytes));
}

void CudaDevice::copyInputs(const Program &program) {
  for (const StagedRange &range : program.ranges)
    api.check(api.copyToDevice(arena.address() + range.arena,
                               staging->data() + range.staging, range.size,
                               stream.get()),
              "copying the inputs of program '", program.name, "'");
}

void CudaDevice::copyOutputs(const Program &program, const Extents &extents,
                             const std::vector<uint64_t> &outputs) {
  for (const StagedPort &port : program.outputs)
    if (uint64_t bytes = port.bytes(extents);
        bytes != 0 &&
        std::find(outputs.begin(), outputs.end(), port.arena) != outputs.end())
      api.check(api.copyToHost(staging->data() + port.staging,
                               arena.address() + port.arena, bytes,
                               stream.get()),
                "copying the outputs of program '", program.name, "'");
}

std::string CudaDevice::where(const Program &program, size_t command,
                              const Phase &phase) const {
  return "kernel '" + program.commands[command].kernel->name + "' ('" +
         phase.symbol + "'), command " + std::to_string(command) +
         " of program '" + program.name + "'";
}

void CudaDevice::launch(const Program &program, size_t command,
                        const Phase &phase, int64_t tiles, bool early) {
  void **parameters =
      const_cast<void **>(program.commands[command].parameters.data());
  auto call = [&] {
    if (!early)
      return api.launch(phase.function, tiles, 1, 1, phase.threads, 1, 1,
                        phase.shared, stream.get(), parameters, nullptr);
    LaunchAttribute attribute{kProgrammaticStreamSerialization, 0, {1}};
    LaunchConfig config{
        unsigned(tiles), 1,          1, phase.threads, 1, 1, phase.shared,
        stream.get(),    &attribute, 1};
    return api.launchWith(&config, phase.function, parameters, nullptr);
  };
  if (Result result = call())
    api.check(result, "launching ", where(program, command, phase));
}

template <typename Visit>
void CudaDevice::forEachPhase(const Program &program, const Extents &extents,
                              const Visit &visit) {
  for (size_t i = 0; i < program.commands.size(); ++i) {
    const std::vector<Phase> &phases = program.commands[i].kernel->phases;
    for (size_t p = 0; p < phases.size(); ++p)
      if (int64_t tiles = phases[p].grid.tiles(extents))
        if (!visit(i, p, phases[p], tiles))
          return;
  }
}

bool CudaDevice::enqueue(const Program &program, const Extents &extents,
                         const std::vector<uint64_t> &outputs,
                         const std::function<bool()> &stop) {
  copyInputs(program);
  if (!enqueueKernels(program, extents, stop))
    return false;
  copyOutputs(program, extents, outputs);
  return true;
}

bool CudaDevice::enqueueKernels(const Program &program, const Extents &extents,
                                const std::function<bool()> &stop) {
  bool stopped = false, first = true;
  forEachPhase(
      program, extents,
      [&](size_t command, size_t phase, const Phase &code, int64_t tiles) {
        if (command != 0 && phase == 0 && stop && stop())
          return !(stopped = true);
        launch(program, command, code, tiles,
               dependentLaunch && !synchronous && !first);
        first = false;
        if (synchronous)
          if (Result result = api.streamSynchronize(stream.get()))
            api.check(result, where(program, command, code));
        return true;
      });
  return !stopped;
}

void CudaDevice::setDims(const Extents &extents) {
  dims[0] = extents.tokens;
  dims[1] = extents.sequences;
  dims[2] = extents.rows;
}

template <typename Body>
void CudaDevice::capture(OwnedGraphExec &graph, const Body &body) {
  api.check(api.streamBeginCapture(stream.get(), kCaptureThreadLocal),
            "beginning a graph");
  OwnedGraph captured(api);
  try {
    body();
  } catch (...) {
    api.streamEndCapture(stream.get(), captured.address());
    throw;
  }
  api.check(api.streamEndCapture(stream.get(), captured.address()),
            "ending a graph");
  api.check(api.graphInstantiate(graph.address(), captured.get(), 0),
            "instantiating a graph");
}

template <typename Body>
GraphExec CudaDevice::graphOf(size_t program, const Extents &extents,
                              const std::vector<uint64_t> &what,
                              const Body &body) {
  if (extents.tokens != extents.sequences || synchronous)
    return nullptr;
  GraphKey key{
      {int64_t(program), extents.tokens, extents.sequences, extents.rows},
      what};
  auto found = graphs.find(key);
  if (found != graphs.end())
    return found->second.get();
  if (graphs.size() == kMaxGraphs)
    return nullptr;
  OwnedGraphExec &graph = graphs.try_emplace(key, api).first->second;
  try {
    capture(graph, body);
  } catch (...) {
    graphs.erase(key);
    throw;
  }
  return graph.get();
}

void CudaDevice::runCommand(size_t number, size_t command,
                            const Extents &extents) {
  Gpu::Use use(gpu);
  const Program &program = programs[number];
  setDims(extents);
  if (command == 0)
    copyInputs(program);
  for (const Phase &phase : program.commands[command].kernel->phases)
    if (int64_t tiles = phase.grid.tiles(extents))
      launch(program, command, phase, tiles, /*early=*/false);
  if (command + 1 == program.commands.size()) {
    std::vector<uint64_t> all;
    for (const StagedPort &port : program.outputs)
      all.push_back(port.arena);
    copyOutputs(program, extents, all);
  }
  finish(program, extents);
}

bool CudaDevice::run(size_t number, const Extents &extents,
                     const std::vector<uint64_t> &outputs,
                     const std::function<bool()> &stop,
                     std::vector<PhaseTime> *times) {
  Gpu::Use use(gpu);
  const Program &program = programs[number];
  setDims(extents);
  if (times) {
    runTimed(number, extents, outputs, *times);
    return true;
  }
  bool completed = true;
  if (GraphExec graph = graphOf(number, extents, outputs, [&] {
        enqueue(program, extents, outputs, {});
      }))
    api.check(api.graphLaunch(graph, stream.get()), "launching program '",
              program.name, "'");
  else
    completed = enqueue(program, extents, outputs, stop);
  finish(program, extents);
  return completed;
}

size_t CudaDevice::runChain(size_t number, const Extents &extents,
                            const Chain &chain,
                            const std::function<bool()> &stop, void *kept) {
  Gpu::Use use(gpu);
  const Program &program = programs[number];
  setDims(extents);
  uint64_t bytes = chain.keptBytes() * chain.steps;
  if (bytes > chainBytes) {
    chainMemory.reset();
    chainBytes = 0;
    chainMemory.emplace(api, bytes, "the outputs of a chain of runs");
    chainBytes = bytes;
  }
  copyInputs(program);
  auto step = [&] {
    enqueueKernels(program, extents, {});
    for (const Chain::Link &link : chain.links)
      api.check(api.copyOnDevice(arena.address() + link.input,
                                 arena.address() + link.output, link.bytes,
                                 stream.get()),
                "handing on the outputs of program '", program.name, "'");
  };
  std::vector<uint64_t> links;
  for (const Chain::Link &link : chain.links)
    links.insert(links.end(), {link.output, link.input, link.bytes});
  GraphExec graph = graphOf(number, extents, links, step);
  char *to = chainMemory->data();
  size_t done = 0;
  for (; done < chain.steps && !stop(); ++done) {
    if (graph)
      api.check(api.graphLaunch(graph, stream.get()), "launching program '",
                program.name, "'");
    else
      step();
    for (const Chain::Part &part : chain.kept) {
      api.check(api.copyToHost(to, arena.address() + part.offset, part.bytes,
                               stream.get()),
                "copying the outputs of program '", program.name, "'");
      to += part.bytes;
    }
  }
  finish(program, extents);
  memcpy(kept, chainMemory->data(), chain.keptBytes() * done);
  return done;
}

void CudaDevice::finish(const Program &program, const Extents &extents) {
  if (Result result = api.streamSynchronize(stream.get()))
    api.check(result, "program '", program.name, "' of ", extents.tokens,
              " tokens of ", extents.sequences, " sequences, ", extents.rows,
              " rows (MAMBIT_CUDA_SYNC=1 in the environment tells the kernel)");
}

void CudaDevice::runTimed(size_t number, const Extents &extents,
                          const std::vector<uint64_t> &outputs,
                          std::vector<PhaseTime> &times) {
  const Program &program = programs[number];
  // A graph, so that no launch is late; an event after every phase. Events take
  // time too: as much as passes between the first ones.
  constexpr size_t kFirst = 4;
  struct Mark {
    explicit Mark(const Driver &api) : event(api) {}
    OwnedEvent event;
    size_t command = 0, phase = 0;
  };
  std::vector<std::unique_ptr<Mark>> marks;
  auto mark = [&](size_t command, size_t phase) {
    constexpr unsigned kExternal = 1; // a node of the graph
    auto made = std::make_unique<Mark>(api);
    made->command = command;
    made->phase = phase;
    api.check(api.eventCreate(made->event.address(), 0), "creating an event");
    api.check(api.eventRecord(made->event.get(), stream.get(), kExternal),
              "recording an event");
    marks.push_back(std::move(made));
  };
  OwnedGraphExec graph(api);
  capture(graph, [&] {
    copyInputs(program);
    for (size_t i = 0; i < kFirst; ++i)
      mark(0, 0);
    forEachPhase(
        program, extents,
        [&](size_t command, size_t phase, const Phase &code, int64_t tiles) {
          launch(program, command, code, tiles, /*early=*/false);
          mark(command, phase);
          return true;
        });
    copyOutputs(program, extents, outputs);
  });
  api.check(api.graphLaunch(graph.get(), stream.get()), "launching program '",
            program.name, "'");
  finish(program, extents);
  auto secondsTo = [&](size_t i) {
    float milliseconds;
    api.check(api.eventElapsedTime(&milliseconds, marks[i - 1]->event.get(),
                                   marks[i]->event.get()),
              "reading the time of an event");
    return double(milliseconds) * 1e-3;
  };
  double empty = secondsTo(1);
  for (size_t i = 2; i < kFirst; ++i)
    empty = std::min(empty, secondsTo(i));
  for (size_t i = kFirst; i < marks.size(); ++i)
    times.push_back({number, marks[i]->command, marks[i]->phase,
                     std::max(0.0, secondsTo(i) - empty)});
}

std::unique_ptr<Device>
mambit::createCudaDevice(const artifact::Artifact &artifact,
                         const artifact::Device &device,
                         const DeviceOptions &options) {
  return std::make_unique<CudaDevice>(artifact, device, options);
}
