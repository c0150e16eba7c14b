//===- MambaDialect.cpp - registers the mamba dialect -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "dialects/mamba/Mamba.h"

using namespace mambit::mamba;

#include "dialects/mamba/MambaDialect.cpp.inc"

void MambaDialect::initialize() {
  registerAttributes();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "dialects/mamba/MambaOps.cpp.inc"
      >();
}
