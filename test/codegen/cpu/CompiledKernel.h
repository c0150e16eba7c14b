//===- CompiledKernel.h - kernels compiled and run by tests -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_TEST_CODEGEN_CPU_COMPILEDKERNEL_H
#define MAMBIT_TEST_CODEGEN_CPU_COMPILEDKERNEL_H

#include "codegen/Compile.h"

#include <map>
#include <random>
#include <string>

namespace mambit::test {

/// Targets that this machine can run; and records that are in no table: one
/// with no capabilities at all, and one that counts bits however it can.
std::vector<Target> getHostTargets();

inline CodegenOptions summingBy(BitSums how) {
  CodegenOptions options;
  options.bitSums = how;
  return options;
}

/// A shared object of kernels, loaded. A failure ends the test program.
class LoadedImage {
public:
  explicit LoadedImage(const std::vector<uint8_t> &image);
  ~LoadedImage();
  LoadedImage(const LoadedImage &) = delete;

  using Entry = void (*)(void *const *, const int64_t *, int64_t);
  Entry find(const std::string &symbol) const;

private:
  void *library;
};

/// A line of the cache: plans have buffers begin with one.
struct alignas(plan::alignment) Line {
  char bytes[plan::alignment];
};

/// One fused operation, compiled for a target and loaded.
class CompiledKernel {
public:
  /// `op` is the text of the operation, its operands the `arguments`.
  CompiledKernel(const std::string &arguments, const std::string &op,
                 const Target &target, int64_t slotBytes = 0,
                 const CodegenOptions &options = {});

  struct Extents {
    int64_t tokens = 0, sequences = 0, rows = 0;
  };

  /// Runs all phases on buffers given by the parameters' names; those left out
  /// are scratch, which `scratch` then shows. The tiles of a phase run in order
  /// or in reverse, for that must not matter.
  void run(const std::map<std::string, void *> &buffers, Extents extents,
           bool reverse = false);

  template <typename T>
  const T *scratch(const std::string &name) const {
    return reinterpret_cast<const T *>(owned.at(name).data());
  }
  const std::vector<plan::ParamAttr> &getParams() const { return params; }

private:
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<plan::ParamAttr> params;
  TargetCode code;
  std::unique_ptr<LoadedImage> image;
  std::map<std::string, std::vector<Line>> owned;
};

/// A matrix of signs, -1, 0 or 1, row major, as kernels take it.
struct PackedSigns {
  PackedSigns(const std::vector<int> &signs, int64_t n, int64_t k);
  std::vector<uint32_t> bits;
  std::vector<int32_t> zeros;
};

/// A dense matrix with 16 rows interleaved.
template <typename T>
std::vector<T> interleave(const std::vector<T> &matrix, int64_t n, int64_t k) {
  std::vector<T> result((n + 15) / 16 * 16 * k);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column)
      result[(row / 16 * k + column) * 16 + row % 16] =
          matrix[row * k + column];
  return result;
}

/// The same numbers every time.
class Random {
public:
  explicit Random(unsigned seed) : engine(seed) {}
  int64_t integer(int64_t low, int64_t high) {
    return low + int64_t(engine() % uint64_t(high - low + 1));
  }
  float real(float low, float high) {
    return low + (high - low) * float(engine() >> 8) / float(1 << 24);
  }
  std::vector<float> reals(size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float &value : values)
      value = real(low, high);
    return values;
  }

private:
  std::mt19937 engine;
};

} // namespace mambit::test

#endif // MAMBIT_TEST_CODEGEN_CPU_COMPILEDKERNEL_H
