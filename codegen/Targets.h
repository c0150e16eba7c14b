//===- Targets.h - the table of machines code is made for ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_TARGETS_H
#define MAMBIT_CODEGEN_TARGETS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace mambit {

/// What a machine can do that a strategy may want. Strategies ask for these,
/// never for a target's name.
enum class Capability : unsigned {
  /// Products of unsigned by signed bytes, added in pairs to 16 bits, on 256-
  /// and 512-bit vectors (vpmaddubsw).
  byteDot256,
  byteDot512,
  /// Products of unsigned by signed bytes, added in fours to 32-bit
  /// accumulators, and of words, in pairs, on 512-bit vectors (vpdpbusd,
  /// vpdpwssd).
  byteDotAccumulate512,
  /// Shuffles of bytes within lanes of 128 bits, on 256-bit vectors (vpshufb).
  byteShuffle256,
  /// Permutations of the words and of the bytes of a 512-bit vector (vpermw,
  /// vpermb).
  wordPermute512,
  bytePermute512,
  /// Counts of the bits of 32-bit lanes, on 512-bit vectors (vpopcntd).
  bitCount512,
  /// Conversions between f16 and f32.
  halfConvert,
  /// Tensor-core products of bits, m16n8k256 with and.popc, as one instruction.
  b1Mma,
  /// Tensor-core products of signed bytes, m16n8k32.
  s8Mma,
  /// Tensor-core products of bf16, m16n8k16 with f32 sums.
  bf16Mma,
  /// Programmatic dependent launch: a kernel starts while the one before it
  /// ends, and waits where it needs its results.
  dependentLaunch,
  /// Blocks that run together and store in each other's shared memory.
  cluster,
  /// Copies of whole runs of bytes to shared memory, completing on a barrier.
  bulkCopy,
  /// Tensor-core products of a warpgroup with operands in shared memory.
  wgmma,
};

/// The name of a capability, as artifacts record it.
llvm::StringRef stringify(Capability capability);

/// What limits the blocks of a GPU.
struct GpuLimits {
  /// Shared memory of a block: as an array of fixed size, and at most.
  int64_t staticSharedBytes = 0;
  int64_t sharedBytes = 0;
  int64_t threads = 0;
  /// 32-bit registers of a multiprocessor.
  int64_t registers = 0;
  /// The L2 cache, of the largest chip of the kind.
  int64_t l2Bytes = 0;
  /// Of the largest chip of the kind: a grid of blocks that stay has as many.
  int64_t multiprocessors = 1;
};

/// One kind of machine: everything the compiler knows about it.
struct Target {
  std::string name;
  /// The kind of runtime device that runs it.
  std::string device;
  std::string triple;
  /// The processor, or the chip of a GPU.
  std::string cpu;
  /// The processor whose times LLVM orders instructions by, if not the same.
  std::string tune;
  /// What LLVM is told on top of it. Of a GPU, the PTX version: always stated,
  /// for LLVM's own choice depends on its version.
  std::string features;
  /// What the runtime of a CPU checks before it loads the code, by the names of
  /// `__builtin_cpu_supports`.
  std::vector<std::string> required;
  unsigned vectorBits = 128;
  unsigned vectorRegisters = 16;
  GpuLimits gpu;
  std::vector<Capability> capabilities;
  /// Layouts the kernels read: rows of a tile of bits, and of interleaved
  /// dense rows.
  int64_t bitTileRows = 16;
  int64_t interleaveRows = 16;

  bool has(Capability capability) const;
};

/// All targets, best first.
llvm::ArrayRef<Target> getTargets();

/// The target of that name, or an error that lists those there are.
llvm::Expected<const Target *> lookupTarget(llvm::StringRef name);

/// The targets of a comma-separated list of names, best first and each once.
llvm::Expected<llvm::SmallVector<const Target *>>
lookupTargets(llvm::StringRef names);

} // namespace mambit

#endif // MAMBIT_CODEGEN_TARGETS_H
