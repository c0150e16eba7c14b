// RUN: mambit-opt %s --canonicalize | FileCheck %s

mamba.weights @w {
  // CHECK: @cast_to_f32 {{.*}} as []
  mamba.weight @cast_to_f32 : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf16>>] as [#mamba.cast<f32>]
  // CHECK: @cast_twice {{.*}} as [#mamba.cast<f16>, #mamba.neg_exp]
  mamba.weight @cast_twice : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as [#mamba.cast<f16>, #mamba.cast<f16>, #mamba.neg_exp, #mamba.cast<f32>]
  // CHECK: @cast_back {{.*}} as [#mamba.cast<bf16>, #mamba.cast<f32>]
  mamba.weight @cast_back : tensor<8xf32>
    from [#mamba.source<"m", "a" : tensor<8xf32>>] as [#mamba.cast<bf16>, #mamba.cast<f32>]
  // CHECK: @sign_of_sign {{.*}} as [#mamba.sign]
  mamba.weight @sign_of_sign : !mamba.bits<4x8>
    from [#mamba.source<"m", "b" : tensor<4x8xf32>>] as [#mamba.sign, #mamba.sign]
  // CHECK: @transpose_twice {{.*}} as [#mamba.sign]
  mamba.weight @transpose_twice : !mamba.bits<4x8>
    from [#mamba.source<"m", "b" : tensor<4x8xf32>>] as [#mamba.transpose, #mamba.transpose, #mamba.sign]
}

// CHECK-LABEL: func.func @split_whole
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
// CHECK-NEXT: return %[[X]]
func.func @split_whole(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = mamba.split %x : tensor<?x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @split_in_two
// CHECK: mamba.split
func.func @split_in_two(%x: tensor<?x8xf32>) -> tensor<?x5xf32> {
  %y, %z = mamba.split %x : tensor<?x8xf32> -> tensor<?x5xf32>, tensor<?x3xf32>
  return %y : tensor<?x5xf32>
}

// CHECK-LABEL: func.func @rms_norm_unused_shift
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>, %{{.*}}: tensor<8xf32>)
// CHECK: mamba.rms_norm %[[X]], %[[W]] {eps = 1.000000e-03 : f32, groups = 2 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
func.func @rms_norm_unused_shift(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %y, %shift = mamba.rms_norm %x, %w shift %s {eps = 1.0e-3 : f32, groups = 2 : i64}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?xf32>)
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @rms_norm_used_shift
// CHECK: mamba.rms_norm %{{.*}}, %{{.*}} shift
func.func @rms_norm_used_shift(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %s: tensor<8xf32>) -> tensor<?xf32> {
  %y, %shift = mamba.rms_norm %x, %w shift %s {eps = 1.0e-3 : f32}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?xf32>)
  return %shift : tensor<?xf32>
}

// CHECK-LABEL: func.func @gated_rms_norm_unused_shift
// CHECK: mamba.gated_rms_norm
// CHECK-SAME: : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
func.func @gated_rms_norm_unused_shift(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %y, %shift = mamba.gated_rms_norm %x, %x, %w shift %w {eps = 1.0e-3 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?xf32>)
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @fused_linear_without_norm
// CHECK: mamba.fused_linear %{{.*}}, %{{.*}} : (
func.func @fused_linear_without_norm(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) -> tensor<?x4xf32> {
  %y = mamba.fused_linear %x, %w {eps = 1.0e-3 : f32}
     : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @unused_operations
// CHECK-NEXT: return
func.func @unused_operations(%x: tensor<?x8xf32>) {
  %w = mamba.get_weight @w::@cast_to_f32 : tensor<8xf32>
  %y = mamba.rms_norm %x, %w {eps = 1.0e-3 : f32} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}
