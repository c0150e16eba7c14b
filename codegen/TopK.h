//===- TopK.h - the order of logits -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// A logit and its token as one signed integer of 64 bits, its rank: the better
// of two has the greater rank. So the best K are found one after the other, as
// the greatest rank below the last one found, whoever looks through what.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_TOPK_H
#define MAMBIT_CODEGEN_TOPK_H

#include "codegen/KernelBuilder.h"
#include "dialects/mamba/Mamba.h"

namespace mambit {

struct TopK {
  explicit TopK(mamba::TopKOp op);

  int64_t vocab, count; // of a row: logits, and the best of them
  int64_t parts;        // of a row
  int64_t getCandidates() const { return parts * count; }

  /// Of scalars or vectors; the token in 32 bits.
  static Val rank(Val logit, Val token);
  static Val token(Val rank);
  /// Below and above all ranks.
  static Val none(KernelBuilder &b);
  static Val limit(KernelBuilder &b);
  /// The rank, or none if it is not below the last one found.
  static Val below(Val rank, Val last);

  /// Makes the results' element `i` of a row.
  static void store(KernelBuilder &b, Val row, Val i, Val rank);
};

} // namespace mambit

#endif // MAMBIT_CODEGEN_TOPK_H
