//===- Options.h - what code generation can be told ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_OPTIONS_H
#define MAMBIT_CODEGEN_OPTIONS_H

#include "llvm/ADT/StringRef.h"

namespace mambit {

/// How GPUs multiply 1-bit weights by activations: `automatic` is a
/// strategy for each number of tokens, every other one is used for all.
enum class MatmulStrategy { automatic, split, mma, wgmma };

/// How CPUs sum the activations that bits select.
enum class BitSums {
  automatic, // the fastest for a number of tokens, by a model of the cost
  masks,     // a mask a column, with what every target has
  dots,      // byte dot products of bits and activations
  lookup,    // tables of the sums of four columns
  planes,    // counts of the bits that weights and activations share
};
llvm::StringRef stringify(BitSums how);

} // namespace mambit

#endif // MAMBIT_CODEGEN_OPTIONS_H
