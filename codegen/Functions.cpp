//===- Functions.cpp - transcendental functions for kernels -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Functions.h"

using namespace mlir;
using namespace mambit;

/// Evaluates a polynomial by Horner's rule, highest coefficient first.
static Val polynomial(Val x, ArrayRef<double> coefficients) {
  KernelBuilder &b = x.getBuilder();
  Val p = b.constant(x.getType(), coefficients.front());
  for (double c : coefficients.drop_front())
    p = fma(p, x, c);
  return p;
}

/// 2^n for an integral n that is the exponent of a normal number.
static Val exp2OfInteger(Val n, Type type) {
  return n.getBuilder().bitcast((n + 127) << 23, type);
}

Val mambit::exp(Val x) {
  KernelBuilder &b = x.getBuilder();
  // Where the result is zero or infinite anyway. Not a number stays it.
  x = select(x > 90.0, 90.0, select(x < -105.0, -105.0, x));
  // x = n ln 2 + r; ln 2 in two parts, the products of the first exact.
  Val n = roundEven(x * 1.44269504088896341);
  Val r = fma(n, -0.693359375, x);
  r = fma(n, 2.12194440e-4, r);
  // Cephes' expf, |r| <= ln 2 / 2.
  Val p = polynomial(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
                         4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1});
  Val y = fma(r * r, p, r) + 1.0;
  // In two steps, for 2^n itself may be too small or too large.
  Val half = roundEven(n * 0.5);
  y = y * exp2OfInteger(b.toInteger(half, 32), x.getType());
  return y * exp2OfInteger(b.toInteger(n - half, 32), x.getType());
}

Val mambit::softplus(Val x) {
  // max(x, 0) + ln(1 + u), u = e^-|x| <= 1; ln(1 + u) = 2 artanh(u / (2 + u)),
  // whose series at 1/3 has converged after eight terms.
  Val u = exp(0.0 - abs(x));
  Val s = u / (u + 2.0);
  Val series = polynomial(s * s, {1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9,
                                  1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0});
  return fma(s * 2.0, series, max(x, 0.0));
}

Val mambit::silu(Val x) { return x / (exp(0.0 - x) + 1.0); }
