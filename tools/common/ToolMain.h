//===- ToolMain.h - what the mains of tools share ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_TOOLMAIN_H
#define MAMBIT_TOOLS_COMMON_TOOLMAIN_H

#include <CLI/CLI.hpp>

#include <cmath>
#include <functional>
#include <initializer_list>

namespace mambit::tools {

/// The version of the project, "0.1.0".
const char *versionString();

/// Adds `--version`, parses the options and runs `body`, whose result is the
/// exit status. An exception or a wrong option becomes `TOOL: error: …` on
/// standard error and exit status 1.
int toolMain(CLI::App &app, int argc, char **argv,
             const std::function<int()> &body);

/// The part of `toolMain` for tools with their own option parser.
int runGuarded(const char *tool, const std::function<int()> &body);

/// Checks that an option's value is a whole number from `least` to `most`.
CLI::Validator wholeNumber(uint64_t least, uint64_t most = UINT32_MAX);

/// Checks that an option's value is a finite number from `least` to `most`.
CLI::Validator number(double least, double most = HUGE_VAL);

/// Throws unless exactly one of these options was given or, where that is
/// allowed, none.
void requireOne(const CLI::App &app,
                std::initializer_list<const char *> options,
                bool orNone = false);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_TOOLMAIN_H
