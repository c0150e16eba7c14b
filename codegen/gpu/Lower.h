//===- Lower.h - from emitted kernels to PTX and cubins -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_GPU_LOWER_H
#define MAMBIT_CODEGEN_GPU_LOWER_H

#include "codegen/KernelBuilder.h"
#include "codegen/Lower.h"

#include <optional>

namespace mambit::cuda {

/// Adds the passes that lower phases to the LLVM and NVVM dialects, with the
/// entry points that the runtime launches, a block a tile:
///
///   .entry SYMBOL(ptr buffer0, …, i64 tokens, i64 sequences, i64 rows)
void addLoweringPasses(mlir::OpPassManager &passes);

/// The PTX of a module of kernels, which is lowered in place. The same text
/// every time; nothing in it calls anything outside it.
mlir::FailureOr<std::string> compileToPtx(mlir::ModuleOp module,
                                          const Target &target, DumpFn dump);

/// Machine code and what each entry point of it uses.
struct Cubin {
  std::vector<uint8_t> bytes;
  llvm::StringMap<Resources> resources;
};

/// The path of ptxas. `wanted` is a path, `auto` for that of PATH or of
/// /usr/local/cuda, if any, or `none`; empty where there is none to be used.
llvm::Expected<std::string> findPtxas(llvm::StringRef wanted);

/// Assembles PTX. An error has what ptxas said and the command to repeat it.
llvm::Expected<Cubin> assemble(llvm::StringRef ptxas, llvm::StringRef ptx,
                               const Target &target);

} // namespace mambit::cuda

#endif // MAMBIT_CODEGEN_GPU_LOWER_H
