//===- Lower.h - from emitted kernels to a shared object ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_CPU_LOWER_H
#define MAMBIT_CODEGEN_CPU_LOWER_H

#include "codegen/Lower.h"

#include <cstdint>
#include <vector>

namespace mambit::cpu {

/// Adds the passes that lower phases, private functions of buffers, extents and
/// the number of a tile, to the LLVM dialect, with the entry points that the
/// runtime calls:
///
///   void SYMBOL(void *const *buffers, const int64_t *extents, int64_t tile);
void addLoweringPasses(mlir::OpPassManager &passes);

/// The shared object of a module of kernels, which is lowered in place. The
/// same bytes every time; nothing in it calls anything outside it.
mlir::FailureOr<std::vector<uint8_t>>
compileToImage(mlir::ModuleOp module, const Target &target, DumpFn dump);

/// Links an object to a shared object.
llvm::Expected<std::vector<uint8_t>>
linkSharedObject(llvm::ArrayRef<char> object);

} // namespace mambit::cpu

#endif // MAMBIT_CODEGEN_CPU_LOWER_H
