//===- ApiTest.cpp - the C interface over an artifact made by hand --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/mambit.h"
#include "test/runtime/ToyModel.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <unistd.h>

using namespace mambit::test;

namespace {

struct Free {
  void operator()(mambit_model *model) const { mambit_model_free(model); }
  void operator()(mambit_session *session) const {
    mambit_session_free(session);
  }
  void operator()(mambit_decoder *decoder) const {
    mambit_decoder_free(decoder);
  }
  void operator()(mambit_cancel *cancel) const { mambit_cancel_free(cancel); }
};
using ModelHandle = std::unique_ptr<mambit_model, Free>;
using SessionHandle = std::unique_ptr<mambit_session, Free>;

std::string temporaryPath() {
  static int count = 0;
  return ::testing::TempDir() + "mambit-" + std::to_string(getpid()) + "-" +
         std::to_string(count++) + ".mbt";
}

/// A file that is gone after the test.
struct TemporaryArtifact {
  explicit TemporaryArtifact(const ToyOptions &options)
      : path(temporaryPath()) {
    mambit::artifact::Draft draft = makeToy(options);
    mambit::artifact::write(draft, path);
  }
  explicit TemporaryArtifact(mambit::artifact::Draft draft)
      : path(temporaryPath()) {
    mambit::artifact::write(draft, path);
  }
  ~TemporaryArtifact() { unlink(path.c_str()); }
  std::string path;
};

ToyOptions toyOptions() {
  ToyOptions options;
  options.image = toyFile("toy.so");
  return options;
}

ToyOptions textOptions() {
  ToyOptions options;
  options.image = toyFile("toy-text.so"); // with BIAS 1
  options.vocab = 4100;
  options.tokenizer = MAMBIT_TOKENIZER;
  return options;
}

ModelHandle openModel(const std::string &path, uint32_t threads = 2,
                      uint32_t sessions = 0) {
  mambit_model_options options = MAMBIT_INIT(mambit_model_options);
  options.threads = threads;
  options.max_sessions = sessions;
  mambit_model *model = nullptr;
  EXPECT_EQ(mambit_model_open(path.c_str(), &options, &model), MAMBIT_OK)
      << mambit_last_error();
  return ModelHandle(model);
}

ModelHandle openToy(uint32_t threads = 2, uint32_t sessions = 0) {
  return openModel(TemporaryArtifact(toyOptions()).path, threads, sessions);
}

SessionHandle createSession(const ModelHandle &model) {
  mambit_session *session = nullptr;
  EXPECT_EQ(mambit_session_create(model.get(), &session), MAMBIT_OK)
      << mambit_last_error();
  return SessionHandle(session);
}

uint64_t positionOf(const SessionHandle &session) {
  uint64_t position = 0;
  EXPECT_EQ(mambit_session_position(session.get(), &position), MAMBIT_OK);
  return position;
}

bool lastErrorHas(const std::string &text) {
  return std::string(mambit_last_error()).find(text) != std::string::npos;
}

constexpr unsigned kVocab = 7;

std::vector<int32_t> randomTokens(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t &token : tokens)
    token = random() % kVocab;
  return tokens;
}

/// All rows of a sequence that starts afresh.
std::vector<float> referenceRows(const std::vector<int32_t> &tokens,
                                 bool decode = false) {
  ToyReference reference(kVocab);
  std::vector<float> rows;
  for (int32_t token : tokens) {
    std::vector<float> row = reference.push(token, decode);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

TEST(Open, TellsAboutTheModel) {
  ModelHandle model = openModel(TemporaryArtifact(textOptions()).path, 3, 5);
  mambit_model_info info = MAMBIT_INIT(mambit_model_info);
  ASSERT_EQ(mambit_model_get_info(model.get(), &info), MAMBIT_OK);
  EXPECT_STREQ(info.producer, "toy 1");
  EXPECT_STREQ(info.format, "toy");
  EXPECT_STREQ(info.device, "cpu");
  EXPECT_STREQ(info.target, "baseline");
  EXPECT_EQ(info.vocab_size, 4100u);
  EXPECT_EQ(info.layers, 1u);
  EXPECT_EQ(info.weight_bytes, 4100u * 4);
  EXPECT_EQ(info.session_bytes, 128u);
  EXPECT_EQ(info.threads, 3u);
  EXPECT_EQ(info.max_sessions, 5u);
  EXPECT_EQ(info.max_tokens, kToyPrefillTokens);
  EXPECT_EQ(info.max_sequences, kToyDecodeSequences);
  EXPECT_TRUE(info.has_tokenizer);
  EXPECT_EQ(info.bos_id, 1);
  EXPECT_EQ(info.eos_id, 2);
  EXPECT_STREQ(info.state_dtype, "f32");
  EXPECT_EQ(info.activation_bits, 32u);
}

TEST(Open, FillsOnlyWhatAnOlderCallerKnows) {
  ModelHandle model = openToy();
  mambit_model_info info = MAMBIT_INIT(mambit_model_info);
  info.size = offsetof(mambit_model_info, target);
  info.target = "untouched";
  ASSERT_EQ(mambit_model_get_info(model.get(), &info), MAMBIT_OK);
  EXPECT_STREQ(info.device, "cpu");
  EXPECT_STREQ(info.target, "untouched");
  EXPECT_EQ(info.size, offsetof(mambit_model_info, target));
}

TEST(Open, RefusesFieldsOfANewerCaller) {
  struct {
    mambit_model_options options;
    uint64_t newField;
  } newer{};
  newer.options.size = sizeof(newer);
  TemporaryArtifact artifact(toyOptions());
  mambit_model *model = nullptr;
  newer.newField = 1;
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), &newer.options, &model),
            MAMBIT_INVALID_ARGUMENT);
  newer.newField = 0;
  ASSERT_EQ(mambit_model_open(artifact.path.c_str(), &newer.options, &model),
            MAMBIT_OK);
  mambit_model_free(model);
}

TEST(Open, RefusesWhatIsNoArtifact) {
  mambit_model *model = nullptr;
  EXPECT_EQ(mambit_model_open("/does/not/exist", nullptr, &model),
            MAMBIT_INVALID_ARTIFACT);
  EXPECT_TRUE(lastErrorHas("/does/not/exist")) << mambit_last_error();
  std::string path = temporaryPath();
  std::ofstream(path) << "this is no artifact, and much longer than a header "
                         "of sixty-four bytes would be";
  EXPECT_EQ(mambit_model_open(path.c_str(), nullptr, &model),
            MAMBIT_INVALID_ARTIFACT);
  EXPECT_TRUE(lastErrorHas(path)) << mambit_last_error();
  unlink(path.c_str());
  EXPECT_EQ(model, nullptr);
}

TEST(Open, RefusesASkeleton) {
  ToyOptions options = toyOptions();
  options.skeleton = true;
  TemporaryArtifact artifact(options);
  mambit_model *model = nullptr;
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), nullptr, &model),
            MAMBIT_INVALID_ARTIFACT);
  EXPECT_TRUE(lastErrorHas("skeleton")) << mambit_last_error();
}

TEST(Open, ChecksTheBytesOfWeights) {
  TemporaryArtifact artifact(toyOptions());
  uint64_t offset;
  {
    auto opened = mambit::artifact::Artifact::open(artifact.path);
    int32_t section = opened.index().weights()->Get(0)->section();
    offset = opened.index().sections()->Get(section)->offset();
  }
  std::fstream file(artifact.path, std::ios::in | std::ios::out);
  file.seekp(offset);
  file.put('\x55');
  file.close();

  mambit_model *model = nullptr;
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), nullptr, &model),
            MAMBIT_INVALID_ARTIFACT);
  EXPECT_TRUE(lastErrorHas("weight/table")) << mambit_last_error();
  mambit_model_options options = MAMBIT_INIT(mambit_model_options);
  options.skip_weight_checksums = 1;
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), &options, &model),
            MAMBIT_OK)
      << mambit_last_error();
  mambit_model_free(model);
}

TEST(Open, RefusesProgramsItCannotFeed) {
  auto expectRefused = [](mambit::artifact::Draft draft, const char *text) {
    TemporaryArtifact artifact(std::move(draft));
    mambit_model *model = nullptr;
    EXPECT_EQ(mambit_model_open(artifact.path.c_str(), nullptr, &model),
              MAMBIT_INVALID_ARTIFACT);
    EXPECT_TRUE(lastErrorHas(text)) << mambit_last_error();
  };
  mambit::artifact::Draft draft = makeToy(toyOptions());
  draft.index.devices[0]->programs[1]->name = "another";
  expectRefused(std::move(draft), "no program 'decode'");
  draft = makeToy(toyOptions());
  draft.index.devices[0]->programs[0]->inputs.pop_back();
  expectRefused(std::move(draft), "no 'rows'");
  draft = makeToy(toyOptions());
  draft.index.devices[0]->programs[0]->inputs[0]->dtype =
      mambit::artifact::DType::f32;
  expectRefused(std::move(draft), "'ids' of program 'prefill' is f32");
  draft = makeToy(toyOptions());
  draft.index.config->vocab = 8;
  expectRefused(std::move(draft), "vocabulary of 8");
  draft = makeToy(toyOptions());
  draft.index.devices[0]->targets[0]->kernels[0]->phases[0]->symbol = "nothing";
  expectRefused(std::move(draft), "no symbol 'nothing'");
}

TEST(Open, TakesTheFirstTargetThatFits) {
  ToyOptions options = toyOptions();
  options.targets = {{"better", "x86_64-unknown-linux", {"sse2", "warp-drive"}},
                     {"arm", "aarch64-unknown-linux", {}},
                     {"good", "x86_64-unknown-linux", {"sse2"}},
                     {"baseline", "x86_64-unknown-linux", {}}};
  TemporaryArtifact artifact(options);
  ModelHandle model = openModel(artifact.path);
  mambit_model_info info = MAMBIT_INIT(mambit_model_info);
  mambit_model_get_info(model.get(), &info);
  EXPECT_STREQ(info.target, "good");

  auto force = [&](const char *target, mambit_model **opened) {
    mambit_model_options options = MAMBIT_INIT(mambit_model_options);
    options.target = target;
    return mambit_model_open(artifact.path.c_str(), &options, opened);
  };
  mambit_model *forced = nullptr;
  ASSERT_EQ(force("baseline", &forced), MAMBIT_OK);
  mambit_model_get_info(forced, &info);
  EXPECT_STREQ(info.target, "baseline");
  mambit_model_free(forced);
  for (const char *name : {"better", "arm", "unheard-of"}) {
    EXPECT_EQ(force(name, &forced), MAMBIT_UNSUPPORTED);
    EXPECT_TRUE(lastErrorHas(name)) << mambit_last_error();
    EXPECT_TRUE(lastErrorHas("lacks warp-drive")) << mambit_last_error();
    EXPECT_TRUE(lastErrorHas("lacks the architecture aarch64"))
        << mambit_last_error();
  }
}

TEST(Open, SaysWhatFitsNot) {
  ToyOptions options = toyOptions();
  options.targets = {
      {"better", "x86_64-unknown-linux", {"warp-drive", "sse2", "flux"}},
      {"good", "x86_64-unknown-linux", {"flux"}}};
  TemporaryArtifact artifact(options);
  mambit_model *model = nullptr;
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), nullptr, &model),
            MAMBIT_UNSUPPORTED);
  EXPECT_TRUE(lastErrorHas("better (this machine lacks warp-drive, flux); "
                           "good (this machine lacks flux)"))
      << mambit_last_error();
  mambit_model_options wanted = MAMBIT_INIT(mambit_model_options);
  wanted.device = "abacus";
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), &wanted, &model),
            MAMBIT_UNSUPPORTED);
  EXPECT_TRUE(lastErrorHas("'abacus'")) << mambit_last_error();
}

TEST(Open, CodeThatDoesNotLoadIsAnError) {
  mambit::artifact::Draft draft = makeToy(toyOptions());
  int section = draft.index.devices[0]->targets[0]->images[0]->section;
  draft.payloads[section] = [](mambit::artifact::Sink &sink) {
    sink.write("\177ELF but not for long", 20);
  };
  TemporaryArtifact artifact(std::move(draft));
  mambit_model *model = nullptr;
  EXPECT_EQ(mambit_model_open(artifact.path.c_str(), nullptr, &model),
            MAMBIT_INVALID_ARTIFACT);
  EXPECT_TRUE(lastErrorHas("cannot load the kernels")) << mambit_last_error();
}

TEST(Open, ModelsKeepTheirOwnCode) {
  // One after the other, so that descriptors are used again, and at once.
  auto firstLogit = [](const ModelHandle &model, unsigned vocab) {
    SessionHandle session = createSession(model);
    std::vector<float> logits(vocab);
    int32_t token = 3;
    mambit_session *raw = session.get();
    EXPECT_EQ(mambit_decode(&raw, 1, &token, logits.data(), vocab), MAMBIT_OK)
        << mambit_last_error();
    return logits[0];
  };
  TemporaryArtifact toy(toyOptions());
  float toyLogit = ToyReference(7).push(3, true)[0];
  for (int repeat = 0; repeat < 2; ++repeat) {
    EXPECT_EQ(firstLogit(openModel(toy.path), 7), toyLogit);
    ModelHandle kept = openModel(toy.path);
    ModelHandle text = openModel(TemporaryArtifact(textOptions()).path);
    EXPECT_EQ(firstLogit(text, 4100), ToyReference(4100, 1).push(3, true)[0]);
    EXPECT_EQ(firstLogit(kept, 7), toyLogit);
  }
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

TEST(Forward, PrefillOfEveryLengthGivesAllRows) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  for (size_t length : {2, 3, 7, 8, 9, 15, 16, 17, 100}) {
    std::vector<int32_t> tokens = randomTokens(length, length);
    std::vector<float> expected = referenceRows(tokens);
    std::vector<float> logits(length * kVocab, -1);
    ASSERT_EQ(mambit_session_reset(session.get()), MAMBIT_OK);
    ASSERT_EQ(mambit_prefill(session.get(), tokens.data(), length,
                             MAMBIT_LOGITS_ALL, logits.data(), logits.size()),
              MAMBIT_OK)
        << mambit_last_error();
    EXPECT_EQ(logits, expected);
    EXPECT_EQ(positionOf(session), length);

    ASSERT_EQ(mambit_session_reset(session.get()), MAMBIT_OK);
    EXPECT_EQ(positionOf(session), 0u);
    std::vector<float> last(kVocab);
    ASSERT_EQ(mambit_prefill(session.get(), tokens.data(), length,
                             MAMBIT_LOGITS_LAST, last.data(), last.size()),
              MAMBIT_OK);
    EXPECT_EQ(last,
              std::vector<float>(expected.end() - kVocab, expected.end()));
  }
}

TEST(Forward, DecodeContinuesAPrompt) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  std::vector<int32_t> tokens = randomTokens(30, 5);
  ASSERT_EQ(mambit_prefill(session.get(), tokens.data(), 20, MAMBIT_LOGITS_NONE,
                           nullptr, 0),
            MAMBIT_OK);
  std::vector<float> expected = referenceRows(tokens, /*decode=*/true);
  mambit_session *raw = session.get();
  for (size_t t = 20; t < 30; ++t) {
    std::vector<float> logits(kVocab);
    ASSERT_EQ(mambit_decode(&raw, 1, &tokens[t], logits.data(), kVocab),
              MAMBIT_OK);
    EXPECT_TRUE(std::equal(logits.begin(), logits.end(),
                           expected.begin() + t * kVocab));
  }
  EXPECT_EQ(positionOf(session), 30u);
}

TEST(Forward, BatchesEqualSingleRuns) {
  // More sequences than a run takes, of all lengths; twice, to continue.
  ModelHandle model = openToy(3);
  const std::vector<size_t> lengths{5, 1, 20, 8, 1, 2, 1, 16, 1, 1, 9};
  std::vector<SessionHandle> owners;
  std::vector<mambit_session *> sessions;
  std::vector<ToyReference> references(lengths.size(), ToyReference(kVocab));
  for (size_t i = 0; i < lengths.size(); ++i) {
    owners.push_back(createSession(model));
    sessions.push_back(owners.back().get());
  }
  for (unsigned round = 0; round < 2; ++round) {
    std::vector<size_t> offsets{0};
    for (size_t length : lengths)
      offsets.push_back(offsets.back() + length);
    std::vector<int32_t> tokens = randomTokens(offsets.back(), round);
    std::vector<float> all, last;
    for (size_t i = 0; i < lengths.size(); ++i)
      for (size_t t = offsets[i]; t < offsets[i + 1]; ++t) {
        auto row = references[i].push(tokens[t], lengths[i] == 1);
        all.insert(all.end(), row.begin(), row.end());
        if (t + 1 == offsets[i + 1])
          last.insert(last.end(), row.begin(), row.end());
      }
    mambit_batch batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = sessions.data();
    batch.sequences = sessions.size();
    batch.tokens = tokens.data();
    batch.offsets = offsets.data();
    batch.which = round == 0 ? MAMBIT_LOGITS_ALL : MAMBIT_LOGITS_LAST;
    std::vector<float> logits(round == 0 ? all.size() : last.size());
    batch.logits = logits.data();
    batch.logits_capacity = logits.size();
    ASSERT_EQ(mambit_forward(&batch), MAMBIT_OK) << mambit_last_error();
    EXPECT_EQ(logits, round == 0 ? all : last);
  }
}

TEST(Forward, SessionsHaveTheirOwnState) {
  ModelHandle model = openToy(2, 3);
  std::vector<int32_t> tokens = randomTokens(12, 1);
  auto lastRow = [&](const SessionHandle &session) {
    std::vector<float> logits(kVocab);
    EXPECT_EQ(mambit_prefill(session.get(), tokens.data(), tokens.size(),
                             MAMBIT_LOGITS_LAST, logits.data(), kVocab),
              MAMBIT_OK)
        << mambit_last_error();
    return logits;
  };
  SessionHandle first = createSession(model), second = createSession(model);
  std::vector<float> expected = lastRow(first);
  EXPECT_EQ(lastRow(second), expected);
  // The model's only other slot is used, freed, and used again.
  for (int repeat = 0; repeat < 3; ++repeat)
    EXPECT_EQ(lastRow(createSession(model)), expected);
  SessionHandle third = createSession(model);
  mambit_session *fourth = nullptr;
  EXPECT_EQ(mambit_session_create(model.get(), &fourth),
            MAMBIT_OUT_OF_RESOURCES);
  EXPECT_TRUE(lastErrorHas("all 3 sessions")) << mambit_last_error();
  EXPECT_EQ(mambit_session_fork(first.get(), &fourth), MAMBIT_OUT_OF_RESOURCES);
  third.reset();
  EXPECT_EQ(mambit_session_create(model.get(), &fourth), MAMBIT_OK);
  mambit_session_free(fourth);
}

TEST(Forward, AForkGoesItsOwnWay) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  std::vector<int32_t> tokens = randomTokens(20, 8);
  ASSERT_EQ(mambit_prefill(session.get(), tokens.data(), 11, MAMBIT_LOGITS_NONE,
                           nullptr, 0),
            MAMBIT_OK);
  mambit_session *raw = nullptr;
  ASSERT_EQ(mambit_session_fork(session.get(), &raw), MAMBIT_OK);
  SessionHandle fork(raw);
  EXPECT_EQ(positionOf(fork), 11u);
  int32_t other[] = {0, 1, 2};
  ASSERT_EQ(
      mambit_prefill(session.get(), other, 3, MAMBIT_LOGITS_NONE, nullptr, 0),
      MAMBIT_OK);
  std::vector<float> logits(kVocab), expected = referenceRows(tokens);
  ASSERT_EQ(mambit_prefill(fork.get(), tokens.data() + 11, 9,
                           MAMBIT_LOGITS_LAST, logits.data(), kVocab),
            MAMBIT_OK);
  EXPECT_EQ(logits,
            std::vector<float>(expected.end() - kVocab, expected.end()));
  EXPECT_EQ(positionOf(session), 14u);
}

TEST(Forward, ASessionKeepsItsModel) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  model.reset();
  std::vector<int32_t> tokens = randomTokens(5, 1);
  EXPECT_EQ(mambit_prefill(session.get(), tokens.data(), 5, MAMBIT_LOGITS_NONE,
                           nullptr, 0),
            MAMBIT_OK);
}

TEST(Forward, ThreadsRunSessionsOfOneModel) {
  ModelHandle model = openToy(2);
  std::vector<std::thread> callers;
  for (unsigned caller = 0; caller < 8; ++caller)
    callers.emplace_back([&, caller] {
      for (unsigned repeat = 0; repeat < 10; ++repeat) {
        SessionHandle session = createSession(model);
        std::vector<int32_t> tokens = randomTokens(25, caller * 100 + repeat);
        std::vector<float> logits(25 * kVocab);
        EXPECT_EQ(mambit_prefill(session.get(), tokens.data(), 25,
                                 MAMBIT_LOGITS_ALL, logits.data(),
                                 logits.size()),
                  MAMBIT_OK);
        EXPECT_EQ(logits, referenceRows(tokens));
      }
    });
  for (std::thread &caller : callers)
    caller.join();
}

//===----------------------------------------------------------------------===//
// Saving
//===----------------------------------------------------------------------===//

/// A path whose file is gone after the test.
struct TemporaryPath {
  ~TemporaryPath() { unlink(path.c_str()); }
  std::string path = temporaryPath();
};

SessionHandle loadSession(const ModelHandle &model, const std::string &path,
                          std::string *note = nullptr) {
  std::vector<char> buffer(100);
  size_t size = 0;
  mambit_session *session = nullptr;
  EXPECT_EQ(mambit_session_load(model.get(), path.c_str(), buffer.data(),
                                buffer.size(), &size, &session),
            MAMBIT_OK)
      << mambit_last_error();
  if (note)
    note->assign(buffer.data(), size);
  return SessionHandle(session);
}

TEST(Save, ExactAtEveryToken) {
  TemporaryArtifact artifact(toyOptions());
  TemporaryPath file;
  std::vector<int32_t> tokens = randomTokens(25, 3);
  for (size_t at = 0; at <= 20; ++at) {
    std::vector<float> expected(5 * kVocab), logits(5 * kVocab);
    {
      ModelHandle model = openModel(artifact.path);
      SessionHandle session = createSession(model);
      if (at != 0) {
        ASSERT_EQ(mambit_prefill(session.get(), tokens.data(), at,
                                 MAMBIT_LOGITS_NONE, nullptr, 0),
                  MAMBIT_OK);
      }
      std::string note = "at " + std::to_string(at);
      ASSERT_EQ(mambit_session_save(session.get(), file.path.c_str(),
                                    note.data(), note.size()),
                MAMBIT_OK)
          << mambit_last_error();
      // Saving changes nothing.
      ASSERT_EQ(mambit_prefill(session.get(), &tokens[at], 5, MAMBIT_LOGITS_ALL,
                               expected.data(), expected.size()),
                MAMBIT_OK);
    }
    // In a model opened afresh, with other slots in use.
    ModelHandle model = openModel(artifact.path);
    SessionHandle other = createSession(model);
    std::string note;
    SessionHandle session = loadSession(model, file.path, &note);
    EXPECT_EQ(note, "at " + std::to_string(at));
    EXPECT_EQ(positionOf(session), at);
    EXPECT_EQ(positionOf(other), 0u);
    ASSERT_EQ(mambit_prefill(session.get(), &tokens[at], 5, MAMBIT_LOGITS_ALL,
                             logits.data(), logits.size()),
              MAMBIT_OK);
    EXPECT_EQ(logits, expected) << "saved after " << at << " tokens";
  }
}

TEST(Save, ReplacesAndLeavesNoTemporary) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  std::string folder = temporaryPath();
  ASSERT_TRUE(std::filesystem::create_directory(folder));
  std::string path = folder + "/a.state";
  int32_t token = 1;
  mambit_session *raw = session.get();
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(mambit_decode(&raw, 1, &token, nullptr, 0), MAMBIT_OK);
    ASSERT_EQ(mambit_session_save(raw, path.c_str(), nullptr, 0), MAMBIT_OK);
    EXPECT_EQ(positionOf(loadSession(model, path)), size_t(i));
  }
  EXPECT_EQ(mambit_session_save(raw, (folder + "/no/a").c_str(), nullptr, 0),
            MAMBIT_INTERNAL_ERROR);
  EXPECT_TRUE(lastErrorHas("/no/a")) << mambit_last_error();
  size_t files = 0;
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    (void)entry;
    ++files;
  }
  EXPECT_EQ(files, 1u);
  std::filesystem::remove_all(folder);
}

TEST(Save, ANoteOfAnySize) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  TemporaryPath file;
  ASSERT_EQ(mambit_session_save(session.get(), file.path.c_str(), "hello", 5),
            MAMBIT_OK);
  size_t size = 0;
  char note[5];
  mambit_session *loaded = nullptr;
  EXPECT_EQ(mambit_session_load(model.get(), file.path.c_str(), note, 4, &size,
                                &loaded),
            MAMBIT_BUFFER_TOO_SMALL);
  EXPECT_EQ(size, 5u);
  EXPECT_EQ(loaded, nullptr);
  ASSERT_EQ(mambit_session_load(model.get(), file.path.c_str(), note, 5, &size,
                                &loaded),
            MAMBIT_OK);
  mambit_session_free(loaded);
  EXPECT_EQ(std::string(note, 5), "hello");
}

TEST(Save, RefusesWhatIsNotItsOwn) {
  TemporaryArtifact artifact(toyOptions());
  ModelHandle model = openModel(artifact.path);
  SessionHandle session = createSession(model);
  std::vector<int32_t> tokens = randomTokens(9, 3);
  ASSERT_EQ(mambit_prefill(session.get(), tokens.data(), 9, MAMBIT_LOGITS_NONE,
                           nullptr, 0),
            MAMBIT_OK);
  TemporaryPath file;
  ASSERT_EQ(mambit_session_save(session.get(), file.path.c_str(), "a note", 6),
            MAMBIT_OK);
  std::string good;
  {
    std::ifstream stream(file.path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(stream), {});
  }
  auto expectRefused = [&](const std::string &bytes, const char *text,
                           const ModelHandle &into) {
    std::ofstream(file.path, std::ios::binary) << bytes;
    size_t size = 0;
    char note[100];
    mambit_session *loaded = nullptr;
    EXPECT_EQ(mambit_session_load(into.get(), file.path.c_str(), note,
                                  sizeof(note), &size, &loaded),
              MAMBIT_INVALID_SNAPSHOT)
        << text;
    EXPECT_TRUE(lastErrorHas(text)) << mambit_last_error();
    EXPECT_TRUE(lastErrorHas(file.path)) << mambit_last_error();
    EXPECT_EQ(loaded, nullptr);
  };
  // Cut anywhere, or with any byte changed.
  for (size_t size = 0; size < good.size(); ++size)
    expectRefused(good.substr(0, size), size < 80 ? "at least" : "truncated",
                  model);
  expectRefused(good + "x", "too long", model);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 0x10;
    expectRefused(bad,
                  i < 8    ? "does not begin like one"
                  : i < 10 ? "format version"
                  : i < 80 ? "header is damaged"
                           : "damaged",
                  model);
  }
  // Of another model: other weights, then another type of state.
  ToyOptions other = textOptions();
  expectRefused(good, "another model: expected model",
                openModel(TemporaryArtifact(other).path));
  mambit::artifact::Draft draft = makeToy(toyOptions());
  draft.index.devices[0]->kernels[1]->params[4]->dtype =
      mambit::artifact::DType::u32;
  expectRefused(good,
                "another form: expected count: u32[1], found count: i32[1]",
                openModel(TemporaryArtifact(std::move(draft)).path));

  std::ofstream(file.path, std::ios::binary) << good;
  EXPECT_EQ(positionOf(loadSession(model, file.path)), 9u);
  size_t size;
  mambit_session *loaded = nullptr;
  EXPECT_EQ(mambit_session_load(model.get(), "/does/not/exist", nullptr, 0,
                                &size, &loaded),
            MAMBIT_INVALID_SNAPSHOT);
}

TEST(Save, ArtifactsOfOneCheckpointShareStates) {
  auto draftOf = [](const char *target, const char *hash) {
    ToyOptions options = toyOptions();
    options.targets[0].name = target;
    mambit::artifact::Draft draft = makeToy(options);
    auto input = std::make_unique<mambit::artifact::InputT>();
    input->file = "pytorch_model.bin";
    input->size = 1;
    input->hash = hash;
    draft.index.inputs.push_back(std::move(input));
    return draft;
  };
  const char *hash = "0123456789abcdef0123456789abcdef";
  TemporaryArtifact one(draftOf("one", hash)), two(draftOf("two", hash)),
      other(draftOf("one", "0123456789abcdef0123456789abcdee"));
  ModelHandle model = openModel(one.path);
  SessionHandle session = createSession(model);
  TemporaryPath file;
  ASSERT_EQ(mambit_session_save(session.get(), file.path.c_str(), nullptr, 0),
            MAMBIT_OK);
  loadSession(openModel(two.path), file.path);
  size_t size;
  mambit_session *loaded = nullptr;
  EXPECT_EQ(mambit_session_load(openModel(other.path).get(), file.path.c_str(),
                                nullptr, 0, &size, &loaded),
            MAMBIT_INVALID_SNAPSHOT);
}

//===----------------------------------------------------------------------===//
// Refusals
//===----------------------------------------------------------------------===//

TEST(Forward, RefusesBadCallsAndLeavesSessionsAlone) {
  ModelHandle model = openToy(), otherModel = openToy();
  SessionHandle first = createSession(model), second = createSession(model),
                foreign = createSession(otherModel);
  std::vector<float> logits(100);
  std::vector<int32_t> tokens{1, 2, 3, 4};
  std::vector<size_t> offsets{0, 2, 4};
  std::vector<mambit_session *> sessions{first.get(), second.get()};
  mambit_batch good = MAMBIT_INIT(mambit_batch);
  good.sessions = sessions.data();
  good.sequences = 2;
  good.tokens = tokens.data();
  good.offsets = offsets.data();
  good.which = MAMBIT_LOGITS_LAST;
  good.logits = logits.data();
  good.logits_capacity = logits.size();
  auto expectRefused = [&](mambit_batch batch, const char *text) {
    EXPECT_EQ(mambit_forward(&batch), MAMBIT_INVALID_ARGUMENT) << text;
    EXPECT_TRUE(lastErrorHas(text)) << mambit_last_error();
  };
  EXPECT_EQ(mambit_forward(nullptr), MAMBIT_INVALID_ARGUMENT);
  mambit_batch batch = good;
  batch.size = 0;
  expectRefused(batch, "size");
  batch = good;
  batch.sessions = nullptr;
  expectRefused(batch, "'sessions' is null");
  batch = good;
  batch.sequences = 0;
  expectRefused(batch, "no sequences");
  batch = good;
  batch.tokens = nullptr;
  expectRefused(batch, "'tokens' is null");
  batch = good;
  batch.logits = nullptr;
  expectRefused(batch, "'logits' is null");
  batch = good;
  batch.logits_capacity = 2 * kVocab - 1;
  expectRefused(batch, "room for 13 floats");
  batch = good;
  batch.which = MAMBIT_LOGITS_ALL;
  batch.logits_capacity = 4 * kVocab - 1;
  expectRefused(batch, "room for 27 floats");
  batch = good;
  batch.which = static_cast<mambit_logits>(3);
  expectRefused(batch, "'which'");
  for (std::vector<size_t> bad :
       {std::vector<size_t>{1, 2, 4}, {0, 0, 4}, {0, 4, 4}, {0, 3, 2}}) {
    batch = good;
    batch.offsets = bad.data();
    expectRefused(batch, "offset");
  }
  for (int32_t bad : {-1, 7, std::numeric_limits<int32_t>::max()}) {
    std::vector<int32_t> badTokens{1, 2, 3, bad};
    batch = good;
    batch.tokens = badTokens.data();
    expectRefused(batch, "token 3 is");
  }
  std::vector<mambit_session *> bad{first.get(), first.get()};
  batch = good;
  batch.sessions = bad.data();
  expectRefused(batch, "session 1 appears twice");
  bad[1] = foreign.get();
  expectRefused(batch, "session 1 is of another model");
  bad[1] = nullptr;
  expectRefused(batch, "session 1 is null");

  EXPECT_EQ(mambit_prefill(first.get(), tokens.data(), 0, MAMBIT_LOGITS_NONE,
                           nullptr, 0),
            MAMBIT_INVALID_ARGUMENT);
  EXPECT_EQ(
      mambit_prefill(nullptr, tokens.data(), 1, MAMBIT_LOGITS_NONE, nullptr, 0),
      MAMBIT_INVALID_ARGUMENT);
  EXPECT_EQ(positionOf(first), 0u);
  ASSERT_EQ(mambit_forward(&good), MAMBIT_OK) << mambit_last_error();
  std::vector<float> expected = referenceRows({1, 2});
  EXPECT_TRUE(
      std::equal(expected.end() - kVocab, expected.end(), logits.begin()));
}

struct StopAt {
  int calls, stopAt;
};

int pollStopAt(void *context) {
  auto &stop = *static_cast<StopAt *>(context);
  return stop.calls++ == stop.stopAt;
}

//===----------------------------------------------------------------------===//
// Generation
//===----------------------------------------------------------------------===//

ModelHandle openGeneratingToy(bool samples) {
  ToyOptions options = toyOptions();
  options.samples = samples;
  return openModel(TemporaryArtifact(options).path);
}

mambit_generate_batch
generateBatch(const std::vector<mambit_session *> &sessions,
              const std::vector<int32_t> &tokens, size_t steps,
              std::vector<int32_t> &chosen) {
  chosen.assign(sessions.size() * steps, -1);
  mambit_generate_batch batch = MAMBIT_INIT(mambit_generate_batch);
  batch.sessions = sessions.data();
  batch.sequences = sessions.size();
  batch.tokens = tokens.data();
  batch.steps = steps;
  batch.chosen = chosen.data();
  batch.chosen_capacity = chosen.size();
  return batch;
}

/// The tokens that follow, each decoded and its successor looked for.
std::vector<int32_t> stepByStep(ToyReference &reference, int32_t token,
                                size_t steps) {
  std::vector<int32_t> chosen;
  for (size_t i = 0; i < steps; ++i) {
    std::vector<float> row = reference.push(token, /*decode=*/true);
    token = std::max_element(row.begin(), row.end()) - row.begin();
    chosen.push_back(token);
  }
  return chosen;
}

TEST(Generate, EqualsSteps) {
  // With and without code that chooses tokens; more sequences than a run
  // takes, and calls shorter and longer than what goes without the host.
  for (bool samples : {false, true}) {
    ModelHandle model = openGeneratingToy(samples);
    std::vector<SessionHandle> owners;
    std::vector<mambit_session *> sessions;
    std::vector<ToyReference> references(6, ToyReference(kVocab));
    for (size_t i = 0; i < references.size(); ++i) {
      owners.push_back(createSession(model));
      sessions.push_back(owners.back().get());
    }
    std::vector<int32_t> tokens = randomTokens(sessions.size(), 11), chosen;
    size_t position = 0;
    for (size_t steps : {1, 5, 70}) {
      mambit_generate_batch batch =
          generateBatch(sessions, tokens, steps, chosen);
      ASSERT_EQ(mambit_generate(&batch), MAMBIT_OK) << mambit_last_error();
      position += steps;
      for (size_t i = 0; i < sessions.size(); ++i) {
        std::vector<int32_t> expected =
            stepByStep(references[i], tokens[i], steps);
        EXPECT_EQ(std::vector<int32_t>(chosen.begin() + i * steps,
                                       chosen.begin() + (i + 1) * steps),
                  expected)
            << samples << " session " << i;
        EXPECT_EQ(positionOf(owners[i]), position);
        tokens[i] = expected.back();
      }
    }
  }
}

TEST(Generate, AForkEndsWhereItIsWanted) {
  ModelHandle model = openGeneratingToy(true);
  SessionHandle session = createSession(model);
  mambit_session *copy = nullptr;
  ASSERT_EQ(mambit_session_fork(session.get(), &copy), MAMBIT_OK);
  SessionHandle fork(copy);
  std::vector<int32_t> tokens{3}, chosen;
  std::vector<mambit_session *> sessions{session.get()};
  mambit_generate_batch batch = generateBatch(sessions, tokens, 9, chosen);
  ASSERT_EQ(mambit_generate(&batch), MAMBIT_OK);
  // As if it had been stopped after the fourth.
  ToyReference reference(kVocab);
  std::vector<int32_t> taken{3, chosen[0], chosen[1], chosen[2]};
  for (int32_t token : taken) {
    std::vector<float> logits(kVocab);
    ASSERT_EQ(mambit_decode(&copy, 1, &token, logits.data(), kVocab),
              MAMBIT_OK);
    EXPECT_EQ(logits, reference.push(token, /*decode=*/true));
  }
}

TEST(Generate, CancelledBetweenSteps) {
  for (bool samples : {false, true})
    for (int stopAt : {0, 1, 6, 40}) {
      ModelHandle model = openGeneratingToy(samples);
      SessionHandle session = createSession(model);
      std::vector<mambit_session *> sessions{session.get()};
      std::vector<int32_t> tokens{5}, chosen;
      mambit_generate_batch batch = generateBatch(sessions, tokens, 50, chosen);
      StopAt stop{0, stopAt};
      batch.poll = pollStopAt;
      batch.context = &stop;
      EXPECT_EQ(mambit_generate(&batch), MAMBIT_CANCELLED);
      EXPECT_EQ(positionOf(session), uint64_t(stopAt));
      ToyReference reference(kVocab);
      std::vector<int32_t> expected = stepByStep(reference, 5, stopAt);
      expected.resize(50, -1);
      EXPECT_EQ(chosen, expected);
    }
}

using SamplerHandle =
    std::unique_ptr<mambit_sampler, decltype(&mambit_sampler_free)>;

SamplerHandle createSampler(const mambit_sampler_options &options) {
  mambit_sampler *sampler = nullptr;
  EXPECT_EQ(mambit_sampler_create(&options, &sampler), MAMBIT_OK);
  return {sampler, mambit_sampler_free};
}

mambit_sampler_options samplerOptions(float temperature, uint32_t topK) {
  mambit_sampler_options options = MAMBIT_INIT(mambit_sampler_options);
  options.temperature = temperature;
  options.top_k = topK;
  options.seed = 12345678901234567u;
  return options;
}

// What the device takes for each row, and how generators go on: also after a
// call that was cut short.
TEST(Generate, TheDeviceSamples) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;
  constexpr size_t kSteps = 50;
  struct {
    float temperature;
    uint32_t topK;
    float topP, minP;
    float takenTopP; // by the device
  } cases[] = {{0.5f, 3, 0, 0, 1},
               {2, 64, 0.5f, 0.25f, 0.5f},
               {0, 0, 0.5f, 0, 1},
               {1, 1, 0, 0, 1},
               {0.75f, 2, 1, 0.5f, 1}};
  for (int stopAt : {-1, 0, 7, 33}) {
    ModelHandle model = openGeneratingToy(true);
    std::vector<SessionHandle> owners;
    std::vector<mambit_session *> sessions;
    std::vector<SamplerHandle> samplerOwners;
    std::vector<mambit_sampler *> samplers;
    std::vector<int32_t> tokens, chosen;
    for (const auto &given : cases) {
      owners.push_back(createSession(model));
      sessions.push_back(owners.back().get());
      auto options = samplerOptions(given.temperature, given.topK);
      options.top_p = given.topP;
      options.min_p = given.minP;
      samplerOwners.push_back(createSampler(options));
      samplers.push_back(samplerOwners.back().get());
      tokens.push_back(int32_t(tokens.size()));
    }
    // More sequences than a run takes; one has no sampler.
    owners.push_back(createSession(model));
    sessions.push_back(owners.back().get());
    samplers.push_back(nullptr);
    tokens.push_back(6);

    std::vector<std::vector<int32_t>> found(sessions.size());
    std::vector<int32_t> first = tokens;
    size_t done = 0;
    if (stopAt >= 0) {
      // Of the first run's sequences alone.
      sessions.resize(kToyDecodeSequences);
      found.resize(kToyDecodeSequences);
      mambit_generate_batch batch =
          generateBatch(sessions, tokens, kSteps, chosen);
      batch.samplers = samplers.data();
      StopAt stop{0, stopAt};
      batch.poll = pollStopAt;
      batch.context = &stop;
      ASSERT_EQ(mambit_generate(&batch), MAMBIT_CANCELLED);
      done = stopAt;
      for (size_t i = 0; i < sessions.size(); ++i) {
        found[i].assign(chosen.begin() + i * kSteps,
                        chosen.begin() + i * kSteps + done);
        if (done)
          tokens[i] = found[i].back();
      }
    }
    mambit_generate_batch batch =
        generateBatch(sessions, tokens, kSteps - done, chosen);
    batch.samplers = samplers.data();
    ASSERT_EQ(mambit_generate(&batch), MAMBIT_OK) << mambit_last_error();
    for (size_t i = 0; i < sessions.size(); ++i) {
      found[i].insert(found[i].end(), chosen.begin() + i * (kSteps - done),
                      chosen.begin() + (i + 1) * (kSteps - done));
      ToyReference reference(kVocab);
      int32_t token = first[i];
      for (size_t step = 0; step < kSteps; ++step) {
        std::vector<float> row = reference.push(token, /*decode=*/true);
        token = std::max_element(row.begin(), row.end()) - row.begin();
        if (i < std::size(cases) && cases[i].temperature != 0)
          token = toyChoice(token, kVocab, 12345678901234567u + step * kGolden,
                            cases[i].temperature, int32_t(cases[i].topK),
                            cases[i].takenTopP, cases[i].minP);
        ASSERT_EQ(found[i][step], token)
            << "stop " << stopAt << " sequence " << i << " step " << step;
      }
    }
  }
}

// What no device serves, in the middle of what one could, and all of it where
// the device does not sample.
TEST(Generate, TheHostSamples) {
  constexpr size_t kSteps = 20;
  // The toy's logits lie far apart; this brings them together.
  constexpr float kHot = 1e6f;
  auto all = samplerOptions(kHot, 0), many = samplerOptions(kHot, 65),
       few = samplerOptions(kHot, 3), penalised = samplerOptions(0, 0);
  penalised.repetition_penalty = 1.5f;
  std::vector<std::pair<bool, std::vector<mambit_sampler_options>>> cases = {
      {true, {all, few}},
      {true, {few, many}},
      {true, {penalised}},
      {false, {few}},
      {false, {all, penalised, few, many}}};
  for (const auto &[samples, options] : cases) {
    ModelHandle model = openGeneratingToy(samples);
    std::vector<SessionHandle> owners;
    std::vector<mambit_session *> sessions;
    std::vector<SamplerHandle> samplerOwners, others;
    std::vector<mambit_sampler *> samplers;
    std::vector<int32_t> tokens, chosen;
    for (const mambit_sampler_options &given : options) {
      owners.push_back(createSession(model));
      sessions.push_back(owners.back().get());
      samplerOwners.push_back(createSampler(given));
      samplers.push_back(samplerOwners.back().get());
      others.push_back(createSampler(given));
      tokens.push_back(int32_t(tokens.size()));
    }
    std::vector<ToyReference> references(options.size(), ToyReference(kVocab));
    for (int call = 0; call < 2; ++call) {
      mambit_generate_batch batch =
          generateBatch(sessions, tokens, kSteps, chosen);
      batch.samplers = samplers.data();
      ASSERT_EQ(mambit_generate(&batch), MAMBIT_OK) << mambit_last_error();
      for (size_t i = 0; i < options.size(); ++i)
        for (size_t step = 0; step < kSteps; ++step) {
          std::vector<float> row = references[i].push(tokens[i], true);
          ASSERT_EQ(mambit_sampler_sample(others[i].get(), row.data(), kVocab,
                                          &tokens[i]),
                    MAMBIT_OK);
          ASSERT_EQ(mambit_sampler_accept(others[i].get(), &tokens[i], 1),
                    MAMBIT_OK);
          ASSERT_EQ(chosen[i * kSteps + step], tokens[i])
              << "sequence " << i << " step " << step;
        }
    }
  }
}

TEST(Generate, RefusesALogitThatIsNoNumber) {
  for (bool samples : {false, true}) {
    ToyOptions options = toyOptions();
    options.image = toyFile("toy-nan.so"); // with BIAS NaN
    options.samples = samples;
    ModelHandle model = openModel(TemporaryArtifact(options).path);
    SessionHandle session = createSession(model);
    std::vector<mambit_session *> sessions{session.get()};
    std::vector<int32_t> tokens{0}, chosen;
    mambit_generate_batch batch = generateBatch(sessions, tokens, 3, chosen);
    EXPECT_EQ(mambit_generate(&batch), MAMBIT_INTERNAL_ERROR);
    EXPECT_TRUE(lastErrorHas("the logit of token 0 is not a number"));
    uint64_t position;
    EXPECT_EQ(mambit_session_position(session.get(), &position),
              MAMBIT_INVALID_STATE);
  }
}

TEST(Generate, RefusesBadCalls) {
  ModelHandle model = openGeneratingToy(true);
  SessionHandle session = createSession(model);
  std::vector<mambit_session *> sessions{session.get()};
  std::vector<int32_t> tokens{0}, chosen;
  auto refused = [&](auto change, const char *message) {
    mambit_generate_batch batch = generateBatch(sessions, tokens, 4, chosen);
    change(batch);
    EXPECT_EQ(mambit_generate(&batch), MAMBIT_INVALID_ARGUMENT);
    EXPECT_TRUE(lastErrorHas(message)) << mambit_last_error();
    EXPECT_EQ(positionOf(session), 0u);
  };
  refused([](auto &batch) { batch.sequences = 0; }, "no sequences");
  refused([](auto &batch) { batch.tokens = nullptr; }, "'tokens' is null");
  refused([](auto &batch) { batch.steps = 0; }, "no steps");
  refused([](auto &batch) { batch.chosen = nullptr; }, "'chosen' is null");
  refused([](auto &batch) { batch.chosen_capacity = 3; },
          "'chosen' has room for 3 tokens, 1 times 4 are chosen");
  SamplerHandle sampler = createSampler(samplerOptions(1, 1));
  std::vector<mambit_sampler *> twice(2, sampler.get());
  SessionHandle second = createSession(model);
  sessions.push_back(second.get());
  tokens.push_back(0);
  refused([&](auto &batch) { batch.samplers = twice.data(); },
          "sampler 1 appears twice");
  tokens[0] = kVocab;
  refused([](auto &) {}, "token 0 is 7, the vocabulary has 7");
}

//===----------------------------------------------------------------------===//
// Cancellation
//===----------------------------------------------------------------------===//

TEST(Cancel, LeavesABoundaryOrAnInvalidSession) {
  ModelHandle model = openToy();
  // 20 tokens: pieces of 8, 8, 4; with 3 commands each is asked about three
  // times, first before it.
  std::vector<int32_t> tokens = randomTokens(20, 2);
  std::vector<size_t> offsets{0, 20};
  std::vector<float> expected = referenceRows(tokens);
  for (int stopAt = 0; stopAt <= 9; ++stopAt) {
    SessionHandle session = createSession(model);
    mambit_session *raw = session.get();
    StopAt stop{0, stopAt};
    std::vector<float> logits(20 * kVocab, -1);
    mambit_batch batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = &raw;
    batch.sequences = 1;
    batch.tokens = tokens.data();
    batch.offsets = offsets.data();
    batch.which = MAMBIT_LOGITS_ALL;
    batch.logits = logits.data();
    batch.logits_capacity = logits.size();
    batch.poll = pollStopAt;
    batch.context = &stop;
    mambit_status status = mambit_forward(&batch);
    if (stopAt == 9) {
      EXPECT_EQ(status, MAMBIT_OK);
      EXPECT_EQ(stop.calls, 9);
      continue;
    }
    EXPECT_EQ(status, MAMBIT_CANCELLED);
    size_t finished = stopAt / 3 * 8;
    EXPECT_TRUE(std::equal(logits.begin(), logits.begin() + finished * kVocab,
                           expected.begin()));
    EXPECT_EQ(logits[finished * kVocab], -1);
    uint64_t position = 99;
    if (stopAt % 3 == 0) {
      EXPECT_EQ(positionOf(session), finished);
      std::vector<float> rest((20 - finished) * kVocab);
      ASSERT_EQ(mambit_prefill(raw, tokens.data() + finished, 20 - finished,
                               MAMBIT_LOGITS_ALL, rest.data(), rest.size()),
                MAMBIT_OK);
      EXPECT_TRUE(std::equal(rest.begin(), rest.end(),
                             expected.begin() + finished * kVocab));
    } else {
      mambit_session *fork = nullptr;
      EXPECT_EQ(mambit_session_position(raw, &position), MAMBIT_INVALID_STATE);
      EXPECT_EQ(position, 99u);
      EXPECT_EQ(mambit_session_fork(raw, &fork), MAMBIT_INVALID_STATE);
      EXPECT_EQ(mambit_prefill(raw, tokens.data(), 20, MAMBIT_LOGITS_NONE,
                               nullptr, 0),
                MAMBIT_INVALID_STATE);
      ASSERT_EQ(mambit_session_reset(raw), MAMBIT_OK);
      ASSERT_EQ(mambit_prefill(raw, tokens.data(), 20, MAMBIT_LOGITS_ALL,
                               logits.data(), logits.size()),
                MAMBIT_OK);
      EXPECT_EQ(logits, expected);
    }
  }
}

TEST(Cancel, FromAnotherThread) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  mambit_session *raw = session.get();
  mambit_cancel *cancel = nullptr;
  ASSERT_EQ(mambit_cancel_create(&cancel), MAMBIT_OK);
  std::unique_ptr<mambit_cancel, Free> owner(cancel);
  std::vector<int32_t> tokens = randomTokens(20000, 3);
  std::vector<size_t> offsets{0, tokens.size()};
  // The request comes while the call is under way: poll says when it is.
  std::atomic<bool> underWay{false};
  std::thread other([&] {
    while (!underWay)
      std::this_thread::yield();
    mambit_cancel_request(cancel);
  });
  mambit_batch batch = MAMBIT_INIT(mambit_batch);
  batch.sessions = &raw;
  batch.sequences = 1;
  batch.tokens = tokens.data();
  batch.offsets = offsets.data();
  batch.cancel = cancel;
  batch.poll = [](void *context) {
    *static_cast<std::atomic<bool> *>(context) = true;
    return 0;
  };
  batch.context = &underWay;
  // Until the request has been seen; it stays raised.
  mambit_status status = MAMBIT_OK;
  while (status == MAMBIT_OK)
    status = mambit_forward(&batch);
  EXPECT_EQ(status, MAMBIT_CANCELLED);
  other.join();
  EXPECT_EQ(mambit_session_reset(raw), MAMBIT_OK);
  EXPECT_EQ(mambit_forward(&batch), MAMBIT_CANCELLED);
  EXPECT_EQ(positionOf(session), 0u);
  mambit_cancel_clear(cancel);
  batch.offsets = nullptr;
  EXPECT_EQ(mambit_forward(&batch), MAMBIT_OK);
  EXPECT_EQ(positionOf(session), 1u);
}

TEST(Cancel, ASessionInUseIsBusy) {
  ModelHandle model = openToy();
  SessionHandle session = createSession(model);
  mambit_session *raw = session.get();
  struct Context {
    std::atomic<int> phase{0};
  } context;
  std::vector<int32_t> tokens = randomTokens(4, 3);
  std::thread other([&] {
    mambit_batch batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = &raw;
    batch.sequences = 1;
    batch.tokens = tokens.data();
    batch.context = &context;
    batch.poll = [](void *context) {
      auto &phase = static_cast<Context *>(context)->phase;
      if (phase == 0) // the first time
        phase = 1;
      while (phase != 2)
        std::this_thread::yield();
      return 0;
    };
    EXPECT_EQ(mambit_forward(&batch), MAMBIT_OK);
  });
  while (context.phase != 1)
    std::this_thread::yield();
  uint64_t position;
  EXPECT_EQ(mambit_decode(&raw, 1, tokens.data(), nullptr, 0), MAMBIT_BUSY);
  EXPECT_EQ(mambit_session_reset(raw), MAMBIT_BUSY);
  EXPECT_EQ(mambit_session_position(raw, &position), MAMBIT_BUSY);
  context.phase = 2;
  other.join();
  EXPECT_EQ(positionOf(session), 1u);
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

TEST(Text, RoundTripsThroughCallersBuffers) {
  ModelHandle model = openModel(TemporaryArtifact(textOptions()).path);
  const std::string text = "The h\xc3\xb6use.";
  size_t count = 0;
  ASSERT_EQ(mambit_encode(model.get(), text.data(), text.size(), 1, nullptr, 0,
                          &count),
            MAMBIT_BUFFER_TOO_SMALL);
  std::vector<int32_t> tokens(count);
  ASSERT_EQ(mambit_encode(model.get(), text.data(), text.size(), 1,
                          tokens.data(), count, &count),
            MAMBIT_OK);
  EXPECT_EQ(tokens[0], 1);
  size_t length = 0;
  ASSERT_EQ(mambit_decode_text(model.get(), tokens.data(), count, nullptr, 0,
                               &length),
            MAMBIT_BUFFER_TOO_SMALL);
  std::string decoded(length, 0);
  ASSERT_EQ(mambit_decode_text(model.get(), tokens.data(), count, &decoded[0],
                               length, &length),
            MAMBIT_OK);
  EXPECT_EQ(decoded, text);

  mambit_decoder *raw = nullptr;
  ASSERT_EQ(mambit_decoder_create(model.get(), &raw), MAMBIT_OK);
  std::unique_ptr<mambit_decoder, Free> decoder(raw);
  model.reset(); // the decoder keeps it
  std::string streamed;
  const char *part = nullptr;
  for (int32_t token : tokens) {
    ASSERT_EQ(mambit_decoder_push(raw, token, &part, &length), MAMBIT_OK);
    EXPECT_EQ(strlen(part), length);
    streamed.append(part, length);
  }
  ASSERT_EQ(mambit_decoder_finish(raw, &part, &length), MAMBIT_OK);
  EXPECT_EQ(streamed + part, text);
  EXPECT_EQ(mambit_decoder_push(raw, 4100, &part, &length),
            MAMBIT_INVALID_ARGUMENT);
  EXPECT_EQ(mambit_decoder_push(raw, 4099, &part, &length), MAMBIT_OK);
}

TEST(Text, NeedsATokenizer) {
  ModelHandle model = openToy();
  size_t size = 0;
  int32_t token = 1;
  mambit_decoder *decoder = nullptr;
  EXPECT_EQ(mambit_encode(model.get(), "a", 1, 0, &token, 1, &size),
            MAMBIT_UNSUPPORTED);
  EXPECT_EQ(mambit_decode_text(model.get(), &token, 1, nullptr, 0, &size),
            MAMBIT_UNSUPPORTED);
  EXPECT_EQ(mambit_decoder_create(model.get(), &decoder), MAMBIT_UNSUPPORTED);
  EXPECT_TRUE(lastErrorHas("no tokenizer"));
}

TEST(LastError, BelongsToTheThread) {
  EXPECT_EQ(mambit_forward(nullptr), MAMBIT_INVALID_ARGUMENT);
  EXPECT_TRUE(lastErrorHas("'batch' is null"));
  std::thread([] { EXPECT_STREQ(mambit_last_error(), ""); }).join();
}

} // namespace
