//===- Table.cpp - columns of text -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-inspect/Table.h"

#include <algorithm>
#include <cstdio>

using namespace mambit::tools;

Table::Table(std::vector<std::string> heading, std::set<size_t> rightAligned)
    : rightAligned(std::move(rightAligned)) {
  row(std::move(heading));
}

void Table::row(std::vector<std::string> cells) {
  rows.push_back(std::move(cells));
}

void Table::print() const {
  std::vector<size_t> widths(rows.front().size());
  for (const auto &cells : rows)
    for (size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], cells[i].size());
  for (const auto &cells : rows) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      std::string padding(widths[i] - cells[i].size(), ' ');
      line += "  ";
      line += rightAligned.count(i) ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }
}

void mambit::tools::printField(const std::string &name,
                               const std::string &value) {
  std::printf("%-12s %s\n", name.c_str(), value.c_str());
}

std::string mambit::tools::textOf(const Json &value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string mambit::tools::shapeText(const Json &shape) {
  std::string text;
  for (const Json &extent : shape)
    text += (text.empty() ? "" : "x") + textOf(extent);
  return "[" + text + "]";
}
