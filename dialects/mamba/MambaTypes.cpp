//===- MambaTypes.cpp - types of the mamba dialect --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mambit::mamba;

#define GET_TYPEDEF_CLASSES
#include "dialects/mamba/MambaTypes.cpp.inc"

void MambaDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/mamba/MambaTypes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// BitsType: `<` rows `x` columns (`,` layout)? `>`
//===----------------------------------------------------------------------===//

Type BitsType::parse(AsmParser &parser) {
  SmallVector<int64_t, 2> shape;
  BitTileAttr layout;
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseDimensionList(shape, /*allowDynamic=*/false,
                                /*withTrailingX=*/false))
    return {};
  if (shape.size() != 2) {
    parser.emitError(loc) << "expected rows x columns, found " << shape.size()
                          << " dimensions";
    return {};
  }
  if (succeeded(parser.parseOptionalComma()) && parser.parseAttribute(layout))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<BitsType>(loc, parser.getContext(), shape[0],
                                     shape[1], layout);
}

void BitsType::print(AsmPrinter &printer) const {
  printer << '<' << getRows() << 'x' << getColumns();
  if (getLayout())
    printer << ", " << getLayout();
  printer << '>';
}

LogicalResult
BitsType::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                 int64_t rows, int64_t columns, BitTileAttr layout) {
  // (C1) rows and columns are positive.
  if (rows <= 0 || columns <= 0)
    return emitError() << "expected rows and columns to be positive, found "
                       << rows << " and " << columns;
  return success();
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

bool mambit::mamba::isPacked(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() > 0 && tensor.isDynamicDim(0) &&
         tensor.getNumDynamicDims() == 1;
}

Type mambit::mamba::withoutLayout(Type type) {
  if (auto bits = dyn_cast<BitsType>(type))
    return BitsType::get(type.getContext(), bits.getRows(), bits.getColumns(),
                         {});
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return tensor.dropEncoding();
  return type;
}

ScaleKind mambit::mamba::getScaleKind(RankedTensorType type) {
  if (type.getNumElements() == 1)
    return ScaleKind::single;
  return type.getDimSize(0) == 1 ? ScaleKind::column : ScaleKind::row;
}
