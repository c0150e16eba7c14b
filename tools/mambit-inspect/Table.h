//===- Table.h - columns of text ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_INSPECT_TABLE_H
#define MAMBIT_TOOLS_MAMBIT_INSPECT_TABLE_H

#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <vector>

namespace mambit::tools {

using Json = nlohmann::ordered_json;

/// Prints rows in aligned columns.
class Table {
public:
  explicit Table(std::vector<std::string> heading,
                 std::set<size_t> rightAligned = {});
  void row(std::vector<std::string> cells);
  void print() const;

private:
  std::vector<std::vector<std::string>> rows;
  std::set<size_t> rightAligned;
};

/// Prints a line "name    value".
void printField(const std::string &name, const std::string &value);

/// A string without quotes, or anything else as JSON has it.
std::string textOf(const Json &value);

/// "[2x3]".
std::string shapeText(const Json &shape);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_INSPECT_TABLE_H
