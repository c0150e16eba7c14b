//===- Bench.cpp - measures a compiled model ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-bench/Bench.h"

#include "runtime/Error.h"
#include "runtime/Model.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <numeric>

using namespace mambit;
using namespace mambit::tools;

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Bench {
public:
  explicit Bench(const BenchOptions &options);
  BenchResult run();

private:
  Measurement measure(bool decode, uint64_t sequences, uint64_t length);
  Batch makeBatch(uint64_t sequences, uint64_t length);
  void step(Batch &batch);
  double timeGeneration(const Batch &batch, const SamplerOptions &sampling);
  Traffic countTraffic(const Batch &batch) const;
  std::vector<KernelTime> timeKernels(Batch &batch);
  const artifact::Program &program(const std::string &name) const;
  Extents extentsOf(const Piece &piece) const;

  const BenchOptions &options;
  std::vector<uint32_t> batches;
  std::shared_ptr<mambit::Model> model;
  double loadSeconds;
  std::vector<std::unique_ptr<mambit::Session>> sessions;
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  uint32_t random = 1;
};

Bench::Bench(const BenchOptions &options)
    : options(options), batches(options.decode) {
  if (batches.empty())
    batches = {1, 16, 64};
  mambit::ModelOptions open;
  open.device = options.model.device;
  open.target = options.model.target;
  open.threads = options.model.threads;
  open.maxSessions = std::max(
      options.prompts, *std::max_element(batches.begin(), batches.end()));
  Clock::time_point start = Clock::now();
  model = mambit::Model::open(options.model.path, open);
  loadSeconds = secondsSince(start);
  // Of the sizes that nobody asked for, those that go in one piece.
  size_t most = model->decodeCapacity().sequences;
  if (options.decode.empty())
    batches.erase(std::remove_if(batches.begin(), batches.end(),
                                 [&](uint32_t batch) { return batch > most; }),
                  batches.end());
}

BenchResult Bench::run() {
  BenchResult result;
  mambit::Device &device = model->device();
  result.device = options.model.device;
  result.hardware = device.name();
  result.target = device.target();
  result.threads = device.threads();
  result.loadSeconds = loadSeconds;
  result.readBandwidth = device.measureReadBandwidth();
  for (uint32_t batch : batches)
    result.measurements.push_back(measure(true, batch, 1));
  if (options.prefill)
    result.measurements.push_back(
        measure(false, options.prompts, options.prefill));
  return result;
}

Batch Bench::makeBatch(uint64_t sequences, uint64_t length) {
  while (sessions.size() < sequences)
    sessions.push_back(std::make_unique<mambit::Session>(model));
  Batch batch;
  batch.offsets = {0};
  for (uint64_t i = 0; i < sequences; ++i) {
    batch.sessions.push_back(sessions[i].get());
    batch.offsets.push_back((i + 1) * length);
  }
  tokens.assign(sequences * length, 0);
  logits.assign(sequences * model->vocabSize(), 0);
  batch.tokens = tokens.data();
  batch.which = MAMBIT_LOGITS_LAST;
  batch.logits = logits.data();
  batch.stop = [] { return false; };
  return batch;
}

void Bench::step(Batch &batch) {
  for (int32_t &token : tokens) {
    random = random * 1664525u + 1013904223u;
    token = (random >> 8) % model->vocabSize();
  }
  model->forward(batch);
}

Measurement Bench::measure(bool decode, uint64_t sequences, uint64_t length) {
  constexpr size_t kLeastSteps = 5, kWarmups = 3;
  Measurement result{};
  result.decode = decode;
  result.sequences = sequences;
  result.tokens = sequences * length;
  Batch batch = makeBatch(sequences, length);
  result.traffic = countTraffic(batch);
  for (size_t i = 0; i < kWarmups; ++i)
    step(batch);

  std::vector<double> times;
  std::optional<double> before = model->device().energy();
  Clock::time_point start = Clock::now();
  while (times.size() < kLeastSteps || secondsSince(start) < options.seconds) {
    Clock::time_point begin = Clock::now();
    step(batch);
    times.push_back(secondsSince(begin));
  }
  std::optional<double> after = model->device().energy();
  if (before && after)
    result.joules = (*after - *before) / double(times.size());
  std::sort(times.begin(), times.end());
  result.steps = times.size();
  result.seconds = times[times.size() / 2];
  result.best = times.front();
  if (decode) {
    SamplerOptions sampling;
    result.greedySeconds = timeGeneration(batch, sampling);
    sampling.temperature = 0.8f;
    sampling.topK = 40;
    result.sampledSeconds = timeGeneration(batch, sampling);
  }
  result.kernels = timeKernels(batch);
  return result;
}

/// Seconds of a step, the median of several calls of some steps.
double Bench::timeGeneration(const Batch &batch,
                             const SamplerOptions &sampling) {
  constexpr size_t kSteps = 16, kLeastCalls = 3;
  std::vector<mambit::Sampler> samplers(batch.sessions.size(),
                                        mambit::Sampler(sampling));
  std::vector<mambit::Sampler *> pointers;
  for (mambit::Sampler &sampler : samplers)
    pointers.push_back(&sampler);
  std::vector<int32_t> chosen(batch.sessions.size() * kSteps);
  Generation generation{batch.sessions, pointers,      batch.tokens,
                        kSteps,         chosen.data(), batch.stop};
  std::vector<double> times;
  Clock::time_point start = Clock::now();
  model->generate(generation); // what is done once
  while (times.size() < kLeastCalls ||
         secondsSince(start) < options.seconds / 4) {
    Clock::time_point begin = Clock::now();
    model->generate(generation);
    times.push_back(secondsSince(begin) / kSteps);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

const artifact::Program &Bench::program(const std::string &name) const {
  for (const artifact::Program *program : *model->deviceTables().programs())
    if (program->name()->str() == name)
      return *program;
  fail("the artifact has no program '", name, "'");
}

Extents Bench::extentsOf(const Piece &piece) const {
  Extents extents{0, int64_t(piece.segments.size()), 0};
  for (const Segment &segment : piece.segments) {
    extents.tokens += segment.count;
    extents.rows += segment.rows;
  }
  return extents;
}

Traffic Bench::countTraffic(const Batch &batch) const {
  Traffic traffic;
  for (const Piece &piece :
       dividePieces(batch.offsets, batch.which, model->prefillCapacity(),
                    model->decodeCapacity()))
    traffic += trafficOf(model->artifact(), model->deviceTables(),
                         program(piece.decode ? "decode" : "prefill"),
                         extentsOf(piece));
  return traffic;
}

std::vector<KernelTime> Bench::timeKernels(Batch &batch) {
  constexpr int kRuns = 5;
  std::vector<PhaseTime> times;
  batch.times = &times;
  for (int run = 0; run < kRuns; ++run)
    step(batch);
  batch.times = nullptr;

  const artifact::Device &device = model->deviceTables();
  const artifact::Target *target = nullptr;
  for (const artifact::Target *candidate : *device.targets())
    if (candidate->name()->str() == model->target())
      target = candidate;
  // By program, kernel and phase, in the order of their first launch.
  std::map<std::array<size_t, 3>, size_t> places;
  std::vector<KernelTime> kernels;
  for (const PhaseTime &time : times) {
    const artifact::Program &program = *device.programs()->Get(time.program);
    size_t kernel = program.commands()->Get(time.command)->kernel();
    auto [place, isNew] =
        places.try_emplace({time.program, kernel, time.phase}, kernels.size());
    if (isNew) {
      KernelTime &entry = kernels.emplace_back();
      entry.program = program.name()->str();
      entry.kernel = device.kernels()->Get(kernel)->name()->str();
      entry.symbol = target->kernels()
                         ->Get(kernel)
                         ->phases()
                         ->Get(time.phase)
                         ->symbol()
                         ->str();
    }
    KernelTime &entry = kernels[place->second];
    ++entry.launches;
    entry.seconds += time.seconds / kRuns;
  }
  for (KernelTime &entry : kernels)
    entry.launches /= kRuns;
  for (const Piece &piece :
       dividePieces(batch.offsets, batch.which, model->prefillCapacity(),
                    model->decodeCapacity()))
    for (size_t p = 0; p < device.programs()->size(); ++p) {
      const artifact::Program &program = *device.programs()->Get(p);
      if (program.name()->str() != (piece.decode ? "decode" : "prefill"))
        continue;
      for (const artifact::Command *command : *program.commands())
        if (auto first = places.lower_bound({p, command->kernel(), 0});
            first != places.end() && first->first[0] == p &&
            first->first[1] == command->kernel()) {
          Traffic traffic =
              trafficOf(model->artifact(), device, *command, extentsOf(piece));
          KernelTime &entry = kernels[first->second];
          entry.bytes += traffic.necessary() + traffic.activations;
          entry.necessary += traffic.necessary();
          entry.macs += traffic.macs;
        }
    }
  return kernels;
}

} // namespace

BenchResult tools::bench(const BenchOptions &options) {
  return Bench(options).run();
}
