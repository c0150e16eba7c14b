//===- CApi.cpp - the C interface -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Model.h"
#include "runtime/Sampler.h"
#include "runtime/Status.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <unordered_set>

using namespace mambit;

struct mambit_model {
  std::shared_ptr<Model> model;
};

struct mambit_session {
  std::unique_ptr<Session> session;
};

struct mambit_cancel {
  std::atomic<bool> requested{false};
};
static_assert(std::atomic<bool>::is_always_lock_free,
              "signal handlers may request");

struct mambit_sampler {
  Sampler sampler;
};

struct mambit_decoder {
  std::shared_ptr<Model> model;
  Decoder decoder;
  std::string text;
};

//===----------------------------------------------------------------------===//
// Errors and arguments
//===----------------------------------------------------------------------===//

namespace {

thread_local std::string lastError;

mambit_status report(mambit_status status, const char *message) noexcept {
  try {
    lastError = message;
  } catch (...) {
    lastError.clear();
  }
  return status;
}

/// Runs the body of a function of the interface. `otherwise` is the status of
/// an Error that carries none.
template <typename Body>
mambit_status guarded(mambit_status otherwise, Body body) noexcept {
  try {
    body();
    return MAMBIT_OK;
  } catch (const StatusError &error) {
    return report(error.status, error.what());
  } catch (const Error &error) {
    return report(otherwise, error.what());
  } catch (const std::bad_alloc &) {
    return report(MAMBIT_OUT_OF_RESOURCES, "out of memory");
  } catch (const std::exception &error) {
    return report(MAMBIT_INTERNAL_ERROR, error.what());
  } catch (...) {
    return report(MAMBIT_INTERNAL_ERROR, "unknown exception");
  }
}

template <typename... Parts>
[[noreturn]] void refuse(const Parts &...parts) {
  failWith(MAMBIT_INVALID_ARGUMENT, parts...);
}

void require(const void *pointer, const char *name) {
  if (!pointer)
    refuse("'", name, "' is null");
}

/// A structure of the caller, whose header may be older or newer than ours:
/// fields it lacks are zero, and fields we lack must be.
template <typename T>
T readStructure(const T *given, const char *name) {
  require(given, name);
  T result{};
  if (given->size < sizeof(size_t))
    refuse("the size of '", name, "' is ", given->size,
           "; it is to be sizeof the structure");
  const char *bytes = reinterpret_cast<const char *>(given);
  for (size_t i = sizeof(T); i < given->size; ++i)
    if (bytes[i] != 0)
      refuse("'", name, "' sets a field that this version, ",
             mambit_version_string(), ", does not have");
  memcpy(&result, given, std::min(given->size, sizeof(T)));
  return result;
}

const Tokenizer &tokenizerOf(const Model &model) {
  if (!model.tokenizer())
    failWith(MAMBIT_UNSUPPORTED, "the model has no tokenizer");
  return *model.tokenizer();
}

void checkTokens(const int32_t *tokens, size_t count, size_t vocab) {
  for (size_t i = 0; i < count; ++i)
    if (tokens[i] < 0 || size_t(tokens[i]) >= vocab)
      refuse("token ", i, " is ", tokens[i], ", the vocabulary has ", vocab);
}

} // namespace

//===----------------------------------------------------------------------===//
// Version, status
//===----------------------------------------------------------------------===//

uint32_t mambit_version(void) { return MAMBIT_VERSION; }

#define MAMBIT_TEXT_(x) #x
#define MAMBIT_TEXT(x) MAMBIT_TEXT_(x)

const char *mambit_version_string(void) {
  return MAMBIT_TEXT(MAMBIT_VERSION_MAJOR) "." MAMBIT_TEXT(
      MAMBIT_VERSION_MINOR) "." MAMBIT_TEXT(MAMBIT_VERSION_PATCH);
}

const char *mambit_status_name(mambit_status status) {
  switch (status) {
  case MAMBIT_OK:
    return "ok";
  case MAMBIT_INVALID_ARGUMENT:
    return "invalid argument";
  case MAMBIT_INVALID_ARTIFACT:
    return "invalid artifact";
  case MAMBIT_UNSUPPORTED:
    return "unsupported";
  case MAMBIT_OUT_OF_RESOURCES:
    return "out of resources";
  case MAMBIT_BUFFER_TOO_SMALL:
    return "buffer too small";
  case MAMBIT_BUSY:
    return "busy";
  case MAMBIT_INVALID_STATE:
    return "invalid state";
  case MAMBIT_CANCELLED:
    return "cancelled";
  case MAMBIT_INTERNAL_ERROR:
    return "internal error";
  case MAMBIT_INVALID_SNAPSHOT:
    return "invalid snapshot";
  }
  return "unknown status";
}

const char *mambit_last_error(void) { return lastError.c_str(); }

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

mambit_status mambit_model_open(const char *path,
                                const mambit_model_options *options,
                                mambit_model **model) {
  return guarded(MAMBIT_INVALID_ARTIFACT, [&] {
    require(path, "path");
    require(model, "model");
    ModelOptions wanted;
    if (options) {
      mambit_model_options given = readStructure(options, "options");
      if (given.device)
        wanted.device = given.device;
      if (given.target)
        wanted.target = given.target;
      wanted.threads = given.threads;
      if (given.threads > 4096)
        refuse("expected at most 4096 threads, found ", given.threads);
      if (given.max_sessions)
        wanted.maxSessions = given.max_sessions;
      if (wanted.maxSessions > (1u << 20))
        refuse("expected at most ", 1u << 20, " sessions, found ",
               wanted.maxSessions);
      wanted.weightChecksums = !given.skip_weight_checksums;
    }
    *model = new mambit_model{Model::open(path, wanted)};
  });
}

void mambit_model_free(mambit_model *model) { delete model; }

mambit_status mambit_model_get_info(const mambit_model *model,
                                    mambit_model_info *info) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(model, "model");
    require(info, "info");
    if (info->size < sizeof(size_t))
      refuse("the size of 'info' is ", info->size,
             "; it is to be sizeof the structure");
    const Model &m = *model->model;
    const artifact::Index &index = m.artifact().index();
    mambit_model_info known = MAMBIT_INIT(mambit_model_info);
    known.size = info->size;
    known.producer = index.producer()->c_str();
    known.format = "";
    known.state_dtype = "f32";
    if (const artifact::ModelConfig *config = index.config()) {
      if (config->format())
        known.format = config->format()->c_str();
      if (config->state_dtype())
        known.state_dtype = config->state_dtype()->c_str();
      known.d_model = config->d_model();
      known.layers = config->layers();
      known.parameters = config->parameters();
      known.activation_bits = config->activation_bits();
    }
    known.device = m.deviceTables().kind()->c_str();
    known.target = m.target().c_str();
    known.vocab_size = m.vocabSize();
    for (unsigned i = 0; i < index.weights()->size(); ++i)
      known.weight_bytes += m.artifact().weight(i).size;
    known.session_bytes = m.deviceTables().slot_bytes();
    known.threads = m.device().threads();
    known.max_sessions = m.maxSessions();
    known.max_tokens = m.prefillCapacity().tokens;
    known.max_sequences = m.decodeCapacity().sequences;
    known.has_tokenizer = m.tokenizer().has_value();
    known.bos_id = m.tokenizer() ? m.tokenizer()->bos() : -1;
    known.eos_id = m.tokenizer() ? m.tokenizer()->eos() : -1;
    known.hash = m.hash();
    memcpy(info, &known, std::min(info->size, sizeof(known)));
  });
}

//===----------------------------------------------------------------------===//
// Session
//===----------------------------------------------------------------------===//

mambit_status mambit_session_create(mambit_model *model,
                                    mambit_session **session) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(model, "model");
    require(session, "session");
    *session = new mambit_session{std::make_unique<Session>(model->model)};
  });
}

mambit_status mambit_session_fork(const mambit_session *session,
                                  mambit_session **fork) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(session, "session");
    require(fork, "fork");
    *fork = new mambit_session{session->session->fork()};
  });
}

mambit_status mambit_session_reset(mambit_session *session) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(session, "session");
    session->session->reset();
  });
}

void mambit_session_free(mambit_session *session) { delete session; }

mambit_status mambit_session_save(const mambit_session *session,
                                  const char *path, const void *note,
                                  size_t note_size) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(session, "session");
    require(path, "path");
    if (note_size != 0)
      require(note, "note");
    session->session->save(path,
                           {static_cast<const uint8_t *>(note), note_size});
  });
}

mambit_status mambit_session_load(mambit_model *model, const char *path,
                                  void *note, size_t note_capacity,
                                  size_t *note_size, mambit_session **session) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(model, "model");
    require(path, "path");
    require(note_size, "note_size");
    require(session, "session");
    if (note_capacity != 0)
      require(note, "note");
    Snapshot snapshot = model->model->openSnapshot(path);
    artifact::Bytes bytes = snapshot.note();
    *note_size = bytes.size;
    if (bytes.size > note_capacity)
      failWith(MAMBIT_BUFFER_TOO_SMALL, "the note has ", bytes.size,
               " bytes, the buffer ", note_capacity);
    *session = new mambit_session{Session::restore(model->model, snapshot)};
    if (bytes.size != 0)
      memcpy(note, bytes.data, bytes.size);
  });
}

mambit_status mambit_session_position(const mambit_session *session,
                                      uint64_t *position) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(session, "session");
    require(position, "position");
    Session::Use use(*session->session);
    *position = session->session->position();
  });
}

//===----------------------------------------------------------------------===//
// Cancellation
//===----------------------------------------------------------------------===//

mambit_status mambit_cancel_create(mambit_cancel **cancel) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(cancel, "cancel");
    *cancel = new mambit_cancel;
  });
}

void mambit_cancel_request(mambit_cancel *cancel) {
  if (cancel)
    cancel->requested = true;
}

void mambit_cancel_clear(mambit_cancel *cancel) {
  if (cancel)
    cancel->requested = false;
}

void mambit_cancel_free(mambit_cancel *cancel) { delete cancel; }

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

namespace {

/// The sequences of a call, checked: offsets, and no session twice.
Batch checkSequences(const mambit_batch &given) {
  Batch batch;
  require(given.sessions, "sessions");
  if (given.sequences == 0)
    refuse("there are no sequences");
  std::unordered_set<const Session *> seen;
  for (size_t i = 0; i < given.sequences; ++i) {
    if (!given.sessions[i])
      refuse("session ", i, " is null");
    Session *session = given.sessions[i]->session.get();
    if (&session->model() != &given.sessions[0]->session->model())
      refuse("session ", i, " is of another model than session 0");
    if (!seen.insert(session).second)
      refuse("session ", i, " appears twice");
    batch.sessions.push_back(session);
  }
  require(given.tokens, "tokens");
  for (size_t i = 0; i <= given.sequences; ++i)
    batch.offsets.push_back(given.offsets ? given.offsets[i] : i);
  if (batch.offsets[0] != 0)
    refuse("the first offset is ", batch.offsets[0], ", expected 0");
  for (size_t i = 0; i < given.sequences; ++i)
    if (batch.offsets[i + 1] <= batch.offsets[i])
      refuse("sequence ", i, " has no tokens: its offsets are ",
             batch.offsets[i], " and ", batch.offsets[i + 1]);
  batch.tokens = given.tokens;
  return batch;
}

void checkLogits(const mambit_batch &given, const Batch &batch, size_t vocab) {
  size_t rows = 0;
  switch (given.which) {
  case MAMBIT_LOGITS_NONE:
    return;
  case MAMBIT_LOGITS_LAST:
    rows = given.sequences;
    break;
  case MAMBIT_LOGITS_ALL:
    rows = batch.offsets.back();
    break;
  default:
    refuse("'which' is ", int(given.which), ", which is no mambit_logits");
  }
  require(given.logits, "logits");
  if (given.logits_capacity / vocab < rows)
    refuse("'logits' has room for ", given.logits_capacity, " floats, ", rows,
           " rows of ", vocab, " are wanted");
}

/// Whether a call is to end. `given` is the caller's structure.
template <typename T>
std::function<bool()> stopOf(const T &given) {
  return [&given] {
    try {
      return (given.cancel && given.cancel->requested) ||
             (given.poll && given.poll(given.context) != 0);
    } catch (...) { // of a caller in C++: the threads are not to be left alone
      return true;
    }
  };
}

/// Marks sessions as in use, none of which is to be reset.
std::vector<Session::Use> useAll(const std::vector<Session *> &sessions) {
  std::vector<Session::Use> uses;
  for (const Session *session : sessions) {
    uses.emplace_back(*session);
    session->position(); // throws if it is to be reset
  }
  return uses;
}

void forward(const mambit_batch &given) {
  Batch batch = checkSequences(given);
  Model &model = batch.sessions[0]->model();
  checkLogits(given, batch, model.vocabSize());
  checkTokens(batch.tokens, batch.offsets.back(), model.vocabSize());
  batch.which = given.which;
  batch.logits = given.logits;
  batch.stop = stopOf(given);
  std::vector<Session::Use> uses = useAll(batch.sessions);
  if (!model.forward(batch))
    failWith(MAMBIT_CANCELLED, "stopped on request");
}

void generate(const mambit_generate_batch &given) {
  mambit_batch sequences = MAMBIT_INIT(mambit_batch);
  sequences.sessions = given.sessions;
  sequences.sequences = given.sequences;
  sequences.tokens = given.tokens;
  Generation batch;
  batch.sessions = checkSequences(sequences).sessions;
  Model &model = batch.sessions[0]->model();
  checkTokens(given.tokens, given.sequences, model.vocabSize());
  if (given.steps == 0)
    refuse("there are no steps");
  require(given.chosen, "chosen");
  if (given.chosen_capacity / given.steps < given.sequences)
    refuse("'chosen' has room for ", given.chosen_capacity, " tokens, ",
           given.sequences, " times ", given.steps, " are chosen");
  batch.samplers.resize(given.sequences);
  std::unordered_set<const mambit_sampler *> seen;
  for (size_t i = 0; given.samplers && i < given.sequences; ++i)
    if (mambit_sampler *sampler = given.samplers[i]) {
      if (!seen.insert(sampler).second)
        refuse("sampler ", i, " appears twice");
      batch.samplers[i] = &sampler->sampler;
    }
  batch.tokens = given.tokens;
  batch.steps = given.steps;
  batch.chosen = given.chosen;
  batch.stop = stopOf(given);
  std::vector<Session::Use> uses = useAll(batch.sessions);
  if (!model.generate(batch))
    failWith(MAMBIT_CANCELLED, "stopped on request");
}

} // namespace

mambit_status mambit_forward(const mambit_batch *batch) {
  return guarded(MAMBIT_INTERNAL_ERROR,
                 [&] { forward(readStructure(batch, "batch")); });
}

mambit_status mambit_prefill(mambit_session *session, const int32_t *tokens,
                             size_t count, mambit_logits which, float *logits,
                             size_t logits_capacity) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(session, "session");
    const size_t offsets[] = {0, count};
    mambit_batch batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = &session;
    batch.sequences = 1;
    batch.tokens = tokens;
    batch.offsets = offsets;
    batch.which = which;
    batch.logits = logits;
    batch.logits_capacity = logits_capacity;
    forward(batch);
  });
}

mambit_status mambit_decode(mambit_session *const *sessions, size_t sequences,
                            const int32_t *tokens, float *logits,
                            size_t logits_capacity) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    mambit_batch batch = MAMBIT_INIT(mambit_batch);
    batch.sessions = sessions;
    batch.sequences = sequences;
    batch.tokens = tokens;
    batch.which = logits ? MAMBIT_LOGITS_LAST : MAMBIT_LOGITS_NONE;
    batch.logits = logits;
    batch.logits_capacity = logits_capacity;
    forward(batch);
  });
}

mambit_status mambit_generate(const mambit_generate_batch *batch) {
  return guarded(MAMBIT_INTERNAL_ERROR,
                 [&] { generate(readStructure(batch, "batch")); });
}

//===----------------------------------------------------------------------===//
// Sampling
//===----------------------------------------------------------------------===//

namespace {

void checkRow(const float *logits, size_t vocab, const int32_t *token) {
  require(logits, "logits");
  require(token, "token");
  if (vocab == 0 || vocab > INT32_MAX)
    refuse("a vocabulary of ", vocab, " tokens");
}

} // namespace

mambit_status mambit_argmax(const float *logits, size_t vocab_size,
                            int32_t *token) {
  return guarded(MAMBIT_INVALID_ARGUMENT, [&] {
    checkRow(logits, vocab_size, token);
    *token = argmax(logits, vocab_size);
  });
}

mambit_status mambit_sampler_create(const mambit_sampler_options *options,
                                    mambit_sampler **sampler) {
  return guarded(MAMBIT_INVALID_ARGUMENT, [&] {
    require(sampler, "sampler");
    mambit_sampler_options given = readStructure(options, "options");
    SamplerOptions wanted;
    wanted.temperature = given.temperature;
    wanted.topK = given.top_k;
    wanted.topP = given.top_p;
    wanted.seed = given.seed;
    wanted.minP = given.min_p;
    wanted.repetitionPenalty = given.repetition_penalty;
    wanted.repetitionWindow = given.repetition_window;
    *sampler = new mambit_sampler{Sampler(wanted)};
  });
}

void mambit_sampler_free(mambit_sampler *sampler) { delete sampler; }

mambit_status mambit_sampler_accept(mambit_sampler *sampler,
                                    const int32_t *tokens, size_t count) {
  return guarded(MAMBIT_INVALID_ARGUMENT, [&] {
    require(sampler, "sampler");
    if (count != 0)
      require(tokens, "tokens");
    checkTokens(tokens, count, INT32_MAX);
    for (size_t i = 0; i < count; ++i)
      sampler->sampler.accept(tokens[i]);
  });
}

mambit_status mambit_sampler_sample(mambit_sampler *sampler,
                                    const float *logits, size_t vocab_size,
                                    int32_t *token) {
  return guarded(MAMBIT_INVALID_ARGUMENT, [&] {
    require(sampler, "sampler");
    checkRow(logits, vocab_size, token);
    *token = sampler->sampler.sample(logits, vocab_size);
  });
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

namespace {

/// Hands a result to a buffer of the caller.
template <typename Container, typename T>
void handOver(const Container &result, T *buffer, size_t capacity,
              size_t *size) {
  *size = result.size();
  if (result.size() > capacity)
    failWith(MAMBIT_BUFFER_TOO_SMALL, "the buffer has room for ", capacity,
             " elements, the result has ", result.size());
  std::copy(result.begin(), result.end(), buffer);
}

void giveText(mambit_decoder &decoder, std::string part, const char **text,
              size_t *length) {
  decoder.text = std::move(part);
  *text = decoder.text.c_str();
  *length = decoder.text.size();
}

} // namespace

mambit_status mambit_encode(const mambit_model *model, const char *text,
                            size_t length, int32_t add_bos, int32_t *tokens,
                            size_t capacity, size_t *count) {
  return guarded(MAMBIT_INVALID_ARGUMENT, [&] {
    require(model, "model");
    require(count, "count");
    if (length != 0)
      require(text, "text");
    if (capacity != 0)
      require(tokens, "tokens");
    std::string_view view(length ? text : "", length);
    handOver(tokenizerOf(*model->model).encode(view, add_bos != 0), tokens,
             capacity, count);
  });
}

mambit_status mambit_decode_text(const mambit_model *model,
                                 const int32_t *tokens, size_t count,
                                 char *text, size_t capacity, size_t *length) {
  return guarded(MAMBIT_INVALID_ARGUMENT, [&] {
    require(model, "model");
    require(length, "length");
    if (count != 0)
      require(tokens, "tokens");
    if (capacity != 0)
      require(text, "text");
    const Tokenizer &tokenizer = tokenizerOf(*model->model);
    checkTokens(tokens, count, model->model->vocabSize());
    handOver(tokenizer.decode({tokens, tokens + count}), text, capacity,
             length);
  });
}

mambit_status mambit_decoder_create(mambit_model *model,
                                    mambit_decoder **decoder) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(model, "model");
    require(decoder, "decoder");
    *decoder = new mambit_decoder{
        model->model, Decoder(tokenizerOf(*model->model)), std::string()};
  });
}

void mambit_decoder_free(mambit_decoder *decoder) { delete decoder; }

mambit_status mambit_decoder_push(mambit_decoder *decoder, int32_t token,
                                  const char **text, size_t *length) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(decoder, "decoder");
    require(text, "text");
    require(length, "length");
    checkTokens(&token, 1, decoder->model->vocabSize());
    giveText(*decoder, decoder->decoder.push(token), text, length);
  });
}

mambit_status mambit_decoder_finish(mambit_decoder *decoder, const char **text,
                                    size_t *length) {
  return guarded(MAMBIT_INTERNAL_ERROR, [&] {
    require(decoder, "decoder");
    require(text, "text");
    require(length, "length");
    giveText(*decoder, decoder->decoder.finish(), text, length);
  });
}
