//===- NoDisassembler.cpp - builds without LLVM have none --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-inspect/Disassembler.h"

#include "runtime/Error.h"

using namespace mambit;
using namespace mambit::tools;

std::string tools::disassemble(const ElfFunction &, const std::string &) {
  fail("this mambit-inspect was built without the compiler and cannot "
       "disassemble; --extract writes the code images for another tool");
}
