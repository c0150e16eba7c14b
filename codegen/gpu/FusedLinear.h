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
  friend class Activations;

  /// Columns of a word of weights.
  static constexpr int64_t kBlock = 32;
  /// Bytes of a digit's adjacent columns that lie together.
  static constexpr int64_t kPiece = 16;
  /// What the prologue leaves in `digits`.
  enum class Form { planes, digits };

  // Prologue.cpp
  void emitPrologue(llvm::StringRef suffix, Form form,
                    const Condition &condition);
  void storeDigits(Val t, Val span, Val q);
  /// The type of sums of q, as its number of bits.
  int64_t sumBits() const { return bits == 32 ? 64 : 32; }
  /// Of sums of the lower and the upper half of q, of 32 bits.
  Val joinHalves(Val low, Val high);

  // BitPlanes.cpp
  /// `fused`: every block makes the planes itself, without a prologue.
  void emitBitPlanes(llvm::StringRef suffix, bool fused,
                     const Condition &condition);
  int64_t chooseRowTiles(bool fused, int64_t tokens) const;
  Vals getPlanes(Val q);
  void storePlanes(Val t, Val span, Val q);
  Vals loadPlanes(Val t, Val span);
  Val combinePlanes(llvm::ArrayRef<Vals> counts);
  Val combinePlanes(llvm::ArrayRef<Vals> counts, bool isLast);

  // Digits.cpp
  /// Columns of a panel at most, and of a fragment.
  static constexpr int64_t kPanelColumns = 128, kFragment = 8;
  static constexpr int64_t kOnes = 0x01010101; // four bytes
  /// The digits of some tokens, which lie together.
  struct Panel {
    Val first;   // token
    Val columns; // digits of all its tokens
    Val start;   // byte
  };
  int64_t numDigits() const { return bits / 8; }
  /// Adjacent columns that are digits of one sum in i32.
  int64_t numAdjacent() const { return std::min<int64_t>(numDigits(), 2); }
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
  Vals getOnes(Val rows, int64_t half);
  Vals joinLanes(llvm::ArrayRef<Val> sums);
  void storeRows(llvm::ArrayRef<Val> ones, Val row, llvm::ArrayRef<Val> tokens);
  void storeFragments(llvm::ArrayRef<Val> sums, int64_t ofRows, Val row, Val t);

  // WarpgroupTiles.cpp
  /// What a tile takes besides the product, as `getTileTime` counts: the
  /// launch, with filling stages and storing results; each tile of a block; and
  /// the exchange of sums in a cluster.
  static constexpr int64_t kLaunchTime = 110, kStartTime = 25,
                           kExchangeTime = 15;
  /// A tile of warpgroups.
  struct WarpgroupTile {
    int64_t rows;
    /// Blocks of a cluster, each of which takes a part of K.
    int64_t parts;
    bool operator!=(const WarpgroupTile &other) const {
      return rows != other.rows || parts != other.parts;
    }
  };
  std::optional<int64_t> getTileTime(const WarpgroupTile &tile,
                                     int64_t panels) const;
  WarpgroupTile chooseTile(int64_t panels,
                           std::optional<WarpgroupTile> fewer = {}) const;
  void emitWarpgroupTiles(const Condition &condition);
  void emitWarpgroupTiles(const WarpgroupTile &shape,
                          const Condition &condition);
  Vals addOtherGroup(llvm::ArrayRef<Val> sums, Val group);
  Vals addOtherBlocks(llvm::ArrayRef<Val> sums, int64_t ofRows, Val rank,
                      Val others, Val arrived);

  void emitFloatProduct();
  void emitTensorProduct(llvm::StringRef suffix, int64_t tokens,
                         const Condition &condition);
  void emitWarpgroupProduct(llvm::StringRef suffix, const Condition &condition);

  // Epilogue, of one element.
  /// What the epilogue needs of a row: weights.
  struct Row {
    Val number, zerosBegin, zerosEnd, scale, shift, bias;
  };
  /// Of one row, or of adjacent ones.
  Row loadRow(Val number, int64_t rows = 1);
  Val loadRows(llvm::StringRef name, llvm::ArrayRef<Operand> at, int64_t rows);
  Val getActivation(Val t, Val column, Form form);
  Val addZeros(Val sum, const Row &row,
               llvm::function_ref<Val(Val column)> term);
  void emitIntegerEpilogue(Val ones, const Row &row, Val t, Val qsum, Val scale,
                           Val tau, Val residual,
                           llvm::function_ref<Val(Val column)> activation);
  /// What the epilogue stores: of one row, or of adjacent ones.
  Val finish(Val sum, const Row &row, Val tau, Val residual);
  Val finish(Val sum, Val row, Val t);
  Val loadTau(Val t);
  Val loadResidual(Val t, Val row, int64_t rows = 1);

  SimtBuilder &b;
  mamba::FusedLinearOp op;
  MatmulStrategy strategy;
  int64_t k, n, bits, blocks, rowTiles;
  bool binary;
  /// Whether the product is of integers.
  bool quantised;
  plan::Dim extent;
  /// Of the prologue and of the product of planes: the warps of a block, and
  /// how many spans of columns (Activations) each of them has.
  int64_t warps, spansOfWarp;
};

/// What a product is of, made by a whole block of a token's inputs at a time:
/// v = x · norm_weight, and q = rint(v · top / max|v|); of 32 bits the factor
/// is a power of two, which keeps v exact but for what is far below its
/// largest. Of one group of channels that is normalised the 1 / rms is a factor
/// of the result, left to the epilogue; then one pass over x suffices. The
/// columns are dealt out to warps by spans and every sum has an order that
/// depends on their number alone, so a token gives the same bits in every
/// phase.
class Activations {
public:
  /// Columns of a span: as many as a fragment of bits has.
  static constexpr int64_t kSpan = 256;
  /// Of a span a lane has 4 adjacent columns in each half, so many in all.
  static constexpr int64_t kLaneColumns = 8;
  /// Spans of a warp whose values stay in registers.
  static constexpr int64_t kKept = 4;

  /// Loads weights only, so the phase before need not have ended. `tokens` of
  /// one phase have places of their own in shared memory.
  Activations(FusedLinear &linear, int64_t tokens);

  /// Quantises token `t`, at its place. `keep` is given the lane's columns of a
  /// span: q in the low bits, as many as activations have.
  void quantise(Val t, Val place,
                llvm::function_ref<void(Val span, Val q)> keep);
  /// Normalises it in f32.
  void normalise(Val t, Val place,
                 llvm::function_ref<void(Val span, Val v)> keep);

  /// What concerns all columns of a token; for the threads that have passed a
  /// barrier since.
  struct Totals {
    Val scale, tau, qsum;
  };
  Totals getTotals(Val place);
  /// q of one column again.
  Val getActivation(Val t, Val place, Val column);

  /// Of half a span, the lane's first column.
  static Val getColumn(SimtBuilder &b, Val span, int64_t half);

private:
  /// Of the lane's columns so far.
  struct Sums {
    Val squares, shifts, largest;
  };
  Sums read(Val t, Val place);
  void normaliseGroups(Val place);
  Vals forSpans(
      llvm::ArrayRef<Val> init,
      llvm::function_ref<Vals(Val span, int64_t i, llvm::ArrayRef<Val> carried)>
          body);
  Val load(llvm::StringRef name, llvm::ArrayRef<Operand> row, Val span);
  Val getWeight(llvm::StringRef name, const Vals &kept, Val span, int64_t i);
  Val getInput(Val place, Val span);
  Val getValue(Val place, Val span, int64_t i);
  Val round(Val v, Val inverse);
  /// `qsum`: of the warp, in one or two halves.
  void storeTotals(Val place, const Sums &sums, llvm::ArrayRef<Val> qsum,
                   Val scale);
  bool isKept() const { return linear.spansOfWarp <= kKept; }

  FusedLinear &linear;
  SimtBuilder &b;
  mamba::FusedLinearOp op;
  int64_t groups;
  Vals normWeight, shiftWeight; // by span, if kept
  Vals values;                  // likewise, of the current token
  Val from;                     // its row of x
  // Shared, by place and warp: the largest magnitude; Σq, Σx², Σ x · shift,
  // scale / rstd; Σ of the upper halves of q. By place and group: 1 / rms. By
  // place: top / max|v|.
  Val largest, totals, highSums, rstd, squares, inverses;
};

} // namespace mambit::cuda

#endif // MAMBIT_CODEGEN_GPU_FUSEDLINEAR_H
