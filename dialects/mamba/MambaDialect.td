//===- MambaDialect.td - the mamba dialect -----------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_MAMBADIALECT_TD
#define MAMBIT_DIALECTS_MAMBA_MAMBADIALECT_TD

include "mlir/IR/OpBase.td"

def MambaDialect : Dialect {
  let name = "mamba";
  let cppNamespace = "::mambit::mamba";
  let summary = "Mamba-2 blocks and 1-bit linear layers on tensors, with explicit state";
  let description = [{
    The dialect represents a Mamba-2 language model at two levels: whole
    residual blocks as imported (`mamba.block`), and the operations a block
    expands to. Passes then fuse those into the operations kernels are made
    from (`mamba.fused_linear`, `mamba.scan`).

    Names of dimensions: T tokens of all sequences, K inputs and N outputs of a
    linear; H heads, P headdim, G groups, S d_state; C = H·P + 2·G·S channels of
    the convolution (x, then B, then C).

    Conventions shared by all operations:

    - **Packed sequences.** Tokens of several sequences lie end to end in the
      leading dimension `T` of every activation; `!mamba.sequences` says where
      each one starts and which slot holds its state. There is no padding.
      Decoding is the same program with one token a sequence.
    - **State is explicit.** State tensors are pools whose leading dimension
      is the slot. An operation that carries state takes a pool and returns it
      with the slots of its sequences advanced past their last token.
      Convolution state: `[slot][d_conv - 1][channels]`, the last raw inputs,
      oldest first. SSM state: `[slot][heads][d_state][headdim]`.
    - **Weights are symbols.** `mamba.weight` says where the bytes are and
      what is done to them; no weight bytes are in the IR.
    - **Numerics.** The reference interpreter defines every operation in
      double precision. Only quantisation (`mamba.quantize`, and within
      `mamba.fused_linear`), an SSM state of 16 bits and the recipes of weights
      round, each in a way defined to the last bit.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    void registerTypes();
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

#endif // MAMBIT_DIALECTS_MAMBA_MAMBADIALECT_TD
