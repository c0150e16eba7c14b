// RUN: mambit-opt %s --choose-activation-precision | FileCheck %s -DINT=i16
// RUN: mambit-opt %s --choose-activation-precision=activation-bits=8 | FileCheck %s -DINT=i8
// RUN: mambit-opt %s --choose-activation-precision=activation-bits=32 | FileCheck %s --check-prefix=B32
// RUN: not mambit-opt %s --choose-activation-precision=activation-bits=4 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: expected activation-bits to be 8, 16 or 32, found 4
// B32-NOT: mamba.quantize %{{.*}}xi16

// CHECK-LABEL: func.func @folded(
// CHECK-SAME:    %[[X:[^:]*]]: {{.*}}, %[[W:[^:]*]]: {{.*}}, %[[T:[^:]*]]: {{.*}}, %[[R:[^:]*]]: {{.*}}, %[[B:[^:]*]]:
// CHECK:         %[[Q:.*]], %[[S:.*]] = mamba.quantize %[[X]] : tensor<?x7xf32> -> tensor<?x7x[[INT]]>, tensor<?xf32>
// CHECK:         mamba.bit_linear %[[Q]], %[[W]] scale %[[R]] shift %[[R]] bias %[[B]] act_scale %[[S]] token_shift %[[T]] :
// CHECK-SAME:      (tensor<?x7x[[INT]]>,
func.func @folded(%x: tensor<?x7xf32>, %w: !mamba.bits<5x7>, %t: tensor<?xf32>, %r: tensor<5x1xf32>, %b: tensor<5xf32>) -> tensor<?x5xf32> {
  %y = mamba.bit_linear %x, %w scale %r shift %r bias %b token_shift %t
     : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<5x1xf32>, tensor<5x1xf32>, tensor<5xf32>, tensor<?xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// Dense linears, column scales and unfolded shifts need the activations.
// CHECK-LABEL: func.func @left_alone(
// CHECK-NOT:     mamba.quantize
func.func @left_alone(%x: tensor<?x7xf32>, %w: !mamba.bits<5x7>, %c: tensor<1x7xf32>, %r: tensor<5x1xf32>, %d: tensor<5x7xf32>)
    -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>) {
  %0 = mamba.bit_linear %x, %w scale %c : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<1x7xf32>) -> tensor<?x5xf32>
  %1 = mamba.bit_linear %x, %w shift %r : (tensor<?x7xf32>, !mamba.bits<5x7>, tensor<5x1xf32>) -> tensor<?x5xf32>
  %2 = mamba.linear %x, %d : (tensor<?x7xf32>, tensor<5x7xf32>) -> tensor<?x5xf32>
  return %0, %1, %2 : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>
}

// Twice is once.
// CHECK-LABEL: func.func @quantized(
// CHECK:         mamba.quantize
// CHECK-NOT:     mamba.quantize
// CHECK:         return
func.func @quantized(%x: tensor<?x7xf32>, %w: !mamba.bits<5x7>) -> tensor<?x5xf32> {
  %q, %s = mamba.quantize %x : tensor<?x7xf32> -> tensor<?x7xi8>, tensor<?xf32>
  %y = mamba.bit_linear %q, %w act_scale %s : (tensor<?x7xi8>, !mamba.bits<5x7>, tensor<?xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// 65795 · 32639 is the largest sum below 2³¹.
// CHECK-LABEL: func.func @many_columns(
func.func @many_columns(%x: tensor<?x65795xf32>, %w: !mamba.bits<5x65795>) -> tensor<?x5xf32> {
  %y = mamba.bit_linear %x, %w : (tensor<?x65795xf32>, !mamba.bits<5x65795>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}
