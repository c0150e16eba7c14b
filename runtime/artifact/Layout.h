//===- Layout.h - sizes of tensors in their layouts --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_LAYOUT_H
#define MAMBIT_RUNTIME_ARTIFACT_LAYOUT_H

#include "runtime/artifact/artifact_generated.h"

#include <optional>
#include <vector>

namespace mambit::artifact {

using Shape = std::vector<uint64_t>;

/// Bytes of one element; 0 for bits, which have none of their own.
uint64_t elementBytes(DType dtype);

/// Product of the dimensions; nothing if it does not fit.
std::optional<uint64_t> elementCount(const Shape &shape);

/// Bytes of a tensor in a layout: of a list of zeros, of the empty list.
/// Throws where layout, element type and shape do not go together.
uint64_t layoutBytes(DType dtype, const Shape &shape, LayoutKind kind,
                     uint32_t rows);

/// The layout of a table's field, which may be absent.
inline LayoutT layoutOf(const Layout *layout) {
  LayoutT result;
  if (layout)
    layout->UnPackTo(&result);
  return result;
}

inline Shape shapeOf(const flatbuffers::Vector<uint64_t> *shape) {
  return shape ? Shape(shape->begin(), shape->end()) : Shape();
}

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_LAYOUT_H
