/*===- c_api_test.c - mambit.h is C11 and refuses nulls -----------*- C -*-===*/
/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                   */
/*===----------------------------------------------------------------------===*/

#include "runtime/mambit.h"

#include <stdio.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char *what, int line) {
  if (!holds) {
    fprintf(stderr, "line %d: %s (last error: %s)\n", line, what,
            mambit_last_error());
    ++failures;
  }
}
#define CHECK(what) check(what, #what, __LINE__)
#define CHECK_NULL(call) CHECK((call) == MAMBIT_INVALID_ARGUMENT)

static void testVersion(void) {
  char text[32];
  snprintf(text, sizeof text, "%d.%d.%d", MAMBIT_VERSION_MAJOR,
           MAMBIT_VERSION_MINOR, MAMBIT_VERSION_PATCH);
  CHECK(mambit_version() == MAMBIT_VERSION);
  CHECK(strcmp(mambit_version_string(), text) == 0);
  CHECK(strcmp(mambit_last_error(), "") == 0);
  CHECK(strcmp(mambit_status_name(MAMBIT_CANCELLED), "cancelled") == 0);
  CHECK(strcmp(mambit_status_name((mambit_status)99), "unknown status") == 0);
}

static void testNulls(void) {
  mambit_model *model = NULL;
  mambit_session *session = NULL;
  mambit_sampler *sampler = NULL;
  mambit_decoder *decoder = NULL;
  mambit_model_info info = MAMBIT_INIT(mambit_model_info);
  mambit_sampler_options options = MAMBIT_INIT(mambit_sampler_options);
  uint64_t position;
  int32_t token = 0;
  size_t size;
  const char *text;
  float logits[2] = {0, 1};
  CHECK_NULL(mambit_model_open(NULL, NULL, &model));
  CHECK_NULL(mambit_model_open("x", NULL, NULL));
  CHECK_NULL(mambit_model_get_info(NULL, &info));
  CHECK_NULL(mambit_session_create(NULL, &session));
  CHECK_NULL(mambit_session_fork(NULL, &session));
  CHECK_NULL(mambit_session_reset(NULL));
  CHECK_NULL(mambit_session_save(NULL, "x", NULL, 0));
  CHECK_NULL(mambit_session_load(NULL, "x", NULL, 0, &size, &session));
  CHECK_NULL(mambit_session_position(NULL, &position));
  CHECK_NULL(mambit_cancel_create(NULL));
  CHECK_NULL(mambit_forward(NULL));
  CHECK_NULL(mambit_prefill(NULL, &token, 1, MAMBIT_LOGITS_NONE, NULL, 0));
  CHECK_NULL(mambit_decode(NULL, 1, &token, NULL, 0));
  CHECK_NULL(mambit_decode(&session, 1, &token, NULL, 0));
  CHECK_NULL(mambit_argmax(NULL, 2, &token));
  CHECK_NULL(mambit_argmax(logits, 0, &token));
  CHECK_NULL(mambit_argmax(logits, 2, NULL));
  CHECK_NULL(mambit_sampler_create(NULL, &sampler));
  CHECK_NULL(mambit_sampler_create(&options, NULL));
  CHECK_NULL(mambit_sampler_accept(NULL, &token, 1));
  CHECK_NULL(mambit_sampler_sample(NULL, logits, 2, &token));
  CHECK_NULL(mambit_encode(NULL, "x", 1, 0, &token, 1, &size));
  CHECK_NULL(mambit_decode_text(NULL, &token, 1, NULL, 0, &size));
  CHECK_NULL(mambit_decoder_create(NULL, &decoder));
  CHECK_NULL(mambit_decoder_push(NULL, 0, &text, &size));
  CHECK_NULL(mambit_decoder_finish(NULL, &text, &size));
  options.temperature = -1;
  CHECK_NULL(mambit_sampler_create(&options, &sampler));
  options.size = 0;
  CHECK_NULL(mambit_sampler_create(&options, &sampler));
  mambit_cancel_request(NULL);
  mambit_cancel_clear(NULL);
  mambit_cancel_free(NULL);
  mambit_model_free(NULL);
  mambit_session_free(NULL);
  mambit_sampler_free(NULL);
  mambit_decoder_free(NULL);
}

static void testModel(const char *path) {
  mambit_model *model = NULL;
  mambit_session *session = NULL;
  mambit_sampler *sampler = NULL;
  mambit_model_info info = MAMBIT_INIT(mambit_model_info);
  mambit_sampler_options options = MAMBIT_INIT(mambit_sampler_options);
  const int32_t prompt[] = {1, 2, 3};
  float logits[7];
  int32_t token = -1, sampled = -1;
  uint64_t position = 0;
  int step;

  CHECK(mambit_model_open(path, NULL, &model) == MAMBIT_OK);
  CHECK(mambit_model_get_info(model, &info) == MAMBIT_OK);
  CHECK(info.vocab_size == 7);
  CHECK(info.threads >= 1);
  CHECK_NULL(mambit_model_get_info(model, NULL));
  CHECK_NULL(mambit_session_create(model, NULL));
  CHECK(mambit_session_create(model, &session) == MAMBIT_OK);
  CHECK_NULL(mambit_session_fork(session, NULL));
  CHECK_NULL(mambit_session_position(session, NULL));
  CHECK(mambit_prefill(session, prompt, 3, MAMBIT_LOGITS_LAST, logits, 7) ==
        MAMBIT_OK);
  CHECK(mambit_sampler_create(&options, &sampler) == MAMBIT_OK);
  for (step = 0; step < 20; ++step) {
    CHECK(mambit_argmax(logits, 7, &token) == MAMBIT_OK);
    CHECK(mambit_sampler_sample(sampler, logits, 7, &sampled) == MAMBIT_OK);
    CHECK(token == sampled);
    CHECK(mambit_decode(&session, 1, &token, logits, 7) == MAMBIT_OK);
  }
  CHECK(mambit_session_position(session, &position) == MAMBIT_OK);
  CHECK(position == 23);
  mambit_sampler_free(sampler);
  mambit_model_free(model);
  mambit_session_free(session);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s toy.mbt\n", argv[0]);
    return 2;
  }
  testVersion();
  testNulls();
  testModel(argv[1]);
  return failures == 0 ? 0 : 1;
}
