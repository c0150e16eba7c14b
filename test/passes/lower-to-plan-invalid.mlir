// RUN: mambit-opt %s --lower-to-plan -split-input-file -verify-diagnostics

// expected-error @below {{expected a function @forward}}
module {
}

// -----

// expected-error @below {{expected kernels and a @forward of one block, found function @other}}
func.func @other() {
  return
}

// -----

// expected-error @below {{expected the arguments of @forward to be ids, sequences, rows, inputs and states, found 'tensor<6xf32>'}}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %x: tensor<6xf32>) -> tensor<6xf32> {
  return %x : tensor<6xf32>
}

// -----

// expected-error @below {{expected the arguments ids, sequences and rows}}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences) {
  return
}

// -----

func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %s: tensor<?x3x4xf32>) -> tensor<?x3x4xf32> {
  // expected-error @below {{expected logits and 1 states, found 1 results}}
  return %s : tensor<?x3x4xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>) -> tensor<?xi32> {
  // expected-error @below {{expected the logits to be the result of a kernel}}
  return %ids : tensor<?xi32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>) -> tensor<?x6xf32> {
  %w = mamba.get_weight @w : tensor<9x6xf16>
  // expected-error @below {{expected calls of kernels alone in @forward}}
  %x = mamba.embedding %ids, %w : tensor<?xi32>, tensor<9x6xf16> -> tensor<?x6xf32>
  return %x : tensor<?x6xf32>
}
mamba.weight @w : tensor<9x6xf16> from [#mamba.source<"f", "e" : tensor<9x6xf16>>] as [#mamba.cast<f16>]

// -----

// No layout, no size.
func.func private @k(%0: tensor<?x6xf32>, %1: !mamba.bits<5x6>) -> tensor<?x5xf32> {
  // expected-error @below {{operand 'weight' of '!mamba.bits<5x6>' has no layout}}
  %2 = mamba.fused_linear %0, %1 : (tensor<?x6xf32>, !mamba.bits<5x6>) -> tensor<?x5xf32>
  return %2 : tensor<?x5xf32>
}

// -----

// What is counted by rows goes where tokens are expected.
!e = tensor<9x6xf16, #mamba.interleave<rows = 16>>
mamba.weight @w : tensor<9x6xf16> from [#mamba.source<"f", "e" : tensor<9x6xf16>>] as [#mamba.cast<f16>]
func.func private @k(%0: tensor<?xi32>, %1: !e) -> tensor<?x6xf32> {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, !e -> tensor<?x6xf32>
  return %2 : tensor<?x6xf32>
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>) -> tensor<?x6xf32> {
  %w = mamba.get_weight @w : !e
  // expected-error @below {{parameter 'ids' of @k expected one value for each of the tokens, found rows}}
  %x = call @k(%rows, %w) : (tensor<?xi32>, !e) -> tensor<?x6xf32>
  return %x : tensor<?x6xf32>
}

// -----

!e = tensor<9x6xf16, #mamba.interleave<rows = 16>>
!f = tensor<9x6xf16, #mamba.interleave<rows = 32>>
mamba.weight @w : tensor<9x6xf16> from [#mamba.source<"f", "e" : tensor<9x6xf16>>] as [#mamba.cast<f16>]
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>) {
  // expected-note @below {{the other one is here}}
  %0 = mamba.get_weight @w : !e
  // expected-error @below {{weight @w has two layouts}}
  %1 = mamba.get_weight @w : !f
  return
}

// -----

// Both calls want the old state: it cannot be updated in place.
!conv = tensor<?x3x14xf32>
!ssm = tensor<?x2x4x3xf32>
!x = tensor<?x6xf32>
mamba.weight @e : tensor<9x22xf32> from [#mamba.source<"f", "e" : tensor<9x22xf32>>] as []
mamba.weight @c : tensor<4x14xf32> from [#mamba.source<"f", "c" : tensor<4x14xf32>>] as []
mamba.weight @h : tensor<2xf32> from [#mamba.source<"f", "h" : tensor<2xf32>>] as []
func.func private @embed(%0: tensor<?xi32>, %1: tensor<9x22xf32>) -> tensor<?x22xf32> {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, tensor<9x22xf32> -> tensor<?x22xf32>
  return %2 : tensor<?x22xf32>
}
func.func private @scan(%0: tensor<?x22xf32>, %1: !conv, %2: !ssm, %3: tensor<4x14xf32>, %4: tensor<2xf32>, %5: tensor<2xf32>,
                        %6: tensor<2xf32>, %7: !mamba.sequences) -> (!x, !conv, !ssm) {
  %8:3 = mamba.scan %0, %1, %2, %3, %4, %5, %6, %7 {groups = 1 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x22xf32>, !conv, !ssm, tensor<4x14xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!x, !conv, !ssm)
  return %8#0, %8#1, %8#2 : !x, !conv, !ssm
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %conv: !conv, %ssm: !ssm) -> (!x, !conv, !ssm) {
  %e = mamba.get_weight @e : tensor<9x22xf32>
  %c = mamba.get_weight @c : tensor<4x14xf32>
  %h = mamba.get_weight @h : tensor<2xf32>
  %0 = call @embed(%ids, %e) : (tensor<?xi32>, tensor<9x22xf32>) -> tensor<?x22xf32>
  // expected-error @below {{expected the state to come from an argument of @forward and to be used once}}
  %1:3 = call @scan(%0, %conv, %ssm, %c, %h, %h, %h, %seqs)
     : (tensor<?x22xf32>, !conv, !ssm, tensor<4x14xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!x, !conv, !ssm)
  return %1#0, %conv, %1#2 : !x, !conv, !ssm
}

// -----

// The states come back in another order.
!conv = tensor<?x3x14xf32>
mamba.weight @e : tensor<9x6xf32> from [#mamba.source<"f", "e" : tensor<9x6xf32>>] as []
func.func private @embed(%0: tensor<?xi32>, %1: tensor<9x6xf32>) -> tensor<?x6xf32> {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, tensor<9x6xf32> -> tensor<?x6xf32>
  return %2 : tensor<?x6xf32>
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %a: !conv, %b: !conv) -> (tensor<?x6xf32>, !conv, !conv) {
  %e = mamba.get_weight @e : tensor<9x6xf32>
  %0 = call @embed(%ids, %e) : (tensor<?xi32>, tensor<9x6xf32>) -> tensor<?x6xf32>
  // expected-error @below {{expected result 1 to be the last version of state 0}}
  return %0, %b, %a : tensor<?x6xf32>, !conv, !conv
}

// -----

// An output is returned twice, or is no kernel's.
mamba.weight @e : tensor<9x6xf32> from [#mamba.source<"f", "e" : tensor<9x6xf32>>] as []
func.func private @embed(%0: tensor<?xi32>, %1: tensor<9x6xf32>) -> tensor<?x6xf32> {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, tensor<9x6xf32> -> tensor<?x6xf32>
  return %2 : tensor<?x6xf32>
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>) -> (tensor<?x6xf32>, tensor<?x6xf32>) {
  %e = mamba.get_weight @e : tensor<9x6xf32>
  %0 = call @embed(%ids, %e) : (tensor<?xi32>, tensor<9x6xf32>) -> tensor<?x6xf32>
  // expected-error @below {{result 1 is returned twice}}
  return %0, %0 : tensor<?x6xf32>, tensor<?x6xf32>
}

// -----

mamba.weight @e : tensor<9x6xf32> from [#mamba.source<"f", "e" : tensor<9x6xf32>>] as []
func.func private @embed(%0: tensor<?xi32>, %1: tensor<9x6xf32>) -> tensor<?x6xf32> {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, tensor<9x6xf32> -> tensor<?x6xf32>
  return %2 : tensor<?x6xf32>
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>) -> (tensor<?x6xf32>, tensor<?xi32>) {
  %e = mamba.get_weight @e : tensor<9x6xf32>
  %0 = call @embed(%ids, %e) : (tensor<?xi32>, tensor<9x6xf32>) -> tensor<?x6xf32>
  // expected-error @below {{expected result 1 to be the result of a kernel}}
  return %0, %ids : tensor<?x6xf32>, tensor<?xi32>
}

// -----

// An input that no kernel takes, or that two take under two names.
mamba.weight @e : tensor<9x6xf32> from [#mamba.source<"f", "e" : tensor<9x6xf32>>] as []
func.func private @embed(%0: tensor<?xi32>, %1: tensor<9x6xf32>) -> tensor<?x6xf32> {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, tensor<9x6xf32> -> tensor<?x6xf32>
  return %2 : tensor<?x6xf32>
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>,
                   // expected-error @below {{expected a kernel to take the input}}
                   %more: tensor<?xf32>) -> tensor<?x6xf32> {
  %e = mamba.get_weight @e : tensor<9x6xf32>
  %0 = call @embed(%ids, %e) : (tensor<?xi32>, tensor<9x6xf32>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}

// -----

func.func private @sample(%0: tensor<?x9xf32>, %1: tensor<?x2xi32>, %2: tensor<?xf32>, %3: tensor<?xi32>, %4: tensor<?xf32>, %5: tensor<?xf32>)
    -> (tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>) {
  %6:3 = mamba.sample %0, %1, %2, %3, %4, %5 limit 4 : tensor<?x9xf32>
  return %6#0, %6#1, %6#2 : tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>
}
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %logits: tensor<?x9xf32>, %random: tensor<?x2xi32>,
                   %real: tensor<?xf32>, %top_k: tensor<?xi32>) -> tensor<?xi32> {
  // expected-error @below {{takes as 'top_p' what is 'temperature' before}}
  %0:3 = call @sample(%logits, %random, %real, %top_k, %real, %real)
    : (tensor<?x9xf32>, tensor<?x2xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> (tensor<?xi32>, tensor<?xf32>, tensor<?x2xi32>)
  return %0#0 : tensor<?xi32>
}
