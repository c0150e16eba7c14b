//===- CudaTest.cpp - the device cuda over an artifact made by hand -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The suites CudaWithoutGpu and CudaChoice need no GPU; Gpu is skipped where
// there is none.
//
//===----------------------------------------------------------------------===//

#include "runtime/Model.h"
#include "runtime/Status.h"
#include "runtime/device/cuda/Driver.h"
#include "runtime/device/cuda/Targets.h"
#include "test/runtime/ToyModel.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <unistd.h>

using namespace mambit;
using namespace mambit::test;
using cuda::Capability;
using cuda::Chip;

namespace {

struct TemporaryArtifact {
  explicit TemporaryArtifact(artifact::Draft draft)
      : path(testing::TempDir() + "mambit-cuda-" + std::to_string(getpid()) +
             "-" + std::to_string(count++) + ".mbt") {
    artifact::write(draft, path);
  }
  ~TemporaryArtifact() { unlink(path.c_str()); }
  std::string path;
  static inline int count = 0;
};

ToyOptions toyOptions(std::vector<ToyCudaTarget> targets = {
                          {"sm_80", toyFile("toy_kernels.ptx"), ""}}) {
  ToyOptions options;
  options.image = toyFile("toy.so");
  options.cudaTargets = std::move(targets);
  return options;
}

std::shared_ptr<Model> openToy(artifact::Draft draft,
                               const std::string &device = "cuda",
                               unsigned sessions = 8) {
  TemporaryArtifact artifact(std::move(draft));
  ModelOptions options;
  options.device = device;
  options.maxSessions = sessions;
  options.threads = 2;
  return Model::open(artifact.path, options);
}

/// What opening fails with.
std::string failureOf(artifact::Draft draft, const std::string &device = "cuda",
                      mambit_status status = MAMBIT_UNSUPPORTED) {
  try {
    openToy(std::move(draft), device);
  } catch (const StatusError &error) {
    EXPECT_EQ(error.status, status) << error.what();
    return error.what();
  } catch (const Error &error) {
    ADD_FAILURE() << "an error without status: " << error.what();
  }
  return "";
}

#define EXPECT_HAS(text, part)                                                 \
  EXPECT_NE((text).find(part), std::string::npos) << (text)

//===----------------------------------------------------------------------===//
// Choosing and checking
//===----------------------------------------------------------------------===//

TEST(CudaChoice, ParsesChips) {
  std::optional<Chip> chip = cuda::parseChip("sm_90a");
  ASSERT_TRUE(chip);
  EXPECT_EQ(chip->capability, (Capability{9, 0}));
  EXPECT_EQ(chip->kind, Chip::specific);
  EXPECT_EQ(cuda::parseChip("sm_121")->capability, (Capability{12, 1}));
  EXPECT_EQ(cuda::parseChip("sm_100f")->kind, Chip::family);
  for (const char *wrong : {"", "sm_", "sm_9", "sm_90b", "sm_90aa", "gfx90a",
                            "sm_99999", "x86-64-v3"})
    EXPECT_FALSE(cuda::parseChip(wrong)) << wrong;
}

TEST(CudaChoice, KnowsWhereCodeRuns) {
  struct Case {
    const char *chip;
    Capability gpu;
    bool binary, ptx;
  } cases[] = {
      {"sm_90", {9, 0}, true, true},      {"sm_90a", {9, 0}, true, true},
      {"sm_90a", {10, 0}, false, false},  {"sm_90", {10, 0}, false, true},
      {"sm_80", {8, 9}, true, true},      {"sm_89", {8, 6}, false, false},
      {"sm_80", {9, 0}, false, true},     {"sm_100f", {10, 3}, true, true},
      {"sm_100f", {12, 0}, false, false}, {"sm_100a", {10, 3}, false, false},
      {"sm_120", {9, 0}, false, false},
  };
  for (const Case &c : cases) {
    Chip chip = *cuda::parseChip(c.chip);
    EXPECT_EQ(cuda::runsBinary(chip, c.gpu), c.binary) << c.chip;
    EXPECT_EQ(cuda::runsPtx(chip, c.gpu), c.ptx) << c.chip;
  }
}

TEST(CudaChoice, TakesTheBestTarget) {
  TemporaryArtifact file(makeToy(toyOptions({
      {"sm_80", toyFile("toy_kernels.ptx"), ""},
      {"sm_90", toyFile("toy_kernels.ptx"), ""},
      {"sm_90a", toyFile("toy_kernels.ptx"), ""},
      {"sm_100a", toyFile("toy_kernels.ptx"), ""},
      {"sm_120", "",
       toyFile("toy_kernels.ptx")}, // a cubin, as far as choice goes
  })));
  artifact::Artifact artifact = artifact::Artifact::open(file.path);
  const artifact::Device &device = *artifact.device("cuda");
  auto choice = [&](Capability gpu, const char *wanted = "") {
    return cuda::chooseTarget(device, wanted, gpu).name()->str();
  };
  EXPECT_EQ(choice({8, 6}), "sm_80");
  EXPECT_EQ(choice({9, 0}), "sm_90a");
  EXPECT_EQ(choice({9, 0}, "sm_80"), "sm_80");
  EXPECT_EQ(choice({10, 0}), "sm_100a");
  EXPECT_EQ(choice({10, 3}), "sm_90");
  EXPECT_EQ(choice({12, 1}), "sm_120");
  EXPECT_EQ(choice({13, 0}), "sm_90");

  auto failure = [&](Capability gpu, const char *wanted) -> std::string {
    try {
      choice(gpu, wanted);
    } catch (const StatusError &error) {
      EXPECT_EQ(error.status, MAMBIT_UNSUPPORTED);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(failure({7, 5}, ""),
            "no code in the artifact fits the GPU, whose compute capability is "
            "7.5; it holds sm_80, sm_90, sm_90a, sm_100a, sm_120");
  EXPECT_EQ(failure({9, 0}, "sm_120"),
            "the artifact has no code for target 'sm_120' that the GPU, whose "
            "compute capability is 9.0, can run; it holds sm_80, sm_90, "
            "sm_90a, sm_100a, sm_120");
}

TEST(CudaChoice, ChecksLaunches) {
  cuda::LaunchLimits limits{65535, 1024, 512, 8, 232448};
  auto exceeded = [&](int64_t blocks, uint64_t threads, uint64_t cluster,
                      uint64_t dynamicShared, uint64_t staticShared) {
    return cuda::exceeded(
        {blocks, threads, cluster, dynamicShared, staticShared}, limits);
  };
  EXPECT_EQ(exceeded(65535, 512, 0, 232448, 0), "");
  EXPECT_EQ(exceeded(0, 1, 1, 232440, 8), "");
  EXPECT_EQ(exceeded(1, 0, 0, 0, 0), "0 threads in a block");
  EXPECT_EQ(exceeded(1, 1025, 0, 0, 0),
            "1025 threads in a block, the GPU has at most 1024");
  EXPECT_EQ(exceeded(1, 513, 0, 0, 0),
            "513 threads in a block, with its registers the kernel has at most "
            "512");
  EXPECT_EQ(exceeded(1, 32, 0, 232448, 1),
            "232449 bytes of shared memory in a block, the GPU has at most "
            "232448");
  EXPECT_EQ(exceeded(1, 32, 0, uint64_t(1) << 32, 0),
            "4294967296 bytes of shared memory in a block, the GPU has at most "
            "232448");
  EXPECT_EQ(exceeded(65536, 32, 0, 0, 0),
            "65536 blocks, the GPU has at most 65535");
  EXPECT_EQ(exceeded(8, 32, 8, 0, 0), "");
  EXPECT_EQ(exceeded(16, 32, 16, 0, 0),
            "16 blocks in a cluster, the GPU has at most 8");
  limits.cluster = 1; // a GPU without clusters
  EXPECT_EQ(exceeded(8, 32, 1, 0, 0), "");
  EXPECT_EQ(exceeded(8, 32, 2, 0, 0),
            "2 blocks in a cluster, the GPU has at most 1");
}

//===----------------------------------------------------------------------===//
// Without a GPU
//===----------------------------------------------------------------------===//

/// Why there is no GPU; empty if there is one.
std::string missingGpu() {
  try {
    cuda::Driver::get();
    cuda::Gpu gpu(0);
    return "";
  } catch (const Error &error) {
    return error.what();
  }
}

TEST(CudaWithoutGpu, SaysWhatIsMissing) {
  if (missingGpu().empty())
    GTEST_SKIP() << "this machine has a GPU";
  std::string message = failureOf(makeToy(toyOptions()));
  bool noDriver = message.find("device 'cuda' needs an NVIDIA GPU and its "
                               "driver") != std::string::npos;
  bool noGpu = message.find("finds no usable GPU") != std::string::npos ||
               message.find("there is no GPU 0") != std::string::npos;
  EXPECT_TRUE(noDriver || noGpu) << message;
}

TEST(CudaWithoutGpu, RefusesNamesOfDevices) {
  for (const char *wrong : {"tpu", "", "gpu", "CUDA"})
    EXPECT_HAS(failureOf(makeToy(toyOptions()), wrong),
               "unknown device '" + std::string(wrong) +
                   "'; this runtime has: cpu, cuda, cuda:N");
  for (const char *wrong : {"cuda:", "cuda:x", "cuda:-1", "cuda:1000", "cpu:0"})
    EXPECT_HAS(failureOf(makeToy(toyOptions()), wrong),
               "device '" + std::string(wrong) +
                   "': expected cpu, cuda or cuda:N");
}

TEST(CudaWithoutGpu, RefusesArtifactsWithoutCode) {
  EXPECT_HAS(failureOf(makeToy(toyOptions({}))),
             "the artifact has no code for device 'cuda'; it has: cpu");
}

TEST(CudaWithoutGpu, RunsTheProcessorsCodeOfTheSameFile) {
  EXPECT_EQ(openToy(makeToy(toyOptions()), "cpu")->target(), "baseline");
}

//===----------------------------------------------------------------------===//
// On a GPU
//===----------------------------------------------------------------------===//

class Gpu : public testing::Test {
protected:
  void SetUp() override {
    std::string missing = missingGpu();
    if (!missing.empty())
      GTEST_SKIP() << missing;
  }
};

constexpr unsigned kVocab = 7;

/// A session and what is to come of it.
struct Sequence {
  explicit Sequence(const std::shared_ptr<Model> &model)
      : session(std::make_unique<Session>(model)), reference(kVocab) {}
  Sequence(std::unique_ptr<Session> session, ToyReference reference)
      : session(std::move(session)), reference(reference) {}

  Sequence fork() const { return {session->fork(), reference}; }

  std::unique_ptr<Session> session;
  ToyReference reference;
};

/// Runs `lengths` tokens of each sequence in one call and compares all logits.
void forward(Model &model, std::vector<Sequence *> sequences,
             const std::vector<size_t> &lengths, unsigned seed,
             std::vector<PhaseTime> *times = nullptr) {
  Batch batch;
  std::vector<int32_t> tokens;
  std::vector<float> expected;
  batch.offsets = {0};
  for (size_t i = 0; i < sequences.size(); ++i) {
    batch.sessions.push_back(sequences[i]->session.get());
    for (size_t t = 0; t < lengths[i]; ++t) {
      seed = seed * 1664525u + 1013904223u;
      tokens.push_back((seed >> 8) % kVocab);
      // What does not fit a piece of prefill evenly may end in a token that is
      // decoded; so lengths here are 1 or no such.
      auto row = sequences[i]->reference.push(tokens.back(), lengths[i] == 1);
      expected.insert(expected.end(), row.begin(), row.end());
    }
    batch.offsets.push_back(tokens.size());
  }
  std::vector<float> logits(expected.size(), -1);
  batch.tokens = tokens.data();
  batch.which = MAMBIT_LOGITS_ALL;
  batch.logits = logits.data();
  batch.stop = [] { return false; };
  batch.times = times;
  ASSERT_TRUE(model.forward(batch));
  ASSERT_EQ(logits, expected);
}

TEST_F(Gpu, PrefillsAndDecodes) {
  auto model = openToy(makeToy(toyOptions()));
  EXPECT_EQ(model->target(), "sm_80");
  Sequence a(model), b(model), c(model);
  forward(*model, {&a}, {5}, 1);
  forward(*model, {&a}, {1}, 2);
  forward(*model, {&b, &a, &c}, {8, 4, 3}, 3); // more than a piece holds
  forward(*model, {&c, &a, &b}, {1, 1, 1}, 4);
  forward(*model, {&c, &a, &b}, {1, 6, 1}, 5);
}

TEST_F(Gpu, ReplaysGraphsOfEveryBatch) {
  auto model = openToy(makeToy(toyOptions()));
  std::vector<Sequence> sequences;
  for (int i = 0; i < 6; ++i)
    sequences.emplace_back(model);
  for (unsigned step = 0; step < 400; ++step) {
    std::vector<Sequence *> some;
    for (size_t i = 0; i <= step % 6; ++i)
      some.push_back(&sequences[(step * 5 + i) % 6]);
    forward(*model, some, std::vector<size_t>(some.size(), 1), step);
    if (HasFatalFailure())
      return;
  }
}

TEST_F(Gpu, ForksAndStartsAfresh) {
  auto model = openToy(makeToy(toyOptions()));
  Sequence a(model);
  forward(*model, {&a}, {7}, 1);
  Sequence b = a.fork();
  forward(*model, {&a}, {1}, 2);
  forward(*model, {&b}, {5}, 3);
  forward(*model, {&b, &a}, {1, 1}, 4);
  a.session->reset();
  a.reference = ToyReference(kVocab);
  forward(*model, {&a, &b}, {1, 1}, 5);
  // A slot that was used comes back as new.
  for (unsigned i = 0; i < 20; ++i) {
    Sequence fresh(model);
    forward(*model, {&fresh}, {1 + i % 5}, i);
  }
}

TEST_F(Gpu, StatesMoveToAndFro) {
  std::string path =
      testing::TempDir() + "mambit-cuda-" + std::to_string(getpid()) + ".state";
  auto gpu = openToy(makeToy(toyOptions())),
       cpu = openToy(makeToy(toyOptions()), "cpu");
  Sequence sequence(gpu);
  for (unsigned i = 0; i < 4; ++i) {
    const auto &model = i % 2 ? cpu : gpu, &next = i % 2 ? gpu : cpu;
    forward(*model, {&sequence}, {6 + i}, i);
    sequence.session->save(path, {});
    Sequence fresh(next);
    sequence.session = Session::restore(next, next->openSnapshot(path));
    EXPECT_EQ(sequence.session->position(), (i + 1) * 6 + i * (i + 1) / 2);
  }
  unlink(path.c_str());
}

TEST_F(Gpu, RunsCommandByCommand) {
  auto model = openToy(makeToy(toyOptions()));
  Session session(model);
  ToyReference reference(kVocab);
  const int32_t tokens[] = {1, 2, 3};
  std::vector<float> logits(3 * kVocab), expected, last;
  for (int32_t token : tokens)
    for (float logit : reference.push(token, /*decode=*/false))
      expected.push_back(logit);
  std::vector<size_t> commands;
  Batch batch;
  batch.sessions = {&session};
  batch.tokens = tokens;
  batch.offsets = {0, 3};
  batch.which = MAMBIT_LOGITS_ALL;
  batch.logits = logits.data();
  batch.stop = [] { return false; };
  batch.observe = [&](const Observation &observation) {
    commands.push_back(observation.command);
    if (observation.command != 2)
      return;
    const artifact::Port &port = *model->deviceTables()
                                      .programs()
                                      ->Get(observation.program)
                                      ->outputs()
                                      ->Get(0);
    last.resize(logits.size());
    model->device().readArena(port.offset(), last.data(),
                              last.size() * sizeof(float));
  };
  EXPECT_TRUE(model->forward(batch));
  EXPECT_EQ(commands, (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(logits, expected);
  EXPECT_EQ(last, expected);
}

TEST_F(Gpu, StopsBetweenCommands) {
  auto model = openToy(makeToy(toyOptions()));
  Sequence a(model);
  const int32_t tokens[] = {1, 2, 3};
  int asked = 0;
  Batch batch;
  batch.sessions = {a.session.get()};
  batch.tokens = tokens;
  batch.offsets = {0, 3};
  batch.which = MAMBIT_LOGITS_NONE;
  batch.logits = nullptr;
  batch.stop = [&] { return ++asked == 2; }; // before the second command
  EXPECT_FALSE(model->forward(batch));
  EXPECT_EQ(asked, 2);
  EXPECT_THROW(a.session->position(), StatusError);
  a.session->reset();
  forward(*model, {&a}, {3}, 1);
}

TEST_F(Gpu, TakesMemoryAsSessionsCome) {
  // 2^20 slots of 128 bytes; the first sessions need a piece of it.
  auto model = openToy(makeToy(toyOptions()), "cuda:0", 1u << 20);
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (unsigned i = 0; i < 40000; ++i)
    sequences.push_back(std::make_unique<Sequence>(model));
  for (unsigned i = 39990; i < 40000; ++i)
    forward(*model, {sequences[i].get(), sequences[i - 20000].get()}, {1, 3},
            i);
}

TEST_F(Gpu, ServesThreadsAndModelsAtOnce) {
  auto first = openToy(makeToy(toyOptions()));
  auto second = openToy(makeToy(toyOptions()));
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      auto &model = thread % 2 ? first : second;
      Sequence sequence(model);
      for (unsigned step = 0; step < 200; ++step)
        forward(*model, {&sequence}, {step % 3 ? 1u : 4u}, step + thread);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST_F(Gpu, TimesPhases) {
  auto model = openToy(makeToy(toyOptions()));
  Sequence a(model);
  std::vector<PhaseTime> times;
  forward(*model, {&a}, {5}, 1, &times);
  ASSERT_EQ(times.size(), 4u); // embed, scan of two phases, head
  forward(*model, {&a}, {1}, 2, &times);
  ASSERT_EQ(times.size(), 8u);
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(times[i].program, i / 4);
    EXPECT_GE(times[i].seconds, 0);
    EXPECT_LT(times[i].seconds, 1);
  }
  EXPECT_EQ(times[2].command, 1u);
  EXPECT_EQ(times[2].phase, 1u);
  EXPECT_GT(model->device().measureReadBandwidth(), 1e9);
}

TEST_F(Gpu, LoadsMachineCodeFirst) {
  const char *cubin = std::getenv("MAMBIT_TOY_CUBIN");
  if (!cubin)
    GTEST_SKIP() << "MAMBIT_TOY_CUBIN names no cubin of toy_kernels.ptx";
  const char *chip = std::getenv("MAMBIT_TOY_CHIP");
  auto model =
      openToy(makeToy(toyOptions({{chip ? chip : "sm_90", "", cubin}})));
  Sequence a(model);
  forward(*model, {&a}, {8}, 1);
  // A cubin that the driver does not take: PTX is compiled.
  model = openToy(makeToy(
      toyOptions({{"sm_80", toyFile("toy_kernels.ptx"), toyFile("toy.so")}})));
  Sequence b(model);
  forward(*model, {&b}, {8}, 1);
}

TEST_F(Gpu, ReportsWhatTheCompilerSays) {
  artifact::Draft draft = makeToy(toyOptions());
  std::string wrong = ".version 7.0\n.target sm_80\n.address_size 64\nnonsense";
  for (size_t i = 0; i < draft.index.sections.size(); ++i)
    if (draft.index.sections[i]->name == "code/cuda/sm_80.ptx")
      draft.payloads[i] = [=](artifact::Sink &sink) {
        sink.write(wrong.data(), wrong.size());
      };
  std::string message = failureOf(std::move(draft));
  EXPECT_HAS(message, "the driver does not take the code of target 'sm_80'");
  EXPECT_HAS(message, "CUDA_ERROR_INVALID_PTX");
  EXPECT_HAS(message, "ptxas");
}

TEST_F(Gpu, RefusesLaunchesBeyondTheLimits) {
  auto failure = [](auto spoil) {
    artifact::Draft draft = makeToy(toyOptions());
    spoil(*draft.index.devices[1]->targets[0]->kernels[1]->phases[1]);
    return failureOf(std::move(draft));
  };
  EXPECT_HAS(
      failure([](auto &phase) { phase.resources->shared_bytes = 1 << 20; }),
      "kernel 'scan_1' of target 'sm_80' needs 1048576 bytes of shared memory "
      "in a block, the GPU has at most ");
  EXPECT_HAS(failure([](auto &phase) { phase.resources->threads = 2048; }),
             "needs 2048 threads in a block");
  EXPECT_HAS(failure([](auto &phase) { phase.resources.reset(); }),
             "needs 0 threads in a block");
  EXPECT_HAS(failure([](auto &phase) {
               phase.grid[0]->dim = artifact::Dim::none;
               phase.grid[0]->extent = uint64_t(1) << 31;
             }),
             "needs 2147483648 blocks");
}

TEST_F(Gpu, RefusesOrdinalsBeyondTheLast) {
  EXPECT_HAS(failureOf(makeToy(toyOptions()), "cuda:99"),
             "there is no GPU 99: the driver shows ");
}

TEST_F(Gpu, RefusesWhatMemoryDoesNotHold) {
  // A slot of 2^40 bytes.
  artifact::Draft draft = makeToy(toyOptions());
  draft.index.devices[1]->slot_bytes = uint64_t(1) << 40;
  auto model = openToy(std::move(draft), "cuda", 2);
  try {
    Session session(model);
    FAIL();
  } catch (const StatusError &error) {
    EXPECT_EQ(error.status, MAMBIT_OUT_OF_RESOURCES);
    EXPECT_HAS(std::string(error.what()), "for the state of session 1, ");
    EXPECT_HAS(std::string(error.what()), "bytes of the GPU's memory are free");
    EXPECT_HAS(std::string(error.what()), "CUDA_ERROR_OUT_OF_MEMORY");
  }
}

/// A kernel that reads where nothing is: in a process of its own, as the
/// context does not survive it.
void runFaultyModel(bool synchronous) {
  if (synchronous)
    setenv("MAMBIT_CUDA_SYNC", "1", 1);
  artifact::Draft draft = makeToy(toyOptions());
  for (auto &kernel : draft.index.devices[1]->targets[0]->kernels)
    for (auto &phase : kernel->phases)
      if (phase->symbol == "head")
        phase->symbol = "embed"; // takes the hash for a token
  auto model = openToy(std::move(draft));
  std::string message;
  {
    Sequence a(model);
    try {
      forward(*model, {&a}, {8}, 1);
    } catch (const StatusError &error) {
      message = error.what();
    }
  } // to give the session back does no harm
  fprintf(stderr, "<%s>\n", message.c_str());
  exit(0);
}

TEST_F(Gpu, NamesWhatFailed) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(runFaultyModel(false), testing::ExitedWithCode(0),
              "<program 'prefill' of 8 tokens of 1 sequences, 8 rows "
              ".*MAMBIT_CUDA_SYNC=1.*: CUDA_ERROR_[A-Z_]*ADDRESS[A-Z_]*, ");
  EXPECT_EXIT(runFaultyModel(true), testing::ExitedWithCode(0),
              "<kernel 'head' \\('embed'\\), command 2 of program 'prefill': "
              "CUDA_ERROR_[A-Z_]*ADDRESS");
}

} // namespace
