// RUN: mambit-opt %s --form-kernels -split-input-file -verify-diagnostics

func.func @add(%x: tensor<?x7xf32>) -> tensor<?x7xf32> {
  // expected-error @below {{no kernel can be made of mamba.add: it is not fused into mamba.fused_linear or mamba.scan}}
  %y = mamba.add %x, %x : tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}

// -----

func.func @unfolded(%x: tensor<?x7xf32>, %w: !mamba.bits<5x7>, %s: tensor<1x7xf32>) -> tensor<?x5xf32> {
  // expected-error @below {{no kernel can be made of mamba.bit_linear}}
  %y = mamba.bit_linear %x, %w scale %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// -----

func.func @foreign(%x: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{no kernel can be made of math.exp}}
  %y = math.exp %x : tensor<?xf32>
  return %y : tensor<?xf32>
}
