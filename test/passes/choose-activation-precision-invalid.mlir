// RUN: mambit-opt %s --choose-activation-precision -verify-diagnostics
// RUN: mambit-opt %s --choose-activation-precision=activation-bits=8 -o /dev/null

func.func @overflow(%x: tensor<?x65796xf32>, %w: !mamba.bits<5x65796>) -> tensor<?x5xf32> {
  // expected-error @below {{int32 sums could overflow: expected at most 65795 columns at 16-bit activations, found 65796}}
  %y = mamba.bit_linear %x, %w : (tensor<?x65796xf32>, !mamba.bits<5x65796>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}
