// The kernels of a small model of odd sizes, for targets that differ in what
// they have.

// RUN: mambit-opt %s --emit-kernels=target=sm_90a \
// RUN:   | FileCheck %s --check-prefixes=CHECK,B1,WAIT,B1WAIT,WGMMA
// RUN: mambit-opt %s --emit-kernels=target=sm_80 \
// RUN:   | FileCheck %s --check-prefixes=CHECK,B1,MMA --implicit-check-not=griddepcontrol
// RUN: mambit-opt %s --emit-kernels=target=sm_120 \
// RUN:   | FileCheck %s --check-prefixes=CHECK,WAIT,MMA --implicit-check-not=and_popc --implicit-check-not=intr.fshl
// RUN: mambit-opt %s --emit-kernels=target=sm_90a --lower-gpu-kernels \
// RUN:   | FileCheck %s --check-prefix=LLVM

// CHECK-LABEL: func.func private @embedding_1000x72_f16_gather
// CHECK-SAME:    grid = "tokens, 72 / 256", threads = 256
// WAIT:          nvvm.griddepcontrol launch_dependents
// WAIT:          nvvm.griddepcontrol wait
// CHECK:         arith.extf {{.*}} : f16 to f32

// One token: the state, 16 bytes a lane, is asked for before the wait; the last
// of the nine blocks of the group shifts the window of B and C.
// CHECK-LABEL: func.func private @scan_h9_p32_g1_s24_step
// CHECK-SAME:    grid = "sequences, 9", threads = 64
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 16 : i64} : memref<?x9x24x32xf32, strided<{{.*}}>>, vector<4xf32>
// WAIT:          nvvm.griddepcontrol wait
// CHECK:         nvvm.barrier
// CHECK:         llvm.atomicrmw uinc_wrap {{.*}} monotonic : !llvm.ptr<1>, i32
// CHECK:         vector.store {{.*}} {alignment = 16 : i64} : memref<?x9x24x32xf32, strided<{{.*}}>>, vector<4xf32>

// Longer sequences: the halves of B and C, and the steps; their products; then
// chunks of 32 tokens of a head. B and the gates are on their way while C is
// used, the next C and x while B is.
// CHECK-LABEL: func.func private @scan_h9_p32_g1_s24_inputs
// CHECK-SAME:    grid = "sequences, 16, 2", threads = 512
// CHECK-SAME:    when = "1 <= tokens - sequences"
// CHECK:         llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"
// CHECK-LABEL: func.func private @scan_h9_p32_g1_s24_products
// CHECK-SAME:    grid = "sequences, 32, 1", threads = 64
// CHECK:         nvvm.mma.sync {{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK-LABEL: func.func private @scan_h9_p32_g1_s24_chunks
// CHECK-SAME:    grid = "sequences, 9", threads = 64
// CHECK-SAME:    when = "1 <= tokens - sequences"
// CHECK:         nvvm.cp.async.shared.global
// CHECK:         scf.for
// CHECK:         nvvm.barrier
// CHECK:         nvvm.cp.async.shared.global
// CHECK:         nvvm.ldmatrix
// CHECK:         nvvm.mma.sync {{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK:         nvvm.cp.async.wait.group 1
// CHECK:         nvvm.barrier
// CHECK:         nvvm.cp.async.shared.global
// CHECK:         nvvm.ldmatrix {{.*}}mma_layout<col>

// A token or two, where products of bits are native: each block makes the
// planes. Weights are asked for before the wait; then a barrier for the largest
// magnitude, and one for the warps' counts.
// B1-LABEL: func.func private @fused_linear_72x288_b16_norm_shift_residual_fused_planes
// B1-SAME:    grid = "5", threads = 64 : i64, when = "1 <= tokens <= 2"
// B1:         vector.load {{.*}} {alignment = 8 : i64} : memref<5x9x16xi32>, vector<2xi32>
// B1WAIT:     nvvm.griddepcontrol wait
// B1WAIT:     llvm.inline_asm has_side_effects "", "l,{{.*}}~{memory}"
// B1:         scf.for
// B1:         nvvm.redux.sync max
// B1:         nvvm.barrier
// B1:         llvm.intr.fshl
// B1-COUNT-2: nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 256>
// B1:         nvvm.barrier
// B1:         llvm.nvvm.rsqrt.approx

// Some tokens: a prologue leaves the planes in memory.
// B1-LABEL: func.func private @fused_linear_72x288_b16_norm_shift_residual_prologue_planes
// B1-SAME:    grid = "tokens", threads = 64 : i64, when = "3 <= tokens <= 8"
// B1:         nvvm.redux.sync max
// B1:         llvm.intr.fshl
// B1-LABEL: func.func private @fused_linear_72x288_b16_norm_shift_residual_matmul_planes
// B1-SAME:    grid = "5", threads = 64 : i64, when = "3 <= tokens <= 8"
// B1:         vector.load {{.*}} {alignment = 8 : i64} : memref<5x9x16xi32>, vector<2xi32>
// B1WAIT:     nvvm.griddepcontrol wait
// B1-COUNT-2: nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 256>

// Else digits.
// CHECK-LABEL: func.func private @fused_linear_72x288_b16_norm_shift_residual_prologue_digits
// B1-SAME:       when = "9 <= tokens"
// CHECK:         nvvm.redux.sync max
// CHECK:         llvm.nvvm.prmt
// CHECK-NOT:     llvm.intr.fshl
// For some tokens the warps share the columns; the weights do not wait.
// CHECK-LABEL: func.func private @fused_linear_72x288_b16_norm_shift_residual_matmul_digits_split
// CHECK-SAME:    grid = "tokens / 16, 72 / 32", threads = 512
// CHECK:         vector.load {{.*}} {alignment = 16 : i64} : memref<5x9x16xi32>, vector<4xi32>
// WAIT:          nvvm.griddepcontrol wait
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 16 : i64} : memref<?xi8>, vector<16xi8>
// CHECK:         nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 32>
// CHECK:         nvvm.barrier
// For many, tiles of warps or of warpgroups.
// MMA-LABEL:   func.func private @fused_linear_72x288_b16_norm_shift_residual_matmul_digits_mma
// MMA-SAME:      grid = "tokens / 64, 72 / 128", threads = 256
// MMA:           nvvm.cp.async.shared.global
// MMA:           nvvm.cp.async.wait.group 2
// MMA:           nvvm.ldmatrix
// MMA:           nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 32>
// The latter's weights do not wait for the phase before, its digits do.
// WGMMA-LABEL: func.func private @fused_linear_72x288_b16_norm_shift_residual_matmul_digits_wgmma128
// WGMMA-SAME:    grid = "132", threads = 384
// WGMMA:         nvvm.cp.async.bulk.shared.cluster.global
// WGMMA:         nvvm.griddepcontrol wait
// WGMMA:         nvvm.setmaxregister increase 232
// WGMMA:         nvvm.mbarrier.try_wait.parity
// WGMMA:         nvvm.wgmma.fence.aligned
// WGMMA-COUNT-2: wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8
// WGMMA:         nvvm.wgmma.commit.group.sync.aligned
// WGMMA:         nvvm.wgmma.wait.group.sync.aligned 1
// WGMMA:         nvvm.setmaxregister decrease 40
// WGMMA:         nvvm.cp.async.bulk.shared.cluster.global

// A dense product: a lane has eight rows of four columns, 16 bytes each. The
// activations are the sum of two parts.
// CHECK-LABEL: func.func private @fused_linear_1000x72_f16_rows_norm_matmul(
// CHECK-SAME:    grid = "1000 / 64, rows / 8", threads = 256 : i64, when = "rows <= 8"
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 16 : i64} : memref<63x72x16xf16>, vector<8xf16>
// WAIT:          nvvm.griddepcontrol wait
// CHECK:         arith.truncf {{.*}} : vector<4xf32> to vector<4xf16>
// CHECK:         nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK-LABEL: func.func private @fused_linear_1000x72_f16_rows_norm_matmul_some
// CHECK-SAME:    grid = "1000 / 64, rows / 32", threads = 256 : i64, when = "9 <= rows"

// Activations of 32 bits are four digits, whose sums are joined in 64 bits: of
// planes, of which there are four times eight, ...
// B1-LABEL: func.func private @fused_linear_72x288_b32_norm_shift_residual_fused_planes
// B1-SAME:    grid = "5", threads = 64 : i64, when = "1 <= tokens <= 2"
// B1:         math.roundeven
// B1:         arith.fptosi
// B1-COUNT-4: nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 256>
// B1:         arith.extsi {{.*}} : i32 to i64
// B1-NOT:     b32_norm_shift_residual_prologue_planes
// CHECK-LABEL: func.func private @fused_linear_72x288_b32_norm_shift_residual_prologue_digits
// B1-SAME:       when = "3 <= tokens"
// ... and of digits, where two lanes have those of a token.
// CHECK-LABEL: func.func private @fused_linear_72x288_b32_norm_shift_residual_matmul_digits_split
// CHECK-SAME:    grid = "tokens / 8, 72 / 32", threads = 512
// MMA-LABEL:   func.func private @fused_linear_72x288_b32_norm_shift_residual_matmul_digits_mma
// MMA-SAME:      grid = "tokens / 32, 72 / 128", threads = 256
// MMA:           nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 32>
// MMA:           nvvm.shfl.sync bfly
// MMA:           arith.extsi {{.*}} : i32 to i64
// WGMMA-LABEL: func.func private @fused_linear_72x288_b32_norm_shift_residual_matmul_digits_wgmma128
// WGMMA:         wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8
// WGMMA:         nvvm.shfl.sync bfly
// WGMMA:         arith.extsi {{.*}} : i32 to i64

// Where their sums might not fit, a bit is the sign of a float.
// CHECK-LABEL: func.func private @fused_linear_8x32768_b32_matmul
// CHECK-SAME:    grid = "1, tokens / 8", threads = 256
// CHECK:         arith.xori

// LLVM:       llvm.func @embedding_1000x72_f16_gather(
// LLVM-SAME:    !llvm.ptr {llvm.noalias}, {{.*}}i64, {{.*}}i64, {{.*}}i64)
// LLVM-SAME:    nvvm.kernel, nvvm.reqntid = array<i32: 256>
// LLVM:         nvvm.read.ptx.sreg.ctaid.x
// LLVM:       llvm.mlir.global private @scan_h9_p32_g1_s24_step_shared{{.*}}addr_space = 3

plan.kernel @embedding_1000x72_f16 params [
  <"ids" read tensor<i32>, 0 + 4 * tokens>,
  <"table" read tensor<1000x72xf16, #mamba.interleave<rows = 16>>, 145152 + 0 * none>,
  <"y" write tensor<72xf32>, 0 + 288 * tokens>] {
^bb0(%arg0: tensor<?xi32>, %arg1: tensor<1000x72xf16, #mamba.interleave<rows = 16>>):
  %x = mamba.embedding %arg0, %arg1 : tensor<?xi32>, tensor<1000x72xf16, #mamba.interleave<rows = 16>> -> tensor<?x72xf32>
  plan.return %x : tensor<?x72xf32>
}
plan.kernel @scan_h9_p32_g1_s24 slot_bytes 63360 params [
  <"zxbcdt" read tensor<633xf32>, 0 + 2532 * tokens>,
  <"conv_state" read_write tensor<3x336xf32>, 0 + 4032 * slots>,
  <"ssm_state" read_write tensor<9x24x32xf32>, 0 + 27648 * slots>,
  <"conv_weight" read tensor<4x336xf32>, 5376 + 0 * none>,
  <"dt_bias" read tensor<9xf32>, 36 + 0 * none>,
  <"A" read tensor<9xf32>, 36 + 0 * none>,
  <"D" read tensor<9xf32>, 36 + 0 * none>,
  <"offsets" read tensor<i32>, 4 + 4 * sequences>,
  <"slots" read tensor<i32>, 0 + 4 * sequences>,
  <"conv_bias" read tensor<336xf32>, 1344 + 0 * none>,
  <"y" write tensor<288xf32>, 0 + 1152 * tokens>,
  <"xbc" read_write tensor<336xf32>, 0 + 1344 * tokens>,
  <"dt" read_write tensor<9xf32>, 0 + 36 * tokens>,
  <"decay" read_write tensor<9xf32>, 0 + 36 * tokens>,
  <"tickets" read_write tensor<1xi32>, 0 + 4 * slots>] {
^bb0(%arg0: tensor<?x633xf32>, %arg1: tensor<?x3x336xf32>, %arg2: tensor<?x9x24x32xf32>, %arg3: tensor<4x336xf32>, %arg4: tensor<9xf32>, %arg5: tensor<9xf32>, %arg6: tensor<9xf32>, %arg7: !mamba.sequences, %arg8: tensor<336xf32>):
  %y, %conv, %ssm = mamba.scan %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7 conv_bias %arg8 {dt_max = 0x7F800000 : f32, dt_min = 0.000000e+00 : f32, groups = 1 : i64} : (tensor<?x633xf32>, tensor<?x3x336xf32>, tensor<?x9x24x32xf32>, tensor<4x336xf32>, tensor<9xf32>, tensor<9xf32>, tensor<9xf32>, !mamba.sequences, tensor<336xf32>) -> (tensor<?x288xf32>, tensor<?x3x336xf32>, tensor<?x9x24x32xf32>)
  plan.return %y, %conv, %ssm : tensor<?x288xf32>, tensor<?x3x336xf32>, tensor<?x9x24x32xf32>
}
plan.kernel @fused_linear_72x288_b16_norm_shift_residual params [
  <"x" read tensor<288xf32>, 0 + 1152 * tokens>,
  <"weight" read !mamba.bits<72x288, #mamba.bit_tile<rows = 16>>, 2880 + 0 * none>,
  <"weight.zeros" read tensor<72x288xi32, #plan.zeros<rows = 16>>, 24 + 0 * none>,
  <"norm_weight" read tensor<288xf32>, 1152 + 0 * none>,
  <"shift_weight" read tensor<288xf32>, 1152 + 0 * none>,
  <"residual" read tensor<72xf32>, 0 + 288 * tokens>,
  <"y" write tensor<72xf32>, 0 + 288 * tokens>,
  <"digits" read_write tensor<2x288xi8>, 0 + 576 * tokens>,
  <"scale" read_write tensor<f32>, 0 + 4 * tokens>,
  <"qsum" read_write tensor<i32>, 0 + 4 * tokens>,
  <"tau" read_write tensor<f32>, 0 + 4 * tokens>] {
^bb0(%arg0: tensor<?x288xf32>, %arg1: !mamba.bits<72x288, #mamba.bit_tile<rows = 16>>, %arg2: tensor<288xf32>, %arg3: tensor<288xf32>, %arg4: tensor<?x72xf32>):
  %0 = mamba.fused_linear %arg0, %arg1 norm_weight %arg2 shift_weight %arg3 residual %arg4 {activation_bits = 16 : i64, eps = 9.99999974E-6 : f32, norm_groups = 1 : i64} : (tensor<?x288xf32>, !mamba.bits<72x288, #mamba.bit_tile<rows = 16>>, tensor<288xf32>, tensor<288xf32>, tensor<?x72xf32>) -> tensor<?x72xf32>
  plan.return %0 : tensor<?x72xf32>
}
plan.kernel @fused_linear_1000x72_f16_rows_norm params [
  <"x" read tensor<72xf32>, 0 + 288 * tokens>,
  <"weight" read tensor<1000x72xf16, #mamba.interleave<rows = 16>>, 145152 + 0 * none>,
  <"rows" read tensor<i32>, 0 + 4 * rows>,
  <"norm_weight" read tensor<72xf32>, 288 + 0 * none>,
  <"y" write tensor<1000xf32>, 0 + 4000 * rows>,
  <"v" read_write tensor<72xf32>, 0 + 288 * rows>] {
^bb0(%arg0: tensor<?x72xf32>, %arg1: tensor<1000x72xf16, #mamba.interleave<rows = 16>>, %arg2: tensor<?xi32>, %arg3: tensor<72xf32>):
  %0 = mamba.fused_linear %arg0, %arg1 rows %arg2 norm_weight %arg3 {eps = 9.99999974E-6 : f32, norm_groups = 1 : i64} : (tensor<?x72xf32>, tensor<1000x72xf16, #mamba.interleave<rows = 16>>, tensor<?xi32>, tensor<72xf32>) -> tensor<?x1000xf32>
  plan.return %0 : tensor<?x1000xf32>
}
plan.kernel @fused_linear_72x288_b32_norm_shift_residual params [
  <"x" read tensor<288xf32>, 0 + 1152 * tokens>,
  <"weight" read !mamba.bits<72x288, #mamba.bit_tile<rows = 16>>, 2880 + 0 * none>,
  <"weight.zeros" read tensor<72x288xi32, #plan.zeros<rows = 16>>, 24 + 0 * none>,
  <"norm_weight" read tensor<288xf32>, 1152 + 0 * none>,
  <"shift_weight" read tensor<288xf32>, 1152 + 0 * none>,
  <"residual" read tensor<72xf32>, 0 + 288 * tokens>,
  <"y" write tensor<72xf32>, 0 + 288 * tokens>,
  <"digits" read_write tensor<4x288xi8>, 0 + 1152 * tokens>,
  <"scale" read_write tensor<f32>, 0 + 4 * tokens>,
  <"qsum" read_write tensor<i64>, 0 + 8 * tokens>,
  <"v" read_write tensor<288xf32>, 0 + 1152 * tokens>,
  <"tau" read_write tensor<f32>, 0 + 4 * tokens>] {
^bb0(%arg0: tensor<?x288xf32>, %arg1: !mamba.bits<72x288, #mamba.bit_tile<rows = 16>>, %arg2: tensor<288xf32>, %arg3: tensor<288xf32>, %arg4: tensor<?x72xf32>):
  %0 = mamba.fused_linear %arg0, %arg1 norm_weight %arg2 shift_weight %arg3 residual %arg4 {activation_bits = 32 : i64, eps = 9.99999974E-6 : f32, norm_groups = 1 : i64} : (tensor<?x288xf32>, !mamba.bits<72x288, #mamba.bit_tile<rows = 16>>, tensor<288xf32>, tensor<288xf32>, tensor<?x72xf32>) -> tensor<?x72xf32>
  plan.return %0 : tensor<?x72xf32>
}
plan.kernel @fused_linear_8x32768_b32 params [
  <"x" read tensor<32768xf32>, 0 + 131072 * tokens>,
  <"weight" read !mamba.bits<8x32768, #mamba.bit_tile<rows = 16>>, 65536 + 0 * none>,
  <"weight.zeros" read tensor<8x32768xi32, #plan.zeros<rows = 16>>, 8 + 0 * none>,
  <"y" write tensor<8xf32>, 0 + 32 * tokens>,
  <"digits" read_write tensor<4x32768xi8>, 0 + 131072 * tokens>,
  <"scale" read_write tensor<f32>, 0 + 4 * tokens>,
  <"qsum" read_write tensor<i64>, 0 + 8 * tokens>,
  <"v" read_write tensor<32768xf32>, 0 + 131072 * tokens>] {
^bb0(%arg0: tensor<?x32768xf32>, %arg1: !mamba.bits<8x32768, #mamba.bit_tile<rows = 16>>):
  %0 = mamba.fused_linear %arg0, %arg1 {activation_bits = 32 : i64, norm_groups = 0 : i64} : (tensor<?x32768xf32>, !mamba.bits<8x32768, #mamba.bit_tile<rows = 16>>) -> tensor<?x8xf32>
  plan.return %0 : tensor<?x8xf32>
}
