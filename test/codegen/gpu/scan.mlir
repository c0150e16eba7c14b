// The phases of the scan, and where chunks do not fit.

// RUN: mambit-opt %s --emit-kernels=target=sm_90a | FileCheck %s --check-prefixes=CHECK,LARGE
// RUN: mambit-opt %s --emit-kernels=target=sm_86 | FileCheck %s --check-prefixes=CHECK,SMALL
// RUN: sed -e 's/4x128x64xf32/4x128x64xf16/g' -e 's/131072/65536/' %s | mambit-opt --emit-kernels=target=sm_90a | FileCheck %s --check-prefix=HALF

// A state of 16 bits moves in 16 bytes too, two heads a block, and never becomes
// infinite.
// HALF-LABEL: func.func private @scan_step(
// HALF-SAME:    grid = "sequences, 2", threads = 256
// HALF:         vector.load {{.*}} {alignment = 16 : i64} : memref<?x4x128x64xf16, {{.*}}>, vector<8xf16>
// HALF:         vector.bitcast {{.*}} : vector<8xf16> to vector<4xi32>
// HALF:         arith.extf {{.*}} : vector<8xf16> to vector<8xf32>
// HALF:         arith.truncf {{.*}} : vector<8xf32> to vector<8xf16>
// HALF:         arith.minimumf
// HALF:         arith.maximumf
// HALF:         vector.store {{.*}} {alignment = 16 : i64} : memref<?x4x128x64xf16, {{.*}}>, vector<8xf16>
// HALF-LABEL: func.func private @scan_step_many(
// HALF-SAME:    blocks = 2
// HALF-SAME:    grid = "sequences, 1", threads = 256 : i64, when = "33 <= sequences"
// HALF-LABEL: func.func private @scan_chunks(
// HALF:         vector.load {{.*}} {alignment = 4 : i64} : memref<?x4x128x64xf16, {{.*}}>, vector<2xf16>
// HALF:         vector.store {{.*}} {alignment = 4 : i64} : memref<?x4x128x64xf16, {{.*}}>, vector<2xf16>

// One head a block; of many sequences a lane has two runs of the state's rows.
// As many blocks share a multiprocessor as fit. States of later sequences are
// asked for before the wait, where the chip can.
// CHECK-LABEL: func.func private @scan_step(
// CHECK-SAME:    grid = "sequences, 4", threads = 256 : i64, when = "1 <= sequences <= 32"
// CHECK-LABEL: func.func private @scan_step_many(
// CHECK-SAME:    blocks = 4
// CHECK-SAME:    grid = "sequences, 4", threads = 128 : i64, when = "33 <= sequences"
// LARGE:         scf.if
// LARGE:           memref.load {{.*}} : memref<?xi32
// LARGE:           cp.async.bulk.prefetch.L2.global.L2::cache_hint
// LARGE:         nvvm.griddepcontrol{{ +}}wait
// SMALL-NOT:     prefetch
// CHECK-LABEL: func.func private @scan_inputs(
// CHECK-SAME:    grid = "sequences, 16, 5"
// CHECK-LABEL: func.func private @scan_products(
// CHECK-SAME:    grid = "sequences, 32, 1"
// CHECK-LABEL: func.func private @scan_chunks(
// LARGE-SAME:    blocks = 3
// SMALL-SAME:    blocks = 1
// CHECK-SAME:    grid = "sequences, 4", threads = 128

// The sums of a large state would not fit in registers: token by token.
// CHECK-LABEL: func.func private @large_step(
// CHECK-SAME:    grid = "sequences, 1", threads = 256
// CHECK-NOT:   @large_chunks
// CHECK-LABEL: func.func private @large_conv(
// CHECK-SAME:    when = "1 <= tokens - sequences"
// CHECK-LABEL: func.func private @large_recurrence(
// CHECK-SAME:    when = "1 <= tokens - sequences"

plan.kernel @scan slot_bytes 149824 params [
    <"zxbcdt" read tensor<772xf32>, 0 + 3088 * tokens>,
    <"conv_state" read_write tensor<3x512xf32>, 0 + 6144 * slots>,
    <"ssm_state" read_write tensor<4x128x64xf32>, 0 + 131072 * slots>,
    <"conv_weight" read tensor<4x512xf32>, 8192 + 0 * none>,
    <"dt_bias" read tensor<4xf32>, 16 + 0 * none>,
    <"A" read tensor<4xf32>, 16 + 0 * none>,
    <"D" read tensor<4xf32>, 16 + 0 * none>,
    <"offsets" read tensor<i32>, 4 + 4 * sequences>,
    <"slots" read tensor<i32>, 0 + 4 * sequences>,
    <"y" write tensor<256xf32>, 0 + 1024 * tokens>,
    <"xbc" read_write tensor<512xf32>, 0 + 2048 * tokens>,
    <"dt" read_write tensor<4xf32>, 0 + 16 * tokens>,
    <"decay" read_write tensor<4xf32>, 0 + 16 * tokens>,
    <"tickets" read_write tensor<1xi32>, 0 + 4 * slots>] {
^bb0(%zxbcdt: tensor<?x772xf32>, %conv: tensor<?x3x512xf32>, %ssm: tensor<?x4x128x64xf32>,
     %w: tensor<4x512xf32>, %dt_bias: tensor<4xf32>, %a: tensor<4xf32>, %d: tensor<4xf32>,
     %seqs: !mamba.sequences):
  %y, %conv1, %ssm1 = mamba.scan %zxbcdt, %conv, %ssm, %w, %dt_bias, %a, %d, %seqs
      {groups = 1 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x772xf32>, tensor<?x3x512xf32>, tensor<?x4x128x64xf32>, tensor<4x512xf32>,
         tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences)
      -> (tensor<?x256xf32>, tensor<?x3x512xf32>, tensor<?x4x128x64xf32>)
  plan.return %y, %conv1, %ssm1 : tensor<?x256xf32>, tensor<?x3x512xf32>, tensor<?x4x128x64xf32>
}
plan.kernel @large slot_bytes 45056 params [
    <"zxbcdt" read tensor<1058xf32>, 0 + 4232 * tokens>,
    <"conv_state" read_write tensor<3x1040xf32>, 0 + 12480 * slots>,
    <"ssm_state" read_write tensor<2x512x8xf32>, 0 + 32768 * slots>,
    <"conv_weight" read tensor<4x1040xf32>, 16640 + 0 * none>,
    <"dt_bias" read tensor<2xf32>, 8 + 0 * none>,
    <"A" read tensor<2xf32>, 8 + 0 * none>,
    <"D" read tensor<2xf32>, 8 + 0 * none>,
    <"offsets" read tensor<i32>, 4 + 4 * sequences>,
    <"slots" read tensor<i32>, 0 + 4 * sequences>,
    <"y" write tensor<16xf32>, 0 + 64 * tokens>,
    <"xbc" read_write tensor<1040xf32>, 0 + 4160 * tokens>,
    <"dt" read_write tensor<2xf32>, 0 + 8 * tokens>,
    <"decay" read_write tensor<2xf32>, 0 + 8 * tokens>,
    <"tickets" read_write tensor<1xi32>, 0 + 4 * slots>] {
^bb0(%zxbcdt: tensor<?x1058xf32>, %conv: tensor<?x3x1040xf32>, %ssm: tensor<?x2x512x8xf32>,
     %w: tensor<4x1040xf32>, %dt_bias: tensor<2xf32>, %a: tensor<2xf32>, %d: tensor<2xf32>,
     %seqs: !mamba.sequences):
  %y, %conv1, %ssm1 = mamba.scan %zxbcdt, %conv, %ssm, %w, %dt_bias, %a, %d, %seqs
      {groups = 1 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x1058xf32>, tensor<?x3x1040xf32>, tensor<?x2x512x8xf32>, tensor<4x1040xf32>,
         tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences)
      -> (tensor<?x16xf32>, tensor<?x3x1040xf32>, tensor<?x2x512x8xf32>)
  plan.return %y, %conv1, %ssm1 : tensor<?x16xf32>, tensor<?x3x1040xf32>, tensor<?x2x512x8xf32>
}
