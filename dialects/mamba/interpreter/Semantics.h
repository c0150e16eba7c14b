//===- Semantics.h - what each operation computes ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One function an operation, on tensors whose shapes and indices have been
// checked. A pointer is an optional operand. Names of dimensions are those of
// MambaOps.td.
//
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_INTERPRETER_SEMANTICS_H
#define MAMBIT_DIALECTS_MAMBA_INTERPRETER_SEMANTICS_H

#include "dialects/mamba/interpreter/Interpreter.h"

#include <optional>

namespace mambit::mamba::interpreter {

/// A linear's matrix, packed or dense.
using Matrix = std::variant<const Tensor *, const Signs *>;

/// The optional operands of a bit_linear.
struct BitLinearOptions {
  const Tensor *scale = nullptr, *shift = nullptr, *bias = nullptr;
  const Tensor *actScale = nullptr, *tokenShift = nullptr;
};

/// The optional operands and the attributes of a fused_linear.
struct FusedLinearOptions {
  const Tensor *rows = nullptr, *normWeight = nullptr, *shiftWeight = nullptr;
  const Tensor *rowScale = nullptr, *rowShift = nullptr, *bias = nullptr;
  const Tensor *residual = nullptr;
  int64_t activationBits = 32, normGroups = 0;
  double eps = 0;
};

/// The weights and constants of a selective_scan.
struct ScanParameters {
  const Tensor *dtBias, *a, *d;
  int64_t groups;
  double dtMin, dtMax;
  mlir::Type stateType; // of the state's elements
};

/// Of each row.
struct SamplingParameters {
  const Tensor &random, &temperature, &topK, &topP, &minP;
  int64_t limit;
};

struct Normed {
  Tensor y;
  std::optional<Tensor> shift;
};
struct Sampled {
  Tensor chosen, highest, nextRandom;
};
struct Quantized {
  Tensor q, scale;
};
/// Outputs by token, and the state pool after them.
struct WithState {
  Tensor y, state;
};
struct Scanned {
  Tensor y, convState, ssmState;
};

/// Rounds to the nearest value of a float type, ties to even; beyond the
/// largest finite value lies infinity.
double roundTo(double x, const llvm::fltSemantics &semantics);

Tensor selectRows(const Tensor &x, const Tensor &rows);
Normed rmsNorm(const Tensor &x, const Tensor &weight, const Tensor *shiftWeight,
               double eps, int64_t groups);
Tensor gate(const Tensor &x, const Tensor &z);
Quantized quantize(const Tensor &x, unsigned bits);
Tensor multiply(const Tensor &x, Matrix weight);
Tensor linear(const Tensor &x, const Tensor &weight, const Tensor *bias);
Tensor bitLinear(const Tensor &x, const Signs &weight,
                 const BitLinearOptions &options);
std::vector<Tensor> split(const Tensor &x, llvm::ArrayRef<int64_t> features);
WithState causalConv(const Tensor &x, const Tensor &state, const Tensor &weight,
                     const Tensor *bias, const Sequences &seqs);
WithState selectiveScan(const Tensor &xbc, const Tensor &dt,
                        const Tensor &state, const ScanParameters &parameters,
                        const Sequences &seqs);
Tensor add(const Tensor &lhs, const Tensor &rhs);
Sampled sample(const Tensor &logits, const SamplingParameters &parameters);
Tensor fusedLinear(const Tensor &x, Matrix weight,
                   const FusedLinearOptions &options);
Scanned scan(const Tensor &zxbcdt, const Tensor &convState,
             const Tensor &ssmState, const Tensor &convWeight,
             const Tensor *convBias, const ScanParameters &parameters,
             const Sequences &seqs);

} // namespace mambit::mamba::interpreter

#endif // MAMBIT_DIALECTS_MAMBA_INTERPRETER_SEMANTICS_H
