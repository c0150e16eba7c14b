//===- CpuDevice.cpp - runs programs on the processors --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Status.h"
#include "runtime/device/Grid.h"
#include "runtime/device/cpu/Features.h"
#include "runtime/device/cpu/SharedObject.h"
#include "runtime/device/cpu/ThreadPool.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

using namespace mambit;
using artifact::ArgKind;

namespace {

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Zeroed memory that takes no room until it is touched.
class Pages {
public:
  explicit Pages(uint64_t size, const char *what)
      : bytes(std::max<uint64_t>(size, 1)) {
    void *address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED)
      failWith(MAMBIT_OUT_OF_RESOURCES, "cannot reserve ", size, " bytes for ",
               what, ": ", strerror(errno));
    base = static_cast<char *>(address);
    // Fewer misses of the TLB; a wish that may go unheard.
    madvise(base, bytes, MADV_HUGEPAGE);
  }
  ~Pages() { munmap(base, bytes); }
  Pages(const Pages &) = delete;
  Pages &operator=(const Pages &) = delete;

  char *data() const { return base; }

  /// Zeroes a range by giving its whole pages back.
  void zero(uint64_t offset, uint64_t size) {
    uint64_t page = sysconf(_SC_PAGESIZE);
    uint64_t begin = std::min((offset + page - 1) / page * page, offset + size);
    uint64_t end = std::max((offset + size) / page * page, begin);
    memset(base + offset, 0, begin - offset);
    if (begin != end && madvise(base + begin, end - begin, MADV_DONTNEED) != 0)
      memset(base + begin, 0, end - begin);
    memset(base + end, 0, offset + size - end);
  }

private:
  char *base;
  uint64_t bytes;
};

//===----------------------------------------------------------------------===//
// Choice of the target
//===----------------------------------------------------------------------===//

std::string joined(const std::vector<std::string> &parts) {
  std::string text;
  for (const std::string &part : parts)
    text += (text.empty() ? "" : ", ") + part;
  return text;
}

/// What the machine lacks to run a target; empty if it can run it.
std::vector<std::string> lacking(const artifact::Target &target) {
  std::vector<std::string> missing;
  std::string triple = target.triple()->str();
  std::string architecture = triple.substr(0, triple.find('-'));
  if (architecture != cpu::machineArchitecture())
    return {"the architecture " + architecture};
  if (const auto *features = target.features())
    for (const flatbuffers::String *feature : *features)
      if (!cpu::hasFeature(feature->str()))
        missing.push_back(feature->str());
  return missing;
}

const artifact::Target &chooseTarget(const artifact::Device &device,
                                     const std::string &wanted) {
  std::string found;
  for (const artifact::Target *target : *device.targets()) {
    std::string name = target->name()->str();
    std::vector<std::string> missing = lacking(*target);
    if (missing.empty() && (wanted.empty() || wanted == name))
      return *target;
    found += (found.empty() ? "" : "; ") + name;
    if (!missing.empty())
      found += " (this machine lacks " + joined(missing) + ")";
  }
  if (wanted.empty())
    failWith(MAMBIT_UNSUPPORTED,
             "no code in the artifact fits this machine; it holds ", found);
  failWith(MAMBIT_UNSUPPORTED, "the artifact has no code for target '", wanted,
           "' that this machine can run; it holds ", found);
}

//===----------------------------------------------------------------------===//
// Commands, resolved
//===----------------------------------------------------------------------===//

/// The code of a phase: computes one of its tiles. `buffers` are the addresses
/// of the kernel's parameters, `dims` the tokens, sequences and rows of the
/// run.
using PhaseFunction = void (*)(void *const *buffers, const int64_t *dims,
                               int64_t tile);

struct Phase {
  PhaseFunction function;
  Grid grid;
};

struct Command {
  const std::vector<Phase> *phases; // of the kernel
  std::vector<void *> buffers;
};

class CpuDevice final : public Device {
public:
  CpuDevice(const artifact::Artifact &artifact, const artifact::Device &device,
            const DeviceOptions &options)
      : chosen(chooseTarget(device, options.target)), code(loadImage(artifact)),
        arena(arenaSize(device), "the arena"), slotBytes(device.slot_bytes()),
        states(poolSize(options.slots), "the states of sessions"),
        pool(options.threads ? options.threads : availableThreads()) {
    for (const artifact::KernelCode *kernel : *chosen.kernels())
      kernels.push_back(resolve(*kernel));
    for (const artifact::Program *program : *device.programs()) {
      std::vector<Command> &commands = programs.emplace_back();
      for (const artifact::Command *command : *program->commands())
        commands.push_back(resolve(*command, artifact, device));
    }
  }

  std::string name() const override { return cpu::processorName(); }
  std::string target() const override { return chosen.name()->str(); }
  unsigned threads() const override { return pool.size(); }

  void copyIn(size_t, uint64_t offset, const void *data,
              uint64_t size) override {
    memcpy(arena.data() + offset, data, size);
  }
  void copyOut(size_t, uint64_t offset, void *data, uint64_t size) override {
    memcpy(data, arena.data() + offset, size);
  }

  bool run(size_t program, const Extents &extents,
           const std::vector<uint64_t> &outputs,
           const std::function<bool()> &stop,
           std::vector<PhaseTime> *times) override;
  size_t runChain(size_t program, const Extents &extents, const Chain &chain,
                  const std::function<bool()> &stop, void *kept) override;

  void runCommand(size_t program, size_t command,
                  const Extents &extents) override;
  void readArena(uint64_t offset, void *data, uint64_t size) override {
    memcpy(data, arena.data() + offset, size);
  }

  void zeroSlot(unsigned slot) override {
    states.zero(slot * slotBytes, slotBytes);
  }
  void copySlot(unsigned from, unsigned to) override {
    memcpy(states.data() + to * slotBytes, states.data() + from * slotBytes,
           slotBytes);
  }
  void readSlot(unsigned slot, void *data) override {
    memcpy(data, states.data() + slot * slotBytes, slotBytes);
  }
  void writeSlot(unsigned slot, const void *data) override {
    memcpy(states.data() + slot * slotBytes, data, slotBytes);
  }

  double measureReadBandwidth() override;

private:
  static uint64_t arenaSize(const artifact::Device &device) {
    uint64_t size = 0;
    for (const artifact::Program *program : *device.programs())
      size = std::max(size, program->arena_size());
    return size;
  }

  uint64_t poolSize(unsigned slots) const {
    uint64_t size;
    if (__builtin_mul_overflow(slotBytes, uint64_t(slots), &size))
      failWith(MAMBIT_OUT_OF_RESOURCES, slots, " states of ", slotBytes,
               " bytes are too many");
    return size;
  }

  cpu::SharedObject loadImage(const artifact::Artifact &artifact) const {
    for (const artifact::Image *image : *chosen.images())
      if (image->kind() == artifact::ImageKind::elf) {
        artifact::Bytes bytes = artifact.section(image->section());
        return {bytes.data, bytes.size};
      }
    fail("target '", chosen.name()->str(), "' has no image of kind elf");
  }

  std::vector<Phase> resolve(const artifact::KernelCode &kernel) const {
    std::vector<Phase> phases;
    for (const artifact::Phase *phase : *kernel.phases()) {
      auto function =
          reinterpret_cast<PhaseFunction>(code.symbol(phase->symbol()->str()));
      phases.push_back({function, Grid(*phase)});
    }
    return phases;
  }

  Command resolve(const artifact::Command &command,
                  const artifact::Artifact &artifact,
                  const artifact::Device &device) const {
    Command resolved{&kernels[command.kernel()], {}};
    for (const artifact::Arg *arg : *command.args()) {
      const void *address = nullptr;
      switch (arg->kind()) {
      case ArgKind::arena:
        address = arena.data() + arg->offset();
        break;
      case ArgKind::weight:
        address = artifact.weight(arg->index()).data;
        break;
      case ArgKind::state:
        // Of slot 0: kernels know the stride of slots.
        address = states.data() + device.states()->Get(arg->index())->offset();
        break;
      }
      resolved.buffers.push_back(const_cast<void *>(address));
    }
    return resolved;
  }

  const artifact::Target &chosen;
  cpu::SharedObject code;
  Pages arena;
  uint64_t slotBytes;
  Pages states;
  ThreadPool pool;
  std::vector<std::vector<Phase>> kernels;
  std::vector<std::vector<Command>> programs;
};

} // namespace

using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool CpuDevice::run(size_t program, const Extents &extents,
                    const std::vector<uint64_t> &,
                    const std::function<bool()> &stop,
                    std::vector<PhaseTime> *times) {
  const std::vector<Command> &commands = programs[program];
  const int64_t dims[] = {extents.tokens, extents.sequences, extents.rows};
  // One entry of the pool for the whole program. The command before which all
  // threads leave is set by the first thread, for the command after the one it
  // is about to run: so all threads read the same after the barrier between.
  std::atomic<size_t> end{commands.size()};
  pool.run([&](unsigned thread) {
    Clock::time_point start = Clock::now();
    for (size_t i = 0; i < end.load(std::memory_order_relaxed); ++i) {
      if (thread == 0 && i + 1 < commands.size() && stop())
        end.store(i + 1, std::memory_order_relaxed);
      const std::vector<Phase> &phases = *commands[i].phases;
      bool waited = false;
      for (size_t p = 0; p < phases.size(); ++p) {
        int64_t tiles = phases[p].grid.tiles(extents);
        if (tiles == 0)
          continue;
        TileRange share = shareOf(tiles, thread, pool.size());
        for (int64_t tile = share.begin; tile < share.end; ++tile)
          phases[p].function(commands[i].buffers.data(), dims, tile);
        pool.barrier();
        waited = true;
        if (times && thread == 0) {
          times->push_back({program, i, p, secondsSince(start)});
          start = Clock::now();
        }
      }
      if (!waited)
        pool.barrier();
    }
  });
  return end == commands.size();
}

size_t CpuDevice::runChain(size_t program, const Extents &extents,
                           const Chain &chain,
                           const std::function<bool()> &stop, void *kept) {
  char *to = static_cast<char *>(kept);
  for (size_t step = 0; step < chain.steps; ++step) {
    if (stop())
      return step;
    for (const Chain::Link &link : chain.links)
      if (step != 0)
        memcpy(arena.data() + link.input, arena.data() + link.output,
               link.bytes);
    run(program, extents, {}, [] { return false; }, nullptr);
    for (const Chain::Part &part : chain.kept) {
      memcpy(to, arena.data() + part.offset, part.bytes);
      to += part.bytes;
    }
  }
  return chain.steps;
}

void CpuDevice::runCommand(size_t program, size_t number,
                           const Extents &extents) {
  const Command &command = programs[program][number];
  const int64_t dims[] = {extents.tokens, extents.sequences, extents.rows};
  pool.run([&](unsigned thread) {
    for (const Phase &phase : *command.phases) {
      TileRange share = shareOf(phase.grid.tiles(extents), thread, pool.size());
      for (int64_t tile = share.begin; tile < share.end; ++tile)
        phase.function(command.buffers.data(), dims, tile);
      pool.barrier();
    }
  });
}

double CpuDevice::measureReadBandwidth() {
  // More than caches hold.
  constexpr uint64_t kBytes = uint64_t(512) << 20;
  Pages pages(kBytes, "measuring the bandwidth");
  const auto *words = reinterpret_cast<const uint64_t *>(pages.data());
  constexpr int64_t kLine = 8; // words
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    Clock::time_point start = Clock::now();
    pool.run([&](unsigned thread) {
      TileRange lines =
          shareOf(kBytes / sizeof(uint64_t) / kLine, thread, pool.size());
      if (round == 0) { // pages come into being
        memset(pages.data() + lines.begin * kLine * sizeof(uint64_t), 1,
               (lines.end - lines.begin) * kLine * sizeof(uint64_t));
        return;
      }
      uint64_t sums[kLine] = {};
      for (int64_t line = lines.begin; line < lines.end; ++line)
        for (int64_t i = 0; i < kLine; ++i)
          sums[i] += words[line * kLine + i];
      for (uint64_t sum : sums)
        sink += sum;
    });
    if (round != 0)
      best = std::max(best, double(kBytes) / secondsSince(start));
  }
  return best;
}

std::unique_ptr<Device>
mambit::createCpuDevice(const artifact::Artifact &artifact,
                        const artifact::Device &device,
                        const DeviceOptions &options) {
  return std::make_unique<CpuDevice>(artifact, device, options);
}
