//===- Error.cpp - errors of reading a checkpoint ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Error.h"

using namespace mambit;

std::string checkpoint::printable(std::string_view text, size_t longest) {
  constexpr const char *digits = "0123456789abcdef";
  std::string result;
  for (unsigned char c : text.substr(0, longest)) {
    if (c >= 0x20 && c < 0x7f)
      result += static_cast<char>(c);
    else
      result += {'\\', 'x', digits[c >> 4], digits[c & 15]};
  }
  if (text.size() > longest)
    result += "...";
  return result;
}

std::string checkpoint::quote(std::string_view text) {
  return '"' + printable(text) + '"';
}
