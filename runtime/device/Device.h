//===- Device.h - what executes programs -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_DEVICE_H
#define MAMBIT_RUNTIME_DEVICE_DEVICE_H

#include "runtime/artifact/Artifact.h"

#include <functional>
#include <memory>

namespace mambit {

struct DeviceOptions {
  std::string target;   // empty: the best that the machine can run
  unsigned threads = 0; // 0: what the process may use
  unsigned slots = 1;
};

/// The dynamic extents of a run.
struct Extents {
  int64_t tokens, sequences, rows;
};

/// One kind of device of an artifact, ready to run: code loaded, weights in
/// reach, an arena, which all programs share, and a pool of state slots. Made
/// by a function of each kind, which throws. A device is used by one thread at
/// a time.
class Device {
public:
  virtual ~Device() = default;

  /// The name of the code that was chosen.
  virtual std::string target() const = 0;
  virtual unsigned threads() const = 0;

  // Inputs and outputs, by their offset in the arena.
  virtual void copyIn(uint64_t offset, const void *data, uint64_t size) = 0;
  virtual void copyOut(uint64_t offset, void *data, uint64_t size) = 0;

  /// Runs the commands of a program. `stop` is asked between commands, by the
  /// calling thread; once it says yes, the rest is not run and the result is
  /// false. It does not throw.
  virtual bool run(size_t program, const Extents &extents,
                   const std::function<bool()> &stop) = 0;

  // Slots are all zero at first.
  virtual void zeroSlot(unsigned slot) = 0;
  virtual void copySlot(unsigned from, unsigned to) = 0;
};

/// The processors of this machine. The artifact outlives the device.
std::unique_ptr<Device> createCpuDevice(const artifact::Artifact &artifact,
                                        const artifact::Device &device,
                                        const DeviceOptions &options);

} // namespace mambit

#endif // MAMBIT_RUNTIME_DEVICE_DEVICE_H
