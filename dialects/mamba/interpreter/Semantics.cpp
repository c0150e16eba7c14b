//===- Semantics.cpp - what each operation computes -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/interpreter/Semantics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mambit::mamba;
using namespace mambit::mamba::interpreter;
using llvm::ArrayRef;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

static double silu(double x) { return x / (1 + std::exp(-x)); }

static double softplus(double x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

double interpreter::roundTo(double x, const llvm::fltSemantics &semantics) {
  if (x == 0 || !std::isfinite(x))
    return x;
  int precision = llvm::APFloat::semanticsPrecision(semantics);
  int smallest = llvm::APFloat::semanticsMinExponent(semantics);
  // The distance of the type's values around x is 2^step.
  int step = std::max(std::ilogb(x), smallest) - (precision - 1);
  double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -step)), step);
  double largest = llvm::APFloat::getLargest(semantics).convertToDouble();
  return std::fabs(rounded) > largest ? std::copysign(INFINITY, x) : rounded;
}

/// Σ a[k]·b[k], in eight partial sums so that the compiler can vectorise it.
static double dot(const double *a, const double *b, int64_t n) {
  double sums[8] = {};
  int64_t k = 0;
  for (; k + 8 <= n; k += 8)
    for (int i = 0; i < 8; ++i)
      sums[i] += a[k + i] * b[k + i];
  for (; k < n; ++k)
    sums[0] += a[k] * b[k];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
         ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

//===----------------------------------------------------------------------===//
// Rows and elements
//===----------------------------------------------------------------------===//

/// y[r] = x[rows[r]]: select_rows, and embedding with x the table.
Tensor interpreter::selectRows(const Tensor &x, const Tensor &rows) {
  int64_t count = rows.shape[0];
  Tensor y({count, x.rowSize()});
  for (int64_t r = 0; r < count; ++r)
    std::copy_n(x.row(int64_t(rows.values[r])), x.rowSize(), y.row(r));
  return y;
}

std::vector<Tensor> interpreter::split(const Tensor &x,
                                       ArrayRef<int64_t> features) {
  std::vector<Tensor> parts;
  int64_t tokens = x.shape[0], begin = 0;
  for (int64_t size : features) {
    Tensor part({tokens, size});
    for (int64_t t = 0; t < tokens; ++t)
      std::copy_n(x.row(t) + begin, size, part.row(t));
    parts.push_back(std::move(part));
    begin += size;
  }
  return parts;
}

Tensor interpreter::add(const Tensor &lhs, const Tensor &rhs) {
  Tensor y = lhs;
  for (size_t i = 0; i < y.values.size(); ++i)
    y.values[i] += rhs.values[i];
  return y;
}

/// y = x ⊙ SiLU(z)
Tensor interpreter::gate(const Tensor &x, const Tensor &z) {
  Tensor y = x;
  for (size_t i = 0; i < y.values.size(); ++i)
    y.values[i] *= silu(z.values[i]);
  return y;
}

/// y[t] = x[t] ⊙ factors
static Tensor scaleColumns(const Tensor &x, const Tensor &factors) {
  Tensor y = x;
  for (int64_t t = 0; t < y.shape[0]; ++t)
    for (int64_t k = 0; k < y.rowSize(); ++k)
      y.row(t)[k] *= factors.values[k];
  return y;
}

/// y[t] = Σ_k x[t][k]·factors[k], with every factor 1 if there are none.
static Tensor weightedSums(const Tensor &x, const Tensor *factors) {
  std::vector<double> ones;
  if (!factors)
    ones.assign(x.rowSize(), 1);
  const double *weights = factors ? factors->values.data() : ones.data();
  Tensor sums({x.shape[0]});
  for (int64_t t = 0; t < x.shape[0]; ++t)
    sums.values[t] = dot(x.row(t), weights, x.rowSize());
  return sums;
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// x̂: x divided by the root of its mean square, group by group.
static Tensor normalize(const Tensor &x, double eps, int64_t groups) {
  Tensor y = x;
  int64_t size = x.rowSize() / groups;
  for (int64_t t = 0; t < x.shape[0]; ++t)
    for (int64_t g = 0; g < groups; ++g) {
      double *group = y.row(t) + g * size;
      double rstd = 1 / std::sqrt(dot(group, group, size) / size + eps);
      for (int64_t k = 0; k < size; ++k)
        group[k] *= rstd;
    }
  return y;
}

Normed interpreter::rmsNorm(const Tensor &x, const Tensor &weight,
                            const Tensor *shiftWeight, double eps,
                            int64_t groups) {
  Tensor normalized = normalize(x, eps, groups);
  Normed result{scaleColumns(normalized, weight), std::nullopt};
  if (shiftWeight)
    result.shift = weightedSums(normalized, shiftWeight);
  return result;
}

//===----------------------------------------------------------------------===//
// Linear
//===----------------------------------------------------------------------===//

/// All in f32, each step rounded.
Quantized interpreter::quantize(const Tensor &x, unsigned bits) {
  const float top = QuantizeOp::getTop(bits);
  int64_t tokens = x.shape[0], columns = x.rowSize();
  Quantized result{Tensor({tokens, columns}), Tensor({tokens})};
  for (int64_t t = 0; t < tokens; ++t) {
    float max = 0;
    for (int64_t k = 0; k < columns && !std::isnan(max); ++k) {
      float magnitude = std::fabs(float(x.row(t)[k]));
      if (!(magnitude <= max))
        max = magnitude;
    }
    if (std::isnan(max)) { // q = 0
      result.scale.values[t] = max;
      continue;
    }
    float inverse = top / max;
    if (max == 0 || std::isinf(inverse))
      continue; // q = 0, scale = 0
    for (int64_t k = 0; k < columns; ++k) {
      float product = float(x.row(t)[k]) * inverse;
      result.q.row(t)[k] = std::clamp(std::nearbyint(product), -top, top);
    }
    result.scale.values[t] = max / top;
  }
  return result;
}

/// Row `o` of a matrix as doubles; signs are widened into `buffer`.
static const double *getRow(Matrix weight, int64_t o,
                            std::vector<double> &buffer) {
  if (auto *dense = std::get_if<const Tensor *>(&weight))
    return (*dense)->row(o);
  const Signs &signs = *std::get<const Signs *>(weight);
  buffer.assign(signs.row(o), signs.row(o) + signs.columns);
  return buffer.data();
}

/// y = x·Wᵀ. Sums of integers below 2^53 are exact.
Tensor interpreter::multiply(const Tensor &x, Matrix weight) {
  auto *dense = std::get_if<const Tensor *>(&weight);
  int64_t outputs =
      dense ? (*dense)->shape[0] : std::get<const Signs *>(weight)->rows;
  int64_t tokens = x.shape[0], columns = x.rowSize();
  Tensor y({tokens, outputs});
  std::vector<double> buffer;
  // A block of tokens stays in cache while the weight passes by.
  constexpr int64_t block = 32;
  for (int64_t begin = 0; begin < tokens; begin += block) {
    int64_t end = std::min(begin + block, tokens);
    for (int64_t o = 0; o < outputs; ++o) {
      const double *row = getRow(weight, o, buffer);
      for (int64_t t = begin; t < end; ++t)
        y.row(t)[o] = dot(row, x.row(t), columns);
    }
  }
  return y;
}

Tensor interpreter::linear(const Tensor &x, const Tensor &weight,
                           const Tensor *bias) {
  Tensor y = multiply(x, &weight);
  if (bias)
    for (int64_t t = 0; t < y.shape[0]; ++t)
      for (int64_t o = 0; o < y.rowSize(); ++o)
        y.row(t)[o] += bias->values[o];
  return y;
}

/// Whether a scale varies by column; one by row or single does not.
static bool isColumn(const Tensor *scale) {
  return scale && scale->values.size() > 1 && scale->shape[0] == 1;
}

/// Element `o` of a scale by row or single; 1 without one.
static double rowFactor(const Tensor *scale, int64_t o) {
  if (!scale || isColumn(scale))
    return 1;
  return scale->values.size() == 1 ? scale->values[0] : scale->values[o];
}

Tensor interpreter::bitLinear(const Tensor &x, const Signs &weight,
                              const BitLinearOptions &options) {
  const auto &[scale, shift, bias, actScale, tokenShift] = options;
  Tensor y = isColumn(scale) ? multiply(scaleColumns(x, *scale), &weight)
                             : multiply(x, &weight);
  // τ, which counts only where there is a shift.
  Tensor tau({x.shape[0]});
  if (tokenShift)
    tau = *tokenShift;
  else if (shift)
    tau = weightedSums(x, isColumn(shift) ? shift : nullptr);
  for (int64_t t = 0; t < y.shape[0]; ++t)
    for (int64_t o = 0; o < y.rowSize(); ++o) {
      double a = (actScale ? actScale->values[t] : 1) * y.row(t)[o];
      y.row(t)[o] = rowFactor(scale, o) * a +
                    rowFactor(shift, o) * tau.values[t] +
                    (bias ? bias->values[o] : 0);
    }
  return y;
}

/// The tokens of a row by their logits, the best `count` of them.
static std::vector<int64_t> rank(const double *row, int64_t size,
                                 int64_t count) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (std::isnan(row[a]) != std::isnan(row[b]))
      return std::isnan(row[a]);
    return row[a] > row[b] || (!(row[a] < row[b]) && a < b);
  });
  order.resize(count);
  return order;
}

/// The next number, below 1, of a generator whose state are two words.
static double nextUniform(const double *state, double *next) {
  uint64_t low = uint32_t(int64_t(state[0])),
           high = uint32_t(int64_t(state[1]));
  uint64_t z = (high << 32 | low) + 0x9e3779b97f4a7c15;
  next[0] = int32_t(z);
  next[1] = int32_t(z >> 32);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

Sampled interpreter::sample(const Tensor &logits,
                            const SamplingParameters &parameters) {
  int64_t rows = logits.shape[0];
  Sampled result{Tensor({rows}), Tensor({rows}), Tensor({rows, 2})};
  for (int64_t r = 0; r < rows; ++r) {
    const double *l = logits.row(r);
    int64_t k = std::clamp<int64_t>(int64_t(parameters.topK.values[r]), 1,
                                    parameters.limit);
    std::vector<int64_t> t = rank(l, logits.rowSize(), k);
    std::vector<double> w(k), s(k);
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      double exponent = (l[t[i]] - l[t[0]]) / parameters.temperature.values[r];
      w[i] = exponent > -700 ? std::exp(exponent) : 0;
      s[i] = sum += w[i];
    }
    int64_t n = 1;
    while (n < k && s[n - 1] < parameters.topP.values[r] * s[k - 1] &&
           w[n] >= parameters.minP.values[r] && w[n] > 0)
      ++n;
    double u = nextUniform(parameters.random.row(r), result.nextRandom.row(r));
    int64_t place = 0;
    while (place < n - 1 && !(s[place] > u * s[n - 1]))
      ++place;
    result.chosen.values[r] = double(t[place]);
    result.highest.values[r] = l[t[0]];
  }
  return result;
}

Tensor interpreter::fusedLinear(const Tensor &x, Matrix weight,
                                const FusedLinearOptions &options) {
  Tensor v = options.rows ? selectRows(x, *options.rows) : x;
  if (options.normGroups > 0)
    v = normalize(v, options.eps, options.normGroups);
  Tensor tau({v.shape[0]});
  if (options.shiftWeight)
    tau = weightedSums(v, options.shiftWeight);
  if (options.normWeight)
    v = scaleColumns(v, *options.normWeight);

  Tensor y;
  if (options.activationBits < 32) {
    Quantized quantized = quantize(v, options.activationBits);
    y = multiply(quantized.q, weight);
    for (int64_t t = 0; t < y.shape[0]; ++t)
      for (int64_t o = 0; o < y.rowSize(); ++o)
        y.row(t)[o] *= quantized.scale.values[t];
  } else {
    y = multiply(v, weight);
  }

  auto value = [](const Tensor *vector, int64_t o, double absent) {
    return vector ? vector->values[o] : absent;
  };
  for (int64_t t = 0; t < y.shape[0]; ++t)
    for (int64_t o = 0; o < y.rowSize(); ++o)
      y.row(t)[o] = value(options.rowScale, o, 1) * y.row(t)[o] +
                    value(options.rowShift, o, 1) * tau.values[t] +
                    value(options.bias, o, 0) +
                    (options.residual ? options.residual->row(t)[o] : 0);
  return y;
}

//===----------------------------------------------------------------------===//
// Convolution and scan
//===----------------------------------------------------------------------===//

WithState interpreter::causalConv(const Tensor &x, const Tensor &state,
                                  const Tensor &weight, const Tensor *bias,
                                  const Sequences &seqs) {
  int64_t taps = weight.shape[0], channels = weight.shape[1];
  WithState result{Tensor({x.shape[0], channels}), state};
  for (size_t i = 0; i < seqs.slots.size(); ++i) {
    int64_t begin = seqs.offsets[i], end = seqs.offsets[i + 1];
    const double *old = state.row(seqs.slots[i]);
    // The raw input at token t, which before the sequence lies in the state.
    auto input = [&](int64_t t) {
      return t >= begin ? x.row(t) : old + (t - begin + taps - 1) * channels;
    };
    for (int64_t t = begin; t < end; ++t) {
      double *y = result.y.row(t);
      if (bias)
        std::copy_n(bias->values.data(), channels, y);
      for (int64_t w = 0; w < taps; ++w) {
        const double *in = input(t - (taps - 1) + w);
        for (int64_t c = 0; c < channels; ++c)
          y[c] += in[c] * weight.row(w)[c];
      }
      for (int64_t c = 0; c < channels; ++c)
        y[c] = silu(y[c]);
    }
    for (int64_t w = 0; w < taps - 1; ++w)
      std::copy_n(input(end - (taps - 1) + w), channels,
                  result.state.row(seqs.slots[i]) + w * channels);
  }
  return result;
}

/// Rounds what a state keeps; too large becomes the largest finite value. f32
/// is the arithmetic itself, which here is double.
static void roundState(double *state, int64_t count, mlir::Type type) {
  if (type.isF32())
    return;
  auto &semantics = llvm::cast<mlir::FloatType>(type).getFloatSemantics();
  double largest = llvm::APFloat::getLargest(semantics).convertToDouble();
  for (int64_t i = 0; i < count; ++i)
    if (!std::isnan(state[i]))
      state[i] = std::clamp(roundTo(state[i], semantics), -largest, largest);
}

WithState interpreter::selectiveScan(const Tensor &xbc, const Tensor &dt,
                                     const Tensor &state,
                                     const ScanParameters &parameters,
                                     const Sequences &seqs) {
  const auto &[dtBias, a, d, groups, dtMin, dtMax, stateType] = parameters;
  int64_t heads = state.shape[1], dState = state.shape[2];
  int64_t headdim = state.shape[3], inner = heads * headdim;
  WithState result{Tensor({xbc.shape[0], inner}), state};
  for (size_t i = 0; i < seqs.slots.size(); ++i) {
    for (int64_t t = seqs.offsets[i]; t < seqs.offsets[i + 1]; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t g = h / (heads / groups);
        const double *x = xbc.row(t) + h * headdim;
        const double *b = xbc.row(t) + inner + g * dState;
        const double *c = b + groups * dState;
        double *s = result.state.row(seqs.slots[i]) + h * dState * headdim;
        double *y = result.y.row(t) + h * headdim;

        double delta = softplus(dt.row(t)[h] + dtBias->values[h]);
        delta = std::min(std::max(delta, dtMin), dtMax);
        double decay = std::exp(delta * a->values[h]);
        for (int64_t p = 0; p < headdim; ++p)
          y[p] = d->values[h] * x[p];
        for (int64_t n = 0; n < dState; ++n, s += headdim)
          for (int64_t p = 0; p < headdim; ++p) {
            s[p] = decay * s[p] + delta * x[p] * b[n];
            y[p] += s[p] * c[n];
          }
      }
    roundState(result.state.row(seqs.slots[i]), result.state.rowSize(),
               stateType);
  }
  return result;
}

Scanned interpreter::scan(const Tensor &zxbcdt, const Tensor &convState,
                          const Tensor &ssmState, const Tensor &convWeight,
                          const Tensor *convBias,
                          const ScanParameters &parameters,
                          const Sequences &seqs) {
  int64_t heads = ssmState.shape[1], inner = heads * ssmState.shape[3];
  std::vector<Tensor> parts =
      split(zxbcdt, {inner, convWeight.shape[1], heads});
  WithState conv = causalConv(parts[1], convState, convWeight, convBias, seqs);
  WithState scanned =
      selectiveScan(conv.y, parts[2], ssmState, parameters, seqs);
  return {gate(scanned.y, parts[0]), std::move(conv.state),
          std::move(scanned.state)};
}
