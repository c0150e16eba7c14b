//===- Json.h - reads JSON with infinities -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_JSON_H
#define MAMBIT_FRONTEND_CHECKPOINT_JSON_H

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace mambit::checkpoint {

using Json = nlohmann::json;

/// Parses JSON as Python writes it: a bare Infinity, -Infinity or NaN is a
/// number, and so is {"__float__": "Infinity"} (as transformers writes it).
/// Throws Error, naming `file` and the position, for anything else that is not
/// JSON, for a key that occurs twice in an object, and for deep nesting.
Json parseJson(std::string_view text, const std::string &file);

/// The text of a value, with infinities as Python writes them, fit for a
/// message as printable() makes it.
std::string describe(const Json &value);

/// Reads a file of JSON; `name` is what messages call it.
Json readJson(const std::string &path, const std::string &name);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_JSON_H
