//===- Compare.cpp - where two runs of a model part --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-compare/Compare.h"

#include "runtime/Error.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <unistd.h>

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

/// A file without a name that holds the elements of many values, so that
/// memory need not.
class ElementsFile {
public:
  ElementsFile() {
    std::string path =
        (std::filesystem::temp_directory_path() / "mambit-compare-XXXXXX")
            .string();
    int fd = mkstemp(path.data());
    if (fd < 0 || !(file = fdopen(fd, "w+b")))
      fail("cannot write '", path, "': ", std::strerror(errno));
    unlink(path.c_str());
  }
  ElementsFile(const ElementsFile &) = delete;
  ElementsFile &operator=(const ElementsFile &) = delete;
  ~ElementsFile() { std::fclose(file); }

  /// Returns where they lie.
  uint64_t append(const std::vector<float> &elements) {
    uint64_t at = end;
    if (fseeko(file, off_t(at * sizeof(float)), SEEK_SET) != 0 ||
        std::fwrite(elements.data(), sizeof(float), elements.size(), file) !=
            elements.size())
      fail("cannot write a temporary file: ", std::strerror(errno));
    end += elements.size();
    return at;
  }

  std::vector<float> read(uint64_t at, uint64_t count) {
    std::vector<float> elements(count);
    if (fseeko(file, off_t(at * sizeof(float)), SEEK_SET) != 0 ||
        std::fread(elements.data(), sizeof(float), count, file) != count)
      fail("cannot read a temporary file: ", std::strerror(errno));
    return elements;
  }

private:
  std::FILE *file = nullptr;
  uint64_t end = 0;
};

class Comparison {
public:
  explicit Comparison(const CompareOptions &options) : options(options) {}

  void keep(Value value) {
    Kept kept{{}, elements.append(value.elements), value.elements.size()};
    std::string key = value.key;
    value.elements = {};
    kept.value = std::move(value);
    ofA.emplace(std::move(key), std::move(kept));
  }

  void meet(const Value &b) {
    auto found = ofA.find(b.key);
    if (found == ofA.end()) {
      ++alone;
      return;
    }
    const Kept &kept = found->second;
    Value a = kept.value;
    a.elements = elements.read(kept.at, kept.count);
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

  /// A value of A, but for its elements.
  struct Kept {
    Value value;
    uint64_t at, count; // where they lie
  };

  const CompareOptions &options;
  ElementsFile elements; // of A
  std::map<std::string, Kept> ofA;
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
              ": " + ofA.at(key).value.label + "\n";
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
