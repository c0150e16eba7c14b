//===- Passes.h - code generation as passes, for mambit-opt -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_PASSES_H
#define MAMBIT_CODEGEN_PASSES_H

namespace mambit {

/// Registers `emit-kernels`, which replaces a planned module by the phases of
/// its kernels for a target, and `lower-cpu-kernels` and `lower-gpu-kernels`,
/// which lower those to the LLVM dialect.
void registerMambitCodegenPasses();

} // namespace mambit

#endif // MAMBIT_CODEGEN_PASSES_H
