//===- ToolMain.cpp - what the mains of tools share --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/ToolMain.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sstream>

using namespace mambit;
using namespace mambit::tools;

namespace {

/// Lines of 80 columns, without what the descriptions say better.
class HelpFormatter : public CLI::Formatter {
public:
  HelpFormatter() { column_width(kColumn); }

  std::string make_option_opts(const CLI::Option *option) const override {
    const std::string &text = option->get_option_text();
    return text.empty() ? "" : " " + text;
  }

  std::string make_option_desc(const CLI::Option *option) const override {
    return wrap(option->get_description(), 80 - kColumn);
  }

  std::string make_description(const CLI::App *app) const override {
    return wrap(app->get_description(), 80) + "\n";
  }

  std::string make_help(const CLI::App *app, std::string name,
                        CLI::AppFormatMode mode) const override {
    return CLI::detail::find_and_replace(Formatter::make_help(app, name, mode),
                                         "\n\n\n", "\n\n");
  }

private:
  static constexpr size_t kColumn = 26;

  static std::string wrap(std::string text, size_t width) {
    for (size_t line = 0; text.size() - line > width;) {
      size_t blank = text.rfind(' ', line + width);
      if (blank == std::string::npos || blank <= line)
        break;
      text[blank] = '\n';
      line = blank + 1;
    }
    return text;
  }
};

} // namespace

const char *tools::versionString() { return MAMBIT_VERSION_STRING; }

int tools::runGuarded(const char *tool, const std::function<int()> &body) {
  auto report = [&](std::string message) {
    // It may quote a file, which must not steer a terminal.
    for (char &c : message)
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f)
        c = '?';
    std::fflush(stdout);
    std::fprintf(stderr, "%s: error: %s\n", tool, message.c_str());
    return 1;
  };
  try {
    int status = body();
    // A full disk shows here at the latest.
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return report("cannot write to standard output");
    return status;
  } catch (const std::bad_alloc &) {
    return report("out of memory");
  } catch (const std::exception &error) {
    return report(error.what());
  }
}

/// A shell's unset variable must not pass for an option that was not given.
static void refuseEmptyValues(const CLI::App &app) {
  for (const CLI::Option *option : app.get_options())
    for (const std::string &value : option->results())
      if (value.empty() && option->get_option_text() != "TEXT")
        throw CLI::ValidationError(option->get_name(),
                                   "expected a value, found none");
}

int tools::toolMain(CLI::App &app, int argc, char **argv,
                    const std::function<int()> &body) {
  std::string tool = app.get_name();
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("--version", tool + " " + versionString(),
                       "Print the version and exit");
  app.failure_message([](const CLI::App *app, const CLI::Error &error) {
    std::string message = error.what();
    if (message.size() > 1 && std::islower(message[1]))
      message[0] = char(std::tolower(message[0]));
    return app->get_name() + ": error: " + message + "; see " +
           app->get_name() + " --help\n";
  });
  try {
    app.parse(argc, argv);
    refuseEmptyValues(app);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return runGuarded(tool.c_str(), body);
}

CLI::Validator tools::wholeNumber(uint64_t least, uint64_t most) {
  return CLI::Validator(
      [=](std::string &value) -> std::string {
        bool digits = !value.empty() && value.size() <= 20 &&
                      std::all_of(value.begin(), value.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
        errno = 0;
        uint64_t number =
            digits ? std::strtoull(value.c_str(), nullptr, 10) : 0;
        if (digits && errno == 0 && number >= least && number <= most) {
          value = std::to_string(number); // a leading 0 is not octal
          return {};
        }
        return "expected a whole number from " + std::to_string(least) +
               " to " + std::to_string(most) + ", found '" + value + "'";
      },
      "");
}

CLI::Validator tools::number(double least, double most) {
  return CLI::Validator(
      [=](std::string &value) -> std::string {
        char *end;
        double number = std::strtod(value.c_str(), &end);
        if (!value.empty() && *end == '\0' && std::isfinite(number) &&
            number >= least && number <= most)
          return {};
        std::ostringstream message;
        message << "expected a number ";
        if (std::isfinite(most))
          message << "from " << least << " to " << most;
        else
          message << "of at least " << least;
        message << ", found '" << value << "'";
        return message.str();
      },
      "");
}

void tools::requireOne(const CLI::App &app,
                       std::initializer_list<const char *> options,
                       bool orNone) {
  size_t count = 0;
  std::string names;
  for (const char *option : options) {
    count += app.count(option) != 0;
    names += names.empty()                    ? ""
             : option == *(options.end() - 1) ? " and "
                                              : ", ";
    names += option;
  }
  if (count > 1 || (count == 0 && !orNone))
    fail("expected ", orNone ? "at most" : "exactly", " one of ", names,
         ", found ", count ? std::to_string(count) : "none", "; see ",
         app.get_name(), " --help");
}
