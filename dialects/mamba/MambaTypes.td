//===- MambaTypes.td - types of the mamba dialect ----------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_MAMBATYPES_TD
#define MAMBIT_DIALECTS_MAMBA_MAMBATYPES_TD

include "dialects/mamba/MambaAttrs.td"
include "mlir/IR/BuiltinTypes.td"

class Mamba_Type<string name, string typeMnemonic> : TypeDef<MambaDialect, name> {
  let mnemonic = typeMnemonic;
}

def Mamba_BitsType : Mamba_Type<"Bits", "bits"> {
  let summary = "A matrix of signs (−1, 0 or 1), packed to one bit a weight";
  let description = [{
    `rows` outputs by `columns` inputs. Exact zeros are rare and kept in a
    sparse list beside the bits. Without a layout the matrix is abstract;
    `assign-layouts` gives it one.

    Constraints:
    - (C1) `rows` and `columns` are positive.

    Example: `!mamba.bits<10576x2560>`,
    `!mamba.bits<10576x2560, #mamba.bit_tile<rows = 16>>`.
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns,
                        OptionalParameter<"::mambit::mamba::BitTileAttr">:$layout);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Mamba_SequencesType : Mamba_Type<"Sequences", "sequences"> {
  let summary = "How packed tokens divide into sequences, and the slot of each";
  let description = [{
    A list of `n` sequences: `offsets[n + 1]` (sequence `i` owns tokens
    `offsets[i]` to `offsets[i + 1] - 1`) and `slots[n]`, the distinct slots of
    the state pools that the sequences continue from and are written back to.
  }];
}

def Mamba_Bits : Type<CPred<"::llvm::isa<::mambit::mamba::BitsType>($_self)">, "packed signs",
                      "::mambit::mamba::BitsType">;
def Mamba_Sequences : Type<CPred<"::llvm::isa<::mambit::mamba::SequencesType>($_self)">,
                           "packed sequences", "::mambit::mamba::SequencesType">,
                      BuildableType<"$_builder.getType<::mambit::mamba::SequencesType>()">;

#endif // MAMBIT_DIALECTS_MAMBA_MAMBATYPES_TD
