// RUN: mambit-opt %s --choose-state-precision=state-dtype=f16 | FileCheck %s -DT=f16
// RUN: mambit-opt %s --choose-state-precision=state-dtype=bf16 | FileCheck %s -DT=bf16
// RUN: mambit-opt %s --choose-state-precision | FileCheck %s --check-prefix=F32
// RUN: not mambit-opt %s --choose-state-precision=state-dtype=f64 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: expected state-dtype to be f32, f16 or bf16, found f64
// F32-NOT: xf16
// F32-NOT: bf16

// From argument to result, through scans of either kind; the convolution's state
// stays as it is.
// CHECK-LABEL: func.func @forward(
// CHECK-SAME:    %[[CONV:[^:]*]]: tensor<?x3x20xf32>, %[[S:[^:]*]]: tensor<?x4x2x3x[[T]]>,
// CHECK-SAME:    -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3x[[T]]>)
// CHECK:         mamba.scan {{.*}} -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3x[[T]]>)
// CHECK:         mamba.selective_scan {{.*}} -> (tensor<?x12xf32>, tensor<?x4x2x3x[[T]]>)
func.func @forward(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>,
                   %h: tensor<4xf32>, %seqs: !mamba.sequences, %xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>)
    -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>) {
  %y, %c1, %s1 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %h, %h, %h, %seqs
    {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
    : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
       !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  %z, %s2 = mamba.selective_scan %xbc, %dt, %s1, %h, %h, %h, %seqs
    {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
    : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences)
      -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return %z, %c1, %s2 : tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
}
