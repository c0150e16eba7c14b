/*===- mambit.h - The C interface of the runtime ------------------*- C -*-===*/
/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                   */
/*===----------------------------------------------------------------------===
 *
 * Opens a compiled model (.mbt) and runs it:
 *
 *   mambit_model *model;
 *   mambit_session *session;
 *   mambit_model_open("model.mbt", NULL, &model);
 *   mambit_session_create(model, &session);
 *   mambit_prefill(session, prompt, prompt_length, MAMBIT_LOGITS_LAST,
 *                  logits, vocab_size);
 *   for (;;) {
 *     mambit_argmax(logits, vocab_size, &token);
 *     mambit_decode(&session, 1, &token, logits, vocab_size);
 *   }
 *
 * Rules that hold for the whole interface:
 *
 * - Every function that can fail returns a mambit_status. The message of the
 *   calling thread's last failure is mambit_last_error(). Null or impossible
 *   arguments are MAMBIT_INVALID_ARGUMENT, never a crash; no C++ exception
 *   leaves the library. A failed call leaves its outputs untouched unless the
 *   function says otherwise.
 * - Structures with a `size` field are set up with MAMBIT_INIT(type) or by
 *   storing sizeof of the structure there and zero elsewhere. Zero means
 *   "the default". Later versions append fields; old callers keep working.
 * - Handles are freed by the function that says so; freeing NULL does nothing.
 *   A session keeps its model open, so handles may be freed in any order.
 * - Threads: a model may be used by any number of threads at once. Sessions,
 *   samplers and decoders are used by one thread at a time; a session caught
 *   in two calls at once is reported as MAMBIT_BUSY. Pieces of work of one
 *   model run one after the other, each on all of the model's threads.
 * - Results: the logits of a sequence depend, bit for bit, on its own tokens
 *   and on how they were divided into calls; never on the other sequences of a
 *   call, on the session's slot, on the number of threads or on the run.
 *
 *===----------------------------------------------------------------------===*/

#ifndef MAMBIT_RUNTIME_MAMBIT_H
#define MAMBIT_RUNTIME_MAMBIT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MAMBIT_API __attribute__((visibility("default")))
#else
#define MAMBIT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*===----------------------------------------------------------------------===
 * Version, status
 *===----------------------------------------------------------------------===*/

/* The version of this header; mambit_version() is the library's. Within one
 * major version a newer library serves older headers. */
#define MAMBIT_VERSION_MAJOR 0
#define MAMBIT_VERSION_MINOR 1
#define MAMBIT_VERSION_PATCH 0
#define MAMBIT_MAKE_VERSION(major, minor, patch)                               \
  (((uint32_t)(major) << 16) | ((uint32_t)(minor) << 8) | (uint32_t)(patch))
#define MAMBIT_VERSION                                                         \
  MAMBIT_MAKE_VERSION(MAMBIT_VERSION_MAJOR, MAMBIT_VERSION_MINOR,              \
                      MAMBIT_VERSION_PATCH)

/* MAMBIT_MAKE_VERSION of the library, and the same as "major.minor.patch". */
MAMBIT_API uint32_t mambit_version(void);
MAMBIT_API const char *mambit_version_string(void);

typedef enum mambit_status {
  MAMBIT_OK = 0,
  MAMBIT_INVALID_ARGUMENT = 1, /* the caller's mistake; nothing was done */
  MAMBIT_INVALID_ARTIFACT = 2, /* unreadable, damaged, foreign, or too new */
  MAMBIT_UNSUPPORTED = 3,      /* this machine or this model cannot do it */
  MAMBIT_OUT_OF_RESOURCES = 4, /* no memory, or no free session */
  MAMBIT_BUFFER_TOO_SMALL = 5, /* the size needed was stored */
  MAMBIT_BUSY = 6,             /* the session is in another call */
  MAMBIT_INVALID_STATE = 7,    /* the session was stopped midway: reset it */
  MAMBIT_CANCELLED = 8,        /* stopped on request */
  MAMBIT_INTERNAL_ERROR = 9,   /* a failure of the device or the library */
  MAMBIT_INVALID_SNAPSHOT = 10 /* a saved session that is unreadable, damaged,
                                * too new, or of another model */
} mambit_status;

/* "ok", "invalid argument", …; "unknown status" for other values. */
MAMBIT_API const char *mambit_status_name(mambit_status status);

/* The message of the last failed call of this thread, "" if there was none.
 * Valid until this thread's next failing call. */
MAMBIT_API const char *mambit_last_error(void);

/* clang-format off */
/* MAMBIT_INIT(type): initialises a structure that starts with `size`, as in
 * mambit_batch batch = MAMBIT_INIT(mambit_batch); */
#ifdef __cplusplus
#define MAMBIT_INIT(type)                                                      \
  [] { type value{}; value.size = sizeof(type); return value; }()
#else
#define MAMBIT_INIT(type) { .size = sizeof(type) }
#endif
/* clang-format on */

/*===----------------------------------------------------------------------===
 * Model: opened once, immutable, shared
 *===----------------------------------------------------------------------===*/

typedef struct mambit_model mambit_model;

typedef struct mambit_model_options {
  size_t size;           /* sizeof(mambit_model_options) */
  const char *device;    /* "cpu", "cuda", or "cuda:1" for the second GPU;
                          * NULL: "cpu" */
  const char *target;    /* force one by name, "x86-64-v3"; NULL: the best one
                          * in the file that this machine can run */
  uint32_t threads;      /* 0: what the affinity mask and the cgroup allow */
  uint32_t max_sessions; /* sessions alive at once; 0: 64. One takes memory
                          * only once it is used: on a CPU by running, on a
                          * GPU by being created */
  int32_t skip_weight_checksums; /* non-zero: trust the bytes of the weights.
                                  * By default they are checked, which reads the
                                  * whole file; all else is always checked */
} mambit_model_options;

/* Opens an artifact. `options` may be NULL. */
MAMBIT_API mambit_status mambit_model_open(const char *path,
                                           const mambit_model_options *options,
                                           mambit_model **model);
MAMBIT_API void mambit_model_free(mambit_model *model);

/* Strings belong to the model and live as long as it. */
typedef struct mambit_model_info {
  size_t size;          /* sizeof(mambit_model_info) */
  const char *producer; /* the compiler that made the artifact */
  const char *format;   /* of the checkpoint: "official", "dense", "hf" */
  const char *device;   /* "cpu", "cuda" */
  const char *target;   /* chosen code, "x86-64-v3" */
  uint64_t vocab_size;  /* floats in a row of logits */
  uint64_t d_model;
  uint64_t layers;
  uint64_t parameters;
  uint64_t weight_bytes;  /* of all packed weights */
  uint64_t session_bytes; /* of the state of one session */
  uint32_t threads;
  uint32_t max_sessions;
  uint32_t max_tokens;    /* a sequence is run in pieces of this many tokens;
                           * calls of a multiple of it lose nothing */
  uint32_t max_sequences; /* decoded in one go; larger calls are divided */
  int32_t has_tokenizer;
  int32_t bos_id; /* -1: none */
  int32_t eos_id; /* -1: none */
  uint64_t hash;  /* of the checkpoint that the model was made from; artifacts
                   * of the same one, for whatever machine, have the same */
  const char *state_dtype;  /* of the SSM states: "f32", "f16", "bf16" */
  uint32_t activation_bits; /* in products with 1-bit weights: 8, 16 or
                             * 32; 0 if the file does not say */
} mambit_model_info;

/* Fills in the first info->size bytes. */
MAMBIT_API mambit_status mambit_model_get_info(const mambit_model *model,
                                               mambit_model_info *info);

/*===----------------------------------------------------------------------===
 * Session: the state of one sequence
 *===----------------------------------------------------------------------===*/

typedef struct mambit_session mambit_session;

/* A new session stands before its first token. */
MAMBIT_API mambit_status mambit_session_create(mambit_model *model,
                                               mambit_session **session);
/* A second session of the same model in the same state, exact at its token. */
MAMBIT_API mambit_status mambit_session_fork(const mambit_session *session,
                                             mambit_session **fork);
/* Back to before the first token. */
MAMBIT_API mambit_status mambit_session_reset(mambit_session *session);
MAMBIT_API void mambit_session_free(mambit_session *session);

/* Writes the state to a file, which appears whole or not at all; what had its
 * name before is replaced. `note` is of the caller (the tokens so far, say) and
 * kept beside the state; NULL if note_size is 0. */
MAMBIT_API mambit_status mambit_session_save(const mambit_session *session,
                                             const char *path, const void *note,
                                             size_t note_size);
/* A new session in the state of a file, exact to the bit. The file may have
 * been written by another process, on another device, or with another artifact
 * of the same checkpoint whose states have the same types and shapes; all else
 * is MAMBIT_INVALID_SNAPSHOT. Stores the size of the note in `note_size`, also
 * if that is more than `note_capacity`; then it is MAMBIT_BUFFER_TOO_SMALL. */
MAMBIT_API mambit_status mambit_session_load(mambit_model *model,
                                             const char *path, void *note,
                                             size_t note_capacity,
                                             size_t *note_size,
                                             mambit_session **session);

/* The number of tokens the state has taken in. MAMBIT_INVALID_STATE if a
 * stopped call left the session inside a token. */
MAMBIT_API mambit_status mambit_session_position(const mambit_session *session,
                                                 uint64_t *position);

/*===----------------------------------------------------------------------===
 * Cancellation
 *===----------------------------------------------------------------------===*/

/* A flag that any thread (or a signal handler) may raise while another runs.
 * It stays raised, and stops every call it is given to, until cleared. */
typedef struct mambit_cancel mambit_cancel;

MAMBIT_API mambit_status mambit_cancel_create(mambit_cancel **cancel);
MAMBIT_API void mambit_cancel_request(mambit_cancel *cancel);
MAMBIT_API void mambit_cancel_clear(mambit_cancel *cancel);
MAMBIT_API void mambit_cancel_free(mambit_cancel *cancel);

/*===----------------------------------------------------------------------===
 * Running
 *===----------------------------------------------------------------------===*/

/* Of which tokens logits are wanted. */
typedef enum mambit_logits {
  MAMBIT_LOGITS_NONE = 0,
  MAMBIT_LOGITS_LAST = 1, /* row i: after the last token of sequence i */
  MAMBIT_LOGITS_ALL = 2   /* row t: after tokens[t] */
} mambit_logits;

/* Tokens of several sequences, laid end to end. */
typedef struct mambit_batch {
  size_t size;                     /* sizeof(mambit_batch) */
  mambit_session *const *sessions; /* `sequences` different sessions of one
                                    * model */
  size_t sequences;
  const int32_t *tokens;
  const size_t *offsets; /* sequences + 1: sequence i is tokens[offsets[i]] up
                          * to, not including, tokens[offsets[i + 1]];
                          * offsets[0] is 0, and no sequence is empty. NULL: one
                          * token a sequence */
  mambit_logits which;
  float *logits;          /* rows of vocab_size floats; NULL for NONE */
  size_t logits_capacity; /* floats that fit there */

  /* Both optional, looked at before the call's work and between its steps
   * (a few hundred a piece; a GPU decodes a piece in one step). `poll` is
   * called on the calling thread; to return non-zero from it means to cancel.
   * It must not use the same model. */
  mambit_cancel *cancel;
  int (*poll)(void *context);
  void *context;
} mambit_batch;

/* Continues every sequence from its session's state. All arguments are checked
 * before anything runs. A sequence of one token is decoded; a longer one is
 * prefilled, in pieces of at most max_tokens.
 *
 * After MAMBIT_CANCELLED or MAMBIT_INTERNAL_ERROR each session either stands at
 * an exact token boundary, which mambit_session_position tells, or, if it was
 * stopped inside a piece, is in MAMBIT_INVALID_STATE until it is reset. Rows of
 * logits of finished pieces have been written. */
MAMBIT_API mambit_status mambit_forward(const mambit_batch *batch);

/* mambit_forward of one sequence. */
MAMBIT_API mambit_status mambit_prefill(mambit_session *session,
                                        const int32_t *tokens, size_t count,
                                        mambit_logits which, float *logits,
                                        size_t logits_capacity);

/* mambit_forward of one token for each session; row i of `logits` is that of
 * sessions[i]. `logits` may be NULL. */
MAMBIT_API mambit_status mambit_decode(mambit_session *const *sessions,
                                       size_t sequences, const int32_t *tokens,
                                       float *logits, size_t logits_capacity);

/* Chooses tokens from logits (Sampling, below). */
typedef struct mambit_sampler mambit_sampler;

/* Sequences that are decoded for several steps, each taking in the token chosen
 * in the step before. */
typedef struct mambit_generate_batch {
  size_t size;                     /* sizeof(mambit_generate_batch) */
  mambit_session *const *sessions; /* `sequences` different sessions of one
                                    * model */
  size_t sequences;
  mambit_sampler *const *samplers; /* what chooses each one's tokens, no sampler
                                    * twice; NULL for the likeliest token.
                                    * NULL: for all */
  const int32_t *tokens;           /* the token that each takes in first */
  size_t steps;
  int32_t *chosen; /* sequences * steps: chosen[i * steps + j] is sequence
                    * i's token after its step j, which it takes in in
                    * step j + 1; so the last is not taken in */
  size_t chosen_capacity; /* tokens that fit there */
  mambit_cancel *cancel;  /* both as in mambit_batch, looked at before steps */
  int (*poll)(void *context);
  void *context;
} mambit_generate_batch;

/* The tokens of mambit_decode, mambit_sampler_sample and mambit_sampler_accept,
 * step by step, and the same states, of sessions and samplers. The device
 * chooses tokens and hands them on from step to step, without waiting for the
 * host, if the artifact's code can do it (that of older compilers could not)
 * and every sampler either takes the likeliest token or has a top_k from 1 to
 * 64, and has no repetition penalty; else the host chooses them.
 *
 * The steps of a call cannot be taken back: to end exactly at some token, fork
 * a session before the call and let the fork take in what is wanted.
 *
 * After MAMBIT_CANCELLED every session and its sampler stand after its finished
 * steps, as mambit_session_position tells, and their tokens are in `chosen`. A
 * logit that a sampler refuses is MAMBIT_INTERNAL_ERROR. After that, or another
 * failure, a session either stands at an exact token boundary, which
 * mambit_session_position tells, or is in MAMBIT_INVALID_STATE until it is
 * reset; the samplers of the latter are not to be used again. */
MAMBIT_API mambit_status mambit_generate(const mambit_generate_batch *batch);

/*===----------------------------------------------------------------------===
 * Sampling
 *===----------------------------------------------------------------------===*/

/* The token of the highest logit; of several, the lowest. A NaN is refused. */
MAMBIT_API mambit_status mambit_argmax(const float *logits, size_t vocab_size,
                                       int32_t *token);

typedef struct mambit_sampler_options {
  size_t size;       /* sizeof(mambit_sampler_options) */
  float temperature; /* 0: greedy, which draws no random number */
  uint32_t top_k;    /* keep the k most likely tokens; 0: all */
  float top_p; /* of those, keep the fewest most likely whose probabilities
                * reach top_p of their sum; 0 or 1: all */
  uint64_t seed;
  float min_p; /* of those, keep the ones at least min_p times as likely as the
                * likeliest; 0: all */
  float repetition_penalty;   /* before all else, divide a positive and multiply
                               * a negative logit of a token that has occurred by
                               * this; 0 or 1: no penalty */
  uint32_t repetition_window; /* among the last so many tokens; 0: all */
} mambit_sampler_options;

/* Tokens of equal logits rank by id, lowest first. Random numbers are
 * SplitMix64 from the state `seed`, one a token: x = next >> 11, u = x * 2^-53;
 * the token is the first, by id if top_k is 0 and top_p 0 or 1, else by rank,
 * at which the sum of probabilities (in double) exceeds u. So a seed and the
 * same logits give the same tokens, whether the host or a device samples.
 */
MAMBIT_API mambit_status mambit_sampler_create(
    const mambit_sampler_options *options, mambit_sampler **sampler);
MAMBIT_API void mambit_sampler_free(mambit_sampler *sampler);

/* Tells tokens that have occurred, in order, of the prompt as well as sampled
 * ones: mambit_sampler_sample adds none by itself. */
MAMBIT_API mambit_status mambit_sampler_accept(mambit_sampler *sampler,
                                               const int32_t *tokens,
                                               size_t count);

/* -infinity forbids a token; NaN and +infinity are refused. */
MAMBIT_API mambit_status mambit_sampler_sample(mambit_sampler *sampler,
                                               const float *logits,
                                               size_t vocab_size,
                                               int32_t *token);

/*===----------------------------------------------------------------------===
 * Text. MAMBIT_UNSUPPORTED if the model has no tokenizer.
 *===----------------------------------------------------------------------===*/

/* Text (UTF-8, `length` bytes) to tokens, after the begin-of-sequence token if
 * `add_bos` is not zero and there is one. Stores the number of tokens in
 * `count`, also if that is more than `capacity`; then it is
 * MAMBIT_BUFFER_TOO_SMALL. `tokens` may be NULL if `capacity` is 0. */
MAMBIT_API mambit_status mambit_encode(const mambit_model *model,
                                       const char *text, size_t length,
                                       int32_t add_bos, int32_t *tokens,
                                       size_t capacity, size_t *count);

/* Tokens to text, in the same manner; no terminating zero is written or
 * counted. Control tokens, and ids between the tokenizer's and the model's
 * vocabulary, have no text. */
MAMBIT_API mambit_status mambit_decode_text(const mambit_model *model,
                                            const int32_t *tokens, size_t count,
                                            char *text, size_t capacity,
                                            size_t *length);

/* Turns a stream of tokens into a stream of text: the parts laid end to end are
 * the text of all tokens, and each part is whole UTF-8 characters, also where a
 * character is spread over several byte tokens. To continue a prompt, push its
 * tokens first and drop their text: a leading blank is dropped only at the
 * beginning of the stream. */
typedef struct mambit_decoder mambit_decoder;

MAMBIT_API mambit_status mambit_decoder_create(mambit_model *model,
                                               mambit_decoder **decoder);
MAMBIT_API void mambit_decoder_free(mambit_decoder *decoder);

/* Stores the text that has become certain (often none while a character is
 * incomplete), zero-terminated, valid until the next call with this decoder. */
MAMBIT_API mambit_status mambit_decoder_push(mambit_decoder *decoder,
                                             int32_t token, const char **text,
                                             size_t *length);
/* The rest (an incomplete character becomes U+FFFD); the decoder starts anew.
 */
MAMBIT_API mambit_status mambit_decoder_finish(mambit_decoder *decoder,
                                               const char **text,
                                               size_t *length);

#ifdef __cplusplus
}
#endif

#endif /* MAMBIT_RUNTIME_MAMBIT_H */
