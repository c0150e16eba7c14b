//===- Values.h - what the operations of a model give ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_COMPARE_VALUES_H
#define MAMBIT_TOOLS_MAMBIT_COMPARE_VALUES_H

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mambit::tools {

/// One result of one operation.
struct Value {
  /// The same for the same value of another run: made of the weights that the
  /// operation takes, which kernels, devices and pipelines have in common.
  std::string key;
  std::string label; // for people
  std::vector<uint64_t> shape;
  std::vector<float> elements;
  std::vector<std::pair<std::string, std::string>> inputs; // names and keys
};

/// A run that gives its values in order.
class Run {
public:
  using Visit = std::function<void(Value)>;

  virtual ~Run() = default;
  /// What is run, for people.
  virtual std::string describe() const = 0;
  virtual void forEachValue(const Visit &visit) = 0;
};

struct RunOptions {
  std::string path; // an artifact, or a folder that mambit-interpret wrote
  std::string device = "cpu";
  std::string target;
  unsigned threads = 0;
  bool decode = false; // token by token
  // The tokens are one of these; a folder has its own.
  std::string idsFile;
  std::string prompt;
};

std::unique_ptr<Run> openRun(const RunOptions &options);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_COMPARE_VALUES_H
