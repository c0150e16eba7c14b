// RUN: mambit-opt %s --fuse-scan | FileCheck %s

!z = tensor<?x6xf32>
!xbc = tensor<?x14xf32>
!dt = tensor<?x2xf32>
!conv = tensor<?x3x14xf32>
!ssm = tensor<?x2x4x3xf32>

// CHECK-LABEL: func.func @fused(
// CHECK-SAME:    %[[P:[^:]*]]: {{[^%]*}}%[[CONV:[^:]*]]: {{[^%]*}}%[[SSM:[^:]*]]: {{[^%]*}}%[[SEQS:[^:]*]]: {{[^%]*}}%[[CW:[^:]*]]: {{[^%]*}}%[[CB:[^:]*]]: {{[^%]*}}%[[H:[^:]*]]: {{[^%]*}}%[[N:[^:]*]]:
// CHECK-NEXT:    %[[Y:.*]], %[[CONV1:.*]], %[[SSM1:.*]] = mamba.scan %[[P]], %[[CONV]], %[[SSM]], %[[CW]], %[[H]], %[[H]], %[[H]], %[[SEQS]] conv_bias %[[CB]]
// CHECK-SAME:      {dt_max = 2.000000e+00 : f32, dt_min = 1.000000e+00 : f32, groups = 1 : i64}
// CHECK-NEXT:    %[[U:.*]], %[[T:.*]] = mamba.rms_norm %[[Y]], %[[N]] shift %[[N]] {eps = 1.000000e-01 : f32, groups = 3 : i64}
// CHECK-NEXT:    return %[[U]], %[[T]], %[[CONV1]], %[[SSM1]]
func.func @fused(%p: tensor<?x22xf32>, %conv: !conv, %ssm: !ssm, %seqs: !mamba.sequences, %cw: tensor<4x14xf32>, %cb: tensor<14xf32>,
                 %h: tensor<2xf32>, %n: tensor<6xf32>) -> (!z, tensor<?xf32>, !conv, !ssm) {
  %z, %xbc, %dt = mamba.split %p : tensor<?x22xf32> -> !z, !xbc, !dt
  %a, %conv1 = mamba.causal_conv %xbc, %conv, %cw, %seqs bias %cb : (!xbc, !conv, tensor<4x14xf32>, !mamba.sequences, tensor<14xf32>) -> (!xbc, !conv)
  %y, %ssm1 = mamba.selective_scan %a, %dt, %ssm, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 2.0 : f32}
     : (!xbc, !dt, !ssm, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!z, !ssm)
  %u, %t = mamba.gated_rms_norm %y, %z, %n shift %n {eps = 0.1 : f32, groups = 3 : i64} : (!z, !z, tensor<6xf32>, tensor<6xf32>) -> (!z, tensor<?xf32>)
  return %u, %t, %conv1, %ssm1 : !z, tensor<?xf32>, !conv, !ssm
}

// The scan's own result is used beside the gate.
// CHECK-LABEL: func.func @other_use(
// CHECK-NOT:     mamba.scan
func.func @other_use(%p: tensor<?x22xf32>, %conv: !conv, %ssm: !ssm, %seqs: !mamba.sequences, %cw: tensor<4x14xf32>,
                     %h: tensor<2xf32>, %n: tensor<6xf32>) -> (!z, !z, !conv, !ssm) {
  %z, %xbc, %dt = mamba.split %p : tensor<?x22xf32> -> !z, !xbc, !dt
  %a, %conv1 = mamba.causal_conv %xbc, %conv, %cw, %seqs : (!xbc, !conv, tensor<4x14xf32>, !mamba.sequences) -> (!xbc, !conv)
  %y, %ssm1 = mamba.selective_scan %a, %dt, %ssm, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 2.0 : f32}
     : (!xbc, !dt, !ssm, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!z, !ssm)
  %u = mamba.gated_rms_norm %y, %z, %n {eps = 0.1 : f32} : (!z, !z, tensor<6xf32>) -> !z
  return %u, %y, %conv1, %ssm1 : !z, !z, !conv, !ssm
}

// Convolution and scan run over different sequences.
// CHECK-LABEL: func.func @other_sequences(
// CHECK-NOT:     mamba.scan
func.func @other_sequences(%p: tensor<?x22xf32>, %conv: !conv, %ssm: !ssm, %seqs: !mamba.sequences, %others: !mamba.sequences,
                           %cw: tensor<4x14xf32>, %h: tensor<2xf32>, %n: tensor<6xf32>) -> (!z, !conv, !ssm) {
  %z, %xbc, %dt = mamba.split %p : tensor<?x22xf32> -> !z, !xbc, !dt
  %a, %conv1 = mamba.causal_conv %xbc, %conv, %cw, %others : (!xbc, !conv, tensor<4x14xf32>, !mamba.sequences) -> (!xbc, !conv)
  %y, %ssm1 = mamba.selective_scan %a, %dt, %ssm, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 2.0 : f32}
     : (!xbc, !dt, !ssm, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!z, !ssm)
  %u = mamba.gated_rms_norm %y, %z, %n {eps = 0.1 : f32} : (!z, !z, tensor<6xf32>) -> !z
  return %u, %conv1, %ssm1 : !z, !conv, !ssm
}

// The gate is not the first part of the split.
// CHECK-LABEL: func.func @other_gate(
// CHECK-NOT:     mamba.scan
func.func @other_gate(%p: tensor<?x22xf32>, %g: !z, %conv: !conv, %ssm: !ssm, %seqs: !mamba.sequences,
                      %cw: tensor<4x14xf32>, %h: tensor<2xf32>, %n: tensor<6xf32>) -> (!z, !conv, !ssm) {
  %z, %xbc, %dt = mamba.split %p : tensor<?x22xf32> -> !z, !xbc, !dt
  %a, %conv1 = mamba.causal_conv %xbc, %conv, %cw, %seqs : (!xbc, !conv, tensor<4x14xf32>, !mamba.sequences) -> (!xbc, !conv)
  %y, %ssm1 = mamba.selective_scan %a, %dt, %ssm, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 2.0 : f32}
     : (!xbc, !dt, !ssm, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!z, !ssm)
  %u = mamba.gated_rms_norm %y, %g, %n {eps = 0.1 : f32} : (!z, !z, tensor<6xf32>) -> !z
  return %u, %conv1, %ssm1 : !z, !conv, !ssm
}

// Two calls in a row over one state: the second starts where the first ended.
// CHECK-LABEL: func.func @twice(
// CHECK:         %[[U:.*]], %[[C:.*]], %[[S:.*]] = mamba.scan
// CHECK:         mamba.scan %{{.*}}, %[[C]], %[[S]],
func.func @twice(%p: tensor<?x22xf32>, %conv: !conv, %ssm: !ssm, %seqs: !mamba.sequences, %cw: tensor<4x14xf32>,
                 %h: tensor<2xf32>, %n: tensor<6xf32>) -> (!z, !z, !conv, !ssm) {
  %z, %xbc, %dt = mamba.split %p : tensor<?x22xf32> -> !z, !xbc, !dt
  %a, %conv1 = mamba.causal_conv %xbc, %conv, %cw, %seqs : (!xbc, !conv, tensor<4x14xf32>, !mamba.sequences) -> (!xbc, !conv)
  %y, %ssm1 = mamba.selective_scan %a, %dt, %ssm, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 2.0 : f32}
     : (!xbc, !dt, !ssm, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!z, !ssm)
  %u = mamba.gated_rms_norm %y, %z, %n {eps = 0.1 : f32} : (!z, !z, tensor<6xf32>) -> !z
  %b, %conv2 = mamba.causal_conv %xbc, %conv1, %cw, %seqs : (!xbc, !conv, tensor<4x14xf32>, !mamba.sequences) -> (!xbc, !conv)
  %w, %ssm2 = mamba.selective_scan %b, %dt, %ssm1, %h, %h, %h, %seqs {groups = 1 : i64, dt_min = 1.0 : f32, dt_max = 2.0 : f32}
     : (!xbc, !dt, !ssm, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!z, !ssm)
  %v = mamba.gated_rms_norm %w, %z, %n {eps = 0.1 : f32} : (!z, !z, tensor<6xf32>) -> !z
  return %u, %v, %conv2, %ssm2 : !z, !z, !conv, !ssm
}
