//===- PlanDialect.td - the plan dialect: attributes, types -*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_PLAN_PLANDIALECT_TD
#define MAMBIT_DIALECTS_PLAN_PLANDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def PlanDialect : Dialect {
  let name = "plan";
  let cppNamespace = "::mambit::plan";
  let summary = "Kernels on buffers, and the programs that launch them";
  let description = [{
    What an artifact says of a model, before any code is generated: kernels
    with the buffers they take, the states of a slot, and two programs, each a
    list of launches over one static arena. Every operation maps to one table
    of the artifact.

    A program is straight-line data. Its values are buffers: ranges of the
    arena, weights, states. What a launch does to a buffer, reading or writing,
    is said by the kernel's parameter; launches run in order.

    Extents known only when a program runs (`tokens`, `sequences`, `rows`) have
    a maximum in each program; buffers are made for the maximum.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

//===----------------------------------------------------------------------===//
// Enumerations
//===----------------------------------------------------------------------===//

class Plan_Enum<string name, string summary, list<I32EnumCase> cases>
    : I32Enum<name, summary, cases> {
  let cppNamespace = "::mambit::plan";
}

def Plan_Access : Plan_Enum<"Access", "what a kernel does to a buffer", [
  I32EnumCase<"read", 0>, I32EnumCase<"write", 1>, I32EnumCase<"readWrite", 2, "read_write">]>;

def Plan_Dim : Plan_Enum<"Dim", "extent known when a program runs", [
  I32EnumCase<"none", 0>, I32EnumCase<"tokens", 1>, I32EnumCase<"sequences", 2>,
  I32EnumCase<"rows", 3>, I32EnumCase<"slots", 4>]>;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

class Plan_Attr<string name, string attrMnemonic> : AttrDef<PlanDialect, name> {
  let mnemonic = attrMnemonic;
}

def Plan_ZerosAttr : Plan_Attr<"Zeros", "zeros"> {
  let summary = "Layout of the list of exact zeros of a matrix of signs";
  let description = [{
    Encoding of a tensor type `[n][k]` of i32 that stands for a list beside
    the bits: `start[ceil(n / rows) + 1]`, then for each zero, sorted, the pair
    (row, column). `start[t]` is the index of the first pair of row tile `t`,
    the last one the number of pairs. The list's length belongs to the weights.

    Constraints:
    - (C1) rows is positive

    Example: `tensor<352x72xi32, #plan.zeros<rows = 16>>`.
  }];
  let parameters = (ins "int64_t":$rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Plan_ParamAttr : Plan_Attr<"Param", "param"> {
  let summary = "A buffer as a kernel sees it";
  let description = [{
    `type` is what one unit of `dim` holds: a tensor type without the leading
    dynamic dimension (for `dim = none`, the whole), with its layout as
    encoding, or `!mamba.bits` with a layout. The buffer has
    `fixed_bytes + dim_bytes * dim` bytes; of a list of zeros `fixed_bytes` is
    the size of the empty list.

    Constraints:
    - (C1) the type is a static ranked tensor or packed signs
    - (C2) sizes are not negative

    Examples:
    ```mlir
    #plan.param<"x" read tensor<72xf32>, 0 + 288 * tokens>
    #plan.param<"offsets" read tensor<i32>, 4 + 4 * sequences>
    #plan.param<"weight" read !mamba.bits<352x72, #mamba.bit_tile<rows = 16>>, 4224 + 0 * none>
    ```
  }];
  let parameters = (ins StringRefParameter<"unique in its kernel">:$name,
                        EnumParameter<Plan_Access>:$access, "::mlir::Type":$type,
                        "int64_t":$fixed_bytes, "int64_t":$dim_bytes,
                        EnumParameter<Plan_Dim>:$dim);
  let assemblyFormat = "`<` $name $access $type `,` $fixed_bytes `+` $dim_bytes `*` $dim `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The element type; null for bits, which have none.
    ::mlir::Type getElementType() const;
    /// Static shape of one unit of the dynamic extent.
    ::llvm::SmallVector<int64_t> getShape() const;
    /// #mamba.bit_tile, #plan.zeros, #mamba.interleave, or null: row major.
    ::mlir::Attribute getLayout() const;
    /// Bytes at a given value of the dynamic extent.
    int64_t getBytes(int64_t extent) const {
      return getFixedBytes() + getDimBytes() * extent;
    }
  }];
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

def Plan_BufferType : TypeDef<PlanDialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "Memory a kernel can be given: a range of the arena, a weight, a state";
}

#endif // MAMBIT_DIALECTS_PLAN_PLANDIALECT_TD
