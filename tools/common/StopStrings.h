//===- StopStrings.h - ends a text before given strings ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_STOPSTRINGS_H
#define MAMBIT_TOOLS_COMMON_STOPSTRINGS_H

#include <string>
#include <string_view>
#include <vector>

namespace mambit::tools {

/// Ends a text, which comes in parts, before the first of several strings: the
/// one that is complete first and, of those complete at once, the longest. So
/// the result does not depend on how the text is divided.
class StopStrings {
public:
  /// Throws Error on an empty string.
  explicit StopStrings(std::vector<std::string> strings);

  /// What is known to be before any of the strings; the beginning of one is
  /// held back.
  std::string push(std::string_view text);
  /// What was held back.
  std::string finish();

  /// The string that ended the text, or null. From then on there is no text.
  const std::string *found() const { return match; }

private:
  std::vector<std::string> strings;
  std::string held;
  const std::string *match = nullptr;
};

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_STOPSTRINGS_H
