//===- Passes.td - the passes, in the order of the pipeline -*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_PASSES_PASSES_TD
#define MAMBIT_PASSES_PASSES_TD

include "mlir/Pass/PassBase.td"

def ExpandBlocks : Pass<"expand-blocks", "::mlir::ModuleOp"> {
  let summary = "Write a block as the operations it means";
  let description = [{
    The weights are looked up in the block's group; an optional one that is not
    there is an absent operand. A projection of packed signs becomes a
    `bit_linear`, a dense one a `linear`.

    Before:
    ```mlir
    %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @layer0 config <...>
    ```
    After (types left out):
    ```mlir
    %u = mamba.rms_norm %x, %norm {eps = 1.0e-5 : f32}
    %zxbcdt = mamba.bit_linear %u, %in_proj scale %in_proj_scale shift %in_proj_shift
    %z, %xbc, %dt = mamba.split %zxbcdt
    %xbc1, %conv1 = mamba.causal_conv %xbc, %conv, %conv_weight, %seqs bias %conv_bias
    %s, %ssm1 = mamba.selective_scan %xbc1, %dt, %ssm, %dt_bias, %A, %D, %seqs {groups = 2 : i64, ...}
    %g = mamba.gated_rms_norm %s, %z, %gated_norm {eps = 1.0e-5 : f32, groups = 2 : i64}
    %h = mamba.bit_linear %g, %out_proj scale %out_proj_scale shift %out_proj_shift
    %y = mamba.add %x, %h
    ```
  }];
  let statistics = [Statistic<"blocks", "blocks", "Blocks expanded">];
}

def FoldScales : Pass<"fold-scales", "::mlir::ModuleOp"> {
  let summary = "Fold scale and shift of 1-bit linears into the norm in front";
  let description = [{
    With `v` the normed activations before the norm's weight `w`,

    - a column or single scale `s` goes into the weight: `S·(s ⊙ w ⊙ v)`;
    - a shift is one dot product a token, which the norm computes as its second
      result: `τ = Σ (shift ⊙ w ⊙ v)` for a column or single shift,
      `τ = Σ (w ⊙ v)` for a row shift, which stays as a factor of each output;
    - a row scale stays: it belongs to the epilogue.

    Only recipes change: a product of two weights is a new `mamba.weight` whose
    recipe multiplies by the other's source. Weights nothing needs any more are
    erased. If others use the norm too, the linear gets a norm of its own.

    A linear whose input is no norm, or whose scale is made by a recipe that is
    not a product, stays as it is, and no kernel can be made of it.

    Before:
    ```mlir
    %u = mamba.rms_norm %x, %norm {eps = 1.0e-5 : f32}
    %y = mamba.bit_linear %u, %in_proj scale %in_proj_scale shift %in_proj_shift
    ```
    After:
    ```mlir
    %u, %shift = mamba.rms_norm %x, %norm_times_in_proj_scale shift %norm_times_in_proj_shift {eps = 1.0e-5 : f32}
    %y = mamba.bit_linear %u, %in_proj token_shift %shift
    ```
  }];
  let statistics = [
    Statistic<"folded", "linears", "Linears whose scale or shift was folded">,
    Statistic<"notFolded", "not-folded", "Linears whose scale or shift could not be folded">];
}

def ChooseActivationPrecision
    : Pass<"choose-activation-precision", "::mlir::func::FuncOp"> {
  let summary = "Quantise the activations of 1-bit linears";
  let description = [{
    Puts a `mamba.quantize` in front of each `bit_linear`. At 32 bits
    activations stay in f32. Dense linears are left alone, and so are linears
    whose column scale or shift was not folded.

    The sum of a row must not overflow int32: a linear with too many columns is
    an error.

    Before:
    ```mlir
    %y = mamba.bit_linear %u, %in_proj token_shift %shift
    ```
    After:
    ```mlir
    %q, %scale = mamba.quantize %u
    %y = mamba.bit_linear %q, %in_proj act_scale %scale token_shift %shift
    ```
  }];
  let options = [Option<"activationBits", "activation-bits", "unsigned", "16",
                        "Bits of a quantised activation: 8, 16, or 32 for none">];
  let statistics = [Statistic<"quantized", "quantized", "Linears with quantised activations">];
}

def ChooseStatePrecision
    : Pass<"choose-state-precision", "::mlir::func::FuncOp"> {
  let summary = "Choose the element type of the SSM states";
  let description = [{
    Gives every SSM state, from argument to result, the element type. What a
    state of 16 bits means, the operations that carry it say: arithmetic stays
    in f32. A state goes through scans and blocks alone; any other use is an
    error.

    Before:
    ```mlir
    func.func @forward(..., %ssm: tensor<?x6x16x24xf32>) -> (..., tensor<?x6x16x24xf32>) {
      %s, %ssm1 = mamba.selective_scan %xbc, %dt, %ssm, ...
    ```
    After:
    ```mlir
    func.func @forward(..., %ssm: tensor<?x6x16x24xbf16>) -> (..., tensor<?x6x16x24xbf16>) {
      %s, %ssm1 = mamba.selective_scan %xbc, %dt, %ssm, ...
    ```
  }];
  let options = [Option<"stateDtype", "state-dtype", "std::string", "\"f32\"",
                        "Element type of SSM states: f32, f16 or bf16">];
  let statistics = [Statistic<"states", "states", "States whose type changed">];
}

def FuseScan : Pass<"fuse-scan", "::mlir::func::FuncOp"> {
  let summary = "Fuse convolution, selective scan and gate";
  let description = [{
    The gate of the gated norm moves into the scan; an `rms_norm` remains, for
    `fuse-linear`.

    Before:
    ```mlir
    %z, %xbc, %dt = mamba.split %zxbcdt
    %xbc1, %conv1 = mamba.causal_conv %xbc, %conv, %conv_weight, %seqs bias %conv_bias
    %s, %ssm1 = mamba.selective_scan %xbc1, %dt, %ssm, %dt_bias, %A, %D, %seqs {...}
    %u, %shift = mamba.gated_rms_norm %s, %z, %w shift %sw {...}
    ```
    After:
    ```mlir
    %y, %conv1, %ssm1 = mamba.scan %zxbcdt, %conv, %ssm, %conv_weight, %dt_bias, %A, %D, %seqs conv_bias %conv_bias {...}
    %u, %shift = mamba.rms_norm %y, %w shift %sw {...}
    ```
  }];
  let statistics = [Statistic<"fused", "fused", "Scans fused">];
}

def FuseLinear : Pass<"fuse-linear", "::mlir::ModuleOp"> {
  let summary = "Fuse linears with their prologue and epilogue";
  let description = [{
    Prologue: `select_rows`, `rms_norm`, `quantize`, as far as they are there.
    Epilogue: row scale and shift, bias, and a residual `add` if nothing else
    uses the product. `lm_head` is a linear like any other. A row scale or
    shift becomes a vector, which is a `mamba.weight` of its own.

    Before:
    ```mlir
    %u, %shift = mamba.rms_norm %x, %w shift %sw {eps = 1.0e-5 : f32}
    %q, %scale = mamba.quantize %u
    %h = mamba.bit_linear %q, %out_proj act_scale %scale token_shift %shift
    %y = mamba.add %r, %h
    ```
    After:
    ```mlir
    %y = mamba.fused_linear %x, %out_proj norm_weight %w shift_weight %sw residual %r
        {activation_bits = 16 : i64, norm_groups = 1 : i64, eps = 1.0e-5 : f32}
    ```
  }];
  let statistics = [
    Statistic<"fused", "fused", "Linears fused">,
    Statistic<"residuals", "residuals", "Residual adds fused">];
}

def AssignLayouts : Pass<"assign-layouts", "::mlir::ModuleOp"> {
  let summary = "Say how matrices lie in memory";
  let description = [{
    Packed signs get `#mamba.bit_tile`, the dense matrices of linears and of the
    embedding `#mamba.interleave`: a tied weight has one layout. All else is row
    major.

    Before:
    ```mlir
    %w = mamba.get_weight @layer0::@in_proj : !mamba.bits<352x72>
    ```
    After:
    ```mlir
    %w = mamba.get_weight @layer0::@in_proj : !mamba.bits<352x72, #mamba.bit_tile<rows = 16>>
    ```
  }];
  let options = [
    Option<"bitTileRows", "bit-tile-rows", "int64_t", "16",
           "Rows of a tile of packed signs, a multiple of 16">,
    Option<"denseInterleave", "dense-interleave", "int64_t", "16",
           "Rows of a dense matrix that lie interleaved">];
  let statistics = [
    Statistic<"bitMatrices", "bit-matrices", "Uses of packed signs laid out">,
    Statistic<"denseMatrices", "dense-matrices", "Uses of dense matrices laid out">];
}

def FormKernels : Pass<"form-kernels", "::mlir::ModuleOp"> {
  let summary = "Outline each distinct fused operation to a kernel";
  let description = [{
    A kernel is a private function of one fused operation, called with the
    operation's operands: operations equal but for their operands, such as those
    of identical layers, share one. Any other operation that computes is an
    error: no kernel can be made of it.

    Before:
    ```mlir
    %x = mamba.embedding %ids, %table
    ```
    After:
    ```mlir
    %x = call @embedding_1000x72_f16(%ids, %table)

    func.func private @embedding_1000x72_f16(%ids: ..., %table: ...) -> ... {
      %x = mamba.embedding %ids, %table
      return %x
    }
    ```
  }];
  let statistics = [
    Statistic<"kernels", "kernels", "Kernels formed">,
    Statistic<"shared", "shared", "Calls that share a kernel with an earlier one">];
}

def LowerToPlan : Pass<"lower-to-plan", "::mlir::ModuleOp"> {
  let summary = "Turn @forward into programs over buffers";
  let description = [{
    Kernels become `plan.kernel`, by the rule of `passes/KernelSignature.h`, and
    the calls in `@forward(%ids, %seqs, %rows, inputs..., states...) -> (logits,
    outputs..., states...)` the launches of two programs, `prefill` and `decode`.
    Inputs, and outputs beside the logits, have the names of their kernels'
    parameters. States are updated in place, so each must pass from kernel to
    kernel in one line from argument to result; they get their offsets in a slot.
    All other values, and the scratch of each launch, become buffers of the
    arena.

    A call of `decode` brings one token of each sequence.

    Before:
    ```mlir
    %x = call @embedding_1000x72_f16(%ids, %table)
    ```
    After, in each program:
    ```mlir
    %table = plan.get_weight @model::@embedding : tensor<1000x72xf16, #mamba.interleave<rows = 16>>
    %y = plan.buffer "y" size 147456
    plan.launch @embedding_1000x72_f16(%ids, %table, %y)
    ```
  }];
  let options = [
    Option<"maxTokens", "max-tokens", "int64_t", "512",
           "Tokens a call of prefill may bring">,
    Option<"maxSequences", "max-sequences", "int64_t", "64",
           "Sequences a call may bring">];
  let statistics = [
    Statistic<"launches", "launches", "Launches in a program">,
    Statistic<"slotBytes", "slot-bytes", "Bytes of the state of one sequence">];
  let dependentDialects = ["::mambit::plan::PlanDialect"];
}

def PlanMemory : Pass<"plan-memory", "::mambit::plan::ProgramOp"> {
  let summary = "Place the buffers of a program in one arena";
  let description = [{
    Largest first, each buffer goes into the tightest gap between those placed
    before it that live at the same time, or behind them; inputs, which live
    throughout, come last. Offsets are multiples of 64. The same program gives the
    same plan.

    Before:
    ```mlir
    plan.program @decode max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 0 {
      %y = plan.buffer "y" size 18432
    ```
    After:
    ```mlir
    plan.program @decode max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 0 arena_size 18432 {
      %y = plan.buffer "y" size 18432 at 0
    ```
  }];
  let statistics = [
    Statistic<"arenaBytes", "arena-bytes", "Bytes of the arenas">,
    Statistic<"liveBytes", "live-bytes", "Most bytes alive at one time: no arena can be smaller">,
    Statistic<"bufferBytes", "buffer-bytes", "Bytes of all buffers">];
}

#endif // MAMBIT_PASSES_PASSES_TD
