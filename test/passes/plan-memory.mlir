// RUN: mambit-opt %s --plan-memory --remarks-filter=mambit --remark-format=emitRemark 2>%t | FileCheck %s
// RUN: FileCheck --check-prefix=STATS --input-file=%t %s
// RUN: mambit-opt %s --plan-memory | mambit-opt --plan-memory | FileCheck %s
// STATS: plan-memory {{.*}} arena-bytes=1856, buffer-bytes=3136, live-bytes=1856

plan.kernel @k params [
  <"x" read tensor<f32>, 0 + 4 * tokens>,
  <"y" write tensor<f32>, 0 + 4 * tokens>] {
^bb0(%x: tensor<?x1xf32>, %w: tensor<1x1xf32>):
  %y = mamba.fused_linear %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  plan.return %y : tensor<?x1xf32>
}

// Alive:    ids 0-3  a 0-1  b 1-2  c 2-3  out 3-3  unused 0-3
// CHECK:      plan.program @p max_tokens 16 max_sequences 1 max_rows 1 slot_bytes 0 arena_size 1856 {
// CHECK-NEXT:   plan.input {{.*}} size 64 at 1664
// An input nobody reads is written all the same.
// CHECK-NEXT:   plan.input {{.*}} size 100 at 1728
// CHECK-NEXT:   plan.buffer "a" size 640 at 1024
// CHECK-NEXT:   plan.buffer "b" size 1000 at 0
// CHECK-NEXT:   plan.buffer "c" size 640 at 1024
// CHECK-NEXT:   plan.output {{.*}} size 640 at 0
plan.program @p max_tokens 16 max_sequences 1 max_rows 1 slot_bytes 0 {
  %ids = plan.input <"ids" read tensor<f32>, 0 + 4 * tokens> size 64
  %unused = plan.input <"unused" read tensor<f32>, 0 + 4 * tokens> size 100
  %a = plan.buffer "a" size 640
  %b = plan.buffer "b" size 1000
  %c = plan.buffer "c" size 640
  %out = plan.output <"out" write tensor<f32>, 0 + 4 * tokens> size 640
  plan.launch @k(%ids, %a)
  plan.launch @k(%a, %b)
  plan.launch @k(%b, %c)
  plan.launch @k(%c, %out)
}
