//===- Progress.cpp - a progress bar on a terminal ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/Progress.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <sys/ioctl.h>
#include <unistd.h>

using namespace mambit::tools;

static unsigned terminalWidth() {
  winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
    return size.ws_col;
  return 80;
}

template <typename... Args>
static std::string format(const char *pattern, Args... args) {
  char text[64];
  std::snprintf(text, sizeof(text), pattern, args...);
  return text;
}

std::string mambit::tools::formatBytes(uint64_t bytes) {
  if (bytes < 1024)
    return std::to_string(bytes) + " B";
  static constexpr const char *units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit)
    value /= 1024;
  return format(value < 10 ? "%.2f %s" : "%.1f %s", value, units[unit]);
}

std::string mambit::tools::formatTime(uint64_t seconds) {
  unsigned hours = seconds / 3600, minutes = seconds / 60 % 60;
  unsigned rest = seconds % 60;
  return hours ? format("%u:%02u:%02u", hours, minutes, rest)
               : format("%u:%02u", minutes, rest);
}

std::string mambit::tools::progressLine(const std::string &label, uint64_t done,
                                        uint64_t total, const std::string &unit,
                                        double seconds, unsigned width) {
  done = std::min(done, total);
  double part = total ? double(done) / double(total) : 1;
  double rate = seconds > 0 ? double(done) / seconds : 0;
  std::string figures = format(" %3.0f%% ", 100 * part);
  figures += unit == "bytes" ? formatBytes(uint64_t(rate))
                             : format("%.*f ", rate < 10, rate) + unit;
  figures += "/s";
  if (done)
    figures += ", " + formatTime(uint64_t(seconds / part * (1 - part) + 0.5)) +
               " left";

  constexpr size_t bar = 24;
  std::string line = label;
  if (line.size() + 1 + bar + figures.size() <= width) {
    size_t filled = size_t(part * bar);
    line += ' ' + std::string(filled, '#') + std::string(bar - filled, '.');
  }
  return (line + figures).substr(0, width);
}

Progress::Progress(std::string label, uint64_t total, std::string unit)
    : label(std::move(label)), total(total), unit(std::move(unit)),
      terminal(isatty(STDERR_FILENO)), start(Clock::now()),
      next(start + std::chrono::seconds(1)) {}

Progress::~Progress() {
  if (shown)
    std::fputs("\r\x1b[K", stderr);
}

void Progress::update(uint64_t done) {
  if (!terminal)
    return;
  Clock::time_point now = Clock::now();
  if (now < next)
    return;
  next = now + std::chrono::milliseconds(100);
  shown = true;
  double seconds = std::chrono::duration<double>(now - start).count();
  std::string line =
      progressLine(label, done, total, unit, seconds, terminalWidth() - 1);
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  std::fflush(stderr);
}
