//===- CommandLine.h - llvm::cl for the compiler's tools --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMPILER_COMMANDLINE_H
#define MAMBIT_TOOLS_COMPILER_COMMANDLINE_H

#include "tools/common/ToolMain.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdlib>
#include <string>

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
  // One line, as all tools report an error.
  std::string message;
  llvm::raw_string_ostream errors(message);
  if (llvm::cl::ParseCommandLineOptions(argc, argv, overview, &errors))
    return;
  if (message.empty())
    std::exit(1); // a value was wrong, which is said already
  llvm::StringRef text = llvm::StringRef(message).trim();
  text.consume_front(llvm::sys::path::filename(argv[0]));
  text.consume_front(": ");
  message = text.str();
  std::replace(message.begin(), message.end(), '\n', ' ');
  llvm::errs() << tool << ": error: " << message << '\n';
  std::exit(1);
}

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMPILER_COMMANDLINE_H
