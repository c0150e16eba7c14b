//===- PlanOps.td - operations of the plan dialect ---------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_PLAN_PLANOPS_TD
#define MAMBIT_DIALECTS_PLAN_PLANOPS_TD

include "dialects/plan/PlanDialect.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Plan_Op<string mnemonic, list<Trait> traits = []>
    : Op<PlanDialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Kernels and states
//===----------------------------------------------------------------------===//

def Plan_KernelOp : Plan_Op<"kernel", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "A kernel: one fused operation and the buffers it takes";
  let description = [{
    The body says what is computed: one fused operation on block arguments,
    one for each of its operands in order. `params` says on which buffers, by
    the rule of `passes/KernelSignature.h`; codegen turns the one into code on
    the other. A kernel with states (parameters whose dim is `slots`) has the
    distance of two slots in bytes.

    Constraints:
    - (C1) the body is one operation and a `plan.return` of its results
    - (C2) the operation's operands are the block arguments, in order
    - (C3) names of parameters are unique
    - (C4) `slot_bytes` is given if and only if a parameter is a state
    - (C5) a state is read and written, and fits in a slot

    Example:
    ```mlir
    plan.kernel @embedding_1000x72_f16 params [
        <"ids" read tensor<i32>, 0 + 4 * tokens>,
        <"table" read tensor<1000x72xf16, #mamba.interleave<rows = 16>>, 145152 + 0 * none>,
        <"y" write tensor<72xf32>, 0 + 288 * tokens>] {
    ^bb0(%ids: tensor<?xi32>, %table: tensor<1000x72xf16, #mamba.interleave<rows = 16>>):
      %y = mamba.embedding %ids, %table
         : tensor<?xi32>, tensor<1000x72xf16, #mamba.interleave<rows = 16>> -> tensor<?x72xf32>
      plan.return %y : tensor<?x72xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypedArrayAttrBase<Plan_ParamAttr, "parameters">:$params,
                       OptionalAttr<I64Attr>:$slot_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`slot_bytes` $slot_bytes^)? `params` custom<Params>($params)
    attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The fused operation.
    ::mlir::Operation *getFusedOp() { return &getBody().front().front(); }
    auto getParamRange() { return getParams().getAsRange<ParamAttr>(); }
  }];
}

def Plan_ReturnOp : Plan_Op<"return", [Pure, Terminator, HasParent<"KernelOp">]> {
  let summary = "Ends the body of a kernel";
  let arguments = (ins Variadic<AnyType>:$results);
  let assemblyFormat = "attr-dict ($results^ `:` type($results))?";
}

def Plan_StateOp : Plan_Op<"state", [Symbol]> {
  let summary = "A piece of every slot's state";
  let description = [{
    State lies in a pool of slots, one a sequence; each slot has this piece at
    `offset`.

    Constraints:
    - (C1) the offset is a multiple of 64, and not negative

    Example:
    ```mlir
    plan.state @conv0 at 0 : tensor<3x208xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$offset,
                       TypeAttrOf<AnyStaticShapeTensor>:$type);
  let assemblyFormat = "$sym_name `at` $offset `:` $type attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = "int64_t getBytes();";
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

def Plan_ProgramOp : Plan_Op<"program", [
    Symbol, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "A list of launches over one arena";
  let description = [{
    A call may bring up to `max_tokens` tokens of up to `max_sequences`
    sequences and ask for the logits of up to `max_rows` tokens. Sequences must
    be distinct slots.

    `plan-memory` gives every arena buffer its offset and the program its
    `arena_size`.

    Constraints:
    - (C1) maxima are positive
    - (C2) names of inputs and outputs are unique
    - (C3) with an `arena_size` every arena buffer has an offset, without one none has
    - (C4) arena buffers are aligned to 64 bytes and lie in the arena
    - (C5) arena buffers alive at the same time do not overlap
    - (C6) the body holds operations of the plan dialect alone

    Example:
    ```mlir
    plan.program @decode max_tokens 64 max_sequences 64 max_rows 64 slot_bytes 11712 arena_size 18688 {
      %ids = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 256 at 18432
      %table = plan.get_weight @model::@embedding : tensor<1000x72xf16, #mamba.interleave<rows = 16>>
      %y = plan.buffer "y" size 18432 at 0
      plan.launch @embedding_1000x72_f16(%ids, %table, %y)
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$max_tokens, I64Attr:$max_sequences,
                       I64Attr:$max_rows, I64Attr:$slot_bytes, OptionalAttr<I64Attr>:$arena_size);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `max_tokens` $max_tokens `max_sequences` $max_sequences `max_rows` $max_rows
    `slot_bytes` $slot_bytes (`arena_size` $arena_size^)? attr-dict-with-keyword $body
  }];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The largest value of a dynamic extent; 1 for none. Not for slots, whose
    /// number the program does not know.
    int64_t getMaximum(Dim dim);
  }];
}

class Plan_ValueOp<string mnemonic, list<Trait> traits = []>
    : Plan_Op<mnemonic, traits # [HasParent<"ProgramOp">,
        DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let results = (outs Plan_BufferType:$buffer);
}

class Plan_PortOp<string mnemonic> : Plan_ValueOp<mnemonic> {
  let arguments = (ins Plan_ParamAttr:$port, I64Attr:$size, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$port `size` $size (`at` $offset^)? attr-dict";
  let hasVerifier = 1;
}

def Plan_InputOp : Plan_PortOp<"input"> {
  let summary = "A range of the arena that the caller fills before a run, alive throughout";
  let description = [{
    Constraints:
    - (C1) the port is read
    - (C2) the port's extent is tokens, sequences, rows or none
    - (C3) the size holds the port at the program's maximum

    Example:
    ```mlir
    %ids = plan.input <"ids" read tensor<i32>, 0 + 4 * tokens> size 2048 at 2195456
    ```
  }];
}

def Plan_OutputOp : Plan_PortOp<"output"> {
  let summary = "A range of the arena that the caller reads after a run";
  let description = [{
    Constraints:
    - (C1) the port is written
    - (C2) the port's extent is tokens, sequences, rows or none
    - (C3) the size holds the port at the program's maximum

    Example:
    ```mlir
    %logits = plan.output <"logits" write tensor<1000xf32>, 0 + 4000 * rows> size 2048000 at 0
    ```
  }];
}

def Plan_BufferOp : Plan_ValueOp<"buffer"> {
  let summary = "A range of the arena, alive from the first launch that uses it to the last";
  let description = [{
    The name is for people. Constraints:
    - (C1) the size is positive

    Example:
    ```mlir
    %y = plan.buffer "y" size 147456 at 2048000
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$size, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$name `size` $size (`at` $offset^)? attr-dict";
  let hasVerifier = 1;
}

def Plan_GetWeightOp : Plan_ValueOp<"get_weight", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A weight, as laid out in the artifact";
  let description = [{
    A matrix of signs has two buffers, one of type `!mamba.bits` and one whose
    layout is `#plan.zeros`.

    Constraints:
    - (C1) the symbol is a `mamba.weight`
    - (C2) the type is the weight's with a layout, or the list of its zeros

    Example:
    ```mlir
    %bits = plan.get_weight @layer0::@in_proj : !mamba.bits<352x72, #mamba.bit_tile<rows = 16>>
    %zeros = plan.get_weight @layer0::@in_proj : tensor<352x72xi32, #plan.zeros<rows = 16>>
    ```
  }];
  let arguments = (ins SymbolRefAttr:$weight, TypeAttr:$type);
  let assemblyFormat = "$weight `:` $type attr-dict";
}

def Plan_GetStateOp : Plan_ValueOp<"get_state", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A state, in all slots";
  let description = [{
    Constraints:
    - (C1) the symbol is a `plan.state`
    - (C2) the state fits in the program's `slot_bytes`

    Example:
    ```mlir
    %conv0 = plan.get_state @conv0
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$state);
  let assemblyFormat = "$state attr-dict";
}

def Plan_LaunchOp : Plan_Op<"launch", [
    HasParent<"ProgramOp">, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel";
  let description = [{
    Constraints:
    - (C1) the symbol is a `plan.kernel`
    - (C2) there is one argument for each parameter
    - (C3) a weight goes to a read parameter of its type
    - (C4) a state goes to a state parameter of its type, and nothing else does
    - (C5) an arena buffer holds the parameter at the program's maximum
    - (C6) an input is not written
    - (C7) the kernel's `slot_bytes`, if any, is the program's

    Example:
    ```mlir
    plan.launch @embedding_1000x72_f16(%ids, %table, %y)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<Plan_BufferType>:$args);
  let assemblyFormat = "$kernel `(` $args `)` attr-dict";
}

#endif // MAMBIT_DIALECTS_PLAN_PLANOPS_TD
