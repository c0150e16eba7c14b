//===- Json.cpp - reads JSON with infinities ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Json.h"
#include "frontend/checkpoint/Error.h"
#include "frontend/checkpoint/MappedFile.h"

#include <cctype>
#include <cmath>
#include <limits>
#include <unordered_set>
#include <vector>

namespace mambit::checkpoint {
namespace {

constexpr int maxDepth = 32;
constexpr uint64_t maxBytes = 64 << 20;
constexpr uint64_t maxValues = 1 << 20; // each takes far more than its text
constexpr double infinity = std::numeric_limits<double>::infinity();

/// A word that Python writes for a number and JSON does not have. While
/// parsing, a string of the same length that no file has use for stands in for
/// it, so that positions stay.
struct NonFinite {
  std::string_view word;
  std::string_view standIn; // in the text
  std::string_view content; // of the parsed string
  double value;
};

constexpr NonFinite nonFinites[] = {
    {"-Infinity", "\"\\u0001-\"", "\x01-", -infinity},
    {"Infinity", "\"\\u0001\"", "\x01", infinity},
    {"NaN", "\"\x7f\"", "\x7f", std::numeric_limits<double>::quiet_NaN()},
};

bool isWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

/// Whether what ends at `end` is followed by a colon: no number is a key.
bool isKey(std::string_view text, size_t end) {
  size_t next = text.find_first_not_of(" \t\r\n", end);
  return next != std::string_view::npos && text[next] == ':';
}

std::string replaceNonFinites(std::string_view text) {
  std::string result(text);
  bool inString = false;
  for (size_t i = 0; i < result.size(); ++i) {
    if (inString) {
      if (result[i] == '\\')
        ++i;
      else if (result[i] == '"')
        inString = false;
      continue;
    }
    if (result[i] == '"') {
      inString = true;
      continue;
    }
    if (i > 0 && isWordCharacter(result[i - 1]))
      continue;
    for (const NonFinite &number : nonFinites) {
      size_t end = i + number.word.size();
      if (text.substr(i, number.word.size()) != number.word ||
          (end < text.size() && isWordCharacter(text[end])) || isKey(text, end))
        continue;
      result.replace(i, number.word.size(), number.standIn);
      i = end - 1;
      break;
    }
  }
  return result;
}

/// Turns stand-ins and {"__float__": ...} into numbers.
void restoreNonFinites(Json &value) {
  if (value.is_string()) {
    for (const NonFinite &number : nonFinites)
      if (value.get_ref<const std::string &>() == number.content) {
        value = number.value;
        return;
      }
    return;
  }
  if (value.is_object() && value.size() == 1 && value.contains("__float__")) {
    const Json &inner = value["__float__"];
    for (const NonFinite &number : nonFinites)
      if (inner.is_string() && inner == number.word) {
        value = number.value;
        return;
      }
  }
  if (value.is_structured())
    for (Json &element : value)
      restoreNonFinites(element);
}

/// The other way about, for the library writes null for them.
void hideNonFinites(Json &value) {
  if (value.is_structured())
    for (Json &element : value)
      hideNonFinites(element);
  if (!value.is_number_float() || std::isfinite(value.get<double>()))
    return;
  double found = value.get<double>();
  for (const NonFinite &number : nonFinites)
    if (number.value == found ||
        (std::isnan(number.value) && std::isnan(found)))
      value = number.content;
}

} // namespace

Json parseJson(std::string_view text, const std::string &file) {
  if (text.size() > maxBytes)
    fail(file, ": expected at most ", maxBytes, " bytes of JSON, found ",
         text.size());
  std::vector<std::unordered_set<std::string>> keys;
  uint64_t values = 0;
  auto check = [&](int depth, Json::parse_event_t event, Json &parsed) {
    if (++values > maxValues)
      fail(file, ": expected at most ", maxValues, " values and keys of JSON");
    if (depth > maxDepth)
      fail(file, ": expected JSON nested at most ", maxDepth, " deep");
    switch (event) {
    case Json::parse_event_t::object_start:
      keys.emplace_back();
      break;
    case Json::parse_event_t::object_end:
      keys.pop_back();
      break;
    case Json::parse_event_t::key:
      if (!keys.back().insert(parsed.get<std::string>()).second)
        fail(file, ": duplicate key ", quote(parsed.get<std::string>()));
      break;
    default:
      break;
    }
    return true;
  };
  try {
    Json result = Json::parse(replaceNonFinites(text), check);
    restoreNonFinites(result);
    return result;
  } catch (const Json::exception &error) {
    // The library's text begins with its own error code, in brackets.
    std::string message = error.what();
    size_t begin = message.find("] ");
    if (begin != std::string::npos)
      message.erase(0, begin + 2);
    fail(file, ": not valid JSON: ", printable(message, 300));
  }
}

std::string describe(const Json &value) {
  Json copy = value;
  hideNonFinites(copy);
  std::string text = copy.dump();
  for (const NonFinite &number : nonFinites)
    for (size_t at = 0;
         (at = text.find(number.standIn, at)) != std::string::npos;)
      text.replace(at, number.standIn.size(), number.word);
  return printable(text);
}

Json readJson(const std::string &path, const std::string &name) {
  MappedFile file(path);
  return parseJson(file.bytes(0, file.size()), name);
}

} // namespace mambit::checkpoint
