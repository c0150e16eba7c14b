//===- Compare.cpp - where two runs of a model part --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-compare/Compare.h"

#include "runtime/Error.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

using namespace mambit;
using namespace mambit::tools;

double tools::relativeError(const std::vector<float> &a,
                            const std::vector<float> &b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  if (difference == 0)
    return 0;
  double error = std::sqrt(difference / size);
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

namespace {

std::string shapeText(const std::vector<uint64_t> &shape) {
  std::string text;
  for (uint64_t size : shape)
    text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

/// Where two tensors differ most, or where one is not a number.
size_t largestDifference(const std::vector<float> &a,
                         const std::vector<float> &b) {
  size_t place = 0;
  float largest = -1;
  for (size_t i = 0; i < a.size(); ++i) {
    float difference = std::fabs(a[i] - b[i]);
    if (std::isnan(difference))
      return i;
    if (difference > largest) {
      largest = difference;
      place = i;
    }
  }
  return place;
}

std::string placeText(size_t place, const std::vector<uint64_t> &shape) {
  std::string text;
  for (size_t i = shape.size(); i-- > 0; place /= shape[i])
    text = std::to_string(place % shape[i]) + (text.empty() ? "" : ", ") + text;
  return "[" + text + "]";
}

class Comparison {
public:
  explicit Comparison(const CompareOptions &options) : options(options) {}

  void keep(Value value) {
    std::string key = value.key;
    ofA.emplace(std::move(key), std::move(value));
  }

  void meet(const Value &b) {
    auto found = ofA.find(b.key);
    if (found == ofA.end()) {
      ++alone;
      return;
    }
    const Value &a = found->second;
    if (a.elements.size() != b.elements.size())
      fail("'", a.label, "' is ", shapeText(a.shape), " in A and ",
           shapeText(b.shape),
           " in B: the runs are not of the same tokens and "
           "model");
    double error = relativeError(a.elements, b.elements);
    errors[b.key] = error;
    ++compared;
    if (compared == 1 || error > worst) {
      worst = error;
      worstLabel = a.label;
    }
    if (options.all)
      std::printf("%10.3g  %s, %s\n", error, a.label.c_str(),
                  shapeText(a.shape).c_str());
    if (error > options.bound && first.empty())
      first = describe(a, b, error);
    // Its error is all that is still needed.
    found->second.elements = {};
  }

  int report() const {
    if (compared == 0)
      fail("the two have no value in common: an interpreter's are to be those "
           "after fuse-linear or a later pass");
    if (!first.empty())
      std::printf("%s", first.c_str());
    std::printf("%zu values compared, largest error %.3g: %s\n", compared,
                worst, worstLabel.c_str());
    if (size_t unmatched = ofA.size() - compared + alone)
      std::printf("%zu values are in one of the two only\n", unmatched);
    return first.empty() ? 0 : kDifferent;
  }

private:
  std::string describe(const Value &a, const Value &b, double error) const;

  const CompareOptions &options;
  std::map<std::string, Value> ofA;
  std::map<std::string, double> errors;
  size_t compared = 0, alone = 0;
  double worst = 0;
  std::string worstLabel, first;
};

std::string Comparison::describe(const Value &a, const Value &b,
                                 double error) const {
  auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.9g", value);
    return std::string(text);
  };
  size_t place = largestDifference(a.elements, b.elements);
  std::string text = "the first beyond " + number(options.bound) +
                     " has error " + number(error) + "\n";
  text += "  in A     " + a.label + "\n";
  text += "  in B     " + b.label + "\n";
  text += "  shape    " + shapeText(a.shape) + "\n";
  text += "  most at  " + placeText(place, a.shape) + ": " +
          number(a.elements[place]) + " in A, " + number(b.elements[place]) +
          " in B\n";
  // What came in tells whether this operation made the error.
  for (const auto &[name, key] : a.inputs.empty() ? b.inputs : a.inputs)
    if (auto input = errors.find(key); input != errors.end())
      text += "  input    " + name + " has error " + number(input->second) +
              ": " + ofA.at(key).label + "\n";
  return text;
}

} // namespace

int tools::compare(Run &a, Run &b, const CompareOptions &options) {
  std::printf("A: %s\nB: %s\n", a.describe().c_str(), b.describe().c_str());
  Comparison comparison(options);
  a.forEachValue([&](Value value) { comparison.keep(std::move(value)); });
  b.forEachValue([&](Value value) { comparison.meet(value); });
  return comparison.report();
}
