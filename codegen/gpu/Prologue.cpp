//===- Prologue.cpp - what a product is of ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::Activations;
using cuda::FusedLinear;
using cuda::SimtBuilder;

static Val plus(Val a, Val c) { return a + c; }
static Val larger(Val a, Val c) { return max(a, c); }

/// Of a float.
static constexpr int64_t kExponent = 0x7f800000;

//===--------------------------------------------------------------------===//
// A prologue of its own
//===--------------------------------------------------------------------===//

void FusedLinear::emitPrologue(StringRef suffix, Form form,
                               const Condition &condition) {
  auto body = [&](ArrayRef<Val> tile) {
    Val t = tile[0], place = b.index(0);
    Activations activations(*this, 1);
    b.waitForPrevious();
    if (!quantised)
      activations.normalise(t, place, [&](Val span, Val v) {
        for (int64_t half = 0; half < 2 && b.has("v"); ++half)
          for (int64_t i = 0; i < 4; ++i) {
            Val column = Activations::getColumn(b, span, half) + i;
            b.when(column < k, [&] {
              b.store(b.extract(v, half * 4 + i), b.buffer("v"), {t, column});
            });
          }
      });
    else
      activations.quantise(t, place, [&](Val span, Val q) {
        if (form == Form::planes)
          storePlanes(t, span, q);
        else
          storeDigits(t, span, q);
      });
    b.barrier();
    b.when(b.thread() == 0, [&] {
      Activations::Totals totals = activations.getTotals(place);
      if (quantised) {
        b.store(totals.scale, b.buffer("scale"), {t});
        b.store(totals.qsum, b.buffer("qsum"), {t});
      }
      if (b.has("tau"))
        b.store(totals.tau, b.buffer("tau"), {t});
    });
  };
  b.phase(suffix, {{extent}}, warps * SimtBuilder::kWarp, body, condition);
}

/// q = Σ_i 256^i · digit i, each in -128 … 127: what is above -128 in all the
/// lower ones is carried into a digit.
void FusedLinear::storeDigits(Val t, Val span, Val q) {
  Vals digits;
  for (int64_t digit = 0, below = 0; digit < numDigits(); ++digit) {
    digits.push_back(b.packBytes(digit == 0 ? q : q + below, digit));
    below += int64_t(128) << (8 * digit);
  }
  for (int64_t half = 0; half < 2; ++half) {
    Val column = Activations::getColumn(b, span, half);
    b.when(column < blocks * kBlock, [&] {
      for (int64_t digit = 0; digit < numDigits(); ++digit) {
        Val word = b.broadcast(b.extract(digits[digit], half), 1);
        b.store(b.bitcast(word, b.vector(b.getI8Type(), 4)),
                b.bytes(b.buffer("digits")), {getByte(t, digit, column)},
                llvm::Align(4));
      }
    });
  }
}

Val FusedLinear::joinHalves(Val low, Val high) {
  return (b.toInteger(high, 64) << 16) + b.toInteger(low, 64);
}

//===--------------------------------------------------------------------===//
// Columns
//===--------------------------------------------------------------------===//

/// Lane 4·g + i has columns 4·g … 4·g + 3 of block i, and of block i + 4: what
/// the transposition to planes is to find there.
Val Activations::getColumn(SimtBuilder &b, Val span, int64_t half) {
  return span * kSpan + (b.lane() % 4 * 32 + (b.lane() / 4 * 4 + 128 * half));
}

Vals Activations::forSpans(
    ArrayRef<Val> init, function_ref<Vals(Val, int64_t, ArrayRef<Val>)> body) {
  Vals carried(init);
  int64_t step = linear.warps, count = linear.spansOfWarp;
  if (!isKept())
    return b.loop(0, count * step, step, carried,
                  [&](Val first, ArrayRef<Val> inner) {
                    return body(first + b.warp(), 0, inner);
                  });
  for (int64_t i = 0; i < count; ++i)
    carried = body(b.warp() + i * step, i, carried);
  return carried;
}

/// The lane's columns of a span; zero where there are none.
Val Activations::load(StringRef name, ArrayRef<Operand> row, Val span) {
  Val buffer = b.buffer(name);
  int64_t k = linear.k;
  bool whole = linear.warps * linear.spansOfWarp * kSpan == k;
  Type f32 = b.getF32Type();
  Val both;
  for (int64_t half = 0; half < 2; ++half) {
    Val column = getColumn(b, span, half), four;
    SmallVector<Operand> at(row);
    if (k % 4 == 0) {
      at.push_back(whole ? column : min(column, k - 4));
      four = b.load(buffer, at, 4, llvm::Align(16));
      if (!whole)
        four = select(column < k, four, b.zeros(f32, 4));
    } else {
      four = b.zeros(f32, 4);
      at.push_back(0);
      for (int64_t i = 0; i < 4; ++i) {
        at.back() = min(column + i, k - 1);
        Val value = select(column + i < k, b.load(buffer, at), 0.0);
        four = b.insert(value, four, i);
      }
    }
    both = half == 0 ? four : b.concat(both, four);
  }
  return both;
}

Val Activations::getWeight(StringRef name, const Vals &kept, Val span,
                           int64_t i) {
  return kept.empty() ? load(name, {}, span) : kept[i];
}

Val Activations::getInput(Val place, Val span) {
  Val x = load("x", {from}, span);
  if (groups <= 1)
    return x;
  int64_t size = linear.k / groups;
  Val factors = b.zeros(b.getF32Type(), kLaneColumns);
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t i = 0; i < 4; ++i) {
      Val column = min(getColumn(b, span, half) + i, linear.k - 1);
      factors =
          b.insert(b.load(rstd, {place, column / size}), factors, half * 4 + i);
    }
  return x * factors;
}

Val Activations::getValue(Val place, Val span, int64_t i) {
  if (!values.empty())
    return values[i];
  Val x = getInput(place, span);
  if (!op.getNormWeight())
    return x;
  return x * getWeight("norm_weight", normWeight, span, i);
}

//===--------------------------------------------------------------------===//
// A token
//===--------------------------------------------------------------------===//

Activations::Activations(FusedLinear &linear, int64_t tokens)
    : linear(linear), b(linear.b), op(linear.op),
      groups(linear.op.getNormGroups()) {
  Type f32 = b.getF32Type();
  largest = b.shared({tokens, linear.warps}, b.getI32Type());
  totals = b.shared({tokens, linear.warps, 4}, f32);
  if (linear.sumBits() == 64)
    highSums = b.shared({tokens, linear.warps}, b.getI32Type());
  inverses = b.shared({tokens}, f32);
  if (groups > 1) {
    rstd = b.shared({tokens, groups}, f32);
    squares = b.shared({groups, linear.warps}, f32);
  }
  if (!isKept())
    return;
  forSpans({}, [&](Val span, int64_t, ArrayRef<Val>) -> Vals {
    if (op.getNormWeight())
      normWeight.push_back(load("norm_weight", {}, span));
    if (op.getShiftWeight())
      shiftWeight.push_back(load("shift_weight", {}, span));
    return {};
  });
}

/// 1 / sqrt(mean + eps), by the chip's estimate and a step of Newton's.
static Val getRstd(SimtBuilder &b, Val squares, int64_t size,
                   const APFloat &eps) {
  Val x = squares * (1.0 / double(size)) + eps.convertToFloat();
  Val r = b.intrinsic("llvm.nvvm.rsqrt.approx.f", x.getType(), {x});
  return fma(fma(x * r * -0.5, r, 0.5), r, r);
}

/// Several groups of channels have an rms each, which the values need.
void Activations::normaliseGroups(Val place) {
  int64_t size = linear.k / groups;
  b.loop(0, groups, 1, [&](Val group) {
    Val sum = b.sum(forSpans({b.zeros(b.getF32Type(), kLaneColumns)},
                             [&](Val span, int64_t, ArrayRef<Val> acc) -> Vals {
                               Val x = load("x", {from}, span);
                               for (int64_t half = 0; half < 2; ++half)
                                 for (int64_t i = 0; i < 4; ++i) {
                                   Val column = getColumn(b, span, half) + i;
                                   int64_t lane = half * 4 + i;
                                   x = b.insert(select(column / size == group,
                                                       b.extract(x, lane), 0.0),
                                                x, lane);
                                 }
                               return {fma(x, x, acc[0])};
                             })[0]);
    sum = b.reduceLanes(sum, plus);
    b.when(b.lane() == 0, [&] { b.store(sum, squares, {group, b.warp()}); });
  });
  b.barrier();
  b.loop(b.thread(), groups, linear.warps * SimtBuilder::kWarp, [&](Val group) {
    Val sum = b.load(squares, {group, 0});
    for (int64_t warp = 1; warp < linear.warps; ++warp)
      sum = sum + b.load(squares, {group, warp});
    b.store(getRstd(b, sum, size, op.getEps()), rstd, {place, group});
  });
  b.barrier();
}

Activations::Sums Activations::read(Val t, Val place) {
  from = op.getRows() ? b.toIndex(b.load(b.buffer("rows"), {t})) : t;
  if (groups > 1)
    normaliseGroups(place);
  values.clear();
  Vals read;
  Type i32s = b.vector(b.getI32Type(), kLaneColumns);
  Val zeros = b.zeros(b.getF32Type(), kLaneColumns);
  Vals sums = forSpans(
      {zeros, zeros, b.zeros(b.getI32Type(), kLaneColumns)},
      [&](Val span, int64_t i, ArrayRef<Val> acc) -> Vals {
        Val x = getInput(place, span), v = x, shifts = acc[1];
        if (op.getNormWeight())
          v = x * getWeight("norm_weight", normWeight, span, i);
        if (op.getShiftWeight())
          shifts =
              fma(x, getWeight("shift_weight", shiftWeight, span, i), shifts);
        read.push_back(v);
        // Magnitudes are ordered as their bits are.
        return {fma(x, x, acc[0]), shifts,
                max(b.bitcast(abs(v), i32s), acc[2])};
      });
  if (isKept())
    values = read;
  return {b.sum(sums[0]), b.sum(sums[1]), b.reduce(sums[2], larger)};
}

/// To an integer, ties to even: of less than 32 bits left in the low ones of a
/// sum with 1.5 · 2^23.
Val Activations::round(Val v, Val inverse) {
  if (linear.bits == 32)
    return b.toInteger(roundEven(v * inverse), 32);
  Val sum = v * inverse + double(3 << 22);
  Type i32 = b.getI32Type();
  if (auto vector = dyn_cast<VectorType>(v.getType()))
    i32 = vector.clone(i32);
  return b.bitcast(sum, i32);
}

/// As `mamba.quantize` defines it, to the last bit.
void Activations::quantise(Val t, Val place,
                           function_ref<void(Val, Val)> keep) {
  Sums sums = read(t, place);
  Val ofWarp = b.reduceWarp(sums.largest, SimtBuilder::Reduction::max);
  b.when(b.lane() == 0, [&] { b.store(ofWarp, largest, {place, b.warp()}); });
  b.barrier();
  Val most =
      b.bitcast(b.reduceWarp(b.load(largest, {place, b.lane() % linear.warps}),
                             SimtBuilder::Reduction::max),
                b.getF32Type());
  bool wide = linear.bits == 32;
  // With this top, digits cannot overflow and f32 has it.
  double top = wide ? 127 << 24 : mamba::QuantizeOp::getTop(linear.bits);
  Val inverse = top / most;
  if (wide)
    inverse = b.bitcast(b.bitcast(inverse, b.getI32Type()) & kExponent,
                        b.getF32Type());
  // Neither zero nor so small that its inverse is infinite.
  Val usable = inverse < std::numeric_limits<float>::infinity();
  inverse = select(usable, inverse, 0.0);
  b.when(b.thread() == 0, [&] { b.store(inverse, inverses, {place}); });

  Vals acc(wide ? 2 : 1, b.zeros(b.getI32Type(), kLaneColumns));
  acc = forSpans(acc, [&](Val span, int64_t i, ArrayRef<Val> acc) -> Vals {
    Val q = round(getValue(place, span, i), inverse);
    keep(span, q);
    if (!wide)
      return {acc[0] + q};
    Val high = ((q >> 16) ^ 0x8000) - 0x8000;
    return {acc[0] + (q & 0xffff), acc[1] + high};
  });
  Vals qsum;
  for (Val half : acc)
    qsum.push_back(b.reduceWarp(b.sum(half), SimtBuilder::Reduction::add));
  if (!wide) {
    // What `round` added to each.
    int64_t columns = linear.warps * linear.spansOfWarp * kSpan;
    int64_t added = columns / linear.warps * int64_t(0x4b400000);
    qsum[0] = qsum[0] - b.constant(b.getI32Type(), int32_t(added));
  }
  // What is no number stays none.
  storeTotals(place, sums, qsum,
              select(usable, wide ? 1.0 / inverse : most / top, most * 0.0));
}

void Activations::normalise(Val t, Val place,
                            function_ref<void(Val, Val)> keep) {
  Sums sums = read(t, place);
  storeTotals(place, sums, b.constant(b.getI32Type(), 0),
              b.constant(b.getF32Type(), 1));
  b.barrier();
  Val factor = getTotals(place).scale;
  forSpans({}, [&](Val span, int64_t i, ArrayRef<Val>) -> Vals {
    keep(span, getValue(place, span, i) * factor);
    return {};
  });
}

void Activations::storeTotals(Val place, const Sums &sums, ArrayRef<Val> qsum,
                              Val scale) {
  Val squares = b.reduceLanes(sums.squares, plus);
  Val shifts = b.reduceLanes(sums.shifts, plus);
  b.when(b.lane() == 0, [&] {
    Val all[] = {b.bitcast(qsum[0], b.getF32Type()), squares, shifts, scale};
    for (auto [i, value] : llvm::enumerate(all))
      b.store(value, totals, {place, b.warp(), int64_t(i)});
    if (qsum.size() > 1)
      b.store(qsum[1], highSums, {place, b.warp()});
  });
}

Activations::Totals Activations::getTotals(Val place) {
  Totals sums;
  Val squares;
  for (int64_t warp = 0; warp < linear.warps; ++warp) {
    Val all = b.load(totals, {place, warp, 0}, 4, llvm::Align(16));
    Val qsum = b.bitcast(b.extract(all, 0), b.getI32Type());
    if (highSums)
      qsum = linear.joinHalves(qsum, b.load(highSums, {place, warp}));
    sums.qsum = warp == 0 ? qsum : sums.qsum + qsum;
    squares = warp == 0 ? b.extract(all, 1) : squares + b.extract(all, 1);
    sums.tau = warp == 0 ? b.extract(all, 2) : sums.tau + b.extract(all, 2);
    sums.scale = b.extract(all, 3);
  }
  if (groups == 1) {
    Val rstd = getRstd(b, squares, linear.k, op.getEps());
    sums.scale = sums.scale * rstd;
    sums.tau = sums.tau * rstd;
  }
  return sums;
}

Val Activations::getActivation(Val t, Val place, Val column) {
  Val row = op.getRows() ? b.toIndex(b.load(b.buffer("rows"), {t})) : t;
  Val v = b.load(b.buffer("x"), {row, column});
  if (groups > 1)
    v = v * b.load(rstd, {place, column / (linear.k / groups)});
  if (op.getNormWeight())
    v = v * b.load(b.buffer("norm_weight"), {column});
  Val q = round(v, b.load(inverses, {place}));
  return linear.bits == 32 ? q : q - int64_t(0x4b400000);
}
