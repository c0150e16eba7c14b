// RUN: mambit-opt %s --form-kernels --lower-to-plan="max-tokens=8 max-sequences=4" | FileCheck %s

// What @forward takes behind its rows and before its states are inputs; what it
// returns before its states are outputs: the first is the logits, others, as
// inputs, have the names of their kernels' parameters.

// CHECK:      plan.kernel @sample_9000_7 params [
// CHECK-NEXT:   <"logits" read tensor<9000xf32>, 0 + 36000 * rows>,
// CHECK-NEXT:   <"random" read tensor<2xi32>, 0 + 8 * rows>,
// CHECK-NEXT:   <"temperature" read tensor<f32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"top_k" read tensor<i32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"top_p" read tensor<f32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"min_p" read tensor<f32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"chosen" write tensor<i32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"highest" write tensor<f32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"next_random" write tensor<2xi32>, 0 + 8 * rows>,
// CHECK-NEXT:   <"best" read_write tensor<35xi64>, 0 + 280 * rows>] {

// CHECK:      plan.program @decode max_tokens 4
// CHECK:        %[[ROWS:.*]] = plan.input <"rows" read tensor<i32>, 0 + 4 * rows> size 16
// CHECK:        %[[RANDOM:.*]] = plan.input <"random" read tensor<2xi32>, 0 + 8 * rows> size 32
// CHECK:        %[[TEMPERATURE:.*]] = plan.input <"temperature" read tensor<f32>, 0 + 4 * rows> size 16
// CHECK:        %[[TOP_K:.*]] = plan.input <"top_k" read tensor<i32>, 0 + 4 * rows> size 16
// CHECK:        %[[TOP_P:.*]] = plan.input <"top_p" read tensor<f32>, 0 + 4 * rows> size 16
// CHECK:        %[[MIN_P:.*]] = plan.input <"min_p" read tensor<f32>, 0 + 4 * rows> size 16
// CHECK:        %[[LOGITS:.*]] = plan.output <"logits" write tensor<9000xf32>, 0 + 36000 * rows> size 144000
// CHECK:        plan.launch @fused_linear_9000x6_f16_rows(%{{.*}}, %[[LOGITS]]
// CHECK:        %[[CHOSEN:.*]] = plan.output <"chosen" write tensor<i32>, 0 + 4 * rows> size 16
// CHECK:        %[[HIGHEST:.*]] = plan.output <"highest" write tensor<f32>, 0 + 4 * rows> size 16
// CHECK:        %[[NEXT:.*]] = plan.output <"next_random" write tensor<2xi32>, 0 + 8 * rows> size 32
// CHECK:        %[[BEST:.*]] = plan.buffer "best" size 1120
// CHECK:        plan.launch @sample_9000_7(%[[LOGITS]], %[[RANDOM]], %[[TEMPERATURE]], %[[TOP_K]], %[[TOP_P]], %[[MIN_P]], %[[CHOSEN]], %[[HIGHEST]], %[[NEXT]], %[[BEST]])

!e = tensor<9000x6xf16, #mamba.interleave<rows = 16>>
mamba.weights @m {
  mamba.weight @tied : tensor<9000x6xf16> from [#mamba.source<"f", "e" : tensor<9000x6xf16>>] as [#mamba.cast<f16>]
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %random: tensor<?x2xi32>,
                   %temperature: tensor<?xf32>, %top_k: tensor<?xi32>, %top_p: tensor<?xf32>, %min_p: tensor<?xf32>)
    -> (tensor<?x9000xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>) {
  %e = mamba.get_weight @m::@tied : !e
  %0 = mamba.embedding %ids, %e : tensor<?xi32>, !e -> tensor<?x6xf32>
  %1 = mamba.fused_linear %0, %e rows %rows : (tensor<?x6xf32>, !e, tensor<?xi32>) -> tensor<?x9000xf32>
  %2:3 = mamba.sample %1, %random, %temperature, %top_k, %top_p, %min_p limit 7 : tensor<?x9000xf32>
  return %1, %2#0, %2#1, %2#2 : tensor<?x9000xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>
}
