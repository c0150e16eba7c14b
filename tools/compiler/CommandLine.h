//===- CommandLine.h - llvm::cl for the compiler's tools --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMPILER_COMMANDLINE_H
#define MAMBIT_TOOLS_COMPILER_COMMANDLINE_H

#include "tools/common/ToolMain.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

namespace mambit::tools {

/// Parses the options of a tool. `--help` shows those of `category`, not the
/// hundreds that LLVM registers.
inline void parseCommandLine(int argc, char **argv, const char *tool,
                             llvm::cl::OptionCategory &category,
                             llvm::StringRef overview) {
  llvm::cl::HideUnrelatedOptions(category);
  llvm::cl::SetVersionPrinter([tool](llvm::raw_ostream &os) {
    os << tool << ' ' << versionString() << '\n';
  });
  llvm::cl::ParseCommandLineOptions(argc, argv, overview);
}

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMPILER_COMMANDLINE_H
