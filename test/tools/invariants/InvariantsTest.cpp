//===- InvariantsTest.cpp - what holds for every compiled model -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Runs the artifact named by MAMBIT_TEST_MODEL through the C interface, on
// every target in it that this machine can run, and on a GPU.
//
//===----------------------------------------------------------------------===//

#include "runtime/mambit.h"

#include <cmath>
#include <cstdlib>
#include <dlfcn.h>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using Logits = std::vector<float>;
using Tokens = std::vector<int32_t>;

#define CHECK_OK(call) ASSERT_EQ(call, MAMBIT_OK) << mambit_last_error()

struct ModelDeleter {
  void operator()(mambit_model *model) const { mambit_model_free(model); }
};
struct SessionDeleter {
  void operator()(mambit_session *session) const {
    mambit_session_free(session);
  }
};
struct SamplerDeleter {
  void operator()(mambit_sampler *sampler) const {
    mambit_sampler_free(sampler);
  }
};
using Session = std::unique_ptr<mambit_session, SessionDeleter>;
using Sampler = std::unique_ptr<mambit_sampler, SamplerDeleter>;

class Model {
public:
  /// `target` is a target of device cpu, or "cuda". Without a model if the
  /// machine cannot run it.
  explicit Model(const char *target, uint32_t threads = 2) {
    mambit_model_options options = MAMBIT_INIT(mambit_model_options);
    (std::string(target) == "cuda" ? options.device : options.target) = target;
    options.threads = threads;
    mambit_model *opened = nullptr;
    status =
        mambit_model_open(std::getenv("MAMBIT_TEST_MODEL"), &options, &opened);
    message = mambit_last_error();
    model.reset(opened);
    mambit_model_info info = MAMBIT_INIT(mambit_model_info);
    if (model && mambit_model_get_info(model.get(), &info) == MAMBIT_OK)
      vocab = info.vocab_size;
    // Roundings of activations turn, of a model that nobody trained too; a
    // state of 16 bits is rounded after every call (docs/numerics.md).
    std::string state = info.state_dtype ? info.state_dtype : "f32";
    cutTolerance = info.activation_bits == 8    ? 2.5e-2
                   : state == "bf16"            ? 1e-2
                   : state == "f16"             ? 1e-3
                   : info.activation_bits == 16 ? 2e-4
                                                : 1e-4;
  }

  Session session() const {
    mambit_session *session = nullptr;
    EXPECT_EQ(mambit_session_create(model.get(), &session), MAMBIT_OK)
        << mambit_last_error();
    return Session(session);
  }

  /// Logits after every token of several sequences, each continuing its
  /// session.
  Logits forward(const std::vector<mambit_session *> &sessions,
                 const std::vector<Tokens> &sequences) const {
    Tokens tokens;
    std::vector<size_t> offsets = {0};
    for (const Tokens &sequence : sequences) {
      tokens.insert(tokens.end(), sequence.begin(), sequence.end());
      offsets.push_back(tokens.size());
    }
    Logits logits(tokens.size() * vocab);
    mambit_batch batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = sessions.data();
    batch.sequences = sessions.size();
    batch.tokens = tokens.data();
    batch.offsets = offsets.data();
    batch.which = MAMBIT_LOGITS_ALL;
    batch.logits = logits.data();
    batch.logits_capacity = logits.size();
    EXPECT_EQ(mambit_forward(&batch), MAMBIT_OK) << mambit_last_error();
    return logits;
  }

  /// One sequence in a fresh session, in pieces of `piece` tokens.
  Logits run(const Tokens &tokens, size_t piece = SIZE_MAX) const {
    Session session = this->session();
    Logits logits;
    for (size_t begin = 0; begin < tokens.size();) {
      size_t end = begin + std::min(piece, tokens.size() - begin);
      Logits part =
          forward({session.get()},
                  {Tokens(tokens.begin() + begin, tokens.begin() + end)});
      logits.insert(logits.end(), part.begin(), part.end());
      begin = end;
    }
    return logits;
  }

  std::unique_ptr<mambit_model, ModelDeleter> model;
  mambit_status status;
  std::string message;
  size_t vocab = 0;
  double cutTolerance = 0; // of logits, where a prompt is cut otherwise
};

/// Ids without a pattern, the same every time.
Tokens makeTokens(size_t count, uint32_t seed, size_t vocab) {
  Tokens tokens(count);
  for (int32_t &token : tokens) {
    seed = seed * 1664525u + 1013904223u;
    token = (seed >> 8) % vocab;
  }
  return tokens;
}

double relativeL2(const Logits &a, const Logits &b) {
  if (a.size() != b.size())
    return INFINITY;
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(double(a[i]) - b[i], 2);
    norm += std::pow(double(b[i]), 2);
  }
  return std::sqrt(error / norm);
}

class Invariants : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    ASSERT_TRUE(std::getenv("MAMBIT_TEST_MODEL"));
    model = std::make_unique<Model>(GetParam());
    if (model->status == MAMBIT_UNSUPPORTED)
      GTEST_SKIP() << model->message;
    ASSERT_EQ(model->status, MAMBIT_OK) << model->message;
  }
  std::unique_ptr<Model> model;
};

// A batch gives, bit for bit, what single runs give, and so in any slot.
TEST_P(Invariants, BatchesEqualSingleRuns) {
  const size_t lengths[] = {5, 64, 300, 17};
  std::vector<Tokens> prompts;
  std::vector<Session> sessions;
  std::vector<mambit_session *> handles;
  for (size_t length : lengths) {
    prompts.push_back(makeTokens(length, length, model->vocab));
    sessions.push_back(model->session());
    handles.push_back(sessions.back().get());
  }
  Logits batch = model->forward(handles, prompts);
  Logits single;
  for (const Tokens &prompt : prompts) {
    Logits logits = model->run(prompt);
    single.insert(single.end(), logits.begin(), logits.end());
  }
  EXPECT_EQ(batch, single);

  // Then step by step, and with prompts and single tokens mixed in one call.
  std::vector<Tokens> next = {{1}, {2, 3, 4, 5, 6, 7, 8, 9, 10}, {11}, {12}};
  batch = model->forward(handles, next);
  single.clear();
  for (size_t i = 0; i < prompts.size(); ++i) {
    Session alone = model->session();
    model->forward({alone.get()}, {prompts[i]});
    Logits logits = model->forward({alone.get()}, {next[i]});
    single.insert(single.end(), logits.begin(), logits.end());
  }
  EXPECT_EQ(batch, single);
}

// The same of decoding, at every size of a batch that code may treat apart.
TEST_P(Invariants, DecodingInBatchesEqualsSingleRuns) {
  constexpr size_t kMost = 64, kSteps = 3;
  std::vector<Session> alone, together;
  std::vector<mambit_session *> handles;
  std::unique_ptr<Model> other = std::make_unique<Model>(GetParam());
  for (size_t i = 0; i < kMost; ++i) {
    alone.push_back(model->session());
    together.push_back(other->session());
    handles.push_back(together.back().get());
  }
  for (size_t batch : {size_t(1), size_t(3), size_t(16), kMost})
    for (size_t step = 0; step < kSteps; ++step) {
      Tokens tokens = makeTokens(batch, batch + step, model->vocab);
      std::vector<Tokens> sequences;
      Logits single;
      for (size_t i = 0; i < batch; ++i) {
        sequences.push_back({tokens[i]});
        Logits logits = model->forward({alone[i].get()}, {{tokens[i]}});
        single.insert(single.end(), logits.begin(), logits.end());
      }
      ASSERT_EQ(
          other->forward({handles.begin(), handles.begin() + batch}, sequences),
          single)
          << "step " << step << " of " << batch << " sequences";
    }
}

// A batch whose tokens the device chooses, as many samplers want, has the
// tokens of single runs sampled by the host from logits; so has one whose
// tokens the host must choose.
TEST_P(Invariants, GeneratingInBatchesEqualsSamplingOfSingleRuns) {
  constexpr size_t kSteps = 24, kCalls = 2;
  struct Sampling {
    float temperature;
    uint32_t topK;
    float topP, minP;
  };
  std::vector<Sampling> device = {
      {0, 0, 0, 0},  {0.8f, 40, 0, 0},     {1.5f, 64, 0.9f, 0},
      {1, 1, 0, 0},  {1, 10, 0, 0.1f},     {0.7f, 5, 0.5f, 0.05f},
      {5, 64, 1, 0}, {2, 64, 0.99f, 0.3f}, {100, 3, 0.67f, 0}};
  std::vector<Sampling> host = {
      {0.8f, 40, 0, 0}, {0, 0, 0, 0}, {1, 0, 0.95f, 0}, {1, 65, 0, 0.01f}};
  for (const std::vector<Sampling> &samplings : {device, host})
    for (uint64_t seed : {0, 1}) {
      auto makeSampler = [&](const Sampling &given) {
        auto options = MAMBIT_INIT(mambit_sampler_options);
        options.temperature = given.temperature;
        options.top_k = given.topK;
        options.top_p = given.topP;
        options.min_p = given.minP;
        options.seed = seed;
        mambit_sampler *sampler = nullptr;
        EXPECT_EQ(mambit_sampler_create(&options, &sampler), MAMBIT_OK);
        return Sampler(sampler);
      };
      size_t count = samplings.size();
      std::vector<Session> sessions;
      std::vector<mambit_session *> handles;
      std::vector<Sampler> owners;
      std::vector<mambit_sampler *> samplers;
      Tokens first = makeTokens(count, seed, model->vocab);
      std::vector<Tokens> found(count);
      for (const Sampling &given : samplings) {
        sessions.push_back(model->session());
        handles.push_back(sessions.back().get());
        owners.push_back(makeSampler(given));
        samplers.push_back(owners.back().get());
      }
      Tokens tokens = first, chosen(count * kSteps);
      for (size_t call = 0; call < kCalls; ++call) {
        auto batch = MAMBIT_INIT(mambit_generate_batch);
        batch.sessions = handles.data();
        batch.sequences = count;
        batch.samplers = samplers.data();
        batch.tokens = tokens.data();
        batch.steps = kSteps;
        batch.chosen = chosen.data();
        batch.chosen_capacity = chosen.size();
        CHECK_OK(mambit_generate(&batch));
        for (size_t i = 0; i < count; ++i) {
          found[i].insert(found[i].end(), chosen.begin() + i * kSteps,
                          chosen.begin() + (i + 1) * kSteps);
          tokens[i] = found[i].back();
        }
      }
      for (size_t i = 0; i < count; ++i) {
        Session alone = model->session();
        Sampler sampler = makeSampler(samplings[i]);
        int32_t token = first[i];
        for (size_t step = 0; step < kSteps * kCalls; ++step) {
          Logits logits = model->forward({alone.get()}, {{token}});
          CHECK_OK(mambit_sampler_sample(sampler.get(), logits.data(),
                                         logits.size(), &token));
          ASSERT_EQ(found[i][step], token)
              << "seed " << seed << " sequence " << i << " step " << step;
        }
      }
    }
}

// However a prompt is cut, its logits are those of the whole.
TEST_P(Invariants, CutsDoNotMatter) {
  Tokens prompt = makeTokens(600, 7, model->vocab);
  Logits whole = model->run(prompt);
  for (size_t piece : {1, 2, 3, 4, 5, 6, 7, 255, 256, 257})
    EXPECT_LE(relativeL2(model->run(prompt, piece), whole), model->cutTolerance)
        << "in pieces of " << piece;
}

// A fork goes on as its origin would have, and neither touches the other, nor
// the sessions around them.
TEST_P(Invariants, ForksGoOnAlone) {
  Tokens prompt = makeTokens(70, 5, model->vocab), next = {1, 2, 3},
         other = {4};
  std::vector<Session> sessions;
  for (size_t i = 0; i < 5; ++i) {
    sessions.push_back(model->session());
    model->forward({sessions.back().get()},
                   {makeTokens(70, 5 + i, model->vocab)});
  }
  mambit_session *copy = nullptr;
  CHECK_OK(mambit_session_fork(sessions[0].get(), &copy));
  Session fork(copy);
  uint64_t position = 0;
  CHECK_OK(mambit_session_position(copy, &position));
  EXPECT_EQ(position, prompt.size());
  Logits ofOrigin = model->forward({sessions[0].get()}, {next});
  Logits ofFork = model->forward({copy}, {other});
  Session alone = model->session();
  model->forward({alone.get()}, {prompt});
  EXPECT_EQ(model->forward({alone.get()}, {next}), ofOrigin);
  CHECK_OK(mambit_session_reset(alone.get()));
  model->forward({alone.get()}, {prompt});
  EXPECT_EQ(model->forward({alone.get()}, {other}), ofFork);
  for (size_t i = 1; i < sessions.size(); ++i) {
    CHECK_OK(mambit_session_reset(alone.get()));
    model->forward({alone.get()}, {makeTokens(70, 5 + i, model->vocab)});
    EXPECT_EQ(model->forward({alone.get()}, {other}),
              model->forward({sessions[i].get()}, {other}))
        << "session " << i;
  }
}

// A state goes on from a file as if it had not been away, at any token.
TEST_P(Invariants, SavedSessionsGoOn) {
  std::string path =
      testing::TempDir() + "mambit-" + std::to_string(getpid()) + ".state";
  Tokens tokens = makeTokens(40, 8, model->vocab), next = {1, 2, 3};
  for (size_t at : {1, 2, 17, 40}) {
    Tokens before(tokens.begin(), tokens.begin() + at);
    Session session = model->session();
    model->forward({session.get()}, {before});
    CHECK_OK(mambit_session_save(session.get(), path.c_str(), nullptr, 0));
    size_t noteSize;
    mambit_session *loaded = nullptr;
    CHECK_OK(mambit_session_load(model->model.get(), path.c_str(), nullptr, 0,
                                 &noteSize, &loaded));
    Session copy(loaded);
    EXPECT_EQ(model->forward({copy.get()}, {next}),
              model->forward({session.get()}, {next}));
    EXPECT_EQ(model->forward({copy.get()}, {{4}}),
              model->forward({session.get()}, {{4}}));
  }
  unlink(path.c_str());
}

/// Of this process, in memory.
static size_t getResidentBytes() {
  size_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * size_t(sysconf(_SC_PAGESIZE));
}

/// Of the first GPU, asked through the driver, which the runtime has opened.
static size_t getFreeDeviceBytes() {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (!driver)
    return 0;
  auto call = [&](const char *name, auto... args) {
    auto function =
        reinterpret_cast<int (*)(decltype(args)...)>(dlsym(driver, name));
    ASSERT_NE(function, nullptr) << name;
    ASSERT_EQ(function(args...), 0) << name;
  };
  void *context = nullptr;
  size_t free = 0, total = 0;
  call("cuDevicePrimaryCtxRetain", &context, 0);
  call("cuCtxPushCurrent_v2", context);
  call("cuMemGetInfo_v2", &free, &total);
  call("cuCtxPopCurrent_v2", &context);
  call("cuDevicePrimaryCtxRelease_v2", 0);
  dlclose(driver);
  return free;
}

// On a GPU kernels start while those before them still run, so when each of
// their parts does differs from run to run; what they give must not.
TEST_P(Invariants, PromptsInARowGiveTheSameBits) {
  if (std::string(GetParam()) != "cuda")
    GTEST_SKIP() << "takes minutes on a processor";
  for (size_t length : {40, 64, 128, 256}) {
    Tokens prompt = makeTokens(length, length, model->vocab);
    Logits first = model->run(prompt);
    for (int i = 0; i < 100; ++i)
      ASSERT_EQ(model->run(prompt), first) << length << " tokens, run " << i;
  }
}

// Long runs: only where a step takes little.
TEST_P(Invariants, ManyStepsDoNotDrift) {
  if (std::string(GetParam()) != "cuda")
    GTEST_SKIP() << "takes minutes on a processor";
  constexpr size_t kSteps = 10000, kCompared = 32;
  Tokens tokens = makeTokens(kSteps, 11, model->vocab);
  Tokens end(tokens.end() - kCompared, tokens.end());
  auto decoded = [&] {
    Session session = model->session();
    mambit_session *handle = session.get();
    for (size_t i = 0; i < kSteps - kCompared; ++i)
      EXPECT_EQ(mambit_decode(&handle, 1, &tokens[i], nullptr, 0), MAMBIT_OK)
          << mambit_last_error();
    Logits logits;
    for (int32_t token : end) {
      Logits row = model->forward({handle}, {{token}});
      logits.insert(logits.end(), row.begin(), row.end());
    }
    return logits;
  };
  Logits first = decoded();
  // What other processes take of the GPU comes and goes; a leak is there every
  // time.
  constexpr int kTimes = 8;
  constexpr int64_t kSlack = 1 << 20;
  for (int time = 1; time <= kTimes; ++time) {
    int64_t resident = getResidentBytes(), free = getFreeDeviceBytes();
    EXPECT_TRUE(decoded() == first) << "other bits than the first time";
    int64_t host = getResidentBytes() - resident,
            device = free - getFreeDeviceBytes();
    if (host <= kSlack && device <= kSlack)
      break;
    EXPECT_LT(time, kTimes)
        << kSteps << " steps took " << host << " bytes of memory and " << device
        << " of the GPU's, " << time << " times in a row";
  }
  Session session = model->session();
  CHECK_OK(mambit_prefill(session.get(), tokens.data(), kSteps - kCompared,
                          MAMBIT_LOGITS_NONE, nullptr, 0));
  EXPECT_LE(relativeL2(model->forward({session.get()}, {end}), first),
            model->cutTolerance);
}

TEST_P(Invariants, RunsAndThreadsGiveTheSameBits) {
  Tokens prompt = makeTokens(100, 3, model->vocab);
  Logits first = model->run(prompt);
  EXPECT_EQ(model->run(prompt), first);
  for (uint32_t threads : {1, 3, 5})
    EXPECT_EQ(Model(GetParam(), threads).run(prompt), first)
        << "with " << threads << " threads";
}

TEST_P(Invariants, SeveralThreadsRunSessionsOfOneModel) {
  std::vector<Tokens> prompts;
  std::vector<Logits> expected, found(4);
  for (size_t i = 0; i < found.size(); ++i) {
    prompts.push_back(makeTokens(40 + 30 * i, i, model->vocab));
    expected.push_back(model->run(prompts[i]));
  }
  std::vector<std::thread> threads;
  for (size_t i = 0; i < found.size(); ++i)
    threads.emplace_back([&, i] { found[i] = model->run(prompts[i], 13 + i); });
  for (std::thread &thread : threads)
    thread.join();
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_LE(relativeL2(found[i], expected[i]), model->cutTolerance)
        << "thread " << i;
}

INSTANTIATE_TEST_SUITE_P(Targets, Invariants,
                         testing::Values("x86-64-v3", "x86-64-v4",
                                         "x86-64-v4-vnni", "x86-64-v4-vbmi",
                                         "cuda"),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

// Kernels fix the order of all arithmetic, so targets agree to the last bit.
TEST(Targets, GiveTheSameBits) {
  Model v3("x86-64-v3");
  if (v3.status == MAMBIT_UNSUPPORTED)
    GTEST_SKIP() << v3.message;
  Tokens prompt = makeTokens(100, 3, v3.vocab);
  Logits expected = v3.run(prompt);
  for (const char *target : {"x86-64-v4", "x86-64-v4-vnni", "x86-64-v4-vbmi"}) {
    Model other(target);
    if (other.status != MAMBIT_UNSUPPORTED) {
      EXPECT_EQ(other.run(prompt), expected) << target;
    }
  }
}

} // namespace
