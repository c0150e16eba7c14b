//===- LookupSums.h - sums of activations looked up in tables *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Σ_k bit[row][k] · q[token][k] in int32, exact, where the sums of every four
// columns come from tables, which are made once for all rows.
//
// Half a byte of a row's word (see BitSums.cpp) selects among four columns: the
// low half of byte j among columns j, 4 + j, 8 + j and 12 + j of the block, the
// high half among those 16 further.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_CPU_LOOKUPSUMS_H
#define MAMBIT_CODEGEN_CPU_LOOKUPSUMS_H

#include "codegen/KernelBuilder.h"
#include "codegen/Targets.h"

namespace mambit::cpu {

class LookupSums {
public:
  /// As the target does it best.
  static std::unique_ptr<LookupSums> create(KernelBuilder &b,
                                            const Target &target,
                                            int64_t activationBits,
                                            int64_t columns);
  virtual ~LookupSums() = default;

  /// Tables are made for so many blocks of columns at once.
  static constexpr int64_t kTableBlocks = 16;
  int64_t numTableTiles() const {
    return llvm::divideCeilSigned(blocks, kTableBlocks);
  }
  /// Makes the tables of token `t` for a tile of blocks. The tables of the
  /// `tokens` from `first` on lie together, block by block, so that tokens do
  /// not compete for the same lines of a cache.
  virtual void emitTables(Val q, Val t, Val tile, Val tables, Val first,
                          Val tokens) = 0;

  /// The sums of a row tile and one token whose tables lie alone.
  virtual Val emitToken(Val bits, Val rowTile, Val tables, Val t) = 0;

  /// Row tiles at most that emitTokens takes: as the nearest cache has space.
  virtual int64_t getMostRowTiles() const = 0;
  /// Calls body(sums, row tile, token) for some row tiles and tokens, whose
  /// tables lie together. All share what is unpacked of the bits.
  virtual void
  emitTokens(Val bits, Val rowTile, Val rowTiles, Val tables, Val first,
             Val tokens, int64_t mostTokens,
             llvm::function_ref<void(Val sums, Val rowTile, Val t)> body) = 0;

protected:
  static constexpr int64_t kTileRows = 16;
  static constexpr int64_t kBlockColumns = 32;
  static constexpr int64_t kEntries = 16; // of a table

  LookupSums(KernelBuilder &b, int64_t columns)
      : b(b), blocks(llvm::divideCeilSigned(columns, kBlockColumns)) {}

  /// The activations of half a block.
  Val loadColumns(Val q, Val t, Val block, int64_t half);
  /// All ones in the entries of a table that the column of `bit` counts for.
  Val getEntries(int64_t bit);

  KernelBuilder &b;
  int64_t blocks;
};

/// By shuffles of bytes in lanes of 128 bits.
std::unique_ptr<LookupSums> createByteLookup(KernelBuilder &b,
                                             const Target &target,
                                             int64_t activationBits,
                                             int64_t columns);
/// By permutations of the words of 512 bits.
std::unique_ptr<LookupSums> createWordLookup(KernelBuilder &b,
                                             const Target &target,
                                             int64_t activationBits,
                                             int64_t columns);

} // namespace mambit::cpu

#endif // MAMBIT_CODEGEN_CPU_LOOKUPSUMS_H
