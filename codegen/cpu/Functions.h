//===- Functions.h - transcendental functions for kernels ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Emitted inline on f32 vectors, for kernels call nothing. The errors are
// measured by test/codegen/cpu.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_CPU_FUNCTIONS_H
#define MAMBIT_CODEGEN_CPU_FUNCTIONS_H

#include "codegen/KernelBuilder.h"

namespace mambit::cpu {

/// e^x within 2 ULP, from 0 to infinity, subnormal results included.
Val exp(Val x);

/// ln(1 + e^x) within 4 ULP where the result is normal.
Val softplus(Val x);

/// x / (1 + e^-x) within 4 ULP where the result is normal.
Val silu(Val x);

} // namespace mambit::cpu

#endif // MAMBIT_CODEGEN_CPU_FUNCTIONS_H
