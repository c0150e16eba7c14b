//===- Options.h - what code generation can be told ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_OPTIONS_H
#define MAMBIT_CODEGEN_OPTIONS_H

namespace mambit {

/// How GPUs multiply 1-bit weights by quantised activations: `automatic` is a
/// strategy for each number of tokens, every other one is used for all.
enum class MatmulStrategy { automatic, split, mma, wgmma };

} // namespace mambit

#endif // MAMBIT_CODEGEN_OPTIONS_H
