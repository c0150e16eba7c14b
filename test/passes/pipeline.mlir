// The whole road of a model of two equal layers, one by signs.
// RUN: mambit-opt %s --mambit-pipeline --verify-roundtrip | FileCheck %s
// RUN: mambit-opt %s --mambit-pipeline="activation-bits=8 state-dtype=bf16 bit-tile-rows=32 dense-interleave=8 max-tokens=7 max-sequences=3" | FileCheck %s --check-prefix=OPTIONS
// RUN: mambit-opt %s --mambit-pipeline="stop-after=form-kernels" | FileCheck %s --check-prefix=STOP
// RUN: mambit-opt %s --pass-pipeline="builtin.module(mambit-pipeline)" -o %t1
// RUN: mambit-opt %s --mambit-pipeline -o %t2
// RUN: cmp %t1 %t2

// CHECK-COUNT-5: plan.kernel
// CHECK-NOT:     plan.kernel
// CHECK:         plan.program @prefill
// CHECK-COUNT-8: plan.launch
// CHECK-NOT:     plan.launch
// CHECK:         plan.program @decode
// CHECK-COUNT-8: plan.launch
// CHECK-NOT:     plan.launch

// OPTIONS: plan.kernel @embedding_9x6_f16
// OPTIONS: #mamba.interleave<rows = 8>
// OPTIONS: plan.kernel @fused_linear_22x6_b8_norm_shift
// OPTIONS: #mamba.bit_tile<rows = 32>
// OPTIONS: plan.kernel @scan_h2_p3_g1_s4_bf16 slot_bytes
// OPTIONS: plan.program @prefill max_tokens 7 max_sequences 3 max_rows 7
// OPTIONS: plan.program @decode max_tokens 3 max_sequences 3 max_rows 3

// STOP: func.func private @embedding_9x6_f16
// STOP: call @embedding_9x6_f16
// STOP-NOT: plan

mamba.weights @layer0 {
  mamba.weight @norm : tensor<6xf32> from [#mamba.source<"f", "0.norm.weight" : tensor<6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @in_proj : !mamba.bits<22x6> from [#mamba.source<"f", "0.mixer.in_proj.weight" : tensor<22x6xf32>>] as [#mamba.sign]
  mamba.weight @in_proj_scale : tensor<1x6xf32> from [#mamba.source<"f", "0.mixer.in_proj.wscale" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @in_proj_shift : tensor<1x6xf32> from [#mamba.source<"f", "0.mixer.in_proj.wbias" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @out_proj : !mamba.bits<6x6> from [#mamba.source<"f", "0.mixer.out_proj.weight" : tensor<6x6xf32>>] as [#mamba.sign]
  mamba.weight @out_proj_scale : tensor<1x6xf32> from [#mamba.source<"f", "0.mixer.out_proj.wscale" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @out_proj_shift : tensor<1x6xf32> from [#mamba.source<"f", "0.mixer.out_proj.wbias" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @conv_weight : tensor<4x14xf32> from [#mamba.source<"f", "0.mixer.conv1d.weight" : tensor<14x1x4xf32>>] as [#mamba.transpose, #mamba.cast<f32>]
  mamba.weight @conv_bias : tensor<14xf32> from [#mamba.source<"f", "0.mixer.conv1d.bias" : tensor<14xf32>>] as [#mamba.cast<f32>]
  mamba.weight @dt_bias : tensor<2xf32> from [#mamba.source<"f", "0.mixer.dt_bias" : tensor<2xf32>>] as [#mamba.cast<f32>]
  mamba.weight @A : tensor<2xf32> from [#mamba.source<"f", "0.mixer.A_log" : tensor<2xf32>>] as [#mamba.neg_exp, #mamba.cast<f32>]
  mamba.weight @D : tensor<2xf32> from [#mamba.source<"f", "0.mixer.D" : tensor<2xf32>>] as [#mamba.cast<f32>]
  mamba.weight @gated_norm : tensor<6xf32> from [#mamba.source<"f", "0.mixer.norm.weight" : tensor<6xf32>>] as [#mamba.cast<f32>]
}
mamba.weights @layer1 {
  mamba.weight @norm : tensor<6xf32> from [#mamba.source<"f", "1.norm.weight" : tensor<6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @in_proj : !mamba.bits<22x6> from [#mamba.source<"f", "1.mixer.in_proj.weight" : tensor<22x6xf32>>] as [#mamba.sign]
  mamba.weight @in_proj_scale : tensor<1x6xf32> from [#mamba.source<"f", "1.mixer.in_proj.wscale" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @in_proj_shift : tensor<1x6xf32> from [#mamba.source<"f", "1.mixer.in_proj.wbias" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @out_proj : !mamba.bits<6x6> from [#mamba.source<"f", "1.mixer.out_proj.weight" : tensor<6x6xf32>>] as [#mamba.sign]
  mamba.weight @out_proj_scale : tensor<1x6xf32> from [#mamba.source<"f", "1.mixer.out_proj.wscale" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @out_proj_shift : tensor<1x6xf32> from [#mamba.source<"f", "1.mixer.out_proj.wbias" : tensor<1x6xf32>>] as [#mamba.cast<f32>]
  mamba.weight @conv_weight : tensor<4x14xf32> from [#mamba.source<"f", "1.mixer.conv1d.weight" : tensor<14x1x4xf32>>] as [#mamba.transpose, #mamba.cast<f32>]
  mamba.weight @conv_bias : tensor<14xf32> from [#mamba.source<"f", "1.mixer.conv1d.bias" : tensor<14xf32>>] as [#mamba.cast<f32>]
  mamba.weight @dt_bias : tensor<2xf32> from [#mamba.source<"f", "1.mixer.dt_bias" : tensor<2xf32>>] as [#mamba.cast<f32>]
  mamba.weight @A : tensor<2xf32> from [#mamba.source<"f", "1.mixer.A_log" : tensor<2xf32>>] as [#mamba.neg_exp, #mamba.cast<f32>]
  mamba.weight @D : tensor<2xf32> from [#mamba.source<"f", "1.mixer.D" : tensor<2xf32>>] as [#mamba.cast<f32>]
  mamba.weight @gated_norm : tensor<6xf32> from [#mamba.source<"f", "1.mixer.norm.weight" : tensor<6xf32>>] as [#mamba.cast<f32>]
}
mamba.weights @model {
  mamba.weight @embedding : tensor<9x6xf16> from [#mamba.source<"f", "embedding.weight" : tensor<9x6xf32>>] as [#mamba.cast<f16>]
  mamba.weight @norm_f : tensor<6xf32> from [#mamba.source<"f", "norm_f.weight" : tensor<6xf32>>] as [#mamba.cast<f32>]
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %c0: tensor<?x3x14xf32>, %s0: tensor<?x2x4x3xf32>, %c1: tensor<?x3x14xf32>, %s1: tensor<?x2x4x3xf32>)
    -> (tensor<?x9xf32>, tensor<?x3x14xf32>, tensor<?x2x4x3xf32>, tensor<?x3x14xf32>, tensor<?x2x4x3xf32>) {
  %e = mamba.get_weight @model::@embedding : tensor<9x6xf16>
  %x0 = mamba.embedding %ids, %e : tensor<?xi32>, tensor<9x6xf16> -> tensor<?x6xf32>
  %x1, %nc0, %ns0 = mamba.block %x0, %c0, %s0, %seqs
      weights @layer0 config <d_model = 6, heads = 2, headdim = 3, groups = 1, d_state = 4, d_conv = 4,
              norm_groups = 1, eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x6xf32>, tensor<?x3x14xf32>, tensor<?x2x4x3xf32>
  %x2, %nc1, %ns1 = mamba.block %x1, %c1, %s1, %seqs
      weights @layer1 config <d_model = 6, heads = 2, headdim = 3, groups = 1, d_state = 4, d_conv = 4,
              norm_groups = 1, eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x6xf32>, tensor<?x3x14xf32>, tensor<?x2x4x3xf32>
  %sel = mamba.select_rows %x2, %rows : tensor<?x6xf32>, tensor<?xi32>
  %nf = mamba.get_weight @model::@norm_f : tensor<6xf32>
  %u = mamba.rms_norm %sel, %nf {eps = 1.0e-5 : f32} : (tensor<?x6xf32>, tensor<6xf32>) -> tensor<?x6xf32>
  %hw = mamba.get_weight @model::@embedding : tensor<9x6xf16>
  %lg = mamba.lm_head %u, %hw : tensor<?x6xf32>, tensor<9x6xf16> -> tensor<?x9xf32>
  return %lg, %nc0, %ns0, %nc1, %ns1 : tensor<?x9xf32>, tensor<?x3x14xf32>, tensor<?x2x4x3xf32>, tensor<?x3x14xf32>, tensor<?x2x4x3xf32>
}
