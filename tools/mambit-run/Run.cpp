//===- Run.cpp - runs a model on a prompt ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-run/Run.h"

#include "runtime/Error.h"
#include "tools/common/Npy.h"
#include "tools/common/Progress.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

using namespace mambit;
using namespace mambit::tools;

namespace {

constexpr uint64_t kDefaultCount = 128;

class Stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
};

/// Prints tokens as they come: text, or ids separated by blanks.
class TokenStream {
public:
  TokenStream(const Model &model, bool text) {
    if (!text)
      return;
    mambit_decoder *created;
    check(mambit_decoder_create(model.get(), &created));
    decoder.reset(created);
  }

  /// The text of a continuation depends on what it continues.
  void pushPrompt(const std::vector<int32_t> &ids, bool echo) {
    for (int32_t id : ids)
      push(id, echo);
  }

  void push(int32_t id, bool visible = true) {
    if (decoder) {
      const char *text;
      size_t length;
      check(mambit_decoder_push(decoder.get(), id, &text, &length));
      if (visible)
        print(text, length);
    } else if (visible) {
      std::string text = (empty ? "" : " ") + std::to_string(id);
      print(text.data(), text.size());
      empty = false;
    }
  }

  void finish() {
    if (decoder) {
      const char *text;
      size_t length;
      check(mambit_decoder_finish(decoder.get(), &text, &length));
      print(text, length);
    }
    print("\n", 1);
  }

private:
  static void print(const char *text, size_t length) {
    if (length != 0 && (std::fwrite(text, 1, length, stdout) != length ||
                        std::fflush(stdout) != 0))
      fail("cannot write to standard output");
  }

  Decoder decoder; // null: ids
  bool empty = true;
};

struct Timing {
  uint64_t promptTokens = 0;
  double promptSeconds = 0; // until the first token, if there is one
  uint64_t tokens = 0;
  double seconds = 0; // of the tokens after the first

  /// To standard error: standard output is the model's.
  void print() const {
    double promptRate = double(promptTokens) / promptSeconds;
    if (tokens == 0)
      std::fprintf(stderr, "prompt: %ju tokens in %.3f s, %.1f tokens/s\n",
                   uintmax_t(promptTokens), promptSeconds, promptRate);
    else
      std::fprintf(stderr,
                   "time to first token: %.1f ms (%ju prompt tokens, %.1f "
                   "tokens/s)\n",
                   promptSeconds * 1e3, uintmax_t(promptTokens), promptRate);
    if (tokens > 1)
      std::fprintf(stderr, "generated: %ju tokens, %.1f tokens/s\n",
                   uintmax_t(tokens), double(tokens - 1) / seconds);
    else if (tokens == 1)
      std::fprintf(stderr, "generated: 1 token\n");
  }
};

class Runner {
public:
  explicit Runner(const RunOptions &options)
      : options(options), model(options.model),
        count(options.count.value_or(options.logitsFile.empty() ? kDefaultCount
                                                                : 0)) {
    readPrompt();
    session = model.createSession();
  }

  int run() {
    bool text = model.info().has_tokenizer && !options.greedyIds;
    TokenStream stream(model, text);
    stream.pushPrompt(prompt, options.echo);
    int status = 0;
    try {
      runPrompt();
      generate(stream);
    } catch (const Interrupted &) {
      status = kInterrupted;
    }
    if (timing.tokens != 0 || options.echo || options.greedyIds)
      stream.finish();
    if (timing.promptSeconds > 0)
      timing.print();
    return status;
  }

private:
  void readPrompt();
  void runPrompt();
  void generate(TokenStream &stream);
  Sampler createSampler() const;

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
  }

  const RunOptions &options;
  Model model;
  uint64_t count;
  std::vector<int32_t> prompt;
  Session session;
  InterruptGuard interrupt;
  std::vector<float> logits;
  Timing timing;
};

} // namespace

void Runner::readPrompt() {
  if (!options.idsFile.empty()) {
    prompt = readIds(options.idsFile);
    model.checkIds(prompt, options.idsFile);
  } else {
    std::string text =
        options.prompt ? *options.prompt : readText(options.promptFile);
    prompt = model.encode(text, !options.noBos);
  }
  if (prompt.empty())
    fail("the prompt has no tokens");
}

void Runner::runPrompt() {
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
  timing.promptTokens = prompt.size();
  timing.promptSeconds = time.seconds();
}

Sampler Runner::createSampler() const {
  auto sampling = MAMBIT_INIT(mambit_sampler_options);
  bool random = options.topK || options.topP != 0 || options.seed;
  sampling.temperature = options.temperature.value_or(random ? 1 : 0);
  sampling.top_k = options.topK;
  sampling.top_p = options.topP;
  sampling.seed = options.seed.value_or(0);
  mambit_sampler *created;
  check(mambit_sampler_create(&sampling, &created));
  return Sampler(created);
}

void Runner::generate(TokenStream &stream) {
  Sampler sampler = createSampler();
  int32_t eos =
      options.ignoreEos || options.greedyIds ? -1 : model.info().eos_id;
  Stopwatch time;
  for (uint64_t i = 0; i < count; ++i) {
    int32_t token;
    check(mambit_sampler_sample(sampler.get(), logits.data(), logits.size(),
                                &token));
    if (token == eos)
      break;
    stream.push(token);
    ++timing.tokens;
    if (i == 0)
      timing.promptSeconds += time.seconds();
    else
      timing.seconds = time.seconds();
    if (i + 1 < count)
      forward(&token, 1, MAMBIT_LOGITS_LAST);
  }
}

int tools::run(const RunOptions &options) { return Runner(options).run(); }
