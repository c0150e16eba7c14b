//===- Sample.cpp - the order of logits, and a draw -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Sample.h"

#include "passes/KernelSignature.h"

using namespace mlir;
using namespace mambit;

//===--------------------------------------------------------------------===//
// Ranks
//===--------------------------------------------------------------------===//

// The upper half of a rank orders logits, the lower half is the token's
// complement. A NaN's upper half is above infinity's, and below the limit's.
static constexpr double kNan = 0x7FFFFFFE, kLimit = 0x1p63 - 0x1p32,
                        kNone = -0x1p63;

Sampling::Sampling(mamba::SampleOp op)
    : vocab(op.getLogits().getType().getDimSize(1)), limit(op.getLimit()),
      parts(llvm::divideCeil(vocab, kSamplePart)) {}

Val Sampling::count(KernelBuilder &b, Val row) const {
  return b.toIndex(min(max(b.load(b.buffer("top_k"), {row}), 1), limit));
}

/// Of a float as an integer, and the other way round.
static Val order(Val bits) { return select(bits < 0, bits ^ 0x7FFFFFFF, bits); }

Val Sampling::rank(Val logit, Val token) {
  KernelBuilder &b = logit.getBuilder();
  // -0 is equal to 0, and becomes it.
  Val ordered = order(b.bitcast(logit + 0.0, token.getType()));
  Val upper = b.toInteger(select(logit == logit, ordered, kNan), 64);
  return upper << 32 | b.zeroExtend(token ^ -1, upper.getType());
}

Val Sampling::token(Val rank) {
  return rank.getBuilder().toInteger(rank, 32) ^ -1;
}

Val Sampling::logit(Val rank) {
  KernelBuilder &b = rank.getBuilder();
  return b.bitcast(order(b.toInteger(rank >> 32, 32)), b.getF32Type());
}

Val Sampling::none(KernelBuilder &b) {
  return b.constant(b.getI64Type(), kNone);
}
Val Sampling::limitOfRanks(KernelBuilder &b) {
  return b.constant(b.getI64Type(), kLimit);
}

Val Sampling::below(Val rank, Val last) {
  return select(rank < last, rank, kNone);
}

//===--------------------------------------------------------------------===//
// The draw: operation by operation what runtime/Sampler.cpp does
//===--------------------------------------------------------------------===//

/// e^x for -700 < x <= 0, and else 0.
static Val exponential(Val given) {
  KernelBuilder &b = given.getBuilder();
  Val inside = given > -700.0; // not of NaN
  Val x = select(inside, given, 0.0);
  // x = n ln 2 + r; ln 2 in two parts, the products of the first exact.
  Val n = roundEven(x * 1.44269504088896341);
  Val r = x - n * 0x1.62e42feep-1 - n * 0x1.a39ef35793c76p-33;
  constexpr int64_t kTerms = 10; // |r| <= ln 2 / 2: an error below 1e-11
  double factorials[kTerms] = {1};
  for (int64_t i = 1; i < kTerms; ++i)
    factorials[i] = factorials[i - 1] * double(i);
  Val sum = b.constant(x.getType(), 1 / factorials[kTerms - 1]);
  for (int64_t i = kTerms - 1; i-- > 0;)
    sum = sum * r + 1 / factorials[i];
  Val power = b.bitcast((b.toInteger(n, 64) + 1023) << 52, x.getType());
  return select(inside, sum * power, 0.0);
}

Val Sampling::weight(KernelBuilder &b, const Parameters &parameters, Val rank,
                     Val likeliest) {
  return exponential((b.toF64(logit(rank)) - b.toF64(logit(likeliest))) /
                     parameters.temperature);
}

static Val constant(KernelBuilder &b, uint64_t value) {
  return b.constant(b.getI64Type(), double(value >> 32)) << 32 |
         double(uint32_t(value));
}

Sampling::Parameters Sampling::load(KernelBuilder &b, Val row) {
  auto word = [&](int64_t i) {
    return b.zeroExtend(b.load(b.buffer("random"), {row, i}), b.getI64Type());
  };
  auto real = [&](StringRef name) {
    return b.toF64(b.load(b.buffer(name), {row}));
  };
  return {word(1) << 32 | word(0), real("temperature"), real("top_p"),
          real("min_p")};
}

/// The next number of the row's generator, SplitMix64, as one below 1.
static Val nextUniform(KernelBuilder &b, Val row, Val random) {
  Val state = random + constant(b, 0x9e3779b97f4a7c15);
  Val next = b.buffer("next_random");
  b.store(b.toInteger(state, 32), next, {row, 0});
  b.store(b.toInteger(state >> 32, 32), next, {row, 1});
  Val z = (state ^ state >> 30) * constant(b, 0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * constant(b, 0x94d049bb133111eb);
  return b.toF64((z ^ z >> 31) >> 11) * 0x1p-53;
}

void Sampling::draw(KernelBuilder &b, const Parameters &parameters, Val row,
                    Val count, Val ranks, Val weights) {
  Val zero = b.constant(b.getF64Type(), 0);
  Val total = b.loop(0, count, 1, zero, [&](Val i, ArrayRef<Val> sum) {
    return Vals{sum[0] + b.load(weights, {i})};
  })[0];
  // The first is kept, and others as long as all before them are.
  Val reach = parameters.topP * total;
  Vals kept = b.loop(1, count, 1, {b.index(1), b.load(weights, {0})},
                     [&](Val i, ArrayRef<Val> before) {
                       auto [n, sum] = std::pair(before[0], before[1]);
                       Val weight = b.load(weights, {i});
                       Val keep = (n == i) & (sum < reach) & (weight > 0) &
                                  ((weight < parameters.minP) ^ 1);
                       return Vals{select(keep, i + 1, n),
                                   select(keep, sum + weight, sum)};
                     });
  Val target = nextUniform(b, row, parameters.random) * kept[1];
  Val last = kept[0] - 1;
  Val place =
      b.loop(0, last, 1, {b.index(0), zero}, [&](Val i, ArrayRef<Val> before) {
        Val sum = before[1] + b.load(weights, {i});
        Val pass = (before[0] == i) & ((sum > target) ^ 1);
        return Vals{select(pass, i + 1, before[0]), sum};
      })[0];
  b.store(token(b.load(ranks, {place})), b.buffer("chosen"), {row});
  b.store(logit(b.load(ranks, {0})), b.buffer("highest"), {row});
}
