// RUN: mambit-opt %s --choose-state-precision=state-dtype=f16 -verify-diagnostics

func.func private @kernel(tensor<?x4x2x3xf32>) -> tensor<?x4x2x3xf32>

func.func @forward(%ssm: tensor<?x4x2x3xf32>) -> tensor<?x4x2x3xf32> {
  // expected-error @below {{expected an SSM state to go through blocks and scans alone}}
  %s = call @kernel(%ssm) : (tensor<?x4x2x3xf32>) -> tensor<?x4x2x3xf32>
  return %s : tensor<?x4x2x3xf32>
}
