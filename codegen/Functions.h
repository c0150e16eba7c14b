//===- Functions.h - transcendental functions for kernels ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Emitted inline on f32 scalars and vectors, for kernels call nothing: the same
// polynomials, and so the same results, on every target. The errors are
// measured by test/codegen/cpu.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_FUNCTIONS_H
#define MAMBIT_CODEGEN_FUNCTIONS_H

#include "codegen/KernelBuilder.h"

namespace mambit {

/// e^x within 2 ULP, from 0 to infinity, subnormal results included.
Val exp(Val x);

/// ln(1 + e^x) within 4 ULP where the result is normal.
Val softplus(Val x);

/// x / (1 + e^-x) within 4 ULP where the result is normal.
Val silu(Val x);

} // namespace mambit

#endif // MAMBIT_CODEGEN_FUNCTIONS_H
