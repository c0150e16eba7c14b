//===- LookupSums.h - sums of activations looked up in tables *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Σ_k bit[row][k] · q[token][k] in int32, exact, where the sums of every four
// columns come from tables, which are made once for all rows.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_CPU_LOOKUPSUMS_H
#define MAMBIT_CODEGEN_CPU_LOOKUPSUMS_H

#include "codegen/KernelBuilder.h"
#include "codegen/Targets.h"

namespace mambit::cpu {

class LookupSums {
public:
  LookupSums(KernelBuilder &b, const Target &target, int64_t activationBits,
             int64_t columns);

  /// Makes the tables of token `t` for a block of columns. The tables of the
  /// `tokens` from `first` on lie together, block by block, so that tokens do
  /// not compete for the same lines of a cache.
  void emitTables(Val q, Val t, Val block, Val tables, Val first, Val tokens);

  /// The sums of a row tile and one token whose tables lie alone.
  Val emitToken(Val bits, Val rowTile, Val tables, Val t);

  /// Calls body(sums, row tile, token) for some row tiles and tokens, whose
  /// tables lie together. All share what is unpacked of the bits.
  void emitTokens(Val bits, Val rowTile, Val rowTiles, int64_t mostRowTiles,
                  Val tables, Val first, Val tokens, int64_t mostTokens,
                  llvm::function_ref<void(Val, Val, Val)> body);

private:
  Val getTable(Val block, Val token, Val tokens);
  /// Which entries the bits of a block select, low halves of bytes first.
  Vals getIndices(Val bits, Val rowTile, Val block);
  /// Adds what is looked up in the tables `at` of some blocks, to the partial
  /// sums of each digit.
  Vals accumulate(llvm::ArrayRef<Vals> indices, Val tables, Val first,
                  llvm::ArrayRef<Val> at, Vals acc);
  mlir::Type getPartial();
  int64_t numPartials() const { return anywhere ? 1 : 2; } // of a digit
  /// Partial sums as a sum for each row.
  Val finish(llvm::ArrayRef<Val> acc);
  void groups(llvm::function_ref<void(int64_t, int64_t)> body);

  KernelBuilder &b;
  int64_t digits, digitBits;
  int64_t offset; // of the sums in a table
  int64_t bytes;  // of a vector
  /// A shuffle reaches all bytes of a vector, not those of a lane of 128 bits.
  bool anywhere;
  int64_t blocks, maxBlocks;
  /// Blocks whose indices are in registers at once.
  int64_t atOnce;
};

} // namespace mambit::cpu

#endif // MAMBIT_CODEGEN_CPU_LOOKUPSUMS_H
