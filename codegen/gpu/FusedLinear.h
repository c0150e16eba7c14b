//===- FusedLinear.h - a linear with its prologue and epilogue -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_GPU_FUSEDLINEAR_H
#define MAMBIT_CODEGEN_GPU_FUSEDLINEAR_H

#include "codegen/gpu/Kernels.h"

namespace mambit::cuda {

/// The emitter of a `mamba.fused_linear`. Its phases are strategies for the
/// number of tokens, which are known when the program runs.
class FusedLinear {
public:
  FusedLinear(SimtBuilder &b, mamba::FusedLinearOp op, MatmulStrategy strategy);

  void emit();

private:
  /// Columns of a word of weights.
  static constexpr int64_t kBlock = 32;
  /// Bytes of a digit's adjacent columns that lie together.
  static constexpr int64_t kPiece = 16;
  /// What the prologue leaves in `digits`.
  enum class Form { planes, digits };

  // Prologue.cpp
  void emitPrologue(llvm::StringRef suffix, Form form,
                    const Condition &condition);
  void emitPrologue(Val t, Form form);
  Vals
  columns(llvm::ArrayRef<Val> init,
          llvm::function_ref<Vals(Val column, Val inside, llvm::ArrayRef<Val>)>
              body);
  void emitQuantise(Val t, Form form, Val largest, Val ints,
                    llvm::function_ref<Val(Val column, Val inside)> v);
  void storeDigits(Val t, Val column, Val q);
  void storePlanes(Val t, Val column, Val q);

  // BitPlanes.cpp
  void emitBitPlanes(const Condition &condition);
  void emitBitPlanes(Val rowBlock, Val sums);

  // Digits.cpp
  /// The digits of some tokens, which lie together.
  struct Panel {
    Val first;   // token
    Val columns; // digits of all its tokens
    Val start;   // byte
  };
  int64_t numDigits() const { return bits / 8; }
  int64_t panelTokens() const;
  int64_t splitRows() const;
  int64_t splitTokens() const;
  Panel getPanel(Val first);
  Val getByte(const Panel &panel, Val column, Val piece);
  Val getByte(Val t, int64_t digit, Val column);
  void emitDigits(const Condition &condition);
  void emitSplit(const Condition &condition);
  void emitSplit(int64_t warps, Val rowBlock, Val columnBlock);
  void emitTiles(const Condition &condition);
  void emitTile(Val rowBlock, Val panelIndex);
  void emitWarpgroupTiles(const Condition &condition);
  Vals getOnes(Val word, int64_t count);
  void storeRows(llvm::ArrayRef<Val> ones, Val row, llvm::ArrayRef<Val> tokens);
  void storeFragments(llvm::ArrayRef<Val> sums, Val row, Val t);

  void emitFloatProduct();

  // Epilogue, of one element.
  Val getActivation(Val t, Val column, Form form);
  Val addZeros(Val sum, Val row, llvm::function_ref<Val(Val column)> term);
  void emitIntegerEpilogue(Val ones, Val row, Val t, Form form);
  void emitEpilogue(Val sum, Val row, Val t);
  /// What the epilogue stores: of one row, or of adjacent ones.
  Val finish(Val sum, Val row, Val t);

  SimtBuilder &b;
  mamba::FusedLinearOp op;
  MatmulStrategy strategy;
  int64_t k, n, bits, blocks, rowTiles;
  bool binary;
  plan::Dim extent;
};

} // namespace mambit::cuda

#endif // MAMBIT_CODEGEN_GPU_FUSEDLINEAR_H
