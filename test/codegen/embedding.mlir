// RUN: mambit-opt %s --emit-kernels --canonicalize --cse | FileCheck %s

// A token a tile; a table whose rows are interleaved is gathered by elements.

// CHECK-LABEL: func.func private @interleaved_gather(
// CHECK-SAME:      %[[IDS:.*]]: memref<?xi32>, %[[TABLE:.*]]: memref<3x21x16xf16>, %[[Y:.*]]: memref<?x21xf32>,
// CHECK-SAME:      %{{.*}}: index, %{{.*}}: index, %{{.*}}: index, %[[T:.*]]: index) attributes {grid = "tokens"}
// CHECK:         %[[ID:.*]] = memref.load %[[IDS]][%[[T]]]
// CHECK:         %[[INDEX:.*]] = arith.index_cast %[[ID]] : i32 to index
// CHECK:         %[[TILE:.*]] = arith.divui %[[INDEX]], %c16
// CHECK:         %[[ROW:.*]] = arith.remui %[[INDEX]], %c16
// CHECK:         scf.for %[[K:.*]] = %c0 to %c21 step %c1
// CHECK:           %[[E:.*]] = memref.load %[[TABLE]][%[[TILE]], %[[K]], %[[ROW]]]
// CHECK:           %[[F:.*]] = arith.extf %[[E]] : f16 to f32
// CHECK:           memref.store %[[F]], %[[Y]][%[[T]], %[[K]]]
plan.kernel @interleaved params [
    <"ids" read tensor<i32>, 0 + 4 * tokens>,
    <"table" read tensor<37x21xf16, #mamba.interleave<rows = 16>>, 2016 + 0 * none>,
    <"y" write tensor<21xf32>, 0 + 84 * tokens>] {
^bb0(%ids: tensor<?xi32>, %table: tensor<37x21xf16, #mamba.interleave<rows = 16>>):
  %y = mamba.embedding %ids, %table
     : tensor<?xi32>, tensor<37x21xf16, #mamba.interleave<rows = 16>> -> tensor<?x21xf32>
  plan.return %y : tensor<?x21xf32>
}

// Rows that lie together are copied by vectors, the last as long as what is
// left; bf16 becomes f32 by a shift.

// CHECK-LABEL: func.func private @row_major_gather(
// CHECK:         %[[BF:.*]] = vector.load %{{.*}} : memref<37x21xbf16>, vector<16xbf16>
// CHECK:         %[[BITS:.*]] = vector.bitcast %[[BF]] : vector<16xbf16> to vector<16xi16>
// CHECK:         %[[WORD:.*]] = arith.extui %[[BITS]] : vector<16xi16> to vector<16xi32>
// CHECK:         %[[SHIFTED:.*]] = arith.shli %[[WORD]]
// CHECK:         vector.bitcast %[[SHIFTED]] : vector<16xi32> to vector<16xf32>
// CHECK:         vector.load %{{.*}} : memref<37x21xbf16>, vector<5xbf16>
plan.kernel @row_major params [
    <"ids" read tensor<i32>, 0 + 4 * tokens>,
    <"table" read tensor<37x21xbf16>, 1554 + 0 * none>,
    <"y" write tensor<21xf32>, 0 + 84 * tokens>] {
^bb0(%ids: tensor<?xi32>, %table: tensor<37x21xbf16>):
  %y = mamba.embedding %ids, %table : tensor<?xi32>, tensor<37x21xbf16> -> tensor<?x21xf32>
  plan.return %y : tensor<?x21xf32>
}
