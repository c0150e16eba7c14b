//===- Pieces.h - divides a call into runs of programs -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_PIECES_H
#define MAMBIT_RUNTIME_PIECES_H

#include "runtime/mambit.h"

#include <vector>

namespace mambit {

/// The most that one run of a program takes.
struct Capacity {
  size_t tokens, sequences, rows;
};

/// Consecutive tokens of a sequence in a piece.
struct Segment {
  size_t sequence;
  size_t begin, count; // tokens, counted from the start of the call's tokens
  size_t firstRow;     // logits are wanted of the tokens from this one on,
  size_t rows;         // this many
};

/// One run of a program.
struct Piece {
  bool decode;
  std::vector<Segment> segments;
};

/// Divides sequences (`offsets`, as in mambit_batch) into pieces, the segments
/// of a sequence in order. Which program runs a token, and where its sequence
/// is cut, depend on that sequence alone: what else is in the call must not
/// change its bits.
std::vector<Piece> dividePieces(const std::vector<size_t> &offsets,
                                mambit_logits which, const Capacity &prefill,
                                const Capacity &decode);

} // namespace mambit

#endif // MAMBIT_RUNTIME_PIECES_H
