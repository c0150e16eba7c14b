// RUN: mambit-opt %s --verify-roundtrip | FileCheck %s

// The examples of the descriptions, in two programs of a model of d_model 72.

// CHECK: #plan.param<"offsets" read tensor<i32>, 4 + 4 * sequences>
func.func private @params() attributes {
  x = #plan.param<"x" read tensor<72xf32>, 0 + 288 * tokens>,
  offsets = #plan.param<"offsets" read tensor<i32>, 4 + 4 * sequences>,
  weight = #plan.param<"weight" read !mamba.bits<352x72, #mamba.bit_tile<rows = 16>>, 4224 + 0 * none>
}

mamba.weights @model {
  mamba.weight @embedding : tensor<1000x72xf16> from [#mamba.source<"f", "e" : tensor<1000x72xf16>>] as [#mamba.cast<f16>]
}
mamba.weights @layer0 {
  mamba.weight @in_proj : !mamba.bits<352x72> from [#mamba.source<"f", "w" : tensor<352x72xf32>>] as [#mamba.sign]
}

// CHECK:      plan.kernel @embedding_1000x72_f16 params [
// CHECK-NEXT:   <"ids" read tensor<i32>, 0 + 4 * tokens>,
// CHECK-NEXT:   <"table" read tensor<1000x72xf16, #mamba.interleave<rows = 16>>, 145152 + 0 * none>,
// CHECK-NEXT:   <"y" write tensor<72xf32>, 0 + 288 * tokens>] {
plan.kernel @embedding_1000x72_f16 params [
    <"ids" read tensor<i32>, 0 + 4 * tokens>,
    <"table" read tensor<1000x72xf16, #mamba.interleave<rows = 16>>, 145152 + 0 * none>,
    <"y" write tensor<72xf32>, 0 + 288 * tokens>] {
^bb0(%ids: tensor<?xi32>, %table: tensor<1000x72xf16, #mamba.interleave<rows = 16>>):
  %y = mamba.embedding %ids, %table
     : tensor<?xi32>, tensor<1000x72xf16, #mamba.interleave<rows = 16>> -> tensor<?x72xf32>
  plan.return %y : tensor<?x72xf32>
}

// CHECK: plan.state @conv0 at 0 : tensor<3x208xf32>
plan.state @conv0 at 0 : tensor<3x208xf32>

// CHECK: plan.program @decode max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 11712 arena_size 18688 {
plan.program @decode max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 11712 arena_size 18688 {
  %ids = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 256 at 18432
  %table = plan.get_weight @model::@embedding : tensor<1000x72xf16, #mamba.interleave<rows = 16>>
  %y = plan.buffer "y" size 18432 at 0
  plan.launch @embedding_1000x72_f16(%ids, %table, %y)
}

// Values are named after what they hold.
// CHECK:      plan.program @prefill
// CHECK-NEXT:   %ids = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 2048 at 2195456
// CHECK-NEXT:   %logits = plan.output <"logits" write tensor<1000xf32>, 0 + 4000 * rows> size 2048000 at 0
// CHECK-NEXT:   %embedding = plan.get_weight
// CHECK-NEXT:   %in_proj = plan.get_weight @layer0::@in_proj : !mamba.bits<352x72, #mamba.bit_tile<rows = 16>>
// CHECK-NEXT:   %in_proj_0 = plan.get_weight @layer0::@in_proj : tensor<352x72xi32, #plan.zeros<rows = 16>>
// CHECK-NEXT:   %conv0 = plan.get_state @conv0
// CHECK-NEXT:   %y = plan.buffer "y" size 147456 at 2048000
// CHECK-NEXT:   plan.launch @embedding_1000x72_f16(%ids, %embedding, %y)
plan.program @prefill max_tokens 512 max_sequences 64 max_rows 512 slot_bytes 11712 arena_size 2197504 {
  %ids = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 2048 at 2195456
  %logits = plan.output <"logits" write tensor<1000xf32>, 0 + 4000 * rows> size 2048000 at 0
  %table = plan.get_weight @model::@embedding : tensor<1000x72xf16, #mamba.interleave<rows = 16>>
  %bits = plan.get_weight @layer0::@in_proj : !mamba.bits<352x72, #mamba.bit_tile<rows = 16>>
  %zeros = plan.get_weight @layer0::@in_proj : tensor<352x72xi32, #plan.zeros<rows = 16>>
  %conv0 = plan.get_state @conv0
  %y = plan.buffer "y" size 147456 at 2048000
  plan.launch @embedding_1000x72_f16(%ids, %table, %y)
}

// Before memory is planned there are no offsets; what is never alive at one
// time may share its bytes.
// CHECK: plan.program @unplanned
// CHECK:   plan.buffer "y" size 18432{{$}}
plan.program @unplanned max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 0 {
  %ids = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 256
  %table = plan.get_weight @model::@embedding : tensor<1000x72xf16, #mamba.interleave<rows = 16>>
  %y = plan.buffer "y" size 18432
  plan.launch @embedding_1000x72_f16(%ids, %table, %y)
}

// CHECK: plan.program @sharing
plan.program @sharing max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 0 arena_size 36864 {
  %table = plan.get_weight @model::@embedding : tensor<1000x72xf16, #mamba.interleave<rows = 16>>
  %a = plan.buffer "a" size 18432 at 0
  %b = plan.buffer "b" size 18432 at 18432
  %c = plan.buffer "c" size 18432 at 0
  plan.launch @embedding_1000x72_f16(%a, %table, %b)
  plan.launch @embedding_1000x72_f16(%b, %table, %c)
}
