//===- MambaOps.td - operations of the mamba dialect -------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The names of dimensions (T, K, N, H, P, G, S, C) are those of the dialect's
// description. A label such as (C1) recurs in the verifier and ends the name of
// the constraint's negative test.
//
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_MAMBAOPS_TD
#define MAMBIT_DIALECTS_MAMBA_MAMBAOPS_TD

include "dialects/mamba/MambaTypes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Mamba_Op<string mnemonic, list<Trait> traits = []>
    : Op<MambaDialect, mnemonic, traits>;

defvar Mamba_NamedResults = DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>;

//===----------------------------------------------------------------------===//
// Kinds of operands
//===----------------------------------------------------------------------===//

// A tensor whose leading dimension is dynamic (tokens, sequences, rows or
// slots) and whose others are static.
class Mamba_Packed<int rank, list<Type> elements, string what>
    : ConfinedType<AnyTypeOf<[TensorRankOf<elements, [rank]>]>,
                   [CPred<"::mambit::mamba::isPacked($_self)">], what,
                   "::mlir::RankedTensorType">;

// What there is one of for each row, of one type, which need not be written.
class Mamba_PerRow<string shape, string element, string what>
    : ConfinedType<AnyRankedTensor,
                   [CPred<"$_self == ::mlir::RankedTensorType::get({" # shape # "}, ::mlir::Builder($_self.getContext())."
                          # element # ")">],
                   what, "::mlir::RankedTensorType">,
      BuildableType<"::mlir::RankedTensorType::get({" # shape # "}, $_builder." # element # ")">;

// A tensor of weights: all dimensions static.
class Mamba_Static<int rank, list<Type> elements, string what>
    : ConfinedType<AnyTypeOf<[TensorRankOf<elements, [rank]>]>,
                   [CPred<"::llvm::cast<::mlir::ShapedType>($_self).hasStaticShape()">],
                   what, "::mlir::RankedTensorType">;

def Mamba_Activations : Mamba_Packed<2, [F32], "activations `tensor<?xKxf32>`">;
def Mamba_Quantized : Mamba_Packed<2, [I8, I16], "quantised activations `tensor<?xKxi8>` or `tensor<?xKxi16>`">;
def Mamba_TokenScalars : Mamba_Packed<1, [F32], "one f32 a token, `tensor<?xf32>`">;
def Mamba_Indices : Mamba_Packed<1, [I32], "indices `tensor<?xi32>`">;
def Mamba_RowReal : Mamba_PerRow<"::mlir::ShapedType::kDynamic", "getF32Type()", "one f32 a row, `tensor<?xf32>`">;
def Mamba_RowInteger : Mamba_PerRow<"::mlir::ShapedType::kDynamic", "getI32Type()", "one i32 a row, `tensor<?xi32>`">;
def Mamba_RowGenerator : Mamba_PerRow<"::mlir::ShapedType::kDynamic, 2", "getI32Type()", "a generator's state a row, `tensor<?x2xi32>`">;
def Mamba_ConvState : Mamba_Packed<3, [F32], "convolution state `tensor<?xWxCxf32>`">;
def Mamba_SSMState : Mamba_Packed<4, [F32, F16, BF16], "SSM state `tensor<?xHxSxPxf32>`, or of f16 or bf16">;
def Mamba_Vector : Mamba_Static<1, [F32], "vector of weights `tensor<Nxf32>`">;
def Mamba_ConvWeight : Mamba_Static<2, [F32], "convolution weight `tensor<WxCxf32>`">;
def Mamba_Matrix : Mamba_Static<2, [F32, F16, BF16], "dense matrix of f32, f16 or bf16">;
def Mamba_Single : Mamba_Static<0, [F32], "single `tensor<f32>`">;
def Mamba_RowOrColumn : Mamba_Static<2, [F32], "column or row of scales `tensor<1xKxf32>`, `tensor<Nx1xf32>`">;
def Mamba_LinearWeight : AnyTypeOf<[Mamba_Bits, Mamba_Matrix]>;
def Mamba_Scales : AnyTypeOf<[Mamba_Single, Mamba_RowOrColumn], "",
                             "::mlir::RankedTensorType">;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def Mamba_WeightsOp : Mamba_Op<"weights", [
    Symbol, SymbolTable, NoTerminator, SingleBlock, NoRegionArguments, IsolatedFromAbove]> {
  let summary = "A named group of weights, such as those of one layer";
  let description = [{
    A symbol table of its own, so that every layer may use the same names.

    Constraints:
    - (C1) The group holds `mamba.weight` only.

    Example:
    ```mlir
    mamba.weights @model {
      mamba.weight @norm_f : tensor<72xf32>
        from [#mamba.source<"pytorch_model.bin", "backbone.norm_f.weight" : tensor<72xf16>>]
        as []
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name)>];
  let hasRegionVerifier = 1;
}

def Mamba_WeightOp : Mamba_Op<"weight", [Symbol]> {
  let summary = "A weight: where its bytes are, and the recipe that makes it";
  let description = [{
    Every source is converted to f32 (from f64 by rounding), then the steps of
    the recipe are applied in order to source 0; `#mamba.multiply<i>` brings in
    source `i`. Every step rounds to f32 or to what it casts to. Dimensions of
    size 1 do not count: a source `tensor<208x1x4xf32>` is a matrix, and may
    become a `tensor<4x208xf32>` by `#mamba.transpose`.

    Constraints:
    - (C1) There is at least one source.
    - (C2) A step is `#mamba.sign`, `#mamba.neg_exp`, `#mamba.transpose`,
      `#mamba.multiply` or `#mamba.cast`.
    - (C3) `#mamba.multiply<i>` names a source after the first, of one element
      or of as many as source 0.
    - (C4) `#mamba.transpose` applies to a matrix.
    - (C5) The type is `!mamba.bits` or a static tensor of f32, f16 or bf16,
      without a layout.
    - (C6) But for dimensions of size 1, the shape that the recipe makes is the
      type's.
    - (C7) The recipe ends in `#mamba.sign` for `!mamba.bits`, in the cast to
      its element type for f16 and bf16; for f32 the cast may be left out.

    Example:
    ```mlir
    mamba.weight @in_proj : !mamba.bits<358x72>
      from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.in_proj.weight" : tensor<358x72xf32>>]
      as [#mamba.sign]
    mamba.weight @norm_folded : tensor<72xf32>
      from [#mamba.source<"pytorch_model.bin", "backbone.layers.0.norm.weight" : tensor<72xf16>>,
            #mamba.source<"pytorch_model.bin", "backbone.layers.0.mixer.in_proj.wscale" : tensor<1x72xf32>>]
      as [#mamba.multiply<1>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type,
                       TypedArrayAttrBase<Mamba_SourceAttr, "sources">:$sources,
                       ArrayAttr:$recipe);
  let assemblyFormat = "$sym_name `:` $type `from` $sources `as` $recipe attr-dict";
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

def Mamba_GetWeightOp : Mamba_Op<"get_weight", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>, Mamba_NamedResults]> {
  let summary = "The value of a weight";
  let description = [{
    A layout on the result's type says how the weight lies in memory.

    Constraints:
    - (C1) The symbol is a `mamba.weight`.
    - (C2) The result has the weight's type, or the same type with a layout.

    Example:
    ```mlir
    %norm = mamba.get_weight @layer0::@norm : tensor<72xf32>
    ```
  }];
  let arguments = (ins SymbolRefAttr:$weight);
  let results = (outs AnyType:$value);
  let assemblyFormat = "$weight attr-dict `:` type($value)";
}

//===----------------------------------------------------------------------===//
// The block, as imported
//===----------------------------------------------------------------------===//

def Mamba_BlockOp : Mamba_Op<"block", [
    Pure, Mamba_NamedResults, AllTypesMatch<["x", "y"]>, AllTypesMatch<["conv_state", "new_conv_state"]>,
    AllTypesMatch<["ssm_state", "new_ssm_state"]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "One residual Mamba-2 block: x + mixer(rms_norm(x))";
  let description = [{
    The weights are looked up by name in the `mamba.weights` group: `norm`,
    `in_proj`, `conv_weight` [d_conv][C], `dt_bias` [H], `A` [H] (negative),
    `D` [H], `gated_norm`, `out_proj`, and where the checkpoint has them
    `in_proj_scale`, `in_proj_shift`, `in_proj_bias`, `conv_bias`,
    `out_proj_scale`, `out_proj_shift`, `out_proj_bias`. A projection is a
    `bit_linear` if its weight is `!mamba.bits`, else a `linear`.

    ```
    z, xBC, dt = split(in_proj(rms_norm(x, norm)))
    s          = selective_scan(causal_conv(xBC), dt)
    y          = x + out_proj(gated_rms_norm(s, z, gated_norm))
    ```

    Constraints:
    - (C1) `x` has `d_model` features.
    - (C2) `conv_state` is [slot][d_conv − 1][C].
    - (C3) `ssm_state` is [slot][H][S][P].
    - (C4) `weights` names a `mamba.weights`.
    - (C5) The weights are there, with the shapes that `config` asks for;
      `_scale` and `_shift` go with packed signs.

    Example:
    ```mlir
    %y, %conv1, %ssm1 = mamba.block %x, %conv, %ssm, %seqs weights @layer0
        config <d_model = 72, heads = 6, headdim = 24, groups = 2, d_state = 16, d_conv = 4,
                norm_groups = 2, eps = 1.0e-5 : f32, gated_eps = 1.0e-5 : f32,
                dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32>
        : tensor<?x72xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_ConvState:$conv_state,
                       Mamba_SSMState:$ssm_state, Mamba_Sequences:$seqs,
                       FlatSymbolRefAttr:$weights, Mamba_BlockConfigAttr:$config);
  let results = (outs Mamba_Activations:$y, Mamba_ConvState:$new_conv_state,
                      Mamba_SSMState:$new_ssm_state);
  let assemblyFormat = [{
    $x `,` $conv_state `,` $ssm_state `,` $seqs `weights` $weights `config` $config attr-dict
    `:` type($x) `,` type($conv_state) `,` type($ssm_state)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// What a block expands to
//===----------------------------------------------------------------------===//

def Mamba_EmbeddingOp : Mamba_Op<"embedding", [Pure, Mamba_NamedResults]> {
  let summary = "Rows of the embedding table: y[t] = table[ids[t]]";
  let description = [{
    An id beyond the table is an error when the program runs.

    Constraints:
    - (C1) `y` is as wide as the table.

    Example:
    ```mlir
    %y = mamba.embedding %ids, %table : tensor<?xi32>, tensor<1000x72xf16> -> tensor<?x72xf32>
    ```
  }];
  let arguments = (ins Mamba_Indices:$ids, Mamba_Matrix:$table);
  let results = (outs Mamba_Activations:$y);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($y)";
  let hasVerifier = 1;
}

def Mamba_RMSNormOp : Mamba_Op<"rms_norm", [Pure, Mamba_NamedResults]> {
  let summary = "RMSNorm by groups of channels, with an optional weighted sum of the result";
  let description = [{
    With `x̂[t][k] = x[t][k] / sqrt(mean(x[t][j]² over the group of k) + eps)`:
    `y = x̂ ⊙ weight` and, if `shift_weight` is given,
    `shift[t] = Σ_k x̂[t][k] · shift_weight[k]`.

    Constraints:
    - (C1) `weight`, `shift_weight` and `y` have the features of `x`.
    - (C2) `groups` divides the features.
    - (C3) `eps` is finite and not negative.
    - (C4) There is a `shift` just where there is a `shift_weight`.

    Example:
    ```mlir
    %y = mamba.rms_norm %x, %w {eps = 1.0e-5 : f32}
       : (tensor<?x72xf32>, tensor<72xf32>) -> tensor<?x72xf32>
    %z, %shift = mamba.rms_norm %x, %w shift %s {eps = 1.0e-5 : f32, groups = 2 : i64}
       : (tensor<?x72xf32>, tensor<72xf32>, tensor<72xf32>) -> (tensor<?x72xf32>, tensor<?xf32>)
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_Vector:$weight, Optional<Mamba_Vector>:$shift_weight,
                       F32Attr:$eps, DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Mamba_Activations:$y, Optional<Mamba_TokenScalars>:$shift);
  let assemblyFormat = [{
    $x `,` $weight (`shift` $shift_weight^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

def Mamba_GatedRMSNormOp : Mamba_Op<"gated_rms_norm", [Pure, Mamba_NamedResults]> {
  let summary = "Gated RMSNorm: rms_norm(x ⊙ SiLU(z))";
  let description = [{
    The gate comes first, then the norm by groups, as in mamba_ssm's
    `RMSNormGated(norm_before_gate=False)`.

    Constraints:
    - (C1) `weight`, `shift_weight` and `y` have the features of `x`.
    - (C2) `groups` divides the features.
    - (C3) `eps` is finite and not negative.
    - (C4) There is a `shift` just where there is a `shift_weight`.
    - (C5) `z` has the features of `x`.

    Example:
    ```mlir
    %y = mamba.gated_rms_norm %x, %z, %w {eps = 1.0e-5 : f32, groups = 2 : i64}
       : (tensor<?x144xf32>, tensor<?x144xf32>, tensor<144xf32>) -> tensor<?x144xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_Activations:$z, Mamba_Vector:$weight,
                       Optional<Mamba_Vector>:$shift_weight,
                       F32Attr:$eps, DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Mamba_Activations:$y, Optional<Mamba_TokenScalars>:$shift);
  let assemblyFormat = [{
    $x `,` $z `,` $weight (`shift` $shift_weight^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

def Mamba_QuantizeOp : Mamba_Op<"quantize", [Pure, Mamba_NamedResults]> {
  let summary = "Activations to 8- or 16-bit fixed point, one scale a token";
  let description = [{
    `top` is 127 for i8 and 32639 = 127·256 + 127 for i16, so that a value is
    256·hi + lo with both digits signed 8-bit. All in f32, for each token:

    ```
    m     = max_k |x[k]|
    inv   = top / m                 (if m = 0 or inv is infinite: q = 0, scale = 0;
                                     if an x[k] is NaN: scale = NaN)
    q[k]  = clamp(rint(x[k] · inv), −top, top)        ties to even; product rounded to f32 first
    scale = m / top
    ```

    Constraints:
    - (C1) `q` has the features of `x`.

    Example:
    ```mlir
    %q, %scale = mamba.quantize %x : tensor<?x72xf32> -> tensor<?x72xi16>, tensor<?xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x);
  let results = (outs Mamba_Quantized:$q, Mamba_TokenScalars:$scale);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($q) `,` type($scale)";
  let builders = [OpBuilder<(ins "::mlir::Value":$x, "unsigned":$bits)>];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The largest magnitude of a quantised value.
    static int32_t getTop(unsigned bits) { return bits == 8 ? 127 : 127 * 256 + 127; }
  }];
}

def Mamba_BitLinearOp : Mamba_Op<"bit_linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "Product with a matrix of signs, scaled and shifted";
  let description = [{
    FBI-Linear: `W = scale ⊙ signs + shift`, `y = x·Wᵀ + bias`. `scale` and
    `shift` are by column (`tensor<1xK>`), by row (`tensor<Nx1>`) or single
    (`tensor<f32>`), each recognised by its shape.

    Two optional operands are what passes make of it:
    `act_scale[t]` multiplies the product of quantised activations, and
    `token_shift[t]` stands for the dot product that `shift` needs when the
    producer of `x` has computed it:

    ```
    a[t][o] = act_scale[t] · Σ_k signs[o][k] · (column scale[k] ·) x[t][k]
    y[t][o] = row scale[o] · a[t][o] + row shift[o] · τ[t] + bias[o]
    τ[t]    = token_shift[t], or Σ_k (column shift[k] ·) x[t][k] without one
    ```
    where an absent row shift counts as 1 if a `token_shift` or a column shift
    is given. Integer activations need `act_scale`, and their sums are exact
    in int32.

    Constraints:
    - (C1) `x` has the weight's columns.
    - (C2) `y` and `bias` have the weight's rows.
    - (C3) `scale` and `shift` are by column, by row or single.
    - (C4) `act_scale` is given just where `x` is quantised.
    - (C5) Quantised activations have no column scale: it belongs before the
      rounding.
    - (C6) `token_shift` replaces a column shift.
    - (C7) The shift of quantised activations is a `token_shift`'s.

    Example:
    ```mlir
    %y = mamba.bit_linear %x, %w scale %s shift %b
       : (tensor<?x72xf32>, !mamba.bits<352x72>, tensor<1x72xf32>, tensor<1x72xf32>) -> tensor<?x352xf32>
    ```
  }];
  let arguments = (ins AnyTypeOf<[Mamba_Activations, Mamba_Quantized]>:$x, Mamba_Bits:$weight,
                       Optional<Mamba_Scales>:$scale, Optional<Mamba_Scales>:$shift,
                       Optional<Mamba_Vector>:$bias,
                       Optional<Mamba_TokenScalars>:$act_scale,
                       Optional<Mamba_TokenScalars>:$token_shift);
  let results = (outs Mamba_Activations:$y);
  let assemblyFormat = [{
    $x `,` $weight oilist(`scale` $scale | `shift` $shift | `bias` $bias
                          | `act_scale` $act_scale | `token_shift` $token_shift) attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mamba_LinearOp : Mamba_Op<"linear", [Pure]> {
  let summary = "Dense product: y = x·Wᵀ + bias";
  let description = [{
    ```
    y[t][o] = Σ_k W[o][k] · x[t][k] + bias[o]
    ```

    Constraints:
    - (C1) `x` has the weight's columns.
    - (C2) `y` and `bias` have the weight's rows.

    Example:
    ```mlir
    %y = mamba.linear %x, %w bias %b
       : (tensor<?x72xf32>, tensor<352x72xf16>, tensor<352xf32>) -> tensor<?x352xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_Matrix:$weight, Optional<Mamba_Vector>:$bias);
  let results = (outs Mamba_Activations:$y);
  let assemblyFormat = [{
    $x `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mamba_SplitOp : Mamba_Op<"split", [Pure]> {
  let summary = "Cuts the channels of activations into adjacent parts";
  let description = [{
    Part `i` is `x[t][o_i .. o_i + size_i]`, with `o_i` the sum of the sizes of
    the parts before it. One part alone folds to `x`.

    Constraints:
    - (C1) The parts' features add up to those of `x`.

    Example:
    ```mlir
    %z, %xbc, %dt = mamba.split %zxbcdt : tensor<?x358xf32> -> tensor<?x144xf32>, tensor<?x208xf32>, tensor<?x6xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x);
  let results = (outs Variadic<Mamba_Activations>:$parts);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($parts)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Mamba_CausalConvOp : Mamba_Op<"causal_conv", [Pure, Mamba_NamedResults]> {
  let summary = "Causal depthwise convolution over each sequence, then SiLU";
  let description = [{
    With the state's rows in front of the sequence's first token,
    `y[t][c] = SiLU(Σ_w x[t − (d_conv − 1) + w][c] · weight[w][c] + bias[c])`:
    the last tap is the newest token. The new state is the last `d_conv − 1`
    raw inputs.

    Constraints:
    - (C1) `x`, `y` and `bias` have the weight's channels.
    - (C2) `state` and `new_state` are [slot][d_conv − 1][channels].

    Example:
    ```mlir
    %y, %state1 = mamba.causal_conv %x, %state, %w, %seqs bias %b
       : (tensor<?x208xf32>, tensor<?x3x208xf32>, tensor<4x208xf32>, !mamba.sequences, tensor<208xf32>)
         -> (tensor<?x208xf32>, tensor<?x3x208xf32>)
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_ConvState:$state,
                       Mamba_ConvWeight:$weight, Mamba_Sequences:$seqs,
                       Optional<Mamba_Vector>:$bias);
  let results = (outs Mamba_Activations:$y, Mamba_ConvState:$new_state);
  let assemblyFormat = [{
    $x `,` $state `,` $weight `,` $seqs (`bias` $bias^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mamba_SelectiveScanOp : Mamba_Op<"selective_scan", [Pure, Mamba_NamedResults]> {
  let summary = "The Mamba-2 recurrence over each sequence";
  let description = [{
    `xbc` holds x [H][P], B [G][S] and C [G][S] after the convolution; head `h`
    uses group `h / (H / G)`. For each token of each sequence:

    ```
    δ[h]       = clamp(softplus(dt[h] + dt_bias[h]), dt_min, dt_max)   softplus(v) = v for v > 20
    s[h][n][p] = exp(δ[h] · A[h]) · s[h][n][p] + δ[h] · x[h][p] · B[g][n]
    y[h][p]    = Σ_n s[h][n][p] · C[g][n] + D[h] · x[h][p]
    ```
    (Mamba-2, arXiv 2405.21060.) A is negative: −exp(A_log).

    A state of f16 or bf16 is widened before a sequence's first token and
    rounded once, behind its last: to nearest, ties to even, and beyond the
    largest finite value to that; NaN stays NaN. All arithmetic is that of a
    state of f32.

    Constraints:
    - (C1) `dt_bias`, `A` and `D` have H elements.
    - (C2) `groups` divides H.
    - (C3) 0 ≤ `dt_min` ≤ `dt_max`.
    - (C4) `xbc` has H·P + 2·G·S features and `dt` has H.
    - (C5) `y` has H·P features, and the state's type stays.

    Example:
    ```mlir
    %y, %state1 = mamba.selective_scan %xbc, %dt, %state, %dt_bias, %A, %D, %seqs
        {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
        : (tensor<?x208xf32>, tensor<?x6xf32>, tensor<?x6x16x24xf32>, tensor<6xf32>, tensor<6xf32>,
           tensor<6xf32>, !mamba.sequences) -> (tensor<?x144xf32>, tensor<?x6x16x24xf32>)
    ```
  }];
  let arguments = (ins Mamba_Activations:$xbc, Mamba_Activations:$dt, Mamba_SSMState:$state,
                       Mamba_Vector:$dt_bias, Mamba_Vector:$A, Mamba_Vector:$D,
                       Mamba_Sequences:$seqs,
                       I64Attr:$groups, F32Attr:$dt_min, F32Attr:$dt_max);
  let results = (outs Mamba_Activations:$y, Mamba_SSMState:$new_state);
  let assemblyFormat = [{
    $xbc `,` $dt `,` $state `,` $dt_bias `,` $A `,` $D `,` $seqs attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mamba_AddOp : Mamba_Op<"add", [Pure, Mamba_NamedResults, Commutative, SameOperandsAndResultType]> {
  let summary = "Elementwise sum, of the residual stream and a mixer's output";
  let description = [{
    ```
    y[t][k] = lhs[t][k] + rhs[t][k]
    ```

    Example:
    ```mlir
    %y = mamba.add %a, %b : tensor<?x72xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$lhs, Mamba_Activations:$rhs);
  let results = (outs Mamba_Activations:$y);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($y)";
}

def Mamba_SelectRowsOp : Mamba_Op<"select_rows", [Pure, Mamba_NamedResults, AllTypesMatch<["x", "y"]>]> {
  let summary = "The tokens whose logits are wanted: y[r] = x[rows[r]]";
  let description = [{
    A row beyond the tokens is an error when the program runs. A row may be
    named several times, and in any order.

    Example:
    ```mlir
    %y = mamba.select_rows %x, %rows : tensor<?x72xf32>, tensor<?xi32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_Indices:$rows);
  let results = (outs Mamba_Activations:$y);
  let assemblyFormat = "$x `,` $rows attr-dict `:` type($x) `,` type($rows)";
}

def Mamba_LMHeadOp : Mamba_Op<"lm_head", [Pure, Mamba_NamedResults]> {
  let summary = "Logits: y = x·Wᵀ, W the vocabulary's rows";
  let description = [{
    ```
    logits[t][v] = Σ_k W[v][k] · x[t][k]
    ```

    Constraints:
    - (C1) `x` has the weight's columns.
    - (C2) There is a logit for each of the weight's rows.

    Example:
    ```mlir
    %logits = mamba.lm_head %x, %w : tensor<?x72xf32>, tensor<1000x72xf16> -> tensor<?x1000xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_Matrix:$weight);
  let results = (outs Mamba_Activations:$logits);
  let assemblyFormat = "$x `,` $weight attr-dict `:` type($x) `,` type($weight) `->` type($logits)";
  let hasVerifier = 1;
}

def Mamba_SampleOp : Mamba_Op<"sample", [Pure, Mamba_NamedResults]> {
  let summary = "A token of each row of logits, drawn among the likeliest";
  let description = [{
    Of a row, with the K = min(max(top_k, 1), limit) highest logits l, best
    first, their tokens t, and the row's parameters:
    ```
    w[i]    = e^((l[i] - l[0]) / temperature), 0 unless the exponent is above -700
    S[i]    = w[0] + ... + w[i]
    n       = the most for which, of each 0 < i < n, S[i-1] < top_p * S[K-1],
              w[i] >= min_p and w[i] > 0
    u       = the number that the generator gives, 0 <= u < 1
    chosen  = t[i], i the first below n - 1 with S[i] > u * S[n-1], else n - 1
    highest = l[0]
    ```
    Of equal logits the lower token comes first; a NaN comes before all
    numbers, so that there is none in a row if its highest logit is none. With a
    `top_k` of 1 nothing else counts, and the likeliest token is chosen.

    w, S and u are in double precision, S summed in order; e^x is within 1e-10
    of itself, the same operations in kernels and in the runtime
    (`codegen/Sample.cpp`), so that both choose the same token. The generator is
    SplitMix64, its state two words, the lower first: u is the upper 53 bits of
    its next number over 2^53. `next_random` is the state after it.

    Constraints:
    - (C1) `limit` is at least 1 and at most the number of logits.

    Example:
    ```mlir
    %chosen, %highest, %next_random = mamba.sample %logits, %random, %temperature, %top_k, %top_p, %min_p limit 64 : tensor<?x1000xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$logits, Mamba_RowGenerator:$random,
                       Mamba_RowReal:$temperature, Mamba_RowInteger:$top_k,
                       Mamba_RowReal:$top_p, Mamba_RowReal:$min_p, I64Attr:$limit);
  let results = (outs Mamba_RowInteger:$chosen, Mamba_RowReal:$highest,
                      Mamba_RowGenerator:$next_random);
  let assemblyFormat = [{
    $logits `,` $random `,` $temperature `,` $top_k `,` $top_p `,` $min_p `limit` $limit
    attr-dict `:` type($logits)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Fused operations: what kernels are made from
//===----------------------------------------------------------------------===//

def Mamba_FusedLinearOp : Mamba_Op<"fused_linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "A 1-bit or dense linear with its prologue and epilogue";
  let description = [{
    ```
    x_t  = x[rows[t]] if `rows` is given, else x[t]
    x̂    = x_t / sqrt(mean over its group + eps)     if norm_groups > 0, else x_t
    v    = x̂ ⊙ norm_weight
    τ    = Σ_k x̂[k] · shift_weight[k]
    a[o] = scale · Σ_k signs[o][k] · q[k], (q, scale) = quantize(v)   if activation_bits < 32
           Σ_k W[o][k] · v[k]                                         if activation_bits = 32
    y[o] = row_scale[o] · a[o] + row_shift[o] · τ + bias[o] + residual[t][o]
    ```
    The groups of the norm are `norm_groups` runs of adjacent features. An
    absent `norm_weight`, `row_scale` or `row_shift` counts as 1, any other
    absent term as 0.

    Constraints:
    - (C1) `x`, `norm_weight` and `shift_weight` have the weight's columns.
    - (C2) `y`, `residual`, `row_scale`, `row_shift` and `bias` have the
      weight's rows.
    - (C3) `activation_bits` is 8, 16 or 32, and 32 for a dense weight.
    - (C4) `norm_groups` is 0 or divides the columns.
    - (C5) `eps` is finite and not negative.
    - (C6) `row_shift` needs `shift_weight`.

    Example:
    ```mlir
    %y = mamba.fused_linear %x, %w norm_weight %nw shift_weight %sw residual %r
        {activation_bits = 16 : i64, norm_groups = 1 : i64, eps = 1.0e-5 : f32}
        : (tensor<?x72xf32>, !mamba.bits<352x72>, tensor<72xf32>, tensor<72xf32>, tensor<?x352xf32>)
        -> tensor<?x352xf32>
    ```
  }];
  let arguments = (ins Mamba_Activations:$x, Mamba_LinearWeight:$weight,
                       Optional<Mamba_Indices>:$rows,
                       Optional<Mamba_Vector>:$norm_weight, Optional<Mamba_Vector>:$shift_weight,
                       Optional<Mamba_Vector>:$row_scale, Optional<Mamba_Vector>:$row_shift,
                       Optional<Mamba_Vector>:$bias, Optional<Mamba_Activations>:$residual,
                       DefaultValuedAttr<I64Attr, "32">:$activation_bits,
                       DefaultValuedAttr<I64Attr, "0">:$norm_groups,
                       DefaultValuedAttr<F32Attr, "0.0f">:$eps);
  let results = (outs Mamba_Activations:$y);
  let assemblyFormat = [{
    $x `,` $weight oilist(`rows` $rows | `norm_weight` $norm_weight | `shift_weight` $shift_weight
      | `row_scale` $row_scale | `row_shift` $row_shift | `bias` $bias | `residual` $residual)
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

def Mamba_ScanOp : Mamba_Op<"scan", [Pure, Mamba_NamedResults]> {
  let summary = "Convolution, selective scan and gate in one";
  let description = [{
    Splits `zxbcdt` into z, xBC and dt and computes
    `y = selective_scan(causal_conv(xBC), dt) ⊙ SiLU(z)`.

    Constraints:
    - (C1) `dt_bias`, `A` and `D` have H elements.
    - (C2) `groups` divides H.
    - (C3) 0 ≤ `dt_min` ≤ `dt_max`.
    - (C4) `zxbcdt` has 2·H·P + 2·G·S + H features.
    - (C5) `conv_weight` is [d_conv][C], `conv_bias` has C elements, and
      `conv_state` is [slot][d_conv − 1][C].
    - (C6) `y` has H·P features, and the states' types stay.

    Example:
    ```mlir
    %y, %conv1, %ssm1 = mamba.scan %zxbcdt, %conv, %ssm, %conv_w, %dt_bias, %A, %D, %seqs conv_bias %cb
        {groups = 2 : i64, dt_min = 0.0 : f32, dt_max = 0x7F800000 : f32}
        : (tensor<?x358xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>, tensor<4x208xf32>,
           tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, !mamba.sequences, tensor<208xf32>)
        -> (tensor<?x144xf32>, tensor<?x3x208xf32>, tensor<?x6x16x24xf32>)
    ```
  }];
  let arguments = (ins Mamba_Activations:$zxbcdt, Mamba_ConvState:$conv_state,
                       Mamba_SSMState:$ssm_state, Mamba_ConvWeight:$conv_weight,
                       Mamba_Vector:$dt_bias, Mamba_Vector:$A, Mamba_Vector:$D,
                       Mamba_Sequences:$seqs, Optional<Mamba_Vector>:$conv_bias,
                       I64Attr:$groups, F32Attr:$dt_min, F32Attr:$dt_max);
  let results = (outs Mamba_Activations:$y, Mamba_ConvState:$new_conv_state,
                      Mamba_SSMState:$new_ssm_state);
  let assemblyFormat = [{
    $zxbcdt `,` $conv_state `,` $ssm_state `,` $conv_weight `,` $dt_bias `,` $A `,` $D `,` $seqs
    (`conv_bias` $conv_bias^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    int64_t getHeads() { return getSsmState().getType().getDimSize(1); }
    int64_t getDState() { return getSsmState().getType().getDimSize(2); }
    int64_t getHeaddim() { return getSsmState().getType().getDimSize(3); }
    int64_t getDInner() { return getHeads() * getHeaddim(); }
    int64_t getDConv() { return getConvWeight().getType().getDimSize(0); }
    /// Of x, B and C.
    int64_t getConvChannels() {
      return getDInner() + 2 * int64_t(getGroups()) * getDState();
    }
  }];
  let hasVerifier = 1;
}

#endif // MAMBIT_DIALECTS_MAMBA_MAMBAOPS_TD
