// RUN: mambit-opt %s --emit-kernels --canonicalize --cse | FileCheck %s
// RUN: mambit-opt %s --emit-kernels=target=sm_90a | FileCheck %s --check-prefix=GPU

// Parts of a row, whose ranks are compared as integers of 64 bits; then the
// candidates of all parts, as many as the row asks for; then a draw in double
// precision.

// CHECK-LABEL: func.func private @some_parts(
// CHECK-SAME:    grid = "rows, 5000 / 2048"
// CHECK:         memref.load %{{.*}} : memref<?xi32>
// CHECK:         scf.for %{{.*}} = %c0 to %{{.*}} step %c1
// CHECK:           vector.load %{{.*}} : memref<?x5000xf32>, vector<16xf32>
// CHECK:           arith.cmpi sgt, %{{.*}} : vector<16xi64>
// CHECK-LABEL: func.func private @some_merge(
// CHECK-SAME:    grid = "rows"}
// CHECK:           arith.divf %{{.*}} : f64
// CHECK:         memref.store %{{.*}} : memref<?x2xi32>
// CHECK:         memref.store %{{.*}} : memref<?xi32>
// CHECK:         memref.store %{{.*}} : memref<?xf32>

// GPU-LABEL: func.func private @some_parts(
// GPU-SAME:    grid = "rows, 5000 / 2048", threads = 256
// GPU:         nvvm.griddepcontrol wait
// GPU-COUNT-8: memref.load %{{.*}} : memref<?x5000xf32>
// GPU-COUNT-2: nvvm.redux.sync  max
// GPU:         scf.for
// GPU:         nvvm.barrier
// GPU-COUNT-2: nvvm.redux.sync  max
// The warp that had it looks for its next.
// GPU:         scf.if
// GPU-COUNT-2: nvvm.redux.sync  max
// One warp merges the lists of three parts.
// GPU-LABEL: func.func private @some_merge(
// GPU-SAME:    grid = "rows", threads = 32
// GPU:         nvvm.griddepcontrol wait
// GPU:         memref.load %{{.*}} : memref<?x15xi64>
// GPU:         scf.for
// GPU-COUNT-2: nvvm.redux.sync  max
// GPU:         arith.divf %{{.*}} : f64
// GPU:         memref.store %{{.*}} : memref<?x2xi32>
plan.kernel @some params [
    <"logits" read tensor<5000xf32>, 0 + 20000 * rows>,
    <"random" read tensor<2xi32>, 0 + 8 * rows>,
    <"temperature" read tensor<f32>, 0 + 4 * rows>,
    <"top_k" read tensor<i32>, 0 + 4 * rows>,
    <"top_p" read tensor<f32>, 0 + 4 * rows>,
    <"min_p" read tensor<f32>, 0 + 4 * rows>,
    <"chosen" write tensor<i32>, 0 + 4 * rows>,
    <"highest" write tensor<f32>, 0 + 4 * rows>,
    <"next_random" write tensor<2xi32>, 0 + 8 * rows>,
    <"best" read_write tensor<15xi64>, 0 + 120 * rows>] {
^bb0(%logits: tensor<?x5000xf32>, %random: tensor<?x2xi32>, %temperature: tensor<?xf32>, %top_k: tensor<?xi32>, %top_p: tensor<?xf32>,
     %min_p: tensor<?xf32>):
  %0:3 = mamba.sample %logits, %random, %temperature, %top_k, %top_p, %min_p limit 5 : tensor<?x5000xf32>
  plan.return %0#0, %0#1, %0#2 : tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>
}
