// The ways to sum the activations that bits select, each alone.

// RUN: mambit-opt %s --emit-kernels="target=x86-64-v3 bit-sums=lookup" --canonicalize --cse | FileCheck %s --check-prefixes=LOOKUP,V3
// RUN: mambit-opt %s --emit-kernels="target=x86-64-v4 bit-sums=lookup" --canonicalize --cse | FileCheck %s --check-prefixes=LOOKUP,WORDS,V4
// RUN: mambit-opt %s --emit-kernels="target=x86-64-v4-vbmi bit-sums=lookup" --canonicalize --cse | FileCheck %s --check-prefixes=LOOKUP,WORDS,VBMI
// RUN: mambit-opt %s --emit-kernels="target=x86-64-v4-vbmi" --canonicalize --cse | FileCheck %s --check-prefix=AUTO
// RUN: mambit-opt %s --emit-kernels="target=x86-64-v4-vbmi bit-sums=dots" --canonicalize --cse | FileCheck %s --check-prefix=DOTS
// RUN: mambit-opt %s --emit-kernels="target=x86-64-v4-vbmi bit-sums=masks" --canonicalize --cse | FileCheck %s --check-prefix=MASKS --implicit-check-not=call_intrinsic
// RUN: mambit-opt %s --emit-kernels="target=x86-64-v4-vbmi bit-sums=planes" --canonicalize --cse | FileCheck %s --check-prefix=PLANES
// RUN: not mambit-opt %s --emit-kernels="target=x86-64-v4-vnni bit-sums=planes" 2>&1 | FileCheck %s --check-prefix=LACKS

// LACKS: error: {{.*}} cannot make sums of bits by planes, which target x86-64-v4-vnni lacks

// Eight tables a block of 32 columns, of 16 sums: in three digits of 6 bits, or
// as words.

// LOOKUP-LABEL: func.func private @linear_tables(
// LOOKUP-SAME:      attributes {grid = "tokens, 1"}
// V3-COUNT-24:      arith.trunci {{.*}} : vector<16xi32> to vector<16xi8>
// V3-NOT:           arith.trunci {{.*}} : vector<16xi32>
// WORDS-COUNT-8:    arith.trunci {{.*}} : vector<16xi32> to vector<16xi16>
// WORDS-NOT:        arith.trunci {{.*}} : vector<16xi32>

// LOOKUP-LABEL: func.func private @linear_matmul_one(
// LOOKUP-SAME:      attributes {grid = "400", when = "1 <= tokens <= 1"}
// V3-COUNT-24:      call_intrinsic "llvm.x86.avx2.pshuf.b"
// V3:               call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"
// V4:               call_intrinsic "llvm.x86.avx512.permvar.hi.512"
// V4:               call_intrinsic "llvm.x86.avx512.pmaddw.d.512"
// VBMI:             call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"
// VBMI:             call_intrinsic "llvm.x86.avx512.permvar.qi.512"
// VBMI:             call_intrinsic "llvm.x86.avx512.vpdpwssd.512"

// More tokens share the indices; activations' lowest bits are counted apart.

// LOOKUP-LABEL: func.func private @linear_matmul_many(
// V3-SAME:          attributes {grid = "tokens / 8, 400 / 4", when = "2 <= tokens"}
// WORDS-SAME:       attributes {grid = "tokens / 8, 400 / 16", when = "2 <= tokens"}
// V4-COUNT-32:      call_intrinsic "llvm.x86.avx512.permvar.hi.512"
// VBMI-COUNT-32:    call_intrinsic "llvm.x86.avx512.permvar.qi.512"
// WORDS:            math.ctpop {{.*}} : vector<16xi32>

// Tables pay for several tokens, which use them again for some rows.

// AUTO-LABEL:   func.func private @linear_tables(
// AUTO-SAME:        when = "2 <= tokens"
// AUTO-LABEL:   func.func private @linear_matmul_one(
// AUTO-SAME:        when = "1 <= tokens <= 1"
// AUTO-NOT:     permvar
// AUTO:         call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
// AUTO-LABEL:   func.func private @linear_matmul_many(
// AUTO:         call_intrinsic "llvm.x86.avx512.permvar.qi.512"

// DOTS-NOT:     @linear_tables
// DOTS-LABEL:   func.func private @linear_matmul(
// DOTS:         call_intrinsic "llvm.x86.avx512.vpdpbusd.512"

// MASKS-LABEL:  func.func private @linear_matmul(

// A plane a bit of the activations, made once for all rows.

// PLANES-LABEL: func.func private @linear_planes(
// PLANES-SAME:      attributes {grid = "tokens"}
// PLANES-COUNT-16:  vector.bitcast {{.*}} : vector<32xi1> to vector<4xi8>
// PLANES-NOT:       vector.bitcast
// PLANES-LABEL: func.func private @linear_matmul(
// PLANES:       math.ctpop {{.*}} : vector<16xi32>
plan.kernel @linear params [
    <"x" read tensor<40xf32>, 0 + 160 * tokens>,
    <"weight" read !mamba.bits<6400x40, #mamba.bit_tile<rows = 16>>, 51200 + 0 * none>,
    <"weight.zeros" read tensor<6400x40xi32, #plan.zeros<rows = 16>>, 164 + 0 * none>,
    <"y" write tensor<6400xf32>, 0 + 25600 * tokens>,
    <"digits" read_write tensor<2x64xi8>, 0 + 128 * tokens>,
    <"tables" read_write tensor<768xi8>, 0 + 768 * tokens>,
    <"scale" read_write tensor<f32>, 0 + 4 * tokens>,
    <"qsum" read_write tensor<i32>, 0 + 4 * tokens>] {
^bb0(%x: tensor<?x40xf32>, %w: !mamba.bits<6400x40, #mamba.bit_tile<rows = 16>>):
  %y = mamba.fused_linear %x, %w {activation_bits = 16 : i64}
     : (tensor<?x40xf32>, !mamba.bits<6400x40, #mamba.bit_tile<rows = 16>>) -> tensor<?x6400xf32>
  plan.return %y : tensor<?x6400xf32>
}
