// RUN: mambit-opt %s --emit-kernels=target=x86-64-v3 --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,V3
// RUN: mambit-opt %s --emit-kernels=target=x86-64-v4 --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,V4
// RUN: mambit-opt %s --emit-kernels=target=x86-64-v4-vnni --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,VNNI

// The prologue: a token a tile, digits with their scale and sum, and zeros in
// the columns of padding.

// CHECK-LABEL: func.func private @linear_prologue(
// CHECK-SAME:      attributes {grid = "tokens"}
// CHECK:         math.absf
// CHECK:         %[[INVERSE:.*]] = arith.divf %cst{{.*}}, %{{.*}} : f32
// CHECK:         arith.cmpf olt, %[[INVERSE]]
// CHECK:         %[[PRODUCT:.*]] = arith.mulf {{.*}} : vector<16xf32>
// CHECK:         math.roundeven %[[PRODUCT]] : vector<16xf32>
// CHECK:         arith.fptosi
// CHECK:         vector.store %{{.*}}, %{{.*}} : memref<?x2x64xi8>, vector<16xi8>
// CHECK:         vector.store %{{.*}}, %{{.*}}[%{{.*}}, %c0, %c40] : memref<?x2x64xi8>, vector<24xi8>
// CHECK:         vector.store %{{.*}}, %{{.*}}[%{{.*}}, %c1, %c40] : memref<?x2x64xi8>, vector<24xi8>

// The product: bits stay packed until they are operands of the byte dot
// products. Two of them, a digit each, use what one shift and mask unpack.

// CHECK-LABEL: func.func private @linear_matmul(
// CHECK-SAME:      %[[BITS:[a-z0-9]*]]: memref<2x2x16xi32>
// CHECK-SAME:      attributes {grid = "2 / 4, tokens / 4"}
// V3:            vector.load %[[BITS]]{{.*}} : memref<2x2x16xi32>, vector<8xi32>
// V3:            %[[ONES:.*]] = arith.andi {{.*}} : vector<8xi32>
// V3:            %[[BYTES:.*]] = vector.bitcast %[[ONES]] : vector<8xi32> to vector<32xi8>
// V3:            llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[BYTES]], %{{.*}})
// V3:            llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[BYTES]], %{{.*}})
// V3:            llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"
// V4:            vector.load %[[BITS]]{{.*}} : memref<2x2x16xi32>, vector<16xi32>
// V4:            llvm.call_intrinsic "llvm.x86.avx512.pmaddubs.w.512"
// V4:            llvm.call_intrinsic "llvm.x86.avx512.pmaddw.d.512"
// VNNI:          vector.load %[[BITS]]{{.*}} : memref<2x2x16xi32>, vector<16xi32>
// VNNI-NOT:      pmaddubs
// VNNI:          llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"

// The rows that the last tile lacks are not stored, and a single token has code
// of its own.

// CHECK:         vector.store %{{.*}} : memref<?x20xf32>, vector<16xf32>
// CHECK:         vector.store %{{.*}} : memref<?x20xf32>, vector<4xf32>
// CHECK:         } else {
// CHECK:         scf.for
// CHECK:         vector.store %{{.*}} : memref<?x20xf32>, vector<4xf32>
plan.kernel @linear params [
    <"x" read tensor<40xf32>, 0 + 160 * tokens>,
    <"weight" read !mamba.bits<20x40, #mamba.bit_tile<rows = 16>>, 256 + 0 * none>,
    <"weight.zeros" read tensor<20x40xi32, #plan.zeros<rows = 16>>, 12 + 0 * none>,
    <"y" write tensor<20xf32>, 0 + 80 * tokens>,
    <"digits" read_write tensor<2x64xi8>, 0 + 128 * tokens>,
    <"scale" read_write tensor<f32>, 0 + 4 * tokens>,
    <"qsum" read_write tensor<i32>, 0 + 4 * tokens>] {
^bb0(%x: tensor<?x40xf32>, %w: !mamba.bits<20x40, #mamba.bit_tile<rows = 16>>):
  %y = mamba.fused_linear %x, %w {activation_bits = 16 : i64}
     : (tensor<?x40xf32>, !mamba.bits<20x40, #mamba.bit_tile<rows = 16>>) -> tensor<?x20xf32>
  plan.return %y : tensor<?x20xf32>
}
