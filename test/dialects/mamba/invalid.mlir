// RUN: mambit-opt %s -split-input-file -verify-diagnostics

// One test a constraint: its name ends in the constraint's label.

//===----------------------------------------------------------------------===//
// Attributes and types
//===----------------------------------------------------------------------===//

// expected-error @below {{expected rows to be a positive multiple of 16, found 8}}
func.func private @bit_tile_c1() attributes {x = #mamba.bit_tile<rows = 8>}

// -----

// expected-error @below {{expected rows to be positive, found 0}}
func.func private @interleave_c1() attributes {x = #mamba.interleave<rows = 0>}

// -----

// expected-error @below {{expected a static matrix under #mamba.interleave<rows = 16>}}
func.func private @interleave_c2(tensor<8xf32, #mamba.interleave<rows = 16>>)

// -----

// expected-error @below {{expected a static tensor of f16, bf16, f32, f64, i8 or i32, found 'tensor<?xf32>'}}
func.func private @source_c1_dynamic() attributes {x = #mamba.source<"m", "a" : tensor<?xf32>>}

// -----

// expected-error @below {{expected a static tensor of f16, bf16, f32, f64, i8 or i32, found 'tensor<8xi1>'}}
func.func private @source_c1_element() attributes {x = #mamba.source<"m", "a" : tensor<8xi1>>}

// -----

// expected-error @below {{expected f16, bf16 or f32, found 'f64'}}
func.func private @cast_c1() attributes {x = #mamba.cast<f64>}

// -----

// expected-error @below {{expected headdim to be positive, found 0}}
func.func private @block_config_c1() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 0, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
  eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>}

// -----

// expected-error @below {{expected d_conv to be at least 2, found 1}}
func.func private @block_config_c2() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 1, norm_groups = 2,
  eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>}

// -----

// expected-error @below {{expected groups to divide heads, found 3 groups and 4 heads}}
func.func private @block_config_c3() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 3, d_state = 2, d_conv = 4, norm_groups = 2,
  eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>}

// -----

// expected-error @below {{expected norm_groups to divide d_inner, found 5 groups of 12 channels}}
func.func private @block_config_c4() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 5,
  eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>}

// -----

// expected-error @below {{expected eps to be an f32, finite and not negative}}
func.func private @block_config_c5_eps() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
  eps = -1.0 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>}

// -----

// expected-error @below {{expected gated_eps to be an f32, finite and not negative}}
func.func private @block_config_c5_type() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
  eps = 1.0e-5 : f32, gated_eps = 1.0 : f64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>}

// -----

// expected-error @below {{expected dt_max to be an f32 and not negative}}
func.func private @block_config_c5_nan() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
  eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7FC00000 : f32>}

// -----

// expected-error @below {{expected dt_min to be at most dt_max}}
func.func private @block_config_c5_order() attributes {x = #mamba.block_config<
  d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
  eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 2.0 : f32, dt_max = 1.0 : f32>}

// -----

// expected-error @below {{expected rows and columns to be positive, found 0 and 8}}
func.func private @bits_c1(!mamba.bits<0x8>)

// -----

// expected-error @below {{expected rows x columns, found 3 dimensions}}
func.func private @bits_syntax(!mamba.bits<2x4x8>)

// -----

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

mamba.weights @weights_c1 {
  // expected-error @below {{in a group of weights, expected mamba.weight}}
  mamba.weights @inner {}
}

// -----

mamba.weights @w {
  // expected-error @below {{expected at least one source}}
  mamba.weight @weight_c1 : tensor<8xf32>
    from [] as []
}

// -----

mamba.weights @w {
  // expected-error @below {{expected a recipe step, found 7 : i64}}
  mamba.weight @weight_c2 : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as [7]
}

// -----

mamba.weights @w {
  // expected-error @below {{#mamba.multiply<0> names no source among 1 to 0}}
  mamba.weight @weight_c3_index : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as [#mamba.multiply<0>]
}

// -----

mamba.weights @w {
  // expected-error @below {{#mamba.multiply<2> names no source among 1 to 1}}
  mamba.weight @weight_c3_missing : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>, #mamba.source<"m", "b" : tensor<8xf32>>] as [#mamba.multiply<2>]
}

// -----

mamba.weights @w {
  // expected-error @below {{#mamba.multiply<1> expected 1 or 8 elements, found 4}}
  mamba.weight @weight_c3_count : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>, #mamba.source<"m", "b" : tensor<4xf32>>] as [#mamba.multiply<1>]
}

// -----

mamba.weights @w {
  // expected-error @below {{#mamba.transpose expected a matrix, found shape 8}}
  mamba.weight @weight_c4 : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8x1xf32>>] as [#mamba.transpose]
}

// -----

mamba.weights @w {
  // expected-error @below {{expected !mamba.bits or a static tensor of f32, f16 or bf16, without a layout}}
  mamba.weight @weight_c5_layout : !mamba.bits<4x8, #mamba.bit_tile<rows = 16>>
    from [#mamba.source<"m", "a" : tensor<4x8xf32>>] as [#mamba.sign]
}

// -----

mamba.weights @w {
  // expected-error @below {{expected !mamba.bits or a static tensor of f32, f16 or bf16, without a layout}}
  mamba.weight @weight_c5_dynamic : tensor<?xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as []
}

// -----

mamba.weights @w {
  // expected-error @below {{expected !mamba.bits or a static tensor of f32, f16 or bf16, without a layout}}
  mamba.weight @weight_c5_element : tensor<8xi32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as []
}

// -----

mamba.weights @w {
  // expected-error @below {{expected a recipe of shape 4x8, found 8x4}}
  mamba.weight @weight_c6 : tensor<4x8xf32>
    from [#mamba.source<"m", "a" : tensor<8x1x4xf32>>] as []
}

// -----

mamba.weights @w {
  // expected-error @below {{expected a recipe of shape 4x8, found 8x4}}
  mamba.weight @weight_c6_transposed : !mamba.bits<4x8>
    from [#mamba.source<"m", "a" : tensor<4x8xf32>>] as [#mamba.transpose, #mamba.sign]
}

// -----

mamba.weights @w {
  // expected-error @below {{expected a recipe of '!mamba.bits<4x8>' to end in #mamba.sign}}
  mamba.weight @weight_c7_sign : !mamba.bits<4x8>
    from [#mamba.source<"m", "a" : tensor<4x8xf32>>] as []
}

// -----

mamba.weights @w {
  // expected-error @below {{expected a recipe that ends in 'f16', found 'f32'}}
  mamba.weight @weight_c7_cast : tensor<8xf16>
    from [#mamba.source<"m", "a" : tensor<8xf16>>] as []
}

// -----

mamba.weights @w {
  // expected-error @below {{expected a recipe that ends in 'f32', found 'bf16'}}
  mamba.weight @weight_c7_narrow : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as [#mamba.cast<bf16>]
}

// -----

func.func @get_weight_c1() {
  // expected-error @below {{@w::@norm does not name a mamba.weight}}
  %w = mamba.get_weight @w::@norm : tensor<8xf32>
  return
}

// -----

mamba.weights @w {
  // expected-note @below {{the weight is here}}
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "a" : tensor<8xf32>>] as []
}
func.func @get_weight_c2() {
  // expected-error @below {{expected type 'tensor<8xf32>', found 'tensor<9xf32>'}}
  %w = mamba.get_weight @w::@norm : tensor<9xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// The block
//===----------------------------------------------------------------------===//

func.func @block_c1(%x: tensor<?x9xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected x of shape ?x8, found ?x9}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x9xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

func.func @block_c2(%x: tensor<?x8xf32>, %conv: tensor<?x4x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected conv_state of shape ?x3x20, found ?x4x20}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x4x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

func.func @block_c3(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x3x2xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected ssm_state of shape ?x4x2x3, found ?x4x3x2}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x3x2xf32>
  return
}

// -----

func.func @block_c4(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{@w does not name a mamba.weights}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

// expected-note @below {{the group is here}}
mamba.weights @w {
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
  mamba.weight @in_proj : !mamba.bits<36x8> from [#mamba.source<"m", "in_proj" : tensor<36x8xf32>>] as [#mamba.sign]
  mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv_weight" : tensor<4x20xf32>>] as []
  mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
  mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A" : tensor<4xf32>>] as []
  mamba.weight @gated_norm : tensor<12xf32> from [#mamba.source<"m", "gated_norm" : tensor<12xf32>>] as []
  mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
}
func.func @block_c5_missing(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected a weight named D in @w}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

mamba.weights @w {
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
  mamba.weight @in_proj : !mamba.bits<36x8> from [#mamba.source<"m", "in_proj" : tensor<36x8xf32>>] as [#mamba.sign]
  mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv_weight" : tensor<4x20xf32>>] as []
  mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
  mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A" : tensor<4xf32>>] as []
  mamba.weight @D : tensor<4xf32> from [#mamba.source<"m", "D" : tensor<4xf32>>] as []
  // expected-note @below {{the weight is here}}
  mamba.weight @gated_norm : tensor<13xf32> from [#mamba.source<"m", "gated_norm" : tensor<13xf32>>] as []
  mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
}
func.func @block_c5_vector(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected gated_norm of type 'tensor<12xf32>', found 'tensor<13xf32>'}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

mamba.weights @w {
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
  // expected-note @below {{the weight is here}}
  mamba.weight @in_proj : !mamba.bits<35x8> from [#mamba.source<"m", "in_proj" : tensor<35x8xf32>>] as [#mamba.sign]
  mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv_weight" : tensor<4x20xf32>>] as []
  mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
  mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A" : tensor<4xf32>>] as []
  mamba.weight @D : tensor<4xf32> from [#mamba.source<"m", "D" : tensor<4xf32>>] as []
  mamba.weight @gated_norm : tensor<12xf32> from [#mamba.source<"m", "gated_norm" : tensor<12xf32>>] as []
  mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
}
func.func @block_c5_matrix(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected in_proj to be 36 x 8, found '!mamba.bits<35x8>'}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

mamba.weights @w {
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
  mamba.weight @in_proj : !mamba.bits<36x8> from [#mamba.source<"m", "in_proj" : tensor<36x8xf32>>] as [#mamba.sign]
  mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv_weight" : tensor<4x20xf32>>] as []
  mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
  mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A" : tensor<4xf32>>] as []
  mamba.weight @D : tensor<4xf32> from [#mamba.source<"m", "D" : tensor<4xf32>>] as []
  mamba.weight @gated_norm : tensor<12xf32> from [#mamba.source<"m", "gated_norm" : tensor<12xf32>>] as []
  mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
  mamba.weight @in_proj_scale : tensor<1x9xf32> from [#mamba.source<"m", "in_proj_scale" : tensor<1x9xf32>>] as []
}
func.func @block_c5_scale(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected in_proj_scale of shape 1x8, 36x1 or single, found 1x9}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

mamba.weights @w {
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
  mamba.weight @in_proj : !mamba.bits<36x8> from [#mamba.source<"m", "in_proj" : tensor<36x8xf32>>] as [#mamba.sign]
  mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv_weight" : tensor<4x20xf32>>] as []
  mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
  mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A" : tensor<4xf32>>] as []
  mamba.weight @D : tensor<4xf32> from [#mamba.source<"m", "D" : tensor<4xf32>>] as []
  mamba.weight @gated_norm : tensor<12xf32> from [#mamba.source<"m", "gated_norm" : tensor<12xf32>>] as []
  mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
  // expected-note @below {{the weight is here}}
  mamba.weight @out_proj_bias : tensor<9xf32> from [#mamba.source<"m", "out_proj_bias" : tensor<9xf32>>] as []
}
func.func @block_c5_bias(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected out_proj_bias of type 'tensor<8xf32>', found 'tensor<9xf32>'}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

mamba.weights @w {
  mamba.weight @norm : tensor<8xf32> from [#mamba.source<"m", "norm" : tensor<8xf32>>] as []
  mamba.weight @in_proj : !mamba.bits<36x8> from [#mamba.source<"m", "in_proj" : tensor<36x8xf32>>] as [#mamba.sign]
  mamba.weight @conv_weight : tensor<4x20xf32> from [#mamba.source<"m", "conv_weight" : tensor<4x20xf32>>] as []
  mamba.weight @dt_bias : tensor<4xf32> from [#mamba.source<"m", "dt_bias" : tensor<4xf32>>] as []
  mamba.weight @A : tensor<4xf32> from [#mamba.source<"m", "A" : tensor<4xf32>>] as []
  mamba.weight @D : tensor<4xf32> from [#mamba.source<"m", "D" : tensor<4xf32>>] as []
  mamba.weight @gated_norm : tensor<12xf32> from [#mamba.source<"m", "gated_norm" : tensor<12xf32>>] as []
  mamba.weight @out_proj : tensor<8x12xf32> from [#mamba.source<"m", "out_proj" : tensor<8x12xf32>>] as []
  // expected-note @below {{the weight is here}}
  mamba.weight @out_proj_shift : tensor<f32> from [#mamba.source<"m", "out_proj_shift" : tensor<f32>>] as []
}
func.func @block_c5_dense(%x: tensor<?x8xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{out_proj_shift needs out_proj to be packed signs}}
  %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @w
      config <d_model = 8, heads = 4, headdim = 3, groups = 2, d_state = 2, d_conv = 4, norm_groups = 2,
              eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
      : tensor<?x8xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// What a block expands to
//===----------------------------------------------------------------------===//

func.func @embedding_c1(%ids: tensor<?xi32>, %table: tensor<5x8xf16>) {
  // expected-error @below {{expected y of shape ?x8, found ?x9}}
  %y = mamba.embedding %ids, %table : tensor<?xi32>, tensor<5x8xf16> -> tensor<?x9xf32>
  return
}

// -----

func.func @static_tokens(%x: tensor<4x8xf32>, %rows: tensor<?xi32>) {
  // expected-error @below {{operand #0 must be activations}}
  %y = mamba.select_rows %x, %rows : tensor<4x8xf32>, tensor<?xi32>
  return
}

// -----

func.func @dynamic_weight(%ids: tensor<?xi32>, %table: tensor<?x8xf16>) {
  // expected-error @below {{operand #1 must be dense matrix}}
  %y = mamba.embedding %ids, %table : tensor<?xi32>, tensor<?x8xf16> -> tensor<?x8xf32>
  return
}

// -----

func.func @rms_norm_c1_weight(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error @below {{expected weight of shape 8, found 9}}
  %r = mamba.rms_norm %x, %w {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<9xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @rms_norm_c1_shift_weight(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %s: tensor<9xf32>) {
  // expected-error @below {{expected shift_weight of shape 8, found 9}}
  %r:2 = mamba.rms_norm %x, %w shift %s {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<9xf32>) -> (tensor<?x8xf32>, tensor<?xf32>)
  return
}

// -----

func.func @rms_norm_c1_y(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected y of shape ?x8, found ?x9}}
  %r = mamba.rms_norm %x, %w {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x9xf32>
  return
}

// -----

func.func @rms_norm_c2(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected groups to divide 8, found 3}}
  %r = mamba.rms_norm %x, %w {eps = 1.0e-5 : f32, groups = 3 : i64}
     : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @rms_norm_c3(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected eps to be finite and not negative}}
  %r = mamba.rms_norm %x, %w {eps = -1.0 : f32}
     : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @rms_norm_c4(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %s: tensor<8xf32>) {
  // expected-error @below {{expected a shift result just where there is a shift operand}}
  %r = mamba.rms_norm %x, %w shift %s {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gated_rms_norm_c1_weight(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error @below {{expected weight of shape 8, found 9}}
  %r = mamba.gated_rms_norm %x, %z, %w {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<9xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gated_rms_norm_c1_shift_weight(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<8xf32>, %s: tensor<9xf32>) {
  // expected-error @below {{expected shift_weight of shape 8, found 9}}
  %r:2 = mamba.gated_rms_norm %x, %z, %w shift %s {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>, tensor<9xf32>) -> (tensor<?x8xf32>, tensor<?xf32>)
  return
}

// -----

func.func @gated_rms_norm_c1_y(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected y of shape ?x8, found ?x9}}
  %r = mamba.gated_rms_norm %x, %z, %w {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x9xf32>
  return
}

// -----

func.func @gated_rms_norm_c2(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected groups to divide 8, found 3}}
  %r = mamba.gated_rms_norm %x, %z, %w {eps = 1.0e-5 : f32, groups = 3 : i64}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gated_rms_norm_c3(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected eps to be finite and not negative}}
  %r = mamba.gated_rms_norm %x, %z, %w {eps = -1.0 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gated_rms_norm_c4(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<8xf32>, %s: tensor<8xf32>) {
  // expected-error @below {{expected a shift result just where there is a shift operand}}
  %r = mamba.gated_rms_norm %x, %z, %w shift %s {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gated_rms_norm_c5(%x: tensor<?x8xf32>, %z: tensor<?x9xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{expected z of shape ?x8, found ?x9}}
  %r = mamba.gated_rms_norm %x, %z, %w {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @quantize_c1(%x: tensor<?x8xf32>) {
  // expected-error @below {{expected q of shape ?x8, found ?x9}}
  %q, %scale = mamba.quantize %x : tensor<?x8xf32> -> tensor<?x9xi16>, tensor<?xf32>
  return
}

// -----

func.func @quantize_type(%x: tensor<?x8xf32>) {
  // expected-error @below {{must be quantised activations}}
  %q, %scale = mamba.quantize %x : tensor<?x8xf32> -> tensor<?x8xi32>, tensor<?xf32>
  return
}

// -----

func.func @bit_linear_c1(%x: tensor<?x9xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected x of shape ?x8, found ?x9}}
  %r = mamba.bit_linear %x, %w
     : (tensor<?x9xf32>, !mamba.bits<4x8>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c2_y(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected y of shape ?x4, found ?x5}}
  %r = mamba.bit_linear %x, %w
     : (tensor<?x8xf32>, !mamba.bits<4x8>) -> tensor<?x5xf32>
  return
}

// -----

func.func @bit_linear_c2_bias(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %bias: tensor<5xf32>) {
  // expected-error @below {{expected bias of shape 4, found 5}}
  %r = mamba.bit_linear %x, %w bias %bias
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<5xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c3_scale(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %scale: tensor<8x1xf32>) {
  // expected-error @below {{expected scale of shape 1x8, 4x1 or single, found 8x1}}
  %r = mamba.bit_linear %x, %w scale %scale
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<8x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c3_shift(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %shift: tensor<1x4xf32>) {
  // expected-error @below {{expected shift of shape 1x8, 4x1 or single, found 1x4}}
  %r = mamba.bit_linear %x, %w shift %shift
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<1x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c4_absent(%x: tensor<?x8xi8>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected act_scale just where x is quantised}}
  %r = mamba.bit_linear %x, %w
     : (tensor<?x8xi8>, !mamba.bits<4x8>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c4_present(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %act_scale: tensor<?xf32>) {
  // expected-error @below {{expected act_scale just where x is quantised}}
  %r = mamba.bit_linear %x, %w act_scale %act_scale
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<?xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c5(%x: tensor<?x8xi16>, %w: !mamba.bits<4x8>, %scale: tensor<1x8xf32>, %act_scale: tensor<?xf32>) {
  // expected-error @below {{expected no column scale on quantised activations}}
  %r = mamba.bit_linear %x, %w scale %scale act_scale %act_scale
     : (tensor<?x8xi16>, !mamba.bits<4x8>, tensor<1x8xf32>, tensor<?xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c6(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %shift: tensor<1x8xf32>, %token_shift: tensor<?xf32>) {
  // expected-error @below {{expected no column shift beside token_shift}}
  %r = mamba.bit_linear %x, %w shift %shift token_shift %token_shift
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<1x8xf32>, tensor<?xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @bit_linear_c7(%x: tensor<?x8xi16>, %w: !mamba.bits<4x8>, %shift: tensor<4x1xf32>, %act_scale: tensor<?xf32>) {
  // expected-error @below {{expected token_shift for the shift of quantised activations}}
  %r = mamba.bit_linear %x, %w shift %shift act_scale %act_scale
     : (tensor<?x8xi16>, !mamba.bits<4x8>, tensor<4x1xf32>, tensor<?xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @linear_c1(%x: tensor<?x9xf32>, %w: tensor<4x8xf32>) {
  // expected-error @below {{expected x of shape ?x8, found ?x9}}
  %r = mamba.linear %x, %w
     : (tensor<?x9xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @linear_c2_y(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @below {{expected y of shape ?x4, found ?x5}}
  %r = mamba.linear %x, %w
     : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @linear_c2_bias(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>, %b: tensor<5xf32>) {
  // expected-error @below {{expected bias of shape 4, found 5}}
  %r = mamba.linear %x, %w bias %b
     : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<5xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @split_c1(%x: tensor<?x8xf32>) {
  // expected-error @below {{expected the parts to add up to 8 features, found 7}}
  %r:2 = mamba.split %x : tensor<?x8xf32> -> tensor<?x4xf32>, tensor<?x3xf32>
  return
}

// -----

func.func @causal_conv_c1_x(%x: tensor<?x9xf32>, %state: tensor<?x3x8xf32>, %w: tensor<4x8xf32>, %seqs: !mamba.sequences, %b: tensor<8xf32>) {
  // expected-error @below {{expected x of shape ?x8, found ?x9}}
  %r:2 = mamba.causal_conv %x, %state, %w, %seqs bias %b
     : (tensor<?x9xf32>, tensor<?x3x8xf32>, tensor<4x8xf32>, !mamba.sequences, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x3x8xf32>)
  return
}

// -----

func.func @causal_conv_c1_y(%x: tensor<?x8xf32>, %state: tensor<?x3x8xf32>, %w: tensor<4x8xf32>, %seqs: !mamba.sequences, %b: tensor<8xf32>) {
  // expected-error @below {{expected y of shape ?x8, found ?x9}}
  %r:2 = mamba.causal_conv %x, %state, %w, %seqs bias %b
     : (tensor<?x8xf32>, tensor<?x3x8xf32>, tensor<4x8xf32>, !mamba.sequences, tensor<8xf32>) -> (tensor<?x9xf32>, tensor<?x3x8xf32>)
  return
}

// -----

func.func @causal_conv_c1_bias(%x: tensor<?x8xf32>, %state: tensor<?x3x8xf32>, %w: tensor<4x8xf32>, %seqs: !mamba.sequences, %b: tensor<9xf32>) {
  // expected-error @below {{expected bias of shape 8, found 9}}
  %r:2 = mamba.causal_conv %x, %state, %w, %seqs bias %b
     : (tensor<?x8xf32>, tensor<?x3x8xf32>, tensor<4x8xf32>, !mamba.sequences, tensor<9xf32>) -> (tensor<?x8xf32>, tensor<?x3x8xf32>)
  return
}

// -----

func.func @causal_conv_c2_state(%x: tensor<?x8xf32>, %state: tensor<?x4x8xf32>, %w: tensor<4x8xf32>, %seqs: !mamba.sequences, %b: tensor<8xf32>) {
  // expected-error @below {{expected state of shape ?x3x8, found ?x4x8}}
  %r:2 = mamba.causal_conv %x, %state, %w, %seqs bias %b
     : (tensor<?x8xf32>, tensor<?x4x8xf32>, tensor<4x8xf32>, !mamba.sequences, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x3x8xf32>)
  return
}

// -----

func.func @causal_conv_c2_new_state(%x: tensor<?x8xf32>, %state: tensor<?x3x8xf32>, %w: tensor<4x8xf32>, %seqs: !mamba.sequences, %b: tensor<8xf32>) {
  // expected-error @below {{expected new_state of shape ?x3x8, found ?x2x8}}
  %r:2 = mamba.causal_conv %x, %state, %w, %seqs bias %b
     : (tensor<?x8xf32>, tensor<?x3x8xf32>, tensor<4x8xf32>, !mamba.sequences, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x2x8xf32>)
  return
}

// -----

func.func @selective_scan_c1_dt_bias(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<5xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected dt_bias of shape 4, found 5}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<5xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c1_a(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<5xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected A of shape 4, found 5}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<5xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c1_d(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<12xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected D of shape 4, found 12}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<12xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c2(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected groups to divide 4, found 3}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 3 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c3(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected 0 <= dt_min <= dt_max}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 2.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c4_xbc(%xbc: tensor<?x16xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected xbc of shape ?x20, found ?x16}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c4_dt(%xbc: tensor<?x20xf32>, %dt: tensor<?x2xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected dt of shape ?x4, found ?x2}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x2xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c5_y(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected y of shape ?x12, found ?x20}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @selective_scan_c5_state(%xbc: tensor<?x20xf32>, %dt: tensor<?x4xf32>, %state: tensor<?x4x2x3xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences) {
  // expected-error @below {{expected new_state of type 'tensor<?x4x2x3xf32>', found 'tensor<?x4x3x2xf32>'}}
  %r:2 = mamba.selective_scan %xbc, %dt, %state, %bias, %A, %D, %seqs {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x20xf32>, tensor<?x4xf32>, tensor<?x4x2x3xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences) -> (tensor<?x12xf32>, tensor<?x4x3x2xf32>)
  return
}

// -----

func.func @lm_head_c1(%x: tensor<?x9xf32>, %w: tensor<5x8xf16>) {
  // expected-error @below {{expected x of shape ?x8, found ?x9}}
  %r = mamba.lm_head %x, %w : tensor<?x9xf32>, tensor<5x8xf16> -> tensor<?x5xf32>
  return
}

// -----

func.func @lm_head_c2(%x: tensor<?x8xf32>, %w: tensor<5x8xf16>) {
  // expected-error @below {{expected logits of shape ?x5, found ?x6}}
  %r = mamba.lm_head %x, %w : tensor<?x8xf32>, tensor<5x8xf16> -> tensor<?x6xf32>
  return
}

// -----

func.func @sample_c1(%x: tensor<?x8xf32>, %state: tensor<?x2xi32>, %real: tensor<?xf32>, %count: tensor<?xi32>) {
  // expected-error @below {{expected a limit between 1 and 8, found 9}}
  %t, %h, %n = mamba.sample %x, %state, %real, %count, %real, %real limit 9 : tensor<?x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Fused operations
//===----------------------------------------------------------------------===//

func.func @fused_linear_c1_x(%x: tensor<?x9xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected x of shape ?x8, found ?x9}}
  %r = mamba.fused_linear %x, %w
     : (tensor<?x9xf32>, !mamba.bits<4x8>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c1_norm_weight(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %norm_weight: tensor<9xf32>) {
  // expected-error @below {{expected norm_weight of shape 8, found 9}}
  %r = mamba.fused_linear %x, %w norm_weight %norm_weight
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<9xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c1_shift_weight(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %shift_weight: tensor<9xf32>) {
  // expected-error @below {{expected shift_weight of shape 8, found 9}}
  %r = mamba.fused_linear %x, %w shift_weight %shift_weight
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<9xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c2_y(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected y of shape ?x4, found ?x5}}
  %r = mamba.fused_linear %x, %w
     : (tensor<?x8xf32>, !mamba.bits<4x8>) -> tensor<?x5xf32>
  return
}

// -----

func.func @fused_linear_c2_residual(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %residual: tensor<?x8xf32>) {
  // expected-error @below {{expected residual of shape ?x4, found ?x8}}
  %r = mamba.fused_linear %x, %w residual %residual
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<?x8xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c2_row_scale(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %row_scale: tensor<5xf32>) {
  // expected-error @below {{expected row_scale of shape 4, found 5}}
  %r = mamba.fused_linear %x, %w row_scale %row_scale
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<5xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c2_row_shift(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %shift_weight: tensor<8xf32>, %row_shift: tensor<5xf32>) {
  // expected-error @below {{expected row_shift of shape 4, found 5}}
  %r = mamba.fused_linear %x, %w shift_weight %shift_weight row_shift %row_shift
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<8xf32>, tensor<5xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c2_bias(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %bias: tensor<5xf32>) {
  // expected-error @below {{expected bias of shape 4, found 5}}
  %r = mamba.fused_linear %x, %w bias %bias
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<5xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c3_bits(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected activation_bits of 8, 16 or 32, found 4}}
  %r = mamba.fused_linear %x, %w {activation_bits = 4 : i64}
     : (tensor<?x8xf32>, !mamba.bits<4x8>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c3_dense(%x: tensor<?x8xf32>, %w: tensor<4x8xf16>) {
  // expected-error @below {{expected activation_bits of 32 for a dense weight, found 16}}
  %r = mamba.fused_linear %x, %w {activation_bits = 16 : i64}
     : (tensor<?x8xf32>, tensor<4x8xf16>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c4(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected norm_groups to divide 8, found 3}}
  %r = mamba.fused_linear %x, %w {norm_groups = 3 : i64}
     : (tensor<?x8xf32>, !mamba.bits<4x8>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c5(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>) {
  // expected-error @below {{expected eps to be finite and not negative}}
  %r = mamba.fused_linear %x, %w {norm_groups = 1 : i64, eps = 0x7F800000 : f32}
     : (tensor<?x8xf32>, !mamba.bits<4x8>) -> tensor<?x4xf32>
  return
}

// -----

func.func @fused_linear_c6(%x: tensor<?x8xf32>, %w: !mamba.bits<4x8>, %row_shift: tensor<4xf32>) {
  // expected-error @below {{expected shift_weight beside row_shift}}
  %r = mamba.fused_linear %x, %w row_shift %row_shift
     : (tensor<?x8xf32>, !mamba.bits<4x8>, tensor<4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @scan_c1_dt_bias(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<5xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected dt_bias of shape 4, found 5}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<5xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c1_a(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<5xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected A of shape 4, found 5}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<5xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c1_d(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<12xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected D of shape 4, found 12}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<12xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c2(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected groups to divide 4, found 0}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 0 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c3(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected 0 <= dt_min <= dt_max}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = -1.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c4(%zxbcdt: tensor<?x32xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected zxbcdt of shape ?x36, found ?x32}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x32xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c5_weight(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x12xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected conv_weight of shape 4x20, found 4x12}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x12xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c5_bias(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<12xf32>) {
  // expected-error @below {{expected conv_bias of shape 20, found 12}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<12xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c5_state(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x4x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected conv_state of shape ?x3x20, found ?x4x20}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x4x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c6_y(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected y of shape ?x12, found ?x20}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x20xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c6_conv_state(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected new_conv_state of type 'tensor<?x3x20xf32>', found 'tensor<?x3x12xf32>'}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x12xf32>, tensor<?x4x2x3xf32>)
  return
}

// -----

func.func @scan_c6_ssm_state(%zxbcdt: tensor<?x36xf32>, %conv: tensor<?x3x20xf32>, %ssm: tensor<?x4x2x3xf32>, %cw: tensor<4x20xf32>, %bias: tensor<4xf32>, %A: tensor<4xf32>, %D: tensor<4xf32>, %seqs: !mamba.sequences, %cb: tensor<20xf32>) {
  // expected-error @below {{expected new_ssm_state of type 'tensor<?x4x2x3xf32>', found 'tensor<?x4x2x3xf16>'}}
  %r:3 = mamba.scan %zxbcdt, %conv, %ssm, %cw, %bias, %A, %D, %seqs conv_bias %cb {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x36xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf32>, tensor<4x20xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, !mamba.sequences, tensor<20xf32>) -> (tensor<?x12xf32>, tensor<?x3x20xf32>, tensor<?x4x2x3xf16>)
  return
}
