// RUN: mambit-opt %s --expand-blocks --remarks-filter=mambit --remark-format=emitRemark 2>%t | FileCheck %s
// RUN: FileCheck --check-prefix=STATS --input-file=%t %s
// STATS: expand-blocks {{.*}} blocks=2

mamba.weights @signs {
  mamba.weight @norm : tensor<10xf32> from [#mamba.source<"f", "norm" : tensor<10xf32>>] as []
  mamba.weight @in_proj : !mamba.bits<30x10> from [#mamba.source<"f", "in" : tensor<30x10xf32>>] as [#mamba.sign]
  mamba.weight @in_proj_scale : tensor<1x10xf32> from [#mamba.source<"f", "in_s" : tensor<1x10xf32>>] as []
  mamba.weight @in_proj_shift : tensor<30x1xf32> from [#mamba.source<"f", "in_b" : tensor<30x1xf32>>] as []
  mamba.weight @conv_weight : tensor<4x18xf32> from [#mamba.source<"f", "conv" : tensor<18x1x4xf32>>] as [#mamba.transpose]
  mamba.weight @conv_bias : tensor<18xf32> from [#mamba.source<"f", "conv_b" : tensor<18xf32>>] as []
  mamba.weight @dt_bias : tensor<2xf32> from [#mamba.source<"f", "dt" : tensor<2xf32>>] as []
  mamba.weight @A : tensor<2xf32> from [#mamba.source<"f", "A" : tensor<2xf32>>] as [#mamba.neg_exp]
  mamba.weight @D : tensor<2xf32> from [#mamba.source<"f", "D" : tensor<2xf32>>] as []
  mamba.weight @gated_norm : tensor<10xf32> from [#mamba.source<"f", "gnorm" : tensor<10xf32>>] as []
  mamba.weight @out_proj : !mamba.bits<10x10> from [#mamba.source<"f", "out" : tensor<10x10xf32>>] as [#mamba.sign]
  mamba.weight @out_proj_shift : tensor<f32> from [#mamba.source<"f", "out_b" : tensor<f32>>] as []
}

mamba.weights @dense {
  mamba.weight @norm : tensor<10xf32> from [#mamba.source<"f", "norm" : tensor<10xf32>>] as []
  mamba.weight @in_proj : tensor<30x10xf16> from [#mamba.source<"f", "in" : tensor<30x10xf16>>] as [#mamba.cast<f16>]
  mamba.weight @in_proj_bias : tensor<30xf32> from [#mamba.source<"f", "in_b" : tensor<30xf32>>] as []
  mamba.weight @conv_weight : tensor<4x18xf32> from [#mamba.source<"f", "conv" : tensor<18x1x4xf32>>] as [#mamba.transpose]
  mamba.weight @dt_bias : tensor<2xf32> from [#mamba.source<"f", "dt" : tensor<2xf32>>] as []
  mamba.weight @A : tensor<2xf32> from [#mamba.source<"f", "A" : tensor<2xf32>>] as [#mamba.neg_exp]
  mamba.weight @D : tensor<2xf32> from [#mamba.source<"f", "D" : tensor<2xf32>>] as []
  mamba.weight @gated_norm : tensor<10xf32> from [#mamba.source<"f", "gnorm" : tensor<10xf32>>] as []
  mamba.weight @out_proj : tensor<10x10xf16> from [#mamba.source<"f", "out" : tensor<10x10xf16>>] as [#mamba.cast<f16>]
}

// CHECK-LABEL: func.func @signs_block(
// CHECK-SAME:    %[[X:.*]]: tensor<?x10xf32>, %[[CONV:.*]]: tensor<?x3x18xf32>, %[[SSM:.*]]: tensor<?x2x4x5xf32>, %[[SEQS:.*]]: !mamba.sequences)
// CHECK:         %[[NORM:.*]] = mamba.get_weight @signs::@norm
// CHECK:         %[[U:.*]] = mamba.rms_norm %[[X]], %[[NORM]] {eps = 1.000000e-01 : f32}
// CHECK:         %[[IN:.*]] = mamba.get_weight @signs::@in_proj :
// CHECK:         %[[IN_S:.*]] = mamba.get_weight @signs::@in_proj_scale
// CHECK:         %[[IN_B:.*]] = mamba.get_weight @signs::@in_proj_shift
// CHECK:         %[[P:.*]] = mamba.bit_linear %[[U]], %[[IN]] scale %[[IN_S]] shift %[[IN_B]] :
// CHECK:         %[[SPLIT:.*]]:3 = mamba.split %[[P]] : tensor<?x30xf32> -> tensor<?x10xf32>, tensor<?x18xf32>, tensor<?x2xf32>
// CHECK-NOT:     mamba.gated_rms_norm
// CHECK:         %[[XBC:.*]], %[[CONV1:.*]] = mamba.causal_conv %[[SPLIT]]#1, %[[CONV]], %{{.*}}, %[[SEQS]] bias
// CHECK:         %[[Y:.*]], %[[SSM1:.*]] = mamba.selective_scan %[[XBC]], %[[SPLIT]]#2, %[[SSM]], %{{.*}}, %[[SEQS]]
// CHECK-SAME:      dt_max = 2.000000e+00 : f32, dt_min = 5.000000e-01 : f32, groups = 1 : i64
// CHECK:         %[[G:.*]] = mamba.gated_rms_norm %[[Y]], %[[SPLIT]]#0, %{{.*}} {eps = 2.000000e-01 : f32, groups = 5 : i64}
// CHECK:         %[[H:.*]] = mamba.bit_linear %[[G]], %{{.*}} shift %{{.*}} : (tensor<?x10xf32>, !mamba.bits<10x10>, tensor<f32>)
// CHECK:         %[[R:.*]] = mamba.add %[[X]], %[[H]]
// CHECK:         return %[[R]], %[[CONV1]], %[[SSM1]]
func.func @signs_block(%x: tensor<?x10xf32>, %conv: tensor<?x3x18xf32>, %ssm: tensor<?x2x4x5xf32>, %seqs: !mamba.sequences)
    -> (tensor<?x10xf32>, tensor<?x3x18xf32>, tensor<?x2x4x5xf32>) {
  %y, %c, %s = mamba.block %x, %conv, %ssm, %seqs weights @signs
      config <d_model = 10, heads = 2, headdim = 5, groups = 1, d_state = 4, d_conv = 4, norm_groups = 5,
              eps = 0.1 : f32, gated_eps = 0.2 : f32, dt_min = 0.5 : f32, dt_max = 2.0 : f32>
      : tensor<?x10xf32>, tensor<?x3x18xf32>, tensor<?x2x4x5xf32>
  return %y, %c, %s : tensor<?x10xf32>, tensor<?x3x18xf32>, tensor<?x2x4x5xf32>
}

// Optional weights that are not there are absent operands.
// CHECK-LABEL: func.func @dense_block(
// CHECK:         mamba.linear %{{.*}}, %{{.*}} bias %{{.*}} : (tensor<?x10xf32>, tensor<30x10xf16>, tensor<30xf32>)
// CHECK:         mamba.causal_conv {{[^:]*}} : (tensor<?x18xf32>, tensor<?x3x18xf32>, tensor<4x18xf32>, !mamba.sequences) ->
// CHECK:         mamba.linear %{{.*}}, %{{.*}} : (tensor<?x10xf32>, tensor<10x10xf16>) ->
// CHECK-NOT:     mamba.block
func.func @dense_block(%x: tensor<?x10xf32>, %conv: tensor<?x3x18xf32>, %ssm: tensor<?x2x4x5xf32>, %seqs: !mamba.sequences)
    -> (tensor<?x10xf32>, tensor<?x3x18xf32>, tensor<?x2x4x5xf32>) {
  %y, %c, %s = mamba.block %x, %conv, %ssm, %seqs weights @dense
      config <d_model = 10, heads = 2, headdim = 5, groups = 1, d_state = 4, d_conv = 4, norm_groups = 1,
              eps = 0.1 : f32, gated_eps = 0.2 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x10xf32>, tensor<?x3x18xf32>, tensor<?x2x4x5xf32>
  return %y, %c, %s : tensor<?x10xf32>, tensor<?x3x18xf32>, tensor<?x2x4x5xf32>
}
