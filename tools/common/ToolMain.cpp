//===- ToolMain.cpp - what the mains of tools share --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/ToolMain.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <new>

using namespace mambit::tools;

int mambit::tools::runGuarded(const char *tool,
                              const std::function<int()> &body) {
  auto report = [&](const char *message) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: error: %s\n", tool, message);
    return 1;
  };
  try {
    int status = body();
    // A full disk or a closed pipe shows here at the latest.
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return report("cannot write to standard output");
    return status;
  } catch (const std::bad_alloc &) {
    return report("out of memory");
  } catch (const std::exception &error) {
    return report(error.what());
  }
}

int mambit::tools::toolMain(CLI::App &app, int argc, char **argv,
                            const std::function<int()> &body) {
  std::string tool = app.get_name();
  app.set_version_flag("--version", tool + " " MAMBIT_VERSION_STRING,
                       "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.failure_message([](const CLI::App *app, const CLI::Error &error) {
    return app->get_name() + ": error: " + error.what() + "; see " +
           app->get_name() + " --help\n";
  });
  app.get_formatter()->column_width(34);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return runGuarded(tool.c_str(), body);
}
