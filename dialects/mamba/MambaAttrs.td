//===- MambaAttrs.td - attributes of the mamba dialect -----*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_MAMBAATTRS_TD
#define MAMBIT_DIALECTS_MAMBA_MAMBAATTRS_TD

include "dialects/mamba/MambaDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/TensorEncoding.td"

class Mamba_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<MambaDialect, name, traits> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

def Mamba_BitTileAttr : Mamba_Attr<"BitTile", "bit_tile"> {
  let summary = "Layout of packed signs: tiles of rows × 32 columns";
  let description = [{
    The matrix is cut into row tiles of `rows` rows (a multiple of 16); a row
    tile is a run of blocks, one for each 32 columns, and a block holds one
    32-bit little-endian word a row. Bit `8·j + b` of a word (`j` in 0..3, `b`
    in 0..7) is column `4·b + j` of the block: an AND with `0x01010101 << b`
    leaves one byte for each of four adjacent columns, the operand of a byte
    dot product. A set bit is a positive weight. Padding rows and columns are
    zero bits.

    Constraints:
    - (C1) `rows` is a positive multiple of 16.

    Example: `#mamba.bit_tile<rows = 16>`.
  }];
  let parameters = (ins "int64_t":$rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Mamba_InterleaveAttr : Mamba_Attr<"Interleave", "interleave", [
    DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "Layout of a dense matrix: adjacent rows interleaved";
  let description = [{
    Encoding of a rank-2 tensor type `[n][k]`: it lies in memory as
    `[ceil(n / rows)][k][rows]`, so that one vector load gives one column of
    `rows` adjacent rows. Padding rows are zero.

    Constraints:
    - (C1) `rows` is positive.
    - (C2) The tensor is a static matrix.

    Example: `tensor<1000x72xf16, #mamba.interleave<rows = 16>>`.
  }];
  let parameters = (ins "int64_t":$rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Weight recipes
//===----------------------------------------------------------------------===//

def Mamba_SourceAttr : Mamba_Attr<"Source", "source"> {
  let summary = "A tensor of the checkpoint: file, key, element type, shape";
  let description = [{
    Constraints:
    - (C1) The tensor is static, of f16, bf16, f32, f64, i8 or i32.

    Example: `#mamba.source<"pytorch_model.bin", "backbone.norm_f.weight" : tensor<384xf16>>`.
  }];
  let parameters = (ins StringRefParameter<"file, relative to the checkpoint folder">:$file,
                        StringRefParameter<"key in the file">:$key,
                        "::mlir::RankedTensorType":$type);
  let assemblyFormat = "`<` $file `,` $key `:` $type `>`";
  let genVerifyDecl = 1;
}

def Mamba_SignAttr : Mamba_Attr<"Sign", "sign"> {
  let summary = "Recipe step: the sign of each element, sign(±0) = 0";
}

def Mamba_NegExpAttr : Mamba_Attr<"NegExp", "neg_exp"> {
  let summary = "Recipe step: x ↦ −exp(x), which makes A of A_log";
}

def Mamba_TransposeAttr : Mamba_Attr<"Transpose", "transpose"> {
  let summary = "Recipe step: transposes a matrix (dimensions of size 1 dropped first)";
}

def Mamba_MultiplyAttr : Mamba_Attr<"Multiply", "multiply"> {
  let summary = "Recipe step: multiplies elementwise by another source of the weight";
  let description = [{
    `#mamba.multiply<1>` multiplies by source 1, flattened; a source of one
    element broadcasts. The product is rounded to f32.
  }];
  let parameters = (ins "unsigned":$source);
  let assemblyFormat = "`<` $source `>`";
}

def Mamba_CastAttr : Mamba_Attr<"Cast", "cast"> {
  let summary = "Recipe step: rounds to f16, bf16 or f32, ties to even";
  let description = [{
    A finite value that becomes infinite is an error when the weight is made.

    Constraints:
    - (C1) The type is f16, bf16 or f32.

    Example: `#mamba.cast<f16>`.
  }];
  let parameters = (ins "::mlir::Type":$type);
  let assemblyFormat = "`<` $type `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Configuration of a block
//===----------------------------------------------------------------------===//

def Mamba_BlockConfigAttr : Mamba_Attr<"BlockConfig", "block_config"> {
  let summary = "Dimensions and constants of one Mamba-2 block";
  let description = [{
    `d_inner = heads · headdim`, convolution channels `= d_inner + 2·groups·d_state`,
    in_proj rows `= 2·d_inner + 2·groups·d_state + heads`. `norm_groups` is the
    number of groups the gated norm normalises one by one: `groups` for
    checkpoints of mamba_ssm, 1 for Hugging Face's.

    Constraints:
    - (C1) The dimensions are positive.
    - (C2) `d_conv` is at least 2: there is a convolution state.
    - (C3) `groups` divides `heads`.
    - (C4) `norm_groups` divides `d_inner`.
    - (C5) `eps`, `gated_eps`, `dt_min` and `dt_max` are f32 and not negative,
      the first two finite, and `dt_min` ≤ `dt_max`.

    Example: see `mamba.block`.
  }];
  let parameters = (ins "int64_t":$d_model, "int64_t":$heads, "int64_t":$headdim,
                        "int64_t":$groups, "int64_t":$d_state, "int64_t":$d_conv,
                        "int64_t":$norm_groups,
                        "::mlir::FloatAttr":$eps, "::mlir::FloatAttr":$gated_eps,
                        "::mlir::FloatAttr":$dt_min, "::mlir::FloatAttr":$dt_max);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getDInner() const { return getHeads() * getHeaddim(); }
    int64_t getConvChannels() const {
      return getDInner() + 2 * getGroups() * getDState();
    }
    int64_t getInProjRows() const {
      return getDInner() + getConvChannels() + getHeads();
    }
  }];
}

#endif // MAMBIT_DIALECTS_MAMBA_MAMBAATTRS_TD
