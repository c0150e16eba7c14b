// RUN: mambit-opt %s --lower-to-plan="max-tokens=100 max-sequences=10" --remarks-filter=mambit --remark-format=emitRemark 2>%t | FileCheck %s
// RUN: FileCheck --check-prefix=STATS --input-file=%t %s
// RUN: mambit-opt %s --lower-to-plan --verify-roundtrip | FileCheck %s --check-prefix=DEFAULT
// RUN: mambit-opt %s --lower-to-plan="max-tokens=4 max-sequences=10" | FileCheck %s --check-prefix=SHORT
// RUN: not mambit-opt %s --lower-to-plan="max-tokens=0" 2>&1 | FileCheck %s --check-prefix=OPTION
// STATS: lower-to-plan {{.*}} launches=4, slot-bytes=384
// DEFAULT: plan.program @prefill max_tokens 512 max_sequences 64 max_rows 512
// DEFAULT: plan.program @decode max_tokens 64 max_sequences 64 max_rows 64
// SHORT: plan.program @prefill max_tokens 4 max_sequences 4 max_rows 4
// OPTION: error: expected max-tokens to be positive, found 0

!x = tensor<?x6xf32>
!w = !mamba.bits<22x6, #mamba.bit_tile<rows = 16>>
!e = tensor<9x6xf16, #mamba.interleave<rows = 16>>
!conv = tensor<?x3x14xf32>
!ssm = tensor<?x2x4x3xf32>

mamba.weights @m {
  mamba.weight @tied : tensor<9x6xf16> from [#mamba.source<"f", "e" : tensor<9x6xf16>>] as [#mamba.cast<f16>]
  mamba.weight @bits : !mamba.bits<22x6> from [#mamba.source<"f", "w" : tensor<22x6xf32>>] as [#mamba.sign]
  mamba.weight @norm : tensor<6xf32> from [#mamba.source<"f", "n" : tensor<6xf32>>] as []
  mamba.weight @conv : tensor<4x14xf32> from [#mamba.source<"f", "c" : tensor<4x14xf32>>] as []
  mamba.weight @h : tensor<2xf32> from [#mamba.source<"f", "h" : tensor<2xf32>>] as []
}

// CHECK:      plan.kernel @embed params [
// CHECK-NEXT:   <"ids" read tensor<i32>, 0 + 4 * tokens>,
// CHECK-NEXT:   <"table" read tensor<9x6xf16, #mamba.interleave<rows = 16>>, 192 + 0 * none>,
// CHECK-NEXT:   <"y" write tensor<6xf32>, 0 + 24 * tokens>] {
// CHECK-NEXT: ^bb0(%[[IDS:.*]]: tensor<?xi32>, %[[E:.*]]: tensor<9x6xf16, #mamba.interleave<rows = 16>>):
// CHECK-NEXT:   %[[Y:.*]] = mamba.embedding %[[IDS]], %[[E]]
// CHECK-NEXT:   plan.return %[[Y]] : tensor<?x6xf32>
func.func private @embed(%0: tensor<?xi32>, %1: !e) -> !x {
  %2 = mamba.embedding %0, %1 : tensor<?xi32>, !e -> !x
  return %2 : !x
}

// CHECK:      plan.kernel @project params [
// CHECK-NEXT:   <"x" read tensor<6xf32>, 0 + 24 * tokens>,
// CHECK-NEXT:   <"weight" read !mamba.bits<22x6, #mamba.bit_tile<rows = 16>>, 128 + 0 * none>,
// CHECK-NEXT:   <"weight.zeros" read tensor<22x6xi32, #plan.zeros<rows = 16>>, 12 + 0 * none>,
// CHECK-NEXT:   <"norm_weight" read tensor<6xf32>, 24 + 0 * none>,
// CHECK-NEXT:   <"shift_weight" read tensor<6xf32>, 24 + 0 * none>,
// CHECK-NEXT:   <"y" write tensor<22xf32>, 0 + 88 * tokens>,
// CHECK-NEXT:   <"digits" read_write tensor<2x32xi8>, 0 + 64 * tokens>,
// CHECK-NEXT:   <"tables" read_write tensor<384xi8>, 0 + 384 * tokens>,
// CHECK-NEXT:   <"scale" read_write tensor<f32>, 0 + 4 * tokens>,
// CHECK-NEXT:   <"qsum" read_write tensor<i32>, 0 + 4 * tokens>,
// CHECK-NEXT:   <"tau" read_write tensor<f32>, 0 + 4 * tokens>] {
func.func private @project(%0: !x, %1: !w, %2: tensor<6xf32>, %3: tensor<6xf32>) -> tensor<?x22xf32> {
  %4 = mamba.fused_linear %0, %1 norm_weight %2 shift_weight %3 {activation_bits = 16 : i64, norm_groups = 1 : i64}
     : (!x, !w, tensor<6xf32>, tensor<6xf32>) -> tensor<?x22xf32>
  return %4 : tensor<?x22xf32>
}

// CHECK:      plan.kernel @scan slot_bytes 384 params [
// CHECK-NEXT:   <"zxbcdt" read tensor<22xf32>, 0 + 88 * tokens>,
// CHECK-NEXT:   <"conv_state" read_write tensor<3x14xf32>, 0 + 168 * slots>,
// CHECK-NEXT:   <"ssm_state" read_write tensor<2x4x3xf32>, 0 + 96 * slots>,
// CHECK-NEXT:   <"conv_weight" read tensor<4x14xf32>, 224 + 0 * none>,
// CHECK-NEXT:   <"dt_bias"
// CHECK-NEXT:   <"A"
// CHECK-NEXT:   <"D"
// CHECK-NEXT:   <"offsets" read tensor<i32>, 4 + 4 * sequences>,
// CHECK-NEXT:   <"slots" read tensor<i32>, 0 + 4 * sequences>,
// CHECK-NEXT:   <"y" write tensor<6xf32>, 0 + 24 * tokens>,
// CHECK-NEXT:   <"xbc" read_write tensor<72xf32>, 0 + 288 * tokens>,
// CHECK-NEXT:   <"dt" read_write tensor<2xf32>, 0 + 8 * tokens>,
// CHECK-NEXT:   <"decay" read_write tensor<2xf32>, 0 + 8 * tokens>,
// CHECK-NEXT:   <"tickets" read_write tensor<1xi32>, 0 + 4 * slots>] {
func.func private @scan(%0: tensor<?x22xf32>, %1: !conv, %2: !ssm, %3: tensor<4x14xf32>, %4: tensor<2xf32>, %5: tensor<2xf32>,
                        %6: tensor<2xf32>, %7: !mamba.sequences) -> (!x, !conv, !ssm) {
  %8:3 = mamba.scan %0, %1, %2, %3, %4, %5, %6, %7 {groups = 1 : i64, dt_min = 0.0 : f32, dt_max = 1.0 : f32}
     : (tensor<?x22xf32>, !conv, !ssm, tensor<4x14xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!x, !conv, !ssm)
  return %8#0, %8#1, %8#2 : !x, !conv, !ssm
}

// CHECK:      plan.kernel @head params [
// CHECK-NEXT:   <"x" read tensor<6xf32>, 0 + 24 * tokens>,
// CHECK-NEXT:   <"weight"
// CHECK-NEXT:   <"rows" read tensor<i32>, 0 + 4 * rows>,
// CHECK-NEXT:   <"y" write tensor<9xf32>, 0 + 36 * rows>,
// CHECK-NEXT:   <"v" read_write tensor<6xf32>, 0 + 24 * rows>] {
func.func private @head(%0: !x, %1: !e, %2: tensor<?xi32>) -> tensor<?x9xf32> {
  %3 = mamba.fused_linear %0, %1 rows %2 : (!x, !e, tensor<?xi32>) -> tensor<?x9xf32>
  return %3 : tensor<?x9xf32>
}

// CHECK:      plan.state @conv0 at 0 : tensor<3x14xf32>
// CHECK-NEXT: plan.state @ssm0 at 192 : tensor<2x4x3xf32>
// CHECK-NEXT: plan.state @tickets at 320 : tensor<1xi32>
// CHECK-NEXT: plan.program @prefill max_tokens 100 max_sequences 10 max_rows 100 slot_bytes 384 {
// CHECK-NEXT:   %[[IDS:.*]] = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 400
// CHECK-NEXT:   %[[OFFSETS:.*]] = plan.input <"offsets" read tensor<i32>, 4 + 4 * sequences> size 44
// CHECK-NEXT:   %[[SLOTS:.*]] = plan.input <"slots" read tensor<i32>, 0 + 4 * sequences> size 40
// CHECK-NEXT:   %[[ROWS:.*]] = plan.input <"rows" read tensor<i32>, 0 + 4 * rows> size 400
// CHECK-NEXT:   %[[CONV:.*]] = plan.get_state @conv0
// CHECK-NEXT:   %[[SSM:.*]] = plan.get_state @ssm0
// CHECK-NEXT:   %[[TIED:.*]] = plan.get_weight @m::@tied : tensor<9x6xf16, #mamba.interleave<rows = 16>>
// CHECK-NEXT:   %[[X0:.*]] = plan.buffer "y" size 2400
// CHECK-NEXT:   plan.launch @embed(%[[IDS]], %[[TIED]], %[[X0]])
// CHECK-NEXT:   %[[BITS:.*]] = plan.get_weight @m::@bits : !mamba.bits<22x6, #mamba.bit_tile<rows = 16>>
// CHECK-NEXT:   %[[ZEROS:.*]] = plan.get_weight @m::@bits : tensor<22x6xi32, #plan.zeros<rows = 16>>
// CHECK-NEXT:   %[[NORM:.*]] = plan.get_weight @m::@norm : tensor<6xf32>
// CHECK-NEXT:   %[[P:.*]] = plan.buffer "y" size 8800
// CHECK-NEXT:   %[[DIGITS:.*]] = plan.buffer "digits" size 6400
// CHECK-NEXT:   %[[TABLES:.*]] = plan.buffer "tables" size 38400
// CHECK-NEXT:   %[[SCALE:.*]] = plan.buffer "scale" size 400
// CHECK-NEXT:   %[[QSUM:.*]] = plan.buffer "qsum" size 400
// CHECK-NEXT:   %[[TAU:.*]] = plan.buffer "tau" size 400
// CHECK-NEXT:   plan.launch @project(%[[X0]], %[[BITS]], %[[ZEROS]], %[[NORM]], %[[NORM]], %[[P]], %[[DIGITS]], %[[TABLES]], %[[SCALE]], %[[QSUM]], %[[TAU]])
// CHECK:        %[[X1:.*]] = plan.buffer "y" size 2400
// CHECK:        %[[TICKETS:.*]] = plan.get_state @tickets
// CHECK:        plan.launch @scan(%[[P]], %[[CONV]], %[[SSM]], %{{.*}}, %[[OFFSETS]], %[[SLOTS]], %[[X1]], {{.*}}, %[[TICKETS]])
// CHECK-NEXT:   %[[LOGITS:.*]] = plan.output <"logits" write tensor<9xf32>, 0 + 36 * rows> size 3600
// CHECK:        plan.launch @head(%[[X1]], %[[TIED]], %[[ROWS]], %[[LOGITS]],
// CHECK-NEXT: }
// CHECK-NEXT: plan.program @decode max_tokens 10 max_sequences 10 max_rows 10 slot_bytes 384 {
// CHECK:        plan.output <"logits" write tensor<9xf32>, 0 + 36 * rows> size 360
// CHECK-NOT:  func.func
func.func @forward(%ids: tensor<?xi32>, %seqs: !mamba.sequences, %rows: tensor<?xi32>, %conv: !conv, %ssm: !ssm) -> (tensor<?x9xf32>, !conv, !ssm) {
  %e = mamba.get_weight @m::@tied : !e
  %w = mamba.get_weight @m::@bits : !w
  %n = mamba.get_weight @m::@norm : tensor<6xf32>
  %c = mamba.get_weight @m::@conv : tensor<4x14xf32>
  %h = mamba.get_weight @m::@h : tensor<2xf32>
  %0 = call @embed(%ids, %e) : (tensor<?xi32>, !e) -> !x
  %1 = call @project(%0, %w, %n, %n) : (!x, !w, tensor<6xf32>, tensor<6xf32>) -> tensor<?x22xf32>
  %2:3 = call @scan(%1, %conv, %ssm, %c, %h, %h, %h, %seqs)
     : (tensor<?x22xf32>, !conv, !ssm, tensor<4x14xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, !mamba.sequences) -> (!x, !conv, !ssm)
  %l = call @head(%2#0, %e, %rows) : (!x, !e, tensor<?xi32>) -> tensor<?x9xf32>
  return %l, %2#1, %2#2 : tensor<?x9xf32>, !conv, !ssm
}
