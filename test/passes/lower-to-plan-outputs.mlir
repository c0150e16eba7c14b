// RUN: mambit-opt %s --form-kernels --lower-to-plan="max-tokens=8 max-sequences=4" | FileCheck %s

// What @forward returns before its states are outputs: the first is the logits,
// others have the names of their kernels' parameters.

// CHECK:      plan.kernel @top_k_9000_2 params [
// CHECK-NEXT:   <"logits" read tensor<9000xf32>, 0 + 36000 * rows>,
// CHECK-NEXT:   <"values" write tensor<2xf32>, 0 + 8 * rows>,
// CHECK-NEXT:   <"tokens" write tensor<2xi32>, 0 + 8 * rows>,
// CHECK-NEXT:   <"best" read_write tensor<10xi64>, 0 + 80 * rows>] {

// CHECK:      plan.program @decode max_tokens 4
// CHECK:        %[[LOGITS:.*]] = plan.output <"logits" write tensor<9000xf32>, 0 + 36000 * rows> size 144000
// CHECK:        plan.launch @fused_linear_9000x6_f16_rows(%{{.*}}, %[[LOGITS]]
// CHECK:        %[[VALUES:.*]] = plan.output <"values" write tensor<2xf32>, 0 + 8 * rows> size 32
// CHECK:        %[[TOKENS:.*]] = plan.output <"tokens" write tensor<2xi32>, 0 + 8 * rows> size 32
// CHECK:        %[[BEST:.*]] = plan.buffer "best" size 320
// CHECK:        plan.launch @top_k_9000_2(%[[LOGITS]], %[[VALUES]], %[[TOKENS]], %[[BEST]])

!e = tensor<9000x6xf16, #mamba.interleave<rows = 16>>
mamba.weights @m {
  mamba.weight @tied : tensor<9000x6xf16> from [#mamba.source<"f", "e" : tensor<9000x6xf16>>] as [#mamba.cast<f16>]
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>)
    -> (tensor<?x9000xf32>, tensor<?x2xf32>, tensor<?x2xi32>) {
  %e = mamba.get_weight @m::@tied : !e
  %0 = mamba.embedding %ids, %e : tensor<?xi32>, !e -> tensor<?x6xf32>
  %1 = mamba.fused_linear %0, %e rows %rows : (tensor<?x6xf32>, !e, tensor<?xi32>) -> tensor<?x9000xf32>
  %2, %3 = mamba.top_k %1 : tensor<?x9000xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
  return %1, %2, %3 : tensor<?x9000xf32>, tensor<?x2xf32>, tensor<?x2xi32>
}
