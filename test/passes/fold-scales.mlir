// RUN: mambit-opt %s --fold-scales --remarks-filter=mambit --remark-format=emitRemark 2>%t | FileCheck %s
// RUN: FileCheck --check-prefix=STATS --input-file=%t %s
// STATS: fold-scales {{.*}} folded=10, not-folded=3

// A product of two weights is a weight with the sources of both. What nothing
// needs any more is gone.
// CHECK-LABEL: mamba.weights @w {
// CHECK-DAG:     @norm : tensor<7xf32>
// CHECK-DAG:     @norm_times_column : tensor<7xf32> from [#mamba.source<"f", "norm" : tensor<7xf16>>, #mamba.source<"f", "c" : tensor<1x7xf16>>] as [#mamba.multiply<1>]
// CHECK-DAG:     @norm_times_column_b : tensor<7xf32> from [#mamba.source<"f", "norm" : tensor<7xf16>>, #mamba.source<"f", "cb" : tensor<1x7xf32>>] as [#mamba.multiply<1>]
// CHECK-DAG:     @norm_times_single : tensor<7xf32> from [#mamba.source<"f", "norm" : tensor<7xf16>>, #mamba.source<"f", "s" : tensor<f32>>] as [#mamba.multiply<1>]
// CHECK-DAG:     @norm_times_product : tensor<7xf32> from [#mamba.source<"f", "norm" : tensor<7xf16>>, #mamba.source<"f", "a" : tensor<7xf32>>, #mamba.source<"f", "b" : tensor<f32>>] as [#mamba.multiply<1>, #mamba.multiply<2>]
// CHECK-DAG:     @row : tensor<5x1xf32>
// CHECK-DAG:     @unused
// CHECK-NOT:     @product :
// CHECK:       }
mamba.weights @w {
  mamba.weight @norm : tensor<7xf32> from [#mamba.source<"f", "norm" : tensor<7xf16>>] as [#mamba.cast<f32>]
  mamba.weight @bits : !mamba.bits<5x7> from [#mamba.source<"f", "w" : tensor<5x7xf32>>] as [#mamba.sign]
  mamba.weight @column : tensor<1x7xf32> from [#mamba.source<"f", "c" : tensor<1x7xf16>>] as [#mamba.cast<f32>]
  mamba.weight @column_b : tensor<1x7xf32> from [#mamba.source<"f", "cb" : tensor<1x7xf32>>] as []
  mamba.weight @row : tensor<5x1xf32> from [#mamba.source<"f", "r" : tensor<5x1xf32>>] as [#mamba.cast<f32>]
  mamba.weight @single : tensor<f32> from [#mamba.source<"f", "s" : tensor<f32>>] as []
  mamba.weight @product : tensor<1x7xf32> from [#mamba.source<"f", "a" : tensor<7xf32>>, #mamba.source<"f", "b" : tensor<f32>>] as [#mamba.multiply<1>]
  mamba.weight @exp : tensor<1x7xf32> from [#mamba.source<"f", "e" : tensor<1x7xf32>>] as [#mamba.neg_exp]
  mamba.weight @folded : tensor<7xf32> from [#mamba.source<"f", "norm" : tensor<7xf16>>, #mamba.source<"f", "s" : tensor<f32>>] as [#mamba.multiply<1>, #mamba.cast<f32>]
  mamba.weight @unused : tensor<f32> from [#mamba.source<"f", "u" : tensor<f32>>] as []
}

// CHECK-LABEL: func.func @column_column(
// CHECK:         %[[S:.*]] = mamba.get_weight @w::@norm_times_column :
// CHECK:         %[[B:.*]] = mamba.get_weight @w::@norm_times_column_b :
// CHECK:         %[[U:.*]], %[[T:.*]] = mamba.rms_norm %{{.*}}, %[[S]] shift %[[B]] {eps = 1.000000e-01 : f32}
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} token_shift %[[T]] :
func.func @column_column(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@column : tensor<1x7xf32>
  %b = mamba.get_weight @w::@column_b : tensor<1x7xf32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s shift %b : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>, tensor<1x7xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// A row shift multiplies the sum of the activations before scaling.
// CHECK-LABEL: func.func @column_row(
// CHECK:         %[[N:.*]] = mamba.get_weight @w::@norm :
// CHECK:         %[[R:.*]] = mamba.get_weight @w::@row :
// CHECK:         %[[S:.*]] = mamba.get_weight @w::@norm_times_column :
// CHECK:         %[[U:.*]], %[[T:.*]] = mamba.gated_rms_norm %{{.*}}, %{{.*}}, %[[S]] shift %[[N]] {eps = 1.000000e-01 : f32, groups = 7 : i64}
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} shift %[[R]] token_shift %[[T]] :
func.func @column_row(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@column : tensor<1x7xf32>
  %b = mamba.get_weight @w::@row : tensor<5x1xf32>
  %u = mamba.gated_rms_norm %x, %x, %n {eps = 0.1 : f32, groups = 7 : i64} : (tensor<?x7xf32>, tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s shift %b : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>, tensor<5x1xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// CHECK-LABEL: func.func @row_single(
// CHECK:         %[[N:.*]] = mamba.get_weight @w::@norm :
// CHECK:         %[[R:.*]] = mamba.get_weight @w::@row :
// CHECK:         %[[S:.*]] = mamba.get_weight @w::@norm_times_single :
// CHECK:         %[[U:.*]], %[[T:.*]] = mamba.rms_norm %{{.*}}, %[[N]] shift %[[S]]
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} scale %[[R]] token_shift %[[T]] :
func.func @row_single(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@row : tensor<5x1xf32>
  %b = mamba.get_weight @w::@single : tensor<f32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s shift %b : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<5x1xf32>, tensor<f32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// CHECK-LABEL: func.func @row_row(
// CHECK:         %[[N:.*]] = mamba.get_weight @w::@norm :
// CHECK:         %[[R:.*]] = mamba.get_weight @w::@row :
// CHECK:         %[[U:.*]], %[[T:.*]] = mamba.rms_norm %{{.*}}, %[[N]] shift %[[N]]
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} scale %[[R]] shift %[[R]] token_shift %[[T]] :
func.func @row_row(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@row : tensor<5x1xf32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s shift %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<5x1xf32>, tensor<5x1xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// CHECK-LABEL: func.func @single_none(
// CHECK:         %[[S:.*]] = mamba.get_weight @w::@norm_times_single :
// CHECK:         %[[U:.*]] = mamba.rms_norm %{{.*}}, %[[S]] {
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} :
func.func @single_none(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@single : tensor<f32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<f32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// CHECK-LABEL: func.func @none_column(
// CHECK:         %[[N:.*]] = mamba.get_weight @w::@norm :
// CHECK:         %[[B:.*]] = mamba.get_weight @w::@norm_times_column :
// CHECK:         %[[U:.*]], %[[T:.*]] = mamba.rms_norm %{{.*}}, %[[N]] shift %[[B]] {
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} token_shift %[[T]] :
func.func @none_column(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %b = mamba.get_weight @w::@column : tensor<1x7xf32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w shift %b : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// Nothing to fold: the row scale belongs to the epilogue.
// CHECK-LABEL: func.func @row_none(
// CHECK:         %[[U:.*]] = mamba.rms_norm
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} scale %{{[a-z]*}} :
func.func @row_none(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@row : tensor<5x1xf32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<5x1xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// Two linears of one norm get one each; the old one stays if others use it.
// CHECK-LABEL: func.func @shared_norm(
// CHECK-DAG:     %[[N:.*]] = mamba.get_weight @w::@norm :
// CHECK-DAG:     %[[C:.*]] = mamba.get_weight @w::@norm_times_column :
// CHECK-DAG:     %[[S:.*]] = mamba.get_weight @w::@norm_times_single :
// CHECK-DAG:     %[[U0:.*]] = mamba.rms_norm %{{.*}}, %[[C]] {
// CHECK-DAG:     %[[U1:.*]] = mamba.rms_norm %{{.*}}, %[[S]] {
// CHECK-DAG:     %[[U2:.*]] = mamba.rms_norm %{{.*}}, %[[N]] {
// CHECK-DAG:     mamba.bit_linear %[[U0]], %{{[a-z]*}} :
// CHECK-DAG:     mamba.bit_linear %[[U1]], %{{[a-z]*}} :
// CHECK:         return %{{.*}}, %{{.*}}, %[[U2]]
func.func @shared_norm(%x: tensor<?x7xf32>) -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x7xf32>) {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %c = mamba.get_weight @w::@column : tensor<1x7xf32>
  %s = mamba.get_weight @w::@single : tensor<f32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %c : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  %z = mamba.bit_linear %u, %w scale %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<f32>) -> tensor<?x5xf32>
  return %y, %z, %u : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x7xf32>
}

// A scale that is a product itself.
// CHECK-LABEL: func.func @product(
// CHECK:         mamba.get_weight @w::@norm_times_product :
func.func @product(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@product : tensor<1x7xf32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %y = mamba.bit_linear %u, %w scale %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// A shift folded earlier stays.
// CHECK-LABEL: func.func @token_shift(
// CHECK:         %[[B:.*]] = mamba.get_weight @w::@folded :
// CHECK:         %[[S:.*]] = mamba.get_weight @w::@norm_times_column :
// CHECK:         %[[U:.*]], %[[T:.*]] = mamba.rms_norm %{{.*}}, %[[S]] shift %[[B]] {
// CHECK:         mamba.bit_linear %[[U]], %{{[a-z]*}} token_shift %[[T]] :
func.func @token_shift(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %m = mamba.get_weight @w::@folded : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %s = mamba.get_weight @w::@column : tensor<1x7xf32>
  %u, %t = mamba.rms_norm %x, %n shift %m {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>, tensor<7xf32>) -> (tensor<?x7xf32>, tensor<?xf32>)
  %y = mamba.bit_linear %u, %w scale %s token_shift %t : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>, tensor<?xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// No norm in front, a recipe that is no product, a scale that is no weight.
// CHECK-LABEL: func.func @not_folded(
// CHECK:         mamba.bit_linear %{{.*}}, %{{.*}} scale %{{.*}} shift %{{.*}} :
// CHECK:         %[[U:.*]] = mamba.rms_norm
// CHECK:         mamba.bit_linear %[[U]], %{{.*}} scale %{{.*}} :
// CHECK:         mamba.bit_linear %[[U]], %{{.*}} scale %{{.*}} :
func.func @not_folded(%x: tensor<?x7xf32>, %s: tensor<1x7xf32>) -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>) {
  %n = mamba.get_weight @w::@norm : tensor<7xf32>
  %w = mamba.get_weight @w::@bits : !mamba.bits<5x7>
  %c = mamba.get_weight @w::@column : tensor<1x7xf32>
  %e = mamba.get_weight @w::@exp : tensor<1x7xf32>
  %a = mamba.bit_linear %x, %w scale %c shift %c : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>, tensor<1x7xf32>) -> tensor<?x5xf32>
  %u = mamba.rms_norm %x, %n {eps = 0.1 : f32} : (tensor<?x7xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %b = mamba.bit_linear %u, %w scale %e : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  %d = mamba.bit_linear %u, %w scale %s : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  return %a, %b, %d : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>
}
