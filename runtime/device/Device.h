//===- Device.h - what executes programs -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_DEVICE_H
#define MAMBIT_RUNTIME_DEVICE_DEVICE_H

#include "runtime/artifact/Artifact.h"

#include <functional>
#include <memory>
#include <optional>

namespace mambit {

struct DeviceOptions {
  std::string target;   // empty: the best that the machine can run
  unsigned ordinal = 0; // of several of a kind
  unsigned threads = 0; // 0: what the process may use
  unsigned slots = 1;
};

/// The dynamic extents of a run.
struct Extents {
  int64_t tokens, sequences, rows;
};

/// How long a phase of a command took.
struct PhaseTime {
  size_t program, command, phase;
  double seconds;
};

/// Runs of a program that go on from each other: before each run but the first,
/// the first bytes of some outputs are copied to inputs, while the others stay
/// as they are; after each, those of some outputs are kept. All by their
/// offsets in the arena. Of programs that write over none of their inputs.
struct Chain {
  struct Link {
    uint64_t output, input, bytes;
  };
  struct Part {
    uint64_t offset, bytes;
  };

  size_t steps;
  std::vector<Link> links;
  std::vector<Part> kept;

  /// Bytes of what is kept of a run, part after part.
  uint64_t keptBytes() const {
    uint64_t sum = 0;
    for (const Part &part : kept)
      sum += part.bytes;
    return sum;
  }
};

/// One kind of device of an artifact, ready to run: code loaded, weights in
/// reach, an arena, which all programs share, and a pool of state slots. Made
/// by a function of each kind, which throws. A device is used by one thread at
/// a time, though not always by the same.
class Device {
public:
  virtual ~Device() = default;

  /// The name of the hardware, for people.
  virtual std::string name() const = 0;
  /// The name of the code that was chosen.
  virtual std::string target() const = 0;
  /// Threads of this process that do the work.
  virtual unsigned threads() const = 0;

  // Inputs before a run of a program and outputs after it, by their offset in
  // the arena.
  virtual void copyIn(size_t program, uint64_t offset, const void *data,
                      uint64_t size) = 0;
  virtual void copyOut(size_t program, uint64_t offset, void *data,
                       uint64_t size) = 0;

  /// Runs the commands of a program. `outputs` are the offsets of those that
  /// will be copied out; others need not come to the host. `stop` is asked
  /// between commands, by the calling thread, where they are handed out one by
  /// one; once it says yes, the rest is not run and the result is false. If
  /// `times` is given, the time of every phase is appended. Throws if the
  /// device fails; then the states of the run's slots are lost.
  virtual bool run(size_t program, const Extents &extents,
                   const std::vector<uint64_t> &outputs,
                   const std::function<bool()> &stop,
                   std::vector<PhaseTime> *times) = 0;

  /// Runs a chain and puts what is kept into `kept`, run after run. `stop` is
  /// asked before each run. Returns how many were run, each as a whole.
  virtual size_t runChain(size_t program, const Extents &extents,
                          const Chain &chain, const std::function<bool()> &stop,
                          void *kept) = 0;

  // For who looks for an error: a run command by command, in order, each done
  // on return, and any bytes of the arena.
  virtual void runCommand(size_t program, size_t command,
                          const Extents &extents) = 0;
  virtual void readArena(uint64_t offset, void *data, uint64_t size) = 0;

  // Slots are all zero at first. The lowest that was never used is made ready
  // before its first use, which throws where memory is short.
  virtual void prepareSlot(unsigned slot) {}
  virtual void zeroSlot(unsigned slot) = 0;
  virtual void copySlot(unsigned from, unsigned to) = 0;
  // All bytes of a slot's state.
  virtual void readSlot(unsigned slot, void *data) = 0;
  virtual void writeSlot(unsigned slot, const void *data) = 0;

  /// Bytes a second that the device reads from its memory, measured now.
  virtual double measureReadBandwidth() = 0;
  /// Joules that the device has used since some moment, if it counts them.
  virtual std::optional<double> energy() { return std::nullopt; }
};

/// The processors of this machine. The artifact outlives the device.
std::unique_ptr<Device> createCpuDevice(const artifact::Artifact &artifact,
                                        const artifact::Device &device,
                                        const DeviceOptions &options);

/// A GPU, through the CUDA driver.
std::unique_ptr<Device> createCudaDevice(const artifact::Artifact &artifact,
                                         const artifact::Device &device,
                                         const DeviceOptions &options);

} // namespace mambit

#endif // MAMBIT_RUNTIME_DEVICE_DEVICE_H
