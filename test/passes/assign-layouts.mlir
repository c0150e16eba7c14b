// RUN: mambit-opt %s --assign-layouts -split-input-file | FileCheck %s --check-prefixes=CHECK -DBITS=16 -DDENSE=16
// RUN: mambit-opt %s --assign-layouts="bit-tile-rows=64 dense-interleave=8" -split-input-file | FileCheck %s --check-prefixes=CHECK -DBITS=64 -DDENSE=8
// RUN: not mambit-opt %s --assign-layouts="bit-tile-rows=8" -split-input-file 2>&1 | FileCheck %s --check-prefix=ROWS
// ROWS: error: expected rows to be a positive multiple of 16, found 8

mamba.weights @w {
  mamba.weight @bits : !mamba.bits<5x7> from [#mamba.source<"f", "w" : tensor<5x7xf32>>] as [#mamba.sign]
  mamba.weight @tied : tensor<9x7xf16> from [#mamba.source<"f", "e" : tensor<9x7xf16>>] as [#mamba.cast<f16>]
  mamba.weight @norm : tensor<7xf32> from [#mamba.source<"f", "n" : tensor<7xf32>>] as []
}

// The tied matrix has one layout; vectors have none.
// CHECK-LABEL: func.func @forward(
// CHECK-DAG:     %[[E:.*]] = mamba.get_weight @w::@tied : tensor<9x7xf16, #mamba.interleave<rows = [[DENSE]]>>
// CHECK-DAG:     %[[B:.*]] = mamba.get_weight @w::@bits : !mamba.bits<5x7, #mamba.bit_tile<rows = [[BITS]]>>
// CHECK-DAG:     mamba.get_weight @w::@norm : tensor<7xf32>
// CHECK-NOT:     : tensor<9x7xf16>
// CHECK:         mamba.embedding %{{.*}}, %[[E]] : tensor<?xi32>, tensor<9x7xf16, #mamba.interleave<rows = [[DENSE]]>>
// CHECK:         mamba.fused_linear %{{.*}}, %[[B]] norm_weight
// CHECK:         mamba.fused_linear %{{.*}}, %{{.*}} : (tensor<?x7xf32>, tensor<9x7xf16, #mamba.interleave<rows = [[DENSE]]>>)
func.func @forward(%ids: tensor<?xi32>) -> (tensor<?x5xf32>, tensor<?x9xf32>) {
  %e = mamba.get_weight @w::@tied : tensor<9x7xf16>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %x = mamba.embedding %ids, %e : tensor<?xi32>, tensor<9x7xf16> -> tensor<?x7xf32>
  %y = mamba.fused_linear %x, %w norm_weight %n {norm_groups = 1 : i64} : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<7xf32>) -> tensor<?x5xf32>
  %z = mamba.fused_linear %x, %e : (tensor<?x7xf32>, tensor<9x7xf16>) -> tensor<?x9xf32>
  return %y, %z : tensor<?x5xf32>, tensor<?x9xf32>
}

// -----

mamba.weights @w {
  mamba.weight @bits : !mamba.bits<5x7> from [#mamba.source<"f", "w" : tensor<5x7xf32>>] as [#mamba.sign]
}

// A layout that is there stays.
// CHECK-LABEL: func.func @kept(
// CHECK:         mamba.get_weight @w::@bits : !mamba.bits<5x7, #mamba.bit_tile<rows = 32>>
func.func @kept(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7, #mamba.bit_tile<rows = 32>>
  %y = mamba.fused_linear %x, %w : (tensor<?x7xf32>, !mamba.bits<5x7, #mamba.bit_tile<rows = 32>>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}
