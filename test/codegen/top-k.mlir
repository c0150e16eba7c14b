// RUN: mambit-opt %s --emit-kernels --canonicalize --cse | FileCheck %s
// RUN: mambit-opt %s --emit-kernels=target=sm_90a | FileCheck %s --check-prefix=GPU

// Parts of a row, whose ranks are compared as integers of 64 bits; then the
// candidates of all parts.

// CHECK-LABEL: func.func private @best_parts(
// CHECK-SAME:    grid = "rows, 5000 / 2048"
// CHECK:         scf.for %{{.*}} = %c0 to %c2 step %c1
// CHECK:           vector.load %{{.*}} : memref<?x5000xf32>, vector<16xf32>
// CHECK:           arith.cmpi sgt, %{{.*}} : vector<16xi64>
// CHECK-LABEL: func.func private @best_merge(
// CHECK-SAME:    grid = "rows"}
// CHECK:           memref.store %{{.*}} : memref<?x2xi32>
// CHECK:           memref.store %{{.*}} : memref<?x2xf32>

// GPU-LABEL: func.func private @best_parts(
// GPU-SAME:    grid = "rows, 5000 / 2048", threads = 256
// GPU:         nvvm.griddepcontrol wait
// GPU-COUNT-8: memref.load %{{.*}} : memref<?x5000xf32>
// GPU:         scf.for
// GPU-COUNT-2: nvvm.redux.sync  max
// GPU:         nvvm.barrier
// One warp merges the six.
// GPU-LABEL: func.func private @best_merge(
// GPU-SAME:    grid = "rows", threads = 32
// GPU:         nvvm.griddepcontrol wait
// GPU-NOT:     nvvm.barrier
// GPU:         memref.store %{{.*}} : memref<?x2xi32>
plan.kernel @best params [
    <"logits" read tensor<5000xf32>, 0 + 20000 * rows>,
    <"values" write tensor<2xf32>, 0 + 8 * rows>,
    <"tokens" write tensor<2xi32>, 0 + 8 * rows>,
    <"best" read_write tensor<6xi64>, 0 + 48 * rows>] {
^bb0(%logits: tensor<?x5000xf32>):
  %values, %tokens = mamba.top_k %logits : tensor<?x5000xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  plan.return %values, %tokens : tensor<?x2xf32>, tensor<?x2xi32>
}
