//===- StopStrings.cpp - ends a text before given strings --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/StopStrings.h"

#include "runtime/Error.h"

#include <algorithm>
#include <utility>

using namespace mambit;
using namespace mambit::tools;

StopStrings::StopStrings(std::vector<std::string> given)
    : strings(std::move(given)) {
  for (const std::string &string : strings)
    if (string.empty())
      fail("expected a string to stop at, found an empty one");
}

std::string StopStrings::push(std::string_view text) {
  if (match)
    return "";
  for (char next : text) {
    held += next;
    for (const std::string &string : strings)
      if (held.size() >= string.size() &&
          held.compare(held.size() - string.size(), string.size(), string) ==
              0 &&
          (!match || string.size() > match->size()))
        match = &string;
    if (match) {
      held.resize(held.size() - match->size());
      return std::exchange(held, {});
    }
  }
  // Of the text's ends, the longest that a string begins with.
  size_t keep = 0;
  for (const std::string &string : strings)
    for (size_t size = std::min(held.size(), string.size() - 1); size > keep;
         --size)
      if (held.compare(held.size() - size, size, string, 0, size) == 0)
        keep = size;
  std::string certain = held.substr(0, held.size() - keep);
  held.erase(0, certain.size());
  return certain;
}

std::string StopStrings::finish() { return std::exchange(held, {}); }
