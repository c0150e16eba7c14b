//===- Recipe.cpp - makes weights from a checkpoint --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Recipe.h"

#include "runtime/Error.h"
#include "runtime/artifact/Half.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

namespace mambit::artifact {

/// Elements evaluated at once where the layout does not say.
constexpr uint64_t kChunk = 16384;

static std::string toString(const Shape &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

static Shape squeeze(const Shape &shape) {
  Shape result;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(result),
               [](uint64_t dim) { return dim != 1; });
  return result;
}

static bool isBitLayout(const WeightT &weight) {
  return weight.layout && (weight.layout->kind == LayoutKind::bit_tile ||
                           weight.layout->kind == LayoutKind::zeros);
}

/// The last step that changes values, or null.
static const StepT *lastValueStep(const WeightT &weight) {
  for (size_t i = weight.steps.size(); i-- > 0;)
    if (weight.steps[i]->kind != StepKind::transpose)
      return weight.steps[i].get();
  return nullptr;
}

static bool hasNonFinite(const float *values, size_t count) {
  int32_t found = 0;
  for (size_t i = 0; i < count; ++i)
    found |= int32_t(bitsFromFloat(values[i]) & 0x7fffffff) >= 0x7f800000;
  return found;
}

static const char *describeNonFinite(float value) {
  return std::isnan(value) ? "NaN" : "infinite";
}

//===-----------------------------------------------------------------===//
// Reading sources
//===-----------------------------------------------------------------===//

namespace {

/// A source read as f32 by position in its flattened, row-major order.
class Operand {
public:
  Operand(const TensorView &view, const SourceT &source)
      : dtype(view.dtype), data(view.data), source(source),
        count(*elementCount(view.shape)) {
    // Drop dimensions of size 1 and join those that lie as one.
    int64_t contiguous = 1;
    std::vector<int64_t> defaults(view.shape.size());
    for (size_t i = view.shape.size(); i-- > 0;) {
      defaults[i] = contiguous;
      contiguous *= int64_t(view.shape[i]);
    }
    const auto &given = view.strides.empty() ? defaults : view.strides;
    for (size_t i = 0; i < view.shape.size(); ++i) {
      uint64_t dim = view.shape[i];
      if (dim == 1)
        continue;
      if (!dims.empty() && strides.back() == given[i] * int64_t(dim)) {
        dims.back() *= dim;
        strides.back() = given[i];
      } else {
        dims.push_back(dim);
        strides.push_back(given[i]);
      }
    }
    if (dims.empty()) {
      dims = {1};
      strides = {1};
    }
  }

  bool isOneElement() const { return count == 1; }

  /// Elements `position + i * step`, i < n: where they lie, if that is
  /// possible, else in `buffer`. Refuses values that are not finite.
  const float *read(uint64_t position, uint64_t step, size_t n,
                    float *buffer) const {
    const float *values = buffer;
    bool inPlace = dtype == DType::f32 && dims.size() == 1 && strides[0] == 1 &&
                   reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
    if (inPlace && step == 1)
      values = static_cast<const float *>(data) + position;
    else
      gather(position, step, n, buffer);
    if (hasNonFinite(values, n)) {
      size_t i = 0;
      while (std::isfinite(values[i]))
        ++i;
      fail(describe(), ": element ", position + i * step, " is ",
           describeNonFinite(values[i]));
    }
    return values;
  }

  std::string describe() const {
    return "key '" + source.key + "' in '" + source.file + "'";
  }

private:
  void gather(uint64_t position, uint64_t step, size_t n, float *out) const {
    // Runs of positions that lie at a constant distance in memory.
    while (n > 0) {
      int64_t offset = 0, stride = 0;
      uint64_t rest = position;
      for (size_t i = dims.size(); i-- > 0;) {
        offset += int64_t(rest % dims[i]) * strides[i];
        rest /= dims[i];
      }
      uint64_t run = 1;
      uint64_t inner = dims.back();
      if (dims.size() == 1 || step < inner) {
        stride = int64_t(step) * strides.back();
        run = (inner - position % inner + step - 1) / step;
      } else if (dims.size() == 2 && step == inner) {
        stride = strides[0];
        run = n;
      }
      run = std::min<uint64_t>(run, n);
      convert(offset, stride, run, out);
      position += run * step;
      out += run;
      n -= run;
    }
  }

  void convert(int64_t offset, int64_t stride, size_t n, float *out) const {
    switch (dtype) {
    case DType::f32:
      return convert<float>(offset, stride, n, out);
    case DType::f64:
      return convert<double>(offset, stride, n, out);
    case DType::f16:
      return convert<uint16_t>(offset, stride, n, out,
                               [](uint16_t half) { return f32FromF16(half); });
    case DType::bf16:
      return convert<uint16_t>(offset, stride, n, out,
                               [](uint16_t half) { return f32FromBF16(half); });
    case DType::i8:
      return convert<int8_t>(offset, stride, n, out);
    case DType::u8:
      return convert<uint8_t>(offset, stride, n, out);
    case DType::i16:
      return convert<int16_t>(offset, stride, n, out);
    case DType::u16:
      return convert<uint16_t>(offset, stride, n, out);
    case DType::i32:
      return convert<int32_t>(offset, stride, n, out);
    case DType::u32:
      return convert<uint32_t>(offset, stride, n, out);
    case DType::i64:
      return convert<int64_t>(offset, stride, n, out);
    case DType::bits:
      break;
    }
    fail(describe(), ": cannot be read as numbers");
  }

  template <typename T>
  void convert(int64_t offset, int64_t stride, size_t n, float *out) const {
    convert<T>(offset, stride, n, out, [](T value) { return float(value); });
  }

  /// Checkpoints do not align their tensors, hence the copies of elements.
  template <typename T, typename Convert>
  void convert(int64_t offset, int64_t stride, size_t n, float *out,
               Convert toF32) const {
    const char *from =
        static_cast<const char *>(data) + offset * int64_t(sizeof(T));
    for (size_t i = 0; i < n; ++i) {
      T value;
      std::memcpy(&value, from + int64_t(i) * stride * int64_t(sizeof(T)),
                  sizeof(T));
      out[i] = toF32(value);
    }
  }

  DType dtype;
  const void *data;
  const SourceT &source;
  uint64_t count;
  Shape dims;
  std::vector<int64_t> strides;
};
} // namespace

//===-----------------------------------------------------------------===//
// Evaluating steps
//===-----------------------------------------------------------------===//

namespace {

/// Evaluates the steps of a recipe for any part of the result. Transposes move
/// nothing: they only tell where the sources are read. The last change of
/// values is left to who lays the result out if it is the sign of bits or a
/// cast.
class Evaluator {
public:
  Evaluator(const WeightT &weight, const std::vector<TensorView> &views) {
    for (size_t i = 0; i < views.size(); ++i)
      operands.emplace_back(views[i], *weight.sources[i]);
    Shape shape = squeeze(weight.sources[0]->shape);
    bool transposed = false;
    for (const auto &step : weight.steps)
      transposed ^= step->kind == StepKind::transpose;
    if (shape.size() == 2) {
      rows = shape[transposed ? 1 : 0];
      columns = shape[transposed ? 0 : 1];
    } else {
      transposed = false;
      rows = 1;
      columns = *elementCount(shape);
    }
    // Whether what a step reads lies transposed to the result.
    firstSwapped = transposed;
    anySwapped = transposed;
    for (const auto &step : weight.steps) {
      if (step->kind == StepKind::transpose) {
        transposed ^= shape.size() == 2;
        continue;
      }
      if (step.get() == lastValueStep(weight) &&
          (step->kind == StepKind::cast || isBitLayout(weight)))
        continue;
      steps.push_back({step->kind, step->source, step->dtype, transposed});
      anySwapped |= transposed;
    }
  }

  /// Elements [position, position + n) of the result.
  const float *evaluate(uint64_t position, size_t n) {
    if (values.size() < n) {
      values.resize(n);
      factors.resize(n);
    }
    if (!anySwapped)
      return evaluateRun(position, n, values.data());
    for (size_t done = 0; done < n;) {
      uint64_t column = (position + done) % columns;
      size_t run = std::min<uint64_t>(n - done, columns - column);
      float *to = values.data() + done;
      const float *result = evaluateRun(position + done, run, to);
      if (result != to)
        std::copy(result, result + run, to);
      done += run;
    }
    return values.data();
  }

  /// What to call the weight's elements in messages.
  std::string describe() const { return operands[0].describe(); }

private:
  struct EvaluatedStep {
    StepKind kind;
    uint32_t source;
    DType dtype;
    bool swapped;
  };

  const float *readOperand(const Operand &operand, bool swapped,
                           uint64_t position, size_t n, float *buffer) const {
    if (!swapped)
      return operand.read(position, 1, n, buffer);
    uint64_t row = position / columns, column = position % columns;
    return operand.read(column * rows + row, rows, n, buffer);
  }

  const float *evaluateRun(uint64_t position, size_t n, float *buffer) {
    const float *x =
        readOperand(operands[0], firstSwapped, position, n, buffer);
    if (steps.empty())
      return x;
    for (const EvaluatedStep &step : steps) {
      switch (step.kind) {
      case StepKind::sign:
        for (size_t i = 0; i < n; ++i)
          buffer[i] = float((x[i] > 0) - (x[i] < 0));
        break;
      case StepKind::multiply: {
        const Operand &operand = operands[step.source];
        bool broadcast = operand.isOneElement();
        const float *y = broadcast ? operand.read(0, 1, 1, factors.data())
                                   : readOperand(operand, step.swapped,
                                                 position, n, factors.data());
        for (size_t i = 0; i < n; ++i)
          buffer[i] = x[i] * y[broadcast ? 0 : i];
        break;
      }
      case StepKind::neg_exp:
        for (size_t i = 0; i < n; ++i)
          buffer[i] = float(-std::exp(double(x[i])));
        break;
      case StepKind::cast:
        for (size_t i = 0; i < n; ++i)
          buffer[i] = step.dtype == DType::f16 ? f32FromF16(f16FromF32(x[i]))
                      : step.dtype == DType::bf16
                          ? f32FromBF16(bf16FromF32(x[i]))
                          : x[i];
        break;
      case StepKind::transpose:
        break;
      }
      x = buffer;
    }
    if (hasNonFinite(x, n)) {
      size_t i = 0;
      while (std::isfinite(x[i]))
        ++i;
      fail(describe(), ": element ", position + i, " becomes ",
           describeNonFinite(x[i]));
    }
    return x;
  }

  std::vector<Operand> operands;
  std::vector<EvaluatedStep> steps;
  bool firstSwapped, anySwapped;
  uint64_t rows, columns; // of the result
  std::vector<float> values, factors;
};
} // namespace

//===-----------------------------------------------------------------===//
// Laying the result out
//===-----------------------------------------------------------------===//

using Progress = std::function<void(uint64_t)>;

typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));

/// The word of 32 columns: bit 8·j + b is column 4·b + j.
static uint32_t packSigns(const float *values) {
  Int4 bytes = {};
  for (int b = 0; b < 8; ++b) {
    Float4 four;
    std::memcpy(&four, values + 4 * b, sizeof(four));
    bytes |= (four > 0.0f) & (1 << b);
  }
  return uint32_t(bytes[0]) | uint32_t(bytes[1]) << 8 |
         uint32_t(bytes[2]) << 16 | uint32_t(bytes[3]) << 24;
}

static void writeBits(const WeightT &weight, Evaluator &evaluator, Sink &sink,
                      const Progress &progress) {
  uint64_t rows = weight.shape[0], columns = weight.shape[1];
  uint64_t tileRows = weight.layout->rows;
  std::vector<uint32_t> tile((columns + 31) / 32 * tileRows);
  for (uint64_t begin = 0; begin < rows; begin += tileRows) {
    uint64_t height = std::min(tileRows, rows - begin);
    if (height < tileRows)
      std::fill(tile.begin(), tile.end(), 0);
    for (uint64_t r = 0; r < height; ++r) {
      const float *row = evaluator.evaluate((begin + r) * columns, columns);
      uint32_t *word = tile.data() + r;
      uint64_t column = 0;
      for (; column + 32 <= columns; column += 32, word += tileRows)
        *word = packSigns(row + column);
      if (column < columns) {
        float rest[32] = {};
        std::copy(row + column, row + columns, rest);
        *word = packSigns(rest);
      }
    }
    sink.write(tile.data(), tile.size() * sizeof(uint32_t));
    progress(height * columns);
  }
}

static uint64_t writeZeros(const WeightT &weight, Evaluator &evaluator,
                           Sink &sink, const Progress &progress) {
  uint64_t rows = weight.shape[0], columns = weight.shape[1];
  uint64_t tileRows = weight.layout->rows;
  // Count first: the starts come before the entries, which may be many.
  std::vector<int32_t> start{0};
  uint64_t total = 0;
  for (uint64_t begin = 0; begin < rows; begin += tileRows) {
    uint64_t end = std::min(begin + tileRows, rows);
    for (uint64_t r = begin; r < end; ++r) {
      const float *row = evaluator.evaluate(r * columns, columns);
      uint32_t count = 0;
      for (uint64_t c = 0; c < columns; ++c)
        count += row[c] == 0.0f;
      total += count;
    }
    if (total > INT32_MAX)
      fail(evaluator.describe(), ": more than 2^31 exact zeros");
    start.push_back(int32_t(total));
    progress((end - begin) * columns);
  }
  sink.write(start.data(), start.size() * sizeof(int32_t));

  for (uint64_t tile = 0; tile + 1 < start.size(); ++tile) {
    if (start[tile] == start[tile + 1])
      continue;
    std::vector<int32_t> pairs;
    uint64_t end = std::min((tile + 1) * tileRows, rows);
    for (uint64_t r = tile * tileRows; r < end; ++r) {
      const float *row = evaluator.evaluate(r * columns, columns);
      for (uint64_t c = 0; c < columns; ++c)
        if (row[c] == 0.0f)
          pairs.insert(pairs.end(), {int32_t(r), int32_t(c)});
    }
    sink.write(pairs.data(), pairs.size() * sizeof(int32_t));
  }
  return total;
}

/// Rounds to the weight's type.
static void encode(const float *from, size_t n, float *to, DType) {
  std::copy(from, from + n, to);
}

static void encode(const float *from, size_t n, uint16_t *to, DType dtype) {
  if (dtype == DType::f16)
    for (size_t i = 0; i < n; ++i)
      to[i] = f16FromF32(from[i]);
  else
    for (size_t i = 0; i < n; ++i)
      to[i] = bf16FromF32(from[i]);
}

/// Evaluates and rounds; T is float or the bits of a 16-bit float.
template <typename T>
static void evaluateDense(const WeightT &weight, Evaluator &evaluator,
                          uint64_t position, size_t n, T *to) {
  const float *values = evaluator.evaluate(position, n);
  encode(values, n, to, weight.dtype);
  if (weight.dtype == DType::f32)
    return;
  uint16_t exponent = weight.dtype == DType::f16 ? 0x7c00 : 0x7f80;
  bool overflow = false;
  for (size_t i = 0; i < n; ++i)
    overflow |= (uint16_t(to[i]) & exponent) == exponent;
  if (!overflow)
    return;
  size_t i = 0;
  while ((uint16_t(to[i]) & exponent) != exponent)
    ++i;
  fail(evaluator.describe(), ": element ", position + i, ", ", values[i],
       ", does not fit into ", EnumNameDType(weight.dtype));
}

template <typename T>
static void writeRowMajor(const WeightT &weight, Evaluator &evaluator,
                          Sink &sink, const Progress &progress) {
  uint64_t count = *elementCount(weight.shape);
  std::vector<T> chunk(std::min(count, kChunk));
  for (uint64_t position = 0; position < count; position += chunk.size()) {
    size_t n = std::min<uint64_t>(chunk.size(), count - position);
    evaluateDense(weight, evaluator, position, n, chunk.data());
    sink.write(chunk.data(), n * sizeof(T));
    progress(n);
  }
}

template <typename T>
static void writeInterleaved(const WeightT &weight, Evaluator &evaluator,
                             Sink &sink, const Progress &progress) {
  uint64_t rows = weight.shape[0], columns = weight.shape[1];
  uint64_t tileRows = weight.layout->rows;
  std::vector<T> row(columns), tile(columns * tileRows);
  for (uint64_t begin = 0; begin < rows; begin += tileRows) {
    uint64_t height = std::min(tileRows, rows - begin);
    if (height < tileRows)
      std::fill(tile.begin(), tile.end(), T(0));
    for (uint64_t r = 0; r < height; ++r) {
      evaluateDense(weight, evaluator, (begin + r) * columns, columns,
                    row.data());
      for (uint64_t c = 0; c < columns; ++c)
        tile[c * tileRows + r] = row[c];
    }
    sink.write(tile.data(), tile.size() * sizeof(T));
    progress(height * columns);
  }
}

template <typename T>
static void writeDense(const WeightT &weight, Evaluator &evaluator, Sink &sink,
                       const Progress &progress) {
  if (weight.layout && weight.layout->kind == LayoutKind::interleave)
    writeInterleaved<T>(weight, evaluator, sink, progress);
  else
    writeRowMajor<T>(weight, evaluator, sink, progress);
}

void verifyRecipe(const WeightT &weight) {
  LayoutT layout = weight.layout ? *weight.layout : LayoutT();
  layoutBytes(weight.dtype, weight.shape, layout.kind, layout.rows);
  bool bits = isBitLayout(weight);
  if (!bits && weight.dtype != DType::f32 && weight.dtype != DType::f16 &&
      weight.dtype != DType::bf16)
    fail("no recipe makes elements of type ", EnumNameDType(weight.dtype));
  if (weight.sources.empty())
    fail("has no source");
  std::vector<uint64_t> counts;
  for (const auto &source : weight.sources) {
    if (elementBytes(source->dtype) == 0)
      fail("source '", source->key, "' holds no numbers");
    std::optional<uint64_t> count = elementCount(source->shape);
    if (!count || *count > uint64_t(INT64_MAX) / 8)
      fail("source '", source->key, "' has too large a shape ",
           toString(source->shape));
    counts.push_back(*count);
  }

  for (size_t i = 0; i < weight.steps.size(); ++i) {
    const StepT &step = *weight.steps[i];
    if (step.kind > StepKind::MAX)
      fail("step ", i, " is unknown: ", unsigned(step.kind));
    switch (step.kind) {
    case StepKind::multiply:
      if (step.source == 0 || step.source >= counts.size())
        fail("step ", i, " multiplies by source ", step.source, " of ",
             counts.size());
      if (counts[step.source] != 1 && counts[step.source] != counts[0])
        fail("step ", i, " multiplies ", counts[0], " elements by ",
             counts[step.source]);
      break;
    case StepKind::transpose: {
      Shape shape = squeeze(weight.sources[0]->shape);
      if (shape.size() > 2)
        fail("step ", i, " transposes shape ", toString(shape));
      break;
    }
    case StepKind::cast:
      if (step.dtype != DType::f32 && step.dtype != DType::f16 &&
          step.dtype != DType::bf16)
        fail("step ", i, " casts to no float type: ", unsigned(step.dtype));
      break;
    case StepKind::sign:
    case StepKind::neg_exp:
      break;
    }
  }
  const StepT *last = lastValueStep(weight);
  DType dtype = last && last->kind == StepKind::cast ? last->dtype : DType::f32;
  if (bits) {
    if (!last || last->kind != StepKind::sign)
      fail("the recipe of layout ", EnumNameLayoutKind(layout.kind),
           " does not end in sign");
  } else if (dtype != weight.dtype) {
    fail("expected elements of type ", EnumNameDType(weight.dtype),
         ", the recipe makes ", EnumNameDType(dtype));
  }
  if (elementCount(weight.shape) != counts[0])
    fail("expected shape ", toString(weight.shape), ", source '",
         weight.sources[0]->key, "' has ", toString(weight.sources[0]->shape));
}

void verifySources(const WeightT &weight,
                   const std::vector<TensorView> &views) {
  verifyRecipe(weight);
  if (views.size() != weight.sources.size())
    fail("expected ", weight.sources.size(), " sources, found ", views.size());
  for (size_t i = 0; i < views.size(); ++i) {
    const SourceT &source = *weight.sources[i];
    const TensorView &view = views[i];
    if (view.shape != source.shape)
      fail("key '", source.key, "' in '", source.file, "': expected shape ",
           toString(source.shape), ", found ", toString(view.shape));
    if (!view.strides.empty() && view.strides.size() != view.shape.size())
      fail("key '", source.key, "' in '", source.file,
           "': ", view.strides.size(), " strides of rank ", view.shape.size());
    if (elementBytes(view.dtype) == 0)
      fail("key '", source.key, "' in '", source.file, "' holds no numbers");
  }
}

uint64_t executeRecipe(const WeightT &weight,
                       const std::vector<TensorView> &views, Sink &sink,
                       const Progress &progress) {
  verifySources(weight, views);
  Evaluator evaluator(weight, views);
  Progress report = progress ? progress : [](uint64_t) {};
  LayoutKind layout =
      weight.layout ? weight.layout->kind : LayoutKind::row_major;
  if (layout == LayoutKind::bit_tile)
    writeBits(weight, evaluator, sink, report);
  else if (layout == LayoutKind::zeros)
    return writeZeros(weight, evaluator, sink, report);
  else if (weight.dtype == DType::f32)
    writeDense<float>(weight, evaluator, sink, report);
  else
    writeDense<uint16_t>(weight, evaluator, sink, report);
  return 0;
}

} // namespace mambit::artifact
