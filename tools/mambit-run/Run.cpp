//===- Run.cpp - runs a model on a prompt ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-run/Run.h"

#include "runtime/Error.h"
#include "tools/common/Npy.h"
#include "tools/common/Progress.h"
#include "tools/mambit-run/Output.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <unistd.h>

using namespace mambit;
using namespace mambit::tools;

namespace {

constexpr uint64_t kDefaultCount = 128;
// Tokens that the device may choose before they are printed: what it makes in
// the time after which a pause is seen.
constexpr uint64_t kMostAhead = 16;
constexpr double kSecondsAhead = 0.05;

class Stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
};

class Runner {
public:
  explicit Runner(const RunOptions &options)
      : options(options), model(options.model),
        count(options.count.value_or(options.logitsFile.empty() ? kDefaultCount
                                                                : 0)) {
    if (!options.stops.empty() && !model.info().has_tokenizer)
      fail("the model has no tokenizer: it has no text to stop at");
    openSession();
    readPrompt();
  }

  int run() {
    using Form = Output::Form;
    Output output(model,
                  options.greedyIds   ? Form::Ids
                  : options.jsonLines ? Form::JsonLines
                                      : Form::Text,
                  options.stops);
    output.context(history, /*visible=*/false);
    output.context(prompt, options.echo);
    int status = 0;
    try {
      runPrompt();
      output.promptDone(totals);
      generate(output);
      saveSession();
    } catch (const Interrupted &) {
      status = kInterrupted;
      totals.reason = "interrupted";
    }
    totals.position = history.size();
    output.end(totals, totals.tokens != 0 || options.echo || options.greedyIds);
    return status;
  }

private:
  void openSession();
  void saveSession() const;
  void readPrompt();
  void runPrompt();
  void generate(Output &output);
  float getTemperature() const;
  Sampler createSampler() const;
  void runAhead(int32_t token, uint64_t steps, mambit_sampler *sampler);
  void settle(std::optional<int32_t> token);

  /// Runs tokens; `logits` then holds the rows that are wanted.
  void forward(const int32_t *tokens, size_t size, mambit_logits which) {
    size_t rows = which == MAMBIT_LOGITS_ALL    ? size
                  : which == MAMBIT_LOGITS_LAST ? 1
                                                : 0;
    logits.resize(rows * model.info().vocab_size);
    mambit_session *sequence = session.get();
    const size_t offsets[] = {0, size};
    auto batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = &sequence;
    batch.sequences = 1;
    batch.tokens = tokens;
    batch.offsets = offsets;
    batch.which = which;
    batch.logits = rows ? logits.data() : nullptr;
    batch.logits_capacity = logits.size();
    tools::forward(batch, interrupt);
    history.insert(history.end(), tokens, tokens + size);
  }

  const RunOptions &options;
  Model model;
  uint64_t count;
  std::vector<int32_t> history; // what the session has taken in
  std::vector<int32_t> prompt;
  Session session;
  InterruptGuard interrupt;
  std::vector<float> logits; // after the last token, between calls
  // Tokens that are chosen but not yet printed, all of which but the last the
  // session has taken in; and, if the state is to be saved, the session before
  // the call that chose them, and its history.
  std::deque<int32_t> ahead;
  Session before;
  size_t historyBefore = 0;
  Totals totals;
};

} // namespace

// The note of a snapshot: the number of tokens, the tokens, and the logits
// after the last of them, so that a run without a prompt can go on.

void Runner::openSession() {
  const std::string &path = options.stateFile;
  bool isNew =
      !path.empty() && ::access(path.c_str(), F_OK) != 0 && errno == ENOENT;
  // Rather than when all tokens have been generated.
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (isNew && ::access(folder.empty() ? "." : folder.c_str(), W_OK) != 0)
    fail("cannot write '", path, "': ", std::strerror(errno));
  if (path.empty() || isNew) {
    session = model.createSession();
    return;
  }
  std::vector<char> note;
  size_t size = 0;
  mambit_session *loaded;
  mambit_status status = mambit_session_load(
      model.get(), path.c_str(), note.data(), note.size(), &size, &loaded);
  if (status == MAMBIT_BUFFER_TOO_SMALL) {
    note.resize(size);
    status = mambit_session_load(model.get(), path.c_str(), note.data(),
                                 note.size(), &size, &loaded);
  }
  check(status);
  session.reset(loaded);

  uint64_t position, tokens = 0;
  check(mambit_session_position(loaded, &position));
  logits.resize(model.info().vocab_size);
  size_t logitBytes = logits.size() * sizeof(float);
  if (note.size() >= sizeof(tokens))
    std::memcpy(&tokens, note.data(), sizeof(tokens));
  if (tokens != position || note.size() < sizeof(tokens) + logitBytes ||
      (note.size() - sizeof(tokens) - logitBytes) / sizeof(int32_t) != tokens)
    fail("'", path, "' was not saved by mambit-run: expected ", position,
         " tokens and ", logits.size(), " logits beside the state, found ",
         note.size(), " bytes");
  history.resize(tokens);
  const char *source = note.data() + sizeof(tokens);
  std::memcpy(history.data(), source, tokens * sizeof(int32_t));
  std::memcpy(logits.data(), source + tokens * sizeof(int32_t), logitBytes);
  model.checkIds(history, path);
}

void Runner::saveSession() const {
  if (options.stateFile.empty())
    return;
  uint64_t tokens = history.size();
  std::vector<char> note;
  auto append = [&](const void *data, size_t size) {
    const char *bytes = static_cast<const char *>(data);
    note.insert(note.end(), bytes, bytes + size);
  };
  append(&tokens, sizeof(tokens));
  append(history.data(), history.size() * sizeof(int32_t));
  append(logits.data(), logits.size() * sizeof(float));
  check(mambit_session_save(session.get(), options.stateFile.c_str(),
                            note.data(), note.size()));
}

void Runner::readPrompt() {
  if (!options.idsFile.empty()) {
    prompt = readIds(options.idsFile);
    model.checkIds(prompt, options.idsFile);
  } else if (options.prompt || !options.promptFile.empty()) {
    std::string text =
        options.prompt ? *options.prompt : readText(options.promptFile);
    prompt = model.encode(text, !options.noBos && history.empty());
  }
  if (prompt.empty() && history.empty())
    fail("the prompt has no tokens");
  if (prompt.empty() && !options.logitsFile.empty())
    fail("--logits needs a prompt with tokens");
}

void Runner::runPrompt() {
  if (prompt.empty())
    return;
  uint64_t vocab = model.info().vocab_size;
  std::optional<NpyWriter> writer;
  if (!options.logitsFile.empty())
    writer.emplace(options.logitsFile, NpyType::F32,
                   NpyShape{prompt.size(), vocab});

  // A call of more tokens than the runtime's pieces gains nothing, and its
  // logits would take memory.
  size_t piece = model.info().max_tokens;
  size_t chunk = options.decode ? 1 : options.chunk;
  Progress progress("prompt", prompt.size(), "tokens");
  Stopwatch time;
  for (size_t done = 0; done < prompt.size();) {
    size_t size = std::min(piece, prompt.size() - done);
    if (chunk)
      size = std::min(size, chunk - done % chunk);
    bool last = done + size == prompt.size();
    forward(prompt.data() + done, size,
            writer ? MAMBIT_LOGITS_ALL
            : last ? MAMBIT_LOGITS_LAST
                   : MAMBIT_LOGITS_NONE);
    if (writer)
      writer->write(logits.data(), logits.size() * sizeof(float));
    done += size;
    progress.update(done);
  }
  if (writer)
    writer->finish();
  logits.erase(logits.begin(), logits.end() - vocab);
  totals.promptTokens = prompt.size();
  totals.promptSeconds = time.seconds();
}

float Runner::getTemperature() const {
  bool random =
      options.topK || options.topP != 0 || options.minP != 0 || options.seed;
  return options.temperature.value_or(random ? 1 : 0);
}

Sampler Runner::createSampler() const {
  auto sampling = MAMBIT_INIT(mambit_sampler_options);
  sampling.temperature = getTemperature();
  sampling.top_k = options.topK;
  sampling.top_p = options.topP;
  sampling.seed = options.seed.value_or(0);
  sampling.min_p = options.minP;
  // The runtime's 0 is all tokens; here it is none and -1 is all.
  if (options.repeatLast != 0)
    sampling.repetition_penalty = options.repeatPenalty;
  if (options.repeatLast > 0)
    sampling.repetition_window = uint32_t(options.repeatLast);
  mambit_sampler *created;
  check(mambit_sampler_create(&sampling, &created));
  Sampler sampler(created);
  check(mambit_sampler_accept(created, history.data(), history.size()));
  return sampler;
}

/// Takes in a token and, one after the other, those chosen to follow it.
void Runner::runAhead(int32_t token, uint64_t steps, mambit_sampler *sampler) {
  if (!options.stateFile.empty()) {
    mambit_session *fork;
    check(mambit_session_fork(session.get(), &fork));
    before.reset(fork);
    historyBefore = history.size();
  }
  mambit_session *sequence = session.get();
  std::vector<int32_t> chosen(steps);
  auto batch = MAMBIT_INIT(mambit_generate_batch);
  batch.sessions = &sequence;
  batch.sequences = 1;
  batch.samplers = &sampler;
  batch.tokens = &token;
  batch.steps = steps;
  batch.chosen = chosen.data();
  batch.chosen_capacity = steps;
  batch.cancel = interrupt.flag();
  mambit_status status = mambit_generate(&batch);
  if (status == MAMBIT_CANCELLED)
    throw Interrupted();
  check(status);
  ahead.assign(chosen.begin(), chosen.end());
  history.push_back(token);
}

/// At the end, if the state is to be saved: has the session take in what was
/// printed, `token` as the last if it did not, with the logits after it.
void Runner::settle(std::optional<int32_t> token) {
  if (options.stateFile.empty())
    return;
  std::vector<int32_t> tokens;
  if (before && !(ahead.empty() && token)) {
    session = std::move(before);
    tokens.assign(history.begin() + historyBefore, history.end());
    history.resize(historyBefore);
  }
  if (token)
    tokens.push_back(*token);
  for (size_t i = 0; i < tokens.size(); ++i)
    forward(&tokens[i], 1,
            i + 1 == tokens.size() ? MAMBIT_LOGITS_LAST : MAMBIT_LOGITS_NONE);
}

void Runner::generate(Output &output) {
  Sampler sampler = createSampler();
  int32_t eos =
      options.ignoreEos || options.greedyIds ? -1 : model.info().eos_id;
  double secondsOfToken = kSecondsAhead; // to take one in, as the last was
  totals.reason = "length";
  Stopwatch time;
  for (uint64_t i = 0; i < count; ++i) {
    int32_t token;
    if (ahead.empty()) {
      check(mambit_sampler_sample(sampler.get(), logits.data(), logits.size(),
                                  &token));
      check(mambit_sampler_accept(sampler.get(), &token, 1));
    } else {
      token = ahead.front();
      ahead.pop_front();
    }
    if (token == eos) {
      totals.reason = "eos";
      return settle(std::nullopt);
    }
    bool stopped = !output.token(token);
    ++totals.tokens;
    if (i == 0)
      totals.promptSeconds += time.seconds();
    else
      totals.seconds = time.seconds();
    if (stopped)
      totals.reason = "stop";
    if (stopped || i + 1 == count)
      return settle(token);
    if (!ahead.empty()) { // the session has it
      history.push_back(token);
      continue;
    }
    uint64_t steps =
        std::min({kMostAhead, count - i - 1,
                  uint64_t(kSecondsAhead / std::max(secondsOfToken, 1e-6))});
    Stopwatch taking;
    if (steps > 1) {
      runAhead(token, steps, sampler.get());
    } else {
      steps = 1;
      forward(&token, 1, MAMBIT_LOGITS_LAST);
    }
    secondsOfToken = taking.seconds() / double(steps);
  }
}

int tools::run(const RunOptions &options) { return Runner(options).run(); }
