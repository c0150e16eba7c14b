//===- Disassembler.cpp - machine code as text, by LLVM ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-inspect/Disassembler.h"

#include "runtime/Error.h"

#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>

#include <cstdio>
#include <memory>

using namespace mambit;
using namespace mambit::tools;

static std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%jx", uintmax_t(value));
  return text;
}

/// Names the target of a branch by its address; LLVM prints distances.
static const char *nameBranchTarget(void *name, uint64_t value, uint64_t *type,
                                    uint64_t, const char **) {
  bool branch = *type == LLVMDisassembler_ReferenceType_In_Branch;
  *type = LLVMDisassembler_ReferenceType_InOut_None;
  if (!branch)
    return nullptr;
  auto &text = *static_cast<std::string *>(name);
  text = hexadecimal(value);
  return text.c_str();
}

std::string tools::disassemble(const ElfFunction &function,
                               const std::string &triple) {
  static const bool initialized = [] {
    LLVMInitializeAllTargetInfos();
    LLVMInitializeAllTargetMCs();
    LLVMInitializeAllDisassemblers();
    return true;
  }();
  (void)initialized;
  std::string name;
  std::unique_ptr<void, decltype(&LLVMDisasmDispose)> context(
      LLVMCreateDisasm(triple.c_str(), &name, 0, nullptr, nameBranchTarget),
      LLVMDisasmDispose);
  if (!context)
    fail("no disassembler for '", triple, "'");
  LLVMSetDisasmOptions(context.get(),
                       LLVMDisassembler_Option_AsmPrinterVariant |
                           LLVMDisassembler_Option_PrintImmHex);

  std::string text;
  for (uint64_t done = 0; done < function.code.size;) {
    char line[256];
    // The interface takes bytes it does not change.
    auto *code = const_cast<uint8_t *>(function.code.data) + done;
    size_t size =
        LLVMDisasmInstruction(context.get(), code, function.code.size - done,
                              function.address + done, line, sizeof(line));
    text += "  " + hexadecimal(function.address + done) + ":";
    text += size ? line : "\t(unknown)";
    text += '\n';
    done += size ? size : 1;
  }
  return text;
}
