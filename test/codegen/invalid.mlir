// RUN: echo 'module {}' | not mambit-opt --emit-kernels=target=vax 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: mambit-opt %s --emit-kernels --split-input-file --verify-diagnostics

// TARGET: error: unknown target 'vax', expected one of: x86-64-v4-vbmi, x86-64-v4-vnni, x86-64-v4, x86-64-v3

// expected-error@+1 {{cannot read a row-major weight of 'tensor<4x8xf32>'; expected #mamba.interleave}}
plan.kernel @row_major params [
    <"x" read tensor<8xf32>, 0 + 32 * tokens>,
    <"weight" read tensor<4x8xf32>, 128 + 0 * none>,
    <"y" write tensor<4xf32>, 0 + 16 * tokens>] {
^bb0(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>):
  %y = mamba.fused_linear %x, %w : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  plan.return %y : tensor<?x4xf32>
}

// -----

// expected-error@+1 {{cannot read 'table' in tiles of 32 rows, expected 16}}
plan.kernel @wide_tiles params [
    <"ids" read tensor<i32>, 0 + 4 * tokens>,
    <"table" read tensor<4x8xf32, #mamba.interleave<rows = 32>>, 1024 + 0 * none>,
    <"y" write tensor<8xf32>, 0 + 32 * tokens>] {
^bb0(%ids: tensor<?xi32>, %table: tensor<4x8xf32, #mamba.interleave<rows = 32>>):
  %y = mamba.embedding %ids, %table
     : tensor<?xi32>, tensor<4x8xf32, #mamba.interleave<rows = 32>> -> tensor<?x8xf32>
  plan.return %y : tensor<?x8xf32>
}

// -----

plan.kernel @foreign params [
    <"lhs" read tensor<8xf32>, 0 + 32 * tokens>,
    <"rhs" read tensor<8xf32>, 0 + 32 * tokens>,
    <"y" write tensor<8xf32>, 0 + 32 * tokens>] {
^bb0(%lhs: tensor<?x8xf32>, %rhs: tensor<?x8xf32>):
  // expected-error@+1 {{has no CPU kernel}}
  %y = mamba.add %lhs, %rhs : tensor<?x8xf32>
  plan.return %y : tensor<?x8xf32>
}
