//===- ToolMain.h - what the mains of tools share ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_TOOLMAIN_H
#define MAMBIT_TOOLS_COMMON_TOOLMAIN_H

#include <functional>

namespace CLI {
class App;
} // namespace CLI

namespace mambit::tools {

/// Adds `--version`, parses the options and runs `body`, whose result is the
/// exit status. An exception or a wrong option becomes `TOOL: error: …` on
/// standard error and exit status 1.
int toolMain(CLI::App &app, int argc, char **argv,
             const std::function<int()> &body);

/// The part of `toolMain` for tools with their own option parser.
int runGuarded(const char *tool, const std::function<int()> &body);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_TOOLMAIN_H
