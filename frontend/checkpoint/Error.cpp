//===- Error.cpp - errors of reading a checkpoint ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Error.h"

std::string mambit::checkpoint::quote(std::string_view text) {
  constexpr size_t longest = 160;
  std::string result = "\"";
  for (char c : text.substr(0, longest)) {
    bool isControl = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    result += isControl ? '?' : c;
  }
  result += text.size() > longest ? "...\"" : "\"";
  return result;
}
