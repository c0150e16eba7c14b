//===- time_llama.cpp - the speed of llama.cpp -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//
//
// time_llama MODEL.gguf THREADS takes in a prompt of 128 tokens, then 32 tokens
// one by one, each timed after a first of its kind.
//
//===-----------------------------------------------------------------===//

#include "llama.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sys/resource.h>
#include <vector>

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 1;
  llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
  llama_backend_init();
  llama_model *model =
      llama_model_load_from_file(argv[1], llama_model_default_params());
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 1024;
  params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = std::atoi(argv[2]);
  llama_context *context =
      model ? llama_init_from_model(model, params) : nullptr;
  if (!context)
    return 1;

  std::vector<llama_token> tokens(128);
  for (int i = 0; i < 128; ++i)
    tokens[i] = 100 + 37 * i;
  auto run = [&](int count) {
    if (llama_decode(context, llama_batch_get_one(tokens.data(), count)))
      std::exit(1);
    llama_synchronize(context);
  };
  run(128);
  llama_memory_clear(llama_get_memory(context), true);
  double begin = now();
  run(128);
  double prompt = now() - begin;
  run(1);
  begin = now();
  for (int i = 0; i < 32; ++i)
    run(1);
  double decode = now() - begin;
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf("decode %.1f tokens/s, prompt of 128 %.1f tokens/s, %ld MiB\n",
              32 / decode, 128 / prompt, usage.ru_maxrss >> 10);
}
