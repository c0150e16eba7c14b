//===- Prologue.cpp - what a product is of ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/gpu/FusedLinear.h"

using namespace mlir;
using namespace mambit;
using cuda::FusedLinear;
using cuda::SimtBuilder;

void FusedLinear::emitPrologue(StringRef suffix, Form form,
                               const Condition &condition) {
  // Few columns a thread, for a token alone is waited for.
  int64_t threads = llvm::PowerOf2Ceil(llvm::divideCeilSigned(k, 8));
  b.phase(
      suffix, {{extent}}, std::clamp<int64_t>(threads, 64, 1024),
      [&](ArrayRef<Val> tile) { emitPrologue(tile[0], form); }, condition);
}

/// Covers the columns up to a multiple of 32, a block of them a warp. A lane
/// has the column whose bit of a word is its number, so that a ballot is a word
/// of a plane. `inside` is null where all columns are. A column that is not
/// inside is the last instead.
Vals FusedLinear::columns(ArrayRef<Val> init,
                          function_ref<Vals(Val, Val, ArrayRef<Val>)> body) {
  Val lane = b.lane(), inBlock = (lane % 8) * 4 + lane / 8;
  auto visit = [&](Val cb, bool whole, ArrayRef<Val> carried) {
    Val column = cb * kBlock + inBlock;
    return body(column, whole ? Val() : column < k, carried);
  };
  int64_t steps = llvm::divideCeilSigned(blocks, b.numWarps());
  int64_t whole = k / kBlock / b.numWarps();
  Vals carried(init);
  // Unrolled, what is read again stays in registers.
  constexpr int64_t kUnrolled = 16;
  if (steps <= kUnrolled) {
    for (int64_t i = 0; i < whole; ++i)
      carried = visit(b.warp() + i * b.numWarps(), true, carried);
  } else {
    carried = b.loop(
        b.warp(), whole * b.numWarps(), b.numWarps(), carried,
        [&](Val cb, ArrayRef<Val> inner) { return visit(cb, true, inner); });
  }
  if (whole < steps)
    carried = visit(b.warp() + whole * b.numWarps(), false, carried);
  return carried;
}

void FusedLinear::emitPrologue(Val t, Form form) {
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  Val floats = b.shared({b.numWarps()}, f32),
      ints = b.shared({b.numWarps()}, i32);
  auto plus = [](Val a, Val c) { return a + c; };
  int64_t groups = op.getNormGroups(), size = k / std::max<int64_t>(groups, 1);
  Val x = b.buffer("x");

  b.waitForPrevious();
  Val from = op.getRows() ? b.toIndex(b.load(b.buffer("rows"), {t})) : t;
  auto loadAt = [&](Val from, ArrayRef<Operand> row, Val column, Val inside) {
    SmallVector<Operand> at(row);
    at.push_back(inside ? min(column, k - 1) : column);
    Val value = b.load(from, at);
    return inside ? select(inside, value, 0.0) : value;
  };

  // 1 / sqrt(mean(x²) + eps) of each group.
  Val rstd = groups > 0 ? b.shared({groups}, f32) : Val(), single;
  b.loop(0, groups, 1, [&](Val group) {
    Val squares =
        columns({b.constant(f32, 0)},
                [&](Val column, Val inside, ArrayRef<Val> acc) -> Vals {
                  Val v = loadAt(x, {from}, column, inside);
                  if (groups > 1)
                    v = select(column / size == group, v, 0.0);
                  return {fma(v, v, acc[0])};
                })[0];
    Val mean = b.reduceBlock(squares, floats, plus) / double(size);
    single = 1.0 / sqrt(mean + op.getEps().convertToFloat());
    if (groups > 1)
      b.when(b.thread() == 0, [&] { b.store(single, rstd, {group}); });
  });
  if (groups > 1)
    b.barrier();

  auto normalised = [&](Val column, Val inside) {
    Val v = loadAt(x, {from}, column, inside);
    if (groups == 0)
      return v;
    if (groups == 1)
      return v * single;
    return v * b.load(rstd, {(inside ? min(column, k - 1) : column) / size});
  };
  auto weighted = [&](Val column, Val inside) {
    Val v = normalised(column, inside);
    if (!op.getNormWeight())
      return v;
    return v * loadAt(b.buffer("norm_weight"), {}, column, inside);
  };

  // One pass for what needs the whole vector: τ, and the largest magnitude.
  Val zero = b.constant(f32, 0);
  bool shifted = bool(op.getShiftWeight());
  Vals totals = columns(
      {zero, zero}, [&](Val column, Val inside, ArrayRef<Val> acc) -> Vals {
        Val tau = acc[0], largest = acc[1];
        Val v = weighted(column, inside);
        if (shifted)
          tau = fma(normalised(column, inside),
                    loadAt(b.buffer("shift_weight"), {}, column, inside), tau);
        if (bits < 32) {
          largest = max(abs(v), largest);
        } else if (b.has("v")) {
          auto keep = [&] { b.store(v, b.buffer("v"), {t, column}); };
          if (inside)
            b.when(inside, keep);
          else
            keep();
        }
        return {tau, largest};
      });
  if (shifted) {
    Val tau = b.reduceBlock(totals[0], floats, plus);
    b.when(b.thread() == 0, [&] { b.store(tau, b.buffer("tau"), {t}); });
  }
  if (bits < 32)
    emitQuantise(t, form,
                 b.reduceBlock(totals[1], floats,
                               [](Val a, Val c) { return max(a, c); }),
                 ints, weighted);
}

/// As `mamba.quantize` defines it, to the last bit.
void FusedLinear::emitQuantise(Val t, Form form, Val largest, Val ints,
                               function_ref<Val(Val, Val)> v) {
  int64_t top = mamba::QuantizeOp::getTop(bits);
  Val inverse = double(top) / largest;
  // Neither zero nor so small that its inverse is infinite.
  Val usable = inverse < std::numeric_limits<float>::infinity();
  inverse = select(usable, inverse, 0.0);

  Val sum = columns({b.constant(b.getI32Type(), 0)},
                    [&](Val column, Val inside, ArrayRef<Val> acc) -> Vals {
                      Val rounded = roundEven(v(column, inside) * inverse);
                      Val q = b.toInteger(
                          max(min(rounded, double(top)), -double(top)), 32);
                      // Of the blocks that are not whole, some have no columns
                      // at all.
                      auto keep = [&] {
                        if (form == Form::planes)
                          storePlanes(t, column, q);
                        else
                          storeDigits(t, column, q);
                      };
                      if (inside)
                        b.when(column < blocks * kBlock, keep);
                      else
                        keep();
                      return {acc[0] + q};
                    })[0];
  sum = b.reduceBlock(sum, ints, [](Val a, Val c) { return a + c; });
  b.when(b.thread() == 0, [&] {
    b.store(select(usable, largest / double(top), 0.0), b.buffer("scale"), {t});
    b.store(sum, b.buffer("qsum"), {t});
  });
}

/// q = 256 · high + low, low in -128 … 127. Four lanes have the columns of a
/// word; eight lanes write those of a block's low digits, the next the high.
void FusedLinear::storeDigits(Val t, Val column, Val q) {
  Val part = b.lane() / 8, shift = b.toInteger(part * 8, 32);
  auto pack = [&](Val digit) {
    return b.reduceLanes((digit & 0xFF) << shift,
                         [](Val a, Val c) { return a + c; }, 8);
  };
  Val word = pack(q);
  if (bits == 16) {
    Val high = pack((q + 128) >> 8);
    word = select(part == 0, word, high);
  }
  Val first = column / kBlock * kBlock + b.lane() % 8 * 4;
  b.when(part < numDigits(), [&] {
    Val at = getByte(t, 0, first) + part * kPiece;
    b.store(b.bitcast(b.broadcast(word, 1), b.vector(b.getI8Type(), 4)),
            b.bytes(b.buffer("digits")), {at}, llvm::Align(4));
  });
}

/// The words of all planes of a block lie together; lane p writes plane p's.
void FusedLinear::storePlanes(Val t, Val column, Val q) {
  Val mine = b.constant(b.getI32Type(), 0);
  for (int64_t plane = 0; plane < bits; ++plane) {
    Val word = b.ballot(((q >> plane) & 1) == 1);
    mine = select(b.lane() == plane, word, mine);
  }
  Val block = column / kBlock;
  b.when(b.lane() < bits, [&] {
    b.storeWord(mine, b.buffer("digits"), t, (block * bits + b.lane()) * 4);
  });
}
