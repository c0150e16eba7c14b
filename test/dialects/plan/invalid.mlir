// RUN: mambit-opt %s -split-input-file -verify-diagnostics

// One test a constraint: its name ends in the constraint's label.

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

// expected-error @below {{expected a static tensor or packed signs as the type of parameter 'x', found 'tensor<?x72xf32>'}}
func.func private @param_c1() attributes {x = #plan.param<"x" read tensor<?x72xf32>, 0 + 288 * tokens>}

// -----

// expected-error @below {{expected sizes of parameter 'x' not to be negative, found 0 and -4}}
func.func private @param_c2() attributes {x = #plan.param<"x" read tensor<f32>, 0 + -4 * tokens>}

// -----

// expected-error @below {{expected rows to be positive, found 0}}
func.func private @zeros_c1() attributes {x = #plan.zeros<rows = 0>}

//===----------------------------------------------------------------------===//
// Kernels and states
//===----------------------------------------------------------------------===//

// -----

// expected-error @below {{expected one operation and plan.return in the body}}
plan.kernel @kernel_c1 params [] {
^bb0(%x: tensor<?x7xf32>):
  plan.return %x : tensor<?x7xf32>
}

// -----

plan.kernel @kernel_c1_results params [] {
^bb0(%x: tensor<?x7xf32>):
  %y = mamba.add %x, %x : tensor<?x7xf32>
  // expected-error @below {{expected the results of mamba.add in order}}
  plan.return %x : tensor<?x7xf32>
}

// -----

plan.kernel @kernel_c2 params [] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  // expected-error @below {{expected the kernel's block arguments in order as operands}}
  %y = mamba.add %x, %x : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}

// -----

// expected-error @below {{has two parameters named 'x'}}
plan.kernel @kernel_c3 params [<"x" read tensor<7xf32>, 0 + 28 * tokens>, <"x" read tensor<7xf32>, 0 + 28 * tokens>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}

// -----

// expected-error @below {{expected slot_bytes, for it has a state}}
plan.kernel @kernel_c4 params [<"s" read_write tensor<7xf32>, 0 + 28 * slots>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}

// -----

// expected-error @below {{expected no slot_bytes, for it has no state}}
plan.kernel @kernel_c4_without slot_bytes 64 params [<"x" read tensor<7xf32>, 0 + 28 * tokens>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}

// -----

// expected-error @below {{expected state 's' to be read_write, found read}}
plan.kernel @kernel_c5 slot_bytes 64 params [<"s" read tensor<7xf32>, 0 + 28 * slots>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}

// -----

// expected-error @below {{state 's' of 28 bytes does not fit in a slot of 27}}
plan.kernel @kernel_c5_size slot_bytes 27 params [<"s" read_write tensor<7xf32>, 0 + 28 * slots>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}

// -----

// expected-error @below {{expected an offset that is a multiple of 64, found 4}}
plan.state @state_c1 at 4 : tensor<3x208xf32>

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

// -----

// expected-error @below {{expected max_rows to be positive, found 0}}
plan.program @program_c1 max_tokens 1 max_sequences 1 max_rows 0 slot_bytes 0 {
}

// -----

plan.program @program_c2 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  %0 = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 4
  // expected-error @below {{is the second port named 'ids'}}
  %1 = plan.output <"ids" write tensor<i32>, 0 + 4 * tokens> size 4
}

// -----

plan.program @program_c3 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 arena_size 64 {
  // expected-error @below {{expected an offset, for the program has an arena_size}}
  %0 = plan.buffer "y" size 4
}

// -----

plan.program @program_c3_without max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected no offset, for the program has no arena_size}}
  %0 = plan.buffer "y" size 4 at 0
}

// -----

plan.program @program_c4 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 arena_size 64 {
  // expected-error @below {{expected an offset that is a multiple of 64, found 4}}
  %0 = plan.buffer "y" size 4 at 4
}

// -----

plan.program @program_c4_end max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 arena_size 64 {
  // expected-error @below {{of 4 bytes at 64 does not lie in the arena of 64}}
  %0 = plan.buffer "y" size 4 at 64
}

// -----

plan.program @program_c4_overflow max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 arena_size 64 {
  // expected-error @below {{of 9223372036854775807 bytes at 64 does not lie in the arena of 64}}
  %0 = plan.buffer "y" size 9223372036854775807 at 64
}

// -----

plan.program @program_c5 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 arena_size 192 {
  // expected-note @below {{the other buffer}}
  %0 = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 65 at 0
  // expected-error @below {{overlaps in the arena with a buffer alive at the same time}}
  %1 = plan.input <"rows" read tensor<i32>, 0 + 4 * tokens> size 4 at 64
}

// -----

plan.program @program_c6 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{in a program, expected operations of the plan dialect}}
  %0 = arith.constant 0 : i32
}

// -----

plan.program @input_c1 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected port 'ids' to be read, found write}}
  %0 = plan.input <"ids" write tensor<i32>, 0 + 4 * tokens> size 4
}

// -----

plan.program @input_c2 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{port 'ids' cannot extend over slots}}
  %0 = plan.input <"ids" read tensor<i32>, 0 + 4 * slots> size 4
}

// -----

plan.program @input_c3 max_tokens 1 max_sequences 3 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected at least 16 bytes, found 12}}
  %0 = plan.input <"offsets" read tensor<i32>, 4 + 4 * sequences> size 12
}

// -----

plan.program @output_c1 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected port 'logits' to be write, found read}}
  %0 = plan.output <"logits" read tensor<f32>, 0 + 4 * rows> size 4
}

// -----

plan.program @output_c2 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{port 'logits' cannot extend over slots}}
  %0 = plan.output <"logits" write tensor<f32>, 0 + 4 * slots> size 4
}

// -----

plan.program @output_c3 max_tokens 1 max_sequences 1 max_rows 2 slot_bytes 0 {
  // expected-error @below {{expected at least 8 bytes, found 4}}
  %0 = plan.output <"logits" write tensor<f32>, 0 + 4 * rows> size 4
}

// -----

plan.program @buffer_c1 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected a positive size, found 0}}
  %0 = plan.buffer "y" size 0
}

// -----

plan.program @get_weight_c1 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected @w to be a mamba.weight}}
  %0 = plan.get_weight @w : tensor<7xf32>
}

// -----

// expected-note @below {{the weight}}
mamba.weight @w : !mamba.bits<5x7> from [#mamba.source<"f", "w" : tensor<5x7xf32>>] as [#mamba.sign]
plan.program @get_weight_c2 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected type '!mamba.bits<5x7>' with a layout, or its zeros, found 'tensor<7x5xi32, #plan.zeros<rows = 16>>'}}
  %0 = plan.get_weight @w : tensor<7x5xi32, #plan.zeros<rows = 16>>
}

// -----

plan.program @get_state_c1 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected @conv0 to be a plan.state}}
  %0 = plan.get_state @conv0
}

// -----

plan.state @conv0 at 64 : tensor<3x4xf32>
plan.program @get_state_c2 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 100 {
  // expected-error @below {{state of 48 bytes at 64 does not lie in a slot of 100}}
  %0 = plan.get_state @conv0
}

// -----

plan.program @launch_c1 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected @k to be a plan.kernel}}
  plan.launch @k()
}

// -----

plan.kernel @k params [<"x" read tensor<7xf32>, 0 + 28 * tokens>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
plan.program @launch_c2 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  // expected-error @below {{expected 1 arguments, found 0}}
  plan.launch @k()
}

// -----

plan.kernel @k params [<"x" read tensor<7xf32>, 28 + 0 * none>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
mamba.weight @w : tensor<5xf32> from [#mamba.source<"f", "w" : tensor<5xf32>>] as []
plan.program @launch_c3 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  %0 = plan.get_weight @w : tensor<5xf32>
  // expected-error @below {{argument for parameter 'x': expected 'tensor<7xf32>', found a weight of 'tensor<5xf32>'}}
  plan.launch @k(%0)
}

// -----

plan.kernel @k params [<"y" write tensor<5xf32>, 20 + 0 * none>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
mamba.weight @w : tensor<5xf32> from [#mamba.source<"f", "w" : tensor<5xf32>>] as []
plan.program @launch_c3_written max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 0 {
  %0 = plan.get_weight @w : tensor<5xf32>
  // expected-error @below {{argument for parameter 'y': a weight cannot be written}}
  plan.launch @k(%0)
}

// -----

plan.kernel @k slot_bytes 64 params [<"s" read_write tensor<3x4xf32>, 0 + 48 * slots>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
plan.program @launch_c4 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 64 {
  %0 = plan.buffer "y" size 4000
  // expected-error @below {{argument for parameter 's': expected a state}}
  plan.launch @k(%0)
}

// -----

plan.kernel @k slot_bytes 64 params [<"s" read_write tensor<3x4xf32>, 0 + 48 * slots>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
plan.state @conv0 at 0 : tensor<4x3xf32>
plan.program @launch_c4_type max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 64 {
  %0 = plan.get_state @conv0
  // expected-error @below {{argument for parameter 's': expected 'tensor<3x4xf32>', found a state of 'tensor<4x3xf32>'}}
  plan.launch @k(%0)
}

// -----

plan.kernel @k params [<"x" read tensor<7xf32>, 0 + 28 * tokens>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
plan.program @launch_c5 max_tokens 3 max_sequences 1 max_rows 1 slot_bytes 0 {
  %0 = plan.buffer "x" size 83
  // expected-error @below {{argument for parameter 'x': expected at least 84 bytes, found 83}}
  plan.launch @k(%0)
}

// -----

plan.kernel @k params [<"y" write tensor<f32>, 0 + 4 * tokens>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
plan.program @launch_c6 max_tokens 3 max_sequences 1 max_rows 1 slot_bytes 0 {
  %0 = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 12
  // expected-error @below {{argument for parameter 'y': an input cannot be written}}
  plan.launch @k(%0)
}

// -----

plan.kernel @k slot_bytes 64 params [<"s" read_write tensor<3x4xf32>, 0 + 48 * slots>] {
^bb0(%x: tensor<?x7xf32>, %z: tensor<?x7xf32>):
  %y = mamba.add %x, %z : tensor<?x7xf32>
  plan.return %y : tensor<?x7xf32>
}
plan.state @conv0 at 0 : tensor<3x4xf32>
plan.program @launch_c7 max_tokens 1 max_sequences 1 max_rows 1 slot_bytes 128 {
  %0 = plan.get_state @conv0
  // expected-error @below {{expected a kernel for slots of 128 bytes, found 64}}
  plan.launch @k(%0)
}
