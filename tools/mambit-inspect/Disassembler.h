//===- Disassembler.h - machine code as text ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_INSPECT_DISASSEMBLER_H
#define MAMBIT_TOOLS_MAMBIT_INSPECT_DISASSEMBLER_H

#include "tools/mambit-inspect/ElfImage.h"

namespace mambit::tools {

/// A line an instruction, with its address. Throws Error if this build has no
/// disassembler for `triple`.
std::string disassemble(const ElfFunction &function, const std::string &triple);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_INSPECT_DISASSEMBLER_H
