// RUN: mambit-opt %s --fuse-linear | FileCheck %s

// CHECK-LABEL: mamba.weights @w {
// CHECK-NOT:     @row :
// CHECK:         @row_vector : tensor<5xf32> from [#mamba.source<"f", "r" : tensor<5x1xf32>>] as [#mamba.cast<f32>]
// CHECK-NOT:     @row :
// CHECK:       }
mamba.weights @w {
  mamba.weight @row : tensor<5x1xf32> from [#mamba.source<"f", "r" : tensor<5x1xf32>>] as [#mamba.cast<f32>]
}

!x = tensor<?x7xf32>
!y = tensor<?x5xf32>
!w = !mamba.bits<5x7>
!k = tensor<7xf32>

// CHECK-LABEL: func.func @whole(
// CHECK-SAME:    %[[X:[^:]*]]: {{[^%]*}}%[[ROWS:[^:]*]]: {{[^%]*}}%[[W:[^:]*]]: {{[^%]*}}%[[N:[^:]*]]: {{[^%]*}}%[[S:[^:]*]]: {{[^%]*}}%[[B:[^:]*]]: {{[^%]*}}%[[R:[^:]*]]:
// CHECK:         %[[V:.*]] = mamba.get_weight @w::@row_vector : tensor<5xf32>
// CHECK:         %[[Y:.*]] = mamba.fused_linear %[[X]], %[[W]] rows %[[ROWS]] norm_weight %[[N]] shift_weight %[[S]] row_scale %[[V]]
// CHECK-SAME:      row_shift %{{.*}} bias %[[B]] residual %[[R]] {activation_bits = 8 : i64, eps = 1.000000e-01 : f32, norm_groups = 7 : i64}
// CHECK-NEXT:    return %[[Y]]
func.func @whole(%x: !x, %rows: tensor<?xi32>, %w: !w, %n: !k, %s: !k, %b: tensor<5xf32>, %r: !y) -> !y {
  %row = mamba.get_weight @w::@row : tensor<5x1xf32>
  %0 = mamba.select_rows %x, %rows : !x, tensor<?xi32>
  %u, %t = mamba.rms_norm %0, %n shift %s {eps = 0.1 : f32, groups = 7 : i64} : (!x, !k, !k) -> (!x, tensor<?xf32>)
  %q, %a = mamba.quantize %u : !x -> tensor<?x7xi8>, tensor<?xf32>
  %h = mamba.bit_linear %q, %w scale %row shift %row bias %b act_scale %a token_shift %t
     : (tensor<?x7xi8>, !w, tensor<5x1xf32>, tensor<5x1xf32>, tensor<5xf32>, tensor<?xf32>, tensor<?xf32>) -> !y
  %y = mamba.add %r, %h : !y
  return %y : !y
}

// CHECK-LABEL: func.func @least(
// CHECK-NEXT:    mamba.fused_linear %{{.*}}, %{{[a-z0-9]*}} : (tensor<?x7xf32>, !mamba.bits<5x7>) -> tensor<?x5xf32>
func.func @least(%x: !x, %w: !w) -> !y {
  %y = mamba.bit_linear %x, %w : (!x, !w) -> !y
  return %y : !y
}

// CHECK-LABEL: func.func @dense(
// CHECK:         mamba.fused_linear %{{.*}}, %{{.*}} norm_weight %{{.*}} bias %{{.*}} residual %{{.*}} {eps = 1.000000e-01 : f32, norm_groups = 1 : i64}
// CHECK-NEXT:    return
func.func @dense(%x: !x, %w: tensor<5x7xf16>, %n: !k, %b: tensor<5xf32>, %r: !y) -> !y {
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (!x, !k) -> !x
  %h = mamba.linear %u, %w bias %b : (!x, tensor<5x7xf16>, tensor<5xf32>) -> !y
  %y = mamba.add %h, %r : !y
  return %y : !y
}

// CHECK-LABEL: func.func @lm_head(
// CHECK-NEXT:    mamba.fused_linear %{{.*}}, %{{.*}} rows %{{.*}} norm_weight %{{.*}} {eps = 1.000000e-01 : f32, norm_groups = 1 : i64}
// CHECK-NEXT:    return
func.func @lm_head(%x: !x, %rows: tensor<?xi32>, %w: tensor<5x7xbf16>, %n: !k) -> !y {
  %0 = mamba.select_rows %x, %rows : !x, tensor<?xi32>
  %u = mamba.rms_norm %0, %n {eps = 0.1 : f32} : (!x, !k) -> !x
  %y = mamba.lm_head %u, %w : !x, tensor<5x7xbf16> -> !y
  return %y : !y
}

// A norm with two users is computed in both.
// CHECK-LABEL: func.func @shared_norm(
// CHECK-NEXT:    mamba.fused_linear
// CHECK-NEXT:    mamba.fused_linear
// CHECK-NEXT:    return
func.func @shared_norm(%x: !x, %w: tensor<5x7xf32>, %n: !k) -> (!y, !y) {
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (!x, !k) -> !x
  %0 = mamba.linear %u, %w : (!x, tensor<5x7xf32>) -> !y
  %1 = mamba.lm_head %u, %w : !x, tensor<5x7xf32> -> !y
  return %0, %1 : !y, !y
}

// The product is used beside the add: it needs a buffer of its own.
// CHECK-LABEL: func.func @used_product(
// CHECK:         mamba.fused_linear
// CHECK:         mamba.add
func.func @used_product(%x: !x, %w: !w, %r: !y) -> (!y, !y) {
  %h = mamba.bit_linear %x, %w : (!x, !w) -> !y
  %y = mamba.add %r, %h : !y
  return %y, %h : !y, !y
}

// The residual is made after the product.
// CHECK-LABEL: func.func @late_residual(
// CHECK:         %[[R:.*]] = mamba.fused_linear
// CHECK:         mamba.fused_linear {{.*}} residual %[[R]]
// CHECK-NOT:     mamba.add
func.func @late_residual(%x: !x, %w: !w) -> !y {
  %h = mamba.bit_linear %x, %w : (!x, !w) -> !y
  %r = mamba.bit_linear %x, %w : (!x, !w) -> !y
  %y = mamba.add %r, %h : !y
  return %y : !y
}

// What cannot be fused stays: an unfolded scale, a shift that is not the
// norm's, an act_scale of other activations.
// CHECK-LABEL: func.func @not_fused(
// CHECK-NOT:     mamba.fused_linear
func.func @not_fused(%x: !x, %w: !w, %c: tensor<1x7xf32>, %t: tensor<?xf32>) -> (!y, !y, !y) {
  %0 = mamba.bit_linear %x, %w scale %c : (!x, !w, tensor<1x7xf32>) -> !y
  %1 = mamba.bit_linear %x, %w token_shift %t : (!x, !w, tensor<?xf32>) -> !y
  %q, %s = mamba.quantize %x : !x -> tensor<?x7xi16>, tensor<?xf32>
  %2 = mamba.bit_linear %q, %w act_scale %t : (tensor<?x7xi16>, !w, tensor<?xf32>) -> !y
  return %0, %1, %2 : !y, !y, !y
}
