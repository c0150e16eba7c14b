//===- Progress.h - a progress bar on a terminal -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMMON_PROGRESS_H
#define MAMBIT_TOOLS_COMMON_PROGRESS_H

#include <chrono>
#include <cstdint>
#include <string>

namespace mambit::tools {

/// Shows how far work has come, its rate and the time left, on standard error:
/// only if that is a terminal, and only once a second has passed. The line is
/// gone when the work is.
class Progress {
public:
  /// `unit` is what is counted, "tokens"; "bytes" get a prefix.
  Progress(std::string label, uint64_t total, std::string unit);
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;
  ~Progress();

  void update(uint64_t done);
  /// For those who learn the total on the way.
  void update(uint64_t done, uint64_t newTotal) {
    total = newTotal;
    update(done);
  }

private:
  using Clock = std::chrono::steady_clock;

  std::string label;
  uint64_t total;
  std::string unit;
  bool terminal;
  bool shown = false;
  Clock::time_point start, next;
};

/// The line that `Progress` shows, at most `width` columns.
std::string progressLine(const std::string &label, uint64_t done,
                         uint64_t total, const std::string &unit,
                         double seconds, unsigned width);

/// "512 B", "1.50 MiB".
std::string formatBytes(uint64_t bytes);

/// "1:02:03", "4:05".
std::string formatTime(uint64_t seconds);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMMON_PROGRESS_H
