// RUN: mambit-opt %s --form-kernels --remarks-filter=mambit --remark-format=emitRemark 2>%t | FileCheck %s
// RUN: FileCheck --check-prefix=STATS --input-file=%t %s
// RUN: mambit-opt %s --form-kernels --form-kernels --remarks-filter=mambit --remark-format=emitRemark -o /dev/null 2>&1 | FileCheck --check-prefix=AGAIN %s
// STATS: form-kernels {{.*}} kernels=5, shared=1
// AGAIN: form-kernels {{.*}} kernels=5, shared=1
// AGAIN: form-kernels {{.*}} kernels=0, shared=0

!x = tensor<?x6xf32>
!w = !mamba.bits<6x6, #mamba.bit_tile<rows = 16>>
!e = tensor<9x6xf16, #mamba.interleave<rows = 16>>
!conv = tensor<?x3x14xf32>
!ssm = tensor<?x2x4x3xf32>

// CHECK:       func.func private @embedding_9x6_f16(%[[IDS:.*]]: tensor<?xi32>, %[[E:.*]]: tensor<9x6xf16, #mamba.interleave<rows = 16>>) -> tensor<?x6xf32> {
// CHECK-NEXT:    %[[Y:.*]] = mamba.embedding %[[IDS]], %[[E]]
// CHECK-NEXT:    return %[[Y]]
// CHECK:       func.func private @fused_linear_6x6_b16_norm2_residual(
// CHECK-NEXT:    mamba.fused_linear %arg0, %arg1 norm_weight %arg2 residual %arg3 {activation_bits = 16 : i64, eps = 1.000000e-01 : f32, norm_groups = 2 : i64}
// Operations that differ in an attribute alone do not share; the name gets a number.
// CHECK:       func.func private @fused_linear_6x6_b16_norm2_residual_0(
// CHECK-NEXT:    mamba.fused_linear {{.*}} eps = 2.000000e-01 : f32
// CHECK:       func.func private @scan_h2_p3_g1_s4(
// CHECK:       func.func private @fused_linear_9x6_f16_rows(

// CHECK-LABEL: func.func @forward(
// CHECK:         %[[X0:.*]] = call @embedding_9x6_f16(
// CHECK:         %[[X1:.*]] = call @fused_linear_6x6_b16_norm2_residual(%[[X0]], %{{.*}}, %{{.*}}, %[[X0]])
// CHECK:         %[[X2:.*]] = call @fused_linear_6x6_b16_norm2_residual(%[[X1]], %{{.*}}, %{{.*}}, %[[X1]])
// CHECK:         call @fused_linear_6x6_b16_norm2_residual_0(
// CHECK:         %[[S:.*]]:3 = call @scan_h2_p3_g1_s4(
// CHECK:         %[[L:.*]] = call @fused_linear_9x6_f16_rows(
// CHECK:         return %[[L]], %[[S]]#1, %[[S]]#2
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %conv: !conv, %ssm: !ssm,
                   %p: tensor<?x22xf32>, %cw: tensor<4x14xf32>, %h: tensor<2xf32>, %w: !w, %n: tensor<6xf32>, %e: !e)
    -> (tensor<?x9xf32>, !conv, !ssm) {
  %0 = mamba.embedding %ids, %e : tensor<?xi32>, !e -> !x
  %1 = mamba.fused_linear %0, %w norm_weight %n residual %0 {activation_bits = 16 : i64, norm_groups = 2 : i64, eps = 0.1 : f32}
     : (!x, !w, tensor<6xf32>, !x) -> !x
  %2 = mamba.fused_linear %1, %w norm_weight %n residual %1 {activation_bits = 16 : i64, norm_groups = 2 : i64, eps = 0.1 : f32}
     : (!x, !w, tensor<6xf32>, !x) -> !x
  %3 = mamba.fused_linear %2, %w norm_weight %n residual %2 {activation_bits = 16 : i64, norm_groups = 2 : i64, eps = 0.2 : f32}
     : (!x, !w, tensor<6xf32>, !x) -> !x
  %y, %conv1, %ssm1 = mamba.scan %p, %conv, %ssm, %cw, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x22xf32>, !conv, !ssm, tensor<4x14xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!x, !conv, !ssm)
  %l = mamba.fused_linear %3, %e rows %rows : (!x, !e, tensor<?xi32>) -> tensor<?x9xf32>
  return %l, %conv1, %ssm1 : tensor<?x9xf32>, !conv, !ssm
}
