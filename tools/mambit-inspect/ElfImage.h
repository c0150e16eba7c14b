//===- ElfImage.h - functions of a shared object -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_INSPECT_ELFIMAGE_H
#define MAMBIT_TOOLS_MAMBIT_INSPECT_ELFIMAGE_H

#include "runtime/artifact/MappedFile.h"

#include <map>
#include <string>

namespace mambit::tools {

struct ElfFunction {
  uint64_t address;
  artifact::Bytes code;
};

/// The exported functions of a 64-bit shared object, by name. Its tables are
/// not trusted: throws Error if they reach outside.
std::map<std::string, ElfFunction> readElfFunctions(artifact::Bytes image);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_INSPECT_ELFIMAGE_H
