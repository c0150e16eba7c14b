//===- Report.cpp - prints measurements --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-bench/Bench.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>
#include <map>

using namespace mambit;
using namespace mambit::tools;

static std::string titleOf(const Measurement &measurement) {
  if (measurement.decode)
    return "decode " + std::to_string(measurement.sequences);
  return "prefill " + std::to_string(measurement.sequences) + " x " +
         std::to_string(measurement.tokens / measurement.sequences);
}

/// Seconds of all phases of a kernel.
static std::map<std::string, double> timesByKernel(const Measurement &m) {
  std::map<std::string, double> seconds;
  for (const KernelTime &kernel : m.kernels)
    seconds[kernel.program + "/" + kernel.kernel] += kernel.seconds;
  return seconds;
}

/// A line a phase; rates are the kernel's, all phases together.
static void printKernels(const BenchResult &result,
                         const Measurement &measurement) {
  double sum = 0;
  for (const KernelTime &kernel : measurement.kernels)
    sum += kernel.seconds;
  std::map<std::string, double> seconds = timesByKernel(measurement);
  std::printf("\n%s, time by kernel: %.1f us in all\n",
              titleOf(measurement).c_str(), sum * 1e6);
  std::printf("  %10s %6s %8s %9s %9s %6s  %s\n", "us", "share", "launches",
              "GB/s", "GMAC/s", "floor", "kernel");
  for (const KernelTime &kernel : measurement.kernels) {
    char rate[32] = "", products[32] = "", floor[32] = "";
    double all = seconds[kernel.program + "/" + kernel.kernel];
    if (kernel.bytes && all > 0) {
      std::snprintf(rate, sizeof(rate), "%.1f",
                    double(kernel.bytes) / all * 1e-9);
      std::snprintf(floor, sizeof(floor), "%.1f%%",
                    double(kernel.necessary) / result.readBandwidth / all *
                        100);
    }
    if (kernel.macs && all > 0)
      std::snprintf(products, sizeof(products), "%.1f",
                    double(kernel.macs) / all * 1e-9);
    std::printf("  %10.1f %5.1f%% %8zu %9s %9s %6s  %s\n", kernel.seconds * 1e6,
                sum > 0 ? kernel.seconds / sum * 100 : 0, kernel.launches, rate,
                products, floor, kernel.symbol.c_str());
  }
}

void tools::printText(const BenchResult &result, bool kernels) {
  std::printf("device          %s (%s)\n"
              "target          %s, %u %s\n"
              "load            %.1f ms\n"
              "read bandwidth  %.1f GB/s\n\n",
              result.device.c_str(), result.hardware.c_str(),
              result.target.c_str(), result.threads,
              result.threads == 1 ? "thread" : "threads",
              result.loadSeconds * 1e3, result.readBandwidth * 1e-9);
  std::printf("%-18s %11s %11s %11s %11s %10s %10s %9s %9s %10s %6s\n", "",
              "us/step", "greedy us", "sampled us", "tokens/s", "weights MB",
              "states MB", "logits MB", "mJ/token", "floor us", "floor");
  for (const Measurement &m : result.measurements) {
    char joules[32] = "-";
    if (m.joules)
      std::snprintf(joules, sizeof(joules), "%.2f",
                    *m.joules / double(m.tokens) * 1e3);
    char greedy[32] = "-", sampled[32] = "-";
    if (m.greedySeconds)
      std::snprintf(greedy, sizeof(greedy), "%.1f", *m.greedySeconds * 1e6);
    if (m.sampledSeconds)
      std::snprintf(sampled, sizeof(sampled), "%.1f", *m.sampledSeconds * 1e6);
    double floor = result.floor(m);
    std::printf("%-18s %11.1f %11s %11s %11.1f %10.2f %10.2f %9.2f %9s %10.1f "
                "%5.1f%%\n",
                titleOf(m).c_str(), m.seconds * 1e6, greedy, sampled,
                double(m.tokens) / m.seconds, double(m.traffic.weights) * 1e-6,
                double(m.traffic.states) * 1e-6,
                double(m.traffic.logits) * 1e-6, joules, floor * 1e6,
                floor / m.seconds * 100);
  }
  if (kernels)
    for (const Measurement &measurement : result.measurements)
      printKernels(result, measurement);
}

void tools::printJson(const BenchResult &result) {
  using Json = nlohmann::ordered_json;
  Json measurements = Json::array();
  for (const Measurement &m : result.measurements) {
    Json kernels = Json::array();
    std::map<std::string, double> seconds = timesByKernel(m);
    for (const KernelTime &kernel : m.kernels) {
      double all = seconds[kernel.program + "/" + kernel.kernel];
      auto rate = [&](double amount) {
        return all > 0 && kernel.bytes ? Json(amount / all) : Json();
      };
      kernels.push_back(
          {{"program", kernel.program},
           {"kernel", kernel.kernel},
           {"symbol", kernel.symbol},
           {"launches", kernel.launches},
           {"us", kernel.seconds * 1e6},
           {"bytes", kernel.bytes},
           {"macs", kernel.macs},
           {"bytes_per_second", rate(double(kernel.bytes))},
           {"macs_per_second", rate(double(kernel.macs))},
           {"percent_of_floor",
            rate(double(kernel.necessary) / result.readBandwidth * 100)}});
    }
    Json joules;
    if (m.joules)
      joules = *m.joules / double(m.tokens);
    measurements.push_back(
        {{"program", m.decode ? "decode" : "prefill"},
         {"sequences", m.sequences},
         {"tokens", m.tokens},
         {"steps", m.steps},
         {"us", m.seconds * 1e6},
         {"us_least", m.best * 1e6},
         {"greedy_us", m.greedySeconds ? Json(*m.greedySeconds * 1e6) : Json()},
         {"sampled_us",
          m.sampledSeconds ? Json(*m.sampledSeconds * 1e6) : Json()},
         {"tokens_per_second", double(m.tokens) / m.seconds},
         {"bytes",
          {{"weights", m.traffic.weights},
           {"states", m.traffic.states},
           {"logits", m.traffic.logits},
           {"total", m.traffic.necessary()},
           {"activations", m.traffic.activations}}},
         {"floor_us", result.floor(m) * 1e6},
         {"percent_of_floor", result.floor(m) / m.seconds * 100},
         {"joules_per_token", joules},
         {"kernels", kernels}});
  }
  Json report = {{"device", result.device},
                 {"hardware", result.hardware},
                 {"target", result.target},
                 {"threads", result.threads},
                 {"load_seconds", result.loadSeconds},
                 {"read_bytes_per_second", result.readBandwidth},
                 {"measurements", measurements}};
  std::cout << report.dump(2) << '\n';
}
