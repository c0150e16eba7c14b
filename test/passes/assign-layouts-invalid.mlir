// RUN: mambit-opt %s --assign-layouts -verify-diagnostics

func.func @no_weight(%x: tensor<?x7xf32>, %w: !mamba.bits<5x7>) -> tensor<?x5xf32> {
  // expected-error @below {{expected the matrix to come from mamba.get_weight}}
  %y = mamba.fused_linear %x, %w : (tensor<?x7xf32>, !mamba.bits<5x7>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}
