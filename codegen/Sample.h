//===- Sample.h - the order of logits, and a draw -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// A logit and its token as one signed integer of 64 bits, its rank: the better
// of two has the greater rank. So the best K are found one after the other, as
// the greatest rank below the last one found, whoever looks through what.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_SAMPLE_H
#define MAMBIT_CODEGEN_SAMPLE_H

#include "codegen/KernelBuilder.h"
#include "dialects/mamba/Mamba.h"

namespace mambit {

struct Sampling {
  explicit Sampling(mamba::SampleOp op);

  int64_t vocab, limit; // of a row: logits, and the most that are looked for
  int64_t parts;        // of a row

  /// How many of a row's best are looked for.
  Val count(KernelBuilder &b, Val row) const;
  /// By what one of them is drawn; all but the first in f64.
  struct Parameters {
    Val random, temperature, topP, minP;
  };
  static Parameters load(KernelBuilder &b, Val row);
  /// Where the rank stands that is found i-th in a part of the row.
  Val place(const Operand &i, Val part) const { return i * parts + part; }

  /// Of scalars or vectors; the token in 32 bits.
  static Val rank(Val logit, Val token);
  static Val token(Val rank);
  static Val logit(Val rank);
  /// Below and above all ranks.
  static Val none(KernelBuilder &b);
  static Val limitOfRanks(KernelBuilder &b);
  /// The rank, or none if it is not below the last one found.
  static Val below(Val rank, Val last);

  /// What a token weighs beside the likeliest, in f64.
  static Val weight(KernelBuilder &b, const Parameters &parameters, Val rank,
                    Val likeliest);
  /// Draws one of the best, of ranks and weights in order, and makes the row's
  /// results; for one thread.
  static void draw(KernelBuilder &b, const Parameters &parameters, Val row,
                   Val count, Val ranks, Val weights);
};

} // namespace mambit

#endif // MAMBIT_CODEGEN_SAMPLE_H
