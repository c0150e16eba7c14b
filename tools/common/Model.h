//===- Model.h - the runtime's C interface with exceptions -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_MODEL_H
#define MAMBIT_TOOLS_COMMON_MODEL_H

#include "runtime/mambit.h"

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
} // namespace CLI

namespace mambit::tools {

/// Throws Error with the runtime's message.
void check(mambit_status status);

/// Calls the C function that frees a handle.
template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T *handle) const {
    Free(handle);
  }
};
using Session = std::unique_ptr<mambit_session, Freer<mambit_session_free>>;
using Sampler = std::unique_ptr<mambit_sampler, Freer<mambit_sampler_free>>;
using Decoder = std::unique_ptr<mambit_decoder, Freer<mambit_decoder_free>>;

/// Which artifact to open, and how.
struct ModelOptions {
  std::string path;
  std::string device = "cpu";
  std::string target; // empty: the best one
  uint32_t threads = 0;

  /// MODEL, --device, --target and --threads, alike in all tools.
  void addTo(CLI::App &app);
};

class Model {
public:
  explicit Model(const ModelOptions &options);

  mambit_model *get() const { return handle.get(); }
  const mambit_model_info &info() const { return modelInfo; }

  Session createSession() const;

  /// Refuses a model without tokenizer.
  std::vector<int32_t> encode(const std::string &text, bool addBos) const;
  /// Refuses ids outside the vocabulary; `path` is where they come from.
  void checkIds(const std::vector<int32_t> &ids, const std::string &path) const;

private:
  std::unique_ptr<mambit_model, Freer<mambit_model_free>> handle;
  mambit_model_info modelInfo;
};

/// The contents of a file, "-" for standard input.
std::string readText(const std::string &path);

/// While one lives, the first interrupt (Ctrl-C) raises a flag that stops calls
/// of mambit_forward; the second ends the process as usual.
class InterruptGuard {
public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard &) = delete;
  InterruptGuard &operator=(const InterruptGuard &) = delete;

  mambit_cancel *flag() const;
};

/// Thrown by `forward` when the flag was raised.
struct Interrupted {};

/// Runs sequences until an interrupt. Throws Interrupted and Error.
void forward(mambit_batch batch, const InterruptGuard &interrupt);

/// Exit status of a tool that an interrupt stopped, as a shell has it.
constexpr int kInterrupted = 130;

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_MODEL_H
