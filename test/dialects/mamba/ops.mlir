// RUN: mambit-opt %s --verify-roundtrip | FileCheck %s

// The examples of the operations' descriptions, in one model of d_model 72,
// 6 heads of 24, 2 groups, d_state 16.

// CHECK: mamba.weights @model {
mamba.weights @model {
  // CHECK-NEXT: mamba.weight @norm_f : tensor<72xf32>
  // CHECK-SAME: from [#mamba.source<"pytorch_model.bin", "backbone.norm_f.weight" : tensor<72xf16>>] as []
  mamba.weight @norm_f : tensor<72xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.norm_f.weight" : tensor<72xf16>>]
    as []
}

// CHECK: mamba.weights @layer0 {
mamba.weights @layer0 {
  // CHECK: mamba.weight @norm : tensor<72xf32>
  // CHECK-SAME: from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.norm.weight" : tensor<72xf16>>]
  // CHECK-SAME: as [#mamba.cast<f32>]
  mamba.weight @norm : tensor<72xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.norm.weight" : tensor<72xf16>>] as [#mamba.cast<f32>]
  // CHECK: mamba.weight @norm_folded
  // CHECK-SAME: as [#mamba.multiply<1>]
  mamba.weight @norm_folded : tensor<72xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.norm.weight" : tensor<72xf16>>,
          #mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.in_proj.wscale" : tensor<1x72xf32>>]
    as [#mamba.multiply<1>]
  // CHECK: mamba.weight @in_proj : !mamba.bits<358x72>
  mamba.weight @in_proj : !mamba.bits<358x72>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.in_proj.weight" : tensor<358x72xf32>>] as [#mamba.sign]
  // CHECK: mamba.weight @in_proj_scale : tensor<1x72xf32>
  mamba.weight @in_proj_scale : tensor<1x72xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.in_proj.wscale" : tensor<1x72xf32>>] as []
  // CHECK: mamba.weight @in_proj_shift : tensor<f32>
  mamba.weight @in_proj_shift : tensor<f32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.in_proj.wbias" : tensor<f32>>] as []
  // CHECK: as [#mamba.transpose]
  mamba.weight @conv_weight : tensor<4x208xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.conv1d.weight" : tensor<208x1x4xf32>>] as [#mamba.transpose]
  mamba.weight @dt_bias : tensor<6xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.dt_bias" : tensor<6xf32>>] as []
  // CHECK: as [#mamba.neg_exp]
  mamba.weight @A : tensor<6xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.A_log" : tensor<6xf32>>] as [#mamba.neg_exp]
  mamba.weight @D : tensor<6xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.D" : tensor<6xf32>>] as []
  mamba.weight @gated_norm : tensor<144xf32>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.norm.weight" : tensor<144xf32>>] as []
  // CHECK: mamba.weight @out_proj : tensor<72x144xbf16>
  // CHECK-SAME: as [#mamba.cast<bf16>]
  mamba.weight @out_proj : tensor<72x144xbf16>
    from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.out_proj" : tensor<72x144xf32>>] as [#mamba.cast<bf16>]
}

// CHECK-LABEL: func.func @weights
func.func @weights() -> (tensor<72xf32>, !mamba.bits<358x72, #mamba.bit_tile<rows = 16>>,
                         tensor<72x144xbf16, #mamba.interleave<rows = 16>>) {
  // CHECK: %norm = mamba.get_weight @layer0::@norm : tensor<72xf32>
  %norm = mamba.get_weight @layer0::@norm : tensor<72xf32>
  // CHECK: %in_proj = mamba.get_weight @layer0::@in_proj : !mamba.bits<358x72, #mamba.bit_tile<rows = 16>>
  %in = mamba.get_weight @layer0::@in_proj : !mamba.bits<358x72, #mamba.bit_tile<rows = 16>>
  // CHECK: %out_proj = mamba.get_weight @layer0::@out_proj : tensor<72x144xbf16, #mamba.interleave<rows = 16>>
  %out = mamba.get_weight @layer0::@out_proj : tensor<72x144xbf16, #mamba.interleave<rows = 16>>
  return %norm, %in, %out
    : tensor<72xf32>, !mamba.bits<358x72, #mamba.bit_tile<rows = 16>>,
      tensor<72x144xbf16, #mamba.interleave<rows = 16>>
}

// CHECK-LABEL: func.func @block
func.func @block(%x: tensor<?x72xf32>, %conv: tensor<?x3x208xf32>,
                 %ssm: tensor<?x6x16x24xf32>, %seqs: !mamba.sequences)
    -> (tensor<?x72xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>) {
  // CHECK: mamba.block %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} weights @layer0
  // CHECK-SAME: config <d_model = 72, heads = 6, headdim = 24, groups = 2, d_state = 16, d_conv = 4, norm_groups = 2,
  // CHECK-SAME: dt_max = 0x7F800000 : f32>
  // CHECK-SAME: : tensor<?x72xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @layer0
      config <d_model = 72, heads = 6, headdim = 24, groups = 2, d_state = 16, d_conv = 4,
              norm_groups = 2, eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32,
              dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x72xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>
  return %y, %conv1, %ssm1 : tensor<?x72xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>
}

// CHECK-LABEL: func.func @embedding
func.func @embedding(%ids: tensor<?xi32>, %table: tensor<1000x72xf16>) -> tensor<?x72xf32> {
  // CHECK: mamba.embedding %{{.*}}, %{{.*}} : tensor<?xi32>, tensor<1000x72xf16> -> tensor<?x72xf32>
  %y = mamba.embedding %ids, %table : tensor<?xi32>, tensor<1000x72xf16> -> tensor<?x72xf32>
  return %y : tensor<?x72xf32>
}

// CHECK-LABEL: func.func @rms_norm
func.func @rms_norm(%x: tensor<?x72xf32>, %w: tensor<72xf32>, %s: tensor<72xf32>)
    -> (tensor<?x72xf32>, tensor<?x72xf32>, tensor<?xf32>) {
  // CHECK: mamba.rms_norm %{{[a-z0-9]*}}, %{{[a-z0-9]*}} {eps = 9.99999974E-6 : f32} : (tensor<?x72xf32>, tensor<72xf32>) -> tensor<?x72xf32>
  %y = mamba.rms_norm %x, %w {eps = 1.0e-5 : f32}
     : (tensor<?x72xf32>, tensor<72xf32>) -> tensor<?x72xf32>
  // CHECK: mamba.rms_norm %{{.*}}, %{{.*}} shift %{{.*}} {eps = 9.99999974E-6 : f32, groups = 2 : i64}
  %z, %shift = mamba.rms_norm %x, %w shift %s {eps = 1.0e-5 : f32, groups = 2 : i64}
     : (tensor<?x72xf32>, tensor<72xf32>, tensor<72xf32>) -> (tensor<?x72xf32>, tensor<?xf32>)
  return %y, %z, %shift : tensor<?x72xf32>, tensor<?x72xf32>, tensor<?xf32>
}

// CHECK-LABEL: func.func @gated_rms_norm
func.func @gated_rms_norm(%x: tensor<?x144xf32>, %z: tensor<?x144xf32>, %w: tensor<144xf32>)
    -> tensor<?x144xf32> {
  // CHECK: mamba.gated_rms_norm
  // CHECK-SAME: (tensor<?x144xf32>, tensor<?x144xf32>, tensor<144xf32>) -> tensor<?x144xf32>
  %y = mamba.gated_rms_norm %x, %z, %w {eps = 1.0e-5 : f32, groups = 2 : i64}
     : (tensor<?x144xf32>, tensor<?x144xf32>, tensor<144xf32>) -> tensor<?x144xf32>
  return %y : tensor<?x144xf32>
}

// CHECK-LABEL: func.func @quantize
func.func @quantize(%x: tensor<?x72xf32>) -> (tensor<?x72xi16>, tensor<?xf32>, tensor<?x72xi8>, tensor<?xf32>) {
  // CHECK: %q, %scale = mamba.quantize %{{.*}} : tensor<?x72xf32> -> tensor<?x72xi16>, tensor<?xf32>
  %q, %scale = mamba.quantize %x : tensor<?x72xf32> -> tensor<?x72xi16>, tensor<?xf32>
  // CHECK: mamba.quantize %{{.*}} : tensor<?x72xf32> -> tensor<?x72xi8>, tensor<?xf32>
  %q8, %scale8 = mamba.quantize %x : tensor<?x72xf32> -> tensor<?x72xi8>, tensor<?xf32>
  return %q, %scale, %q8, %scale8 : tensor<?x72xi16>, tensor<?xf32>, tensor<?x72xi8>, tensor<?xf32>
}

// CHECK-LABEL: func.func @bit_linear
func.func @bit_linear(%x: tensor<?x72xf32>, %q: tensor<?x72xi16>, %w: !mamba.bits<352x72>,
                      %column: tensor<1x72xf32>, %row: tensor<352x1xf32>, %single: tensor<f32>,
                      %b: tensor<352xf32>, %act: tensor<?xf32>, %tau: tensor<?xf32>)
    -> (tensor<?x352xf32>, tensor<?x352xf32>, tensor<?x352xf32>) {
  // CHECK: mamba.bit_linear %{{[a-z0-9]*}}, %{{[a-z0-9]*}} scale %{{[a-z0-9]*}} shift %{{[a-z0-9]*}} :
  %y = mamba.bit_linear %x, %w scale %column shift %column
     : (tensor<?x72xf32>, !mamba.bits<352x72>, tensor<1x72xf32>, tensor<1x72xf32>) -> tensor<?x352xf32>
  // CHECK: mamba.bit_linear %{{[a-z0-9]*}}, %{{[a-z0-9]*}} scale %{{[a-z0-9]*}} shift %{{[a-z0-9]*}} bias %{{[a-z0-9]*}} :
  %y1 = mamba.bit_linear %x, %w scale %row shift %single bias %b
     : (tensor<?x72xf32>, !mamba.bits<352x72>, tensor<352x1xf32>, tensor<f32>, tensor<352xf32>) -> tensor<?x352xf32>
  // CHECK: mamba.bit_linear %{{[a-z0-9]*}}, %{{[a-z0-9]*}} act_scale %{{[a-z0-9]*}} token_shift %{{[a-z0-9]*}} :
  %y2 = mamba.bit_linear %q, %w act_scale %act token_shift %tau
     : (tensor<?x72xi16>, !mamba.bits<352x72>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x352xf32>
  return %y, %y1, %y2 : tensor<?x352xf32>, tensor<?x352xf32>, tensor<?x352xf32>
}

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<?x72xf32>, %w: tensor<352x72xf16>, %b: tensor<352xf32>) -> tensor<?x352xf32> {
  // CHECK: mamba.linear %{{.*}}, %{{.*}} bias %{{.*}} : (tensor<?x72xf32>, tensor<352x72xf16>, tensor<352xf32>) -> tensor<?x352xf32>
  %y = mamba.linear %x, %w bias %b
     : (tensor<?x72xf32>, tensor<352x72xf16>, tensor<352xf32>) -> tensor<?x352xf32>
  return %y : tensor<?x352xf32>
}

// CHECK-LABEL: func.func @split
func.func @split(%zxbcdt: tensor<?x358xf32>) -> (tensor<?x144xf32>, tensor<?x208xf32>, tensor<?x6xf32>) {
  // CHECK: mamba.split %{{.*}} : tensor<?x358xf32> -> tensor<?x144xf32>, tensor<?x208xf32>, tensor<?x6xf32>
  %z, %xbc, %dt = mamba.split %zxbcdt : tensor<?x358xf32> -> tensor<?x144xf32>, tensor<?x208xf32>, tensor<?x6xf32>
  return %z, %xbc, %dt : tensor<?x144xf32>, tensor<?x208xf32>, tensor<?x6xf32>
}

// CHECK-LABEL: func.func @causal_conv
func.func @causal_conv(%x: tensor<?x208xf32>, %state: tensor<?x3x208xf32>, %w: tensor<4x208xf32>,
                       %b: tensor<208xf32>, %seqs: !mamba.sequences)
    -> (tensor<?x208xf32>, tensor<?x3x208xf32>) {
  // CHECK: mamba.causal_conv %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} bias %{{.*}} :
  // CHECK-SAME: -> (tensor<?x208xf32>, tensor<?x3x208xf32>)
  %y, %state1 = mamba.causal_conv %x, %state, %w, %seqs bias %b
     : (tensor<?x208xf32>, tensor<?x3x208xf32>, tensor<4x208xf32>, !mamba.sequences, tensor<208xf32>)
       -> (tensor<?x208xf32>, tensor<?x3x208xf32>)
  return %y, %state1 : tensor<?x208xf32>, tensor<?x3x208xf32>
}

// CHECK-LABEL: func.func @selective_scan
func.func @selective_scan(%xbc: tensor<?x208xf32>, %dt: tensor<?x6xf32>, %state: tensor<?x6x16x24xf32>,
                          %dt_bias: tensor<6xf32>, %A: tensor<6xf32>, %D: tensor<6xf32>,
                          %seqs: !mamba.sequences) -> (tensor<?x144xf32>, tensor<?x6x16x24xf32>) {
  // CHECK: mamba.selective_scan
  // CHECK-SAME: {dt_max = 0x7F800000 : f32, dt_min = 0.000000e+00 : f32, groups = 2 : i64}
  %y, %state1 = mamba.selective_scan %xbc, %dt, %state, %dt_bias, %A, %D, %seqs
      {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x208xf32>, tensor<?x6xf32>, tensor<?x6x16x24xf32>, tensor<6xf32>, tensor<6xf32>,
         tensor<6xf32>, !mamba.sequences) -> (tensor<?x144xf32>, tensor<?x6x16x24xf32>)
  return %y, %state1 : tensor<?x144xf32>, tensor<?x6x16x24xf32>
}

// CHECK-LABEL: func.func @head
func.func @head(%a: tensor<?x72xf32>, %b: tensor<?x72xf32>, %rows: tensor<?xi32>, %w: tensor<1000x72xf16>)
    -> tensor<?x1000xf32> {
  // CHECK: mamba.add %{{.*}}, %{{.*}} : tensor<?x72xf32>
  %x = mamba.add %a, %b : tensor<?x72xf32>
  // CHECK: mamba.select_rows %{{.*}}, %{{.*}} : tensor<?x72xf32>, tensor<?xi32>
  %y = mamba.select_rows %x, %rows : tensor<?x72xf32>, tensor<?xi32>
  // CHECK: mamba.lm_head %{{.*}}, %{{.*}} : tensor<?x72xf32>, tensor<1000x72xf16> -> tensor<?x1000xf32>
  %logits = mamba.lm_head %y, %w : tensor<?x72xf32>, tensor<1000x72xf16> -> tensor<?x1000xf32>
  return %logits : tensor<?x1000xf32>
}

// CHECK-LABEL: func.func @sample
func.func @sample(%logits: tensor<?x1000xf32>, %random: tensor<?x2xi32>, %temperature: tensor<?xf32>, %top_k: tensor<?xi32>,
                  %top_p: tensor<?xf32>, %min_p: tensor<?xf32>) -> (tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>) {
  // CHECK: %chosen, %highest, %next_random = mamba.sample %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} limit 64 : tensor<?x1000xf32>
  %chosen, %highest, %next_random = mamba.sample %logits, %random, %temperature, %top_k, %top_p, %min_p limit 64 : tensor<?x1000xf32>
  return %chosen, %highest, %next_random : tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>
}

// CHECK-LABEL: func.func @fused_linear
func.func @fused_linear(%x: tensor<?x72xf32>, %w: !mamba.bits<352x72>, %nw: tensor<72xf32>,
                        %sw: tensor<72xf32>, %r: tensor<?x352xf32>, %rows: tensor<?xi32>,
                        %dense: tensor<352x72xbf16>, %n: tensor<352xf32>)
    -> (tensor<?x352xf32>, tensor<?x352xf32>, tensor<?x352xf32>) {
  // CHECK: mamba.fused_linear %{{.*}}, %{{.*}} norm_weight %{{.*}} shift_weight %{{.*}} residual %{{.*}} {activation_bits = 16 : i64, eps = 9.99999974E-6 : f32, norm_groups = 1 : i64}
  %y = mamba.fused_linear %x, %w norm_weight %nw shift_weight %sw residual %r
      {activation_bits = 16 : i64, norm_groups = 1 : i64, eps = 1.0e-5 : f32}
      : (tensor<?x72xf32>, !mamba.bits<352x72>, tensor<72xf32>, tensor<72xf32>, tensor<?x352xf32>)
      -> tensor<?x352xf32>
  // CHECK: mamba.fused_linear %{{[a-z0-9]*}}, %{{[a-z0-9]*}} rows %{{[a-z0-9]*}} :
  %y1 = mamba.fused_linear %x, %dense rows %rows
      : (tensor<?x72xf32>, tensor<352x72xbf16>, tensor<?xi32>) -> tensor<?x352xf32>
  // CHECK: mamba.fused_linear %{{.*}}, %{{.*}} shift_weight %{{.*}} row_scale %{{.*}} row_shift %{{.*}} bias %{{.*}} {activation_bits = 8 : i64}
  %y2 = mamba.fused_linear %x, %w shift_weight %sw row_scale %n row_shift %n bias %n
      {activation_bits = 8 : i64}
      : (tensor<?x72xf32>, !mamba.bits<352x72>, tensor<72xf32>, tensor<352xf32>, tensor<352xf32>,
         tensor<352xf32>) -> tensor<?x352xf32>
  return %y, %y1, %y2 : tensor<?x352xf32>, tensor<?x352xf32>, tensor<?x352xf32>
}

// CHECK-LABEL: func.func @scan
func.func @scan(%zxbcdt: tensor<?x358xf32>, %conv: tensor<?x3x208xf32>, %ssm: tensor<?x6x16x24xf32>,
                %conv_w: tensor<4x208xf32>, %cb: tensor<208xf32>, %dt_bias: tensor<6xf32>,
                %A: tensor<6xf32>, %D: tensor<6xf32>, %seqs: !mamba.sequences)
    -> (tensor<?x144xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>) {
  // CHECK: mamba.scan
  // CHECK-SAME: conv_bias %{{.*}} {dt_max = 0x7F800000 : f32, dt_min = 0.000000e+00 : f32, groups = 2 : i64}
  %y, %conv1, %ssm1 = mamba.scan %zxbcdt, %conv, %ssm, %conv_w, %dt_bias, %A, %D, %seqs conv_bias %cb
      {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
      : (tensor<?x358xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>, tensor<4x208xf32>,
         tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, !mamba.sequences, tensor<208xf32>)
      -> (tensor<?x144xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>)
  return %y, %conv1, %ssm1 : tensor<?x144xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>
}
