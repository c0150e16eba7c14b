// RUN: mambit-opt %s --emit-kernels --canonicalize --cse | FileCheck %s
// RUN: sed -e 's/2x8x24xf32/2x8x24xf16/g' -e 's/1536/768/' %s | mambit-opt --emit-kernels --canonicalize --cse | FileCheck %s --check-prefix=HALF
// RUN: mambit-opt %s --emit-kernels --lower-cpu-kernels | FileCheck %s --check-prefix=LLVM

// Two tiles of channels and one of step sizes for each sequence. The raw inputs
// of the last three tokens go from token to token in registers, and back to the
// state, whose slots are a whole slot apart.

// CHECK-LABEL: func.func private @scan_conv(
// CHECK-SAME:      memref<?x3x80xf32, strided<[512, 80, 1]>>
// CHECK-SAME:      attributes {grid = "sequences, 3"}
// CHECK:         %[[WINDOW:.*]]:3 = scf.for {{.*}} iter_args
// CHECK:           memref.prefetch {{.*}} read, locality<3>, data
// CHECK:           math.fma
// CHECK:           vector.store %{{.*}} : memref<?x80xf32>, vector<16xf32>
// CHECK:         vector.store %[[WINDOW]]#0, %{{.*}} : memref<?x3x80xf32, strided<[512, 80, 1]>>, vector<16xf32>
// CHECK:         vector.store %[[WINDOW]]#1
// CHECK:         vector.store %[[WINDOW]]#2

// A head of a sequence a tile; the state is updated in place, 16 of a head's 24
// channels and then the other 8.

// CHECK-LABEL: func.func private @scan_recurrence(
// CHECK-SAME:      memref<?x2x8x24xf32, strided<[512, 192, 24, 1]>>
// CHECK-SAME:      attributes {grid = "sequences, 2"}
// CHECK-COUNT-8: memref.prefetch
// CHECK:         vector.load %{{.*}} : memref<?x2x8x24xf32, strided<[512, 192, 24, 1]>>, vector<16xf32>
// CHECK:         math.fma
// CHECK:         vector.store %{{.*}} : memref<?x2x8x24xf32, strided<[512, 192, 24, 1]>>, vector<16xf32>
// CHECK:         math.fma
// CHECK:         vector.load %{{.*}} : memref<?x2x8x24xf32, strided<[512, 192, 24, 1]>>, vector<8xf32>

// A state of 16 bits: for one token in place, else in a copy of f32 that is
// rounded once, behind the last token.

// HALF-LABEL: func.func private @scan_recurrence(
// HALF:         %[[COPY:.*]] = memref.alloca() {alignment = 64 : i64} : memref<128xf32>
// HALF:         scf.if
// HALF:           arith.extf
// HALF:           arith.truncf {{.*}} : vector<16xf32> to vector<16xf16>
// HALF:         } else {
// HALF:           arith.extf
// HALF:           vector.store {{.*}}, %[[COPY]]
// HALF-NOT:       arith.extf
// HALF-NOT:       arith.truncf
// HALF:           math.fma
// HALF:           arith.truncf {{.*}} : vector<16xf32> to vector<16xf16>

// The runtime calls a phase with its buffers, the extents and a tile.

// LLVM-LABEL:   llvm.func internal @scan_conv_tile(
// LLVM:         llvm.func @scan_conv(%[[BUFFERS:.*]]: !llvm.ptr, %[[EXTENTS:.*]]: !llvm.ptr, %[[TILE:.*]]: i64) {
// LLVM:           llvm.load %[[BUFFERS]] : !llvm.ptr -> !llvm.ptr
// LLVM:           llvm.load %[[EXTENTS]] : !llvm.ptr -> i64
// LLVM:           llvm.call @scan_conv_tile(
// LLVM:         llvm.func internal @scan_recurrence_tile(
// LLVM:         llvm.func @scan_recurrence(
// LLVM-NOT:     unrealized_conversion_cast
plan.kernel @scan slot_bytes 2048 params [
    <"zxbcdt" read tensor<130xf32>, 0 + 520 * tokens>,
    <"conv_state" read_write tensor<3x80xf32>, 0 + 960 * slots>,
    <"ssm_state" read_write tensor<2x8x24xf32>, 0 + 1536 * slots>,
    <"conv_weight" read tensor<4x80xf32>, 1280 + 0 * none>,
    <"dt_bias" read tensor<2xf32>, 8 + 0 * none>,
    <"A" read tensor<2xf32>, 8 + 0 * none>,
    <"D" read tensor<2xf32>, 8 + 0 * none>,
    <"offsets" read tensor<i32>, 4 + 4 * sequences>,
    <"slots" read tensor<i32>, 0 + 4 * sequences>,
    <"y" write tensor<48xf32>, 0 + 192 * tokens>,
    <"xbc" read_write tensor<80xf32>, 0 + 320 * tokens>,
    <"dt" read_write tensor<2xf32>, 0 + 8 * tokens>,
    <"decay" read_write tensor<2xf32>, 0 + 8 * tokens>,
    <"tickets" read_write tensor<2xi32>, 0 + 8 * slots>] {
^bb0(%zxbcdt: tensor<?x130xf32>, %conv: tensor<?x3x80xf32>, %ssm: tensor<?x2x8x24xf32>,
     %w: tensor<4x80xf32>, %dt_bias: tensor<2xf32>, %a: tensor<2xf32>, %d: tensor<2xf32>,
     %seqs: !mamba.sequences):
  %y, %conv1, %ssm1 = mamba.scan %zxbcdt, %conv, %ssm, %w, %dt_bias, %a, %d, %seqs
      {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x130xf32>, tensor<?x3x80xf32>, tensor<?x2x8x24xf32>, tensor<4x80xf32>,
         tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences)
      -> (tensor<?x48xf32>, tensor<?x3x80xf32>, tensor<?x2x8x24xf32>)
  plan.return %y, %conv1, %ssm1 : tensor<?x48xf32>, tensor<?x3x80xf32>, tensor<?x2x8x24xf32>
}
