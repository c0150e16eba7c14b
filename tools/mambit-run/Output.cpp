//===- Output.cpp - what mambit-run prints -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-run/Output.h"

#include "runtime/Error.h"

#include <nlohmann/json.hpp>

#include <cstdio>

using namespace mambit;
using namespace mambit::tools;

using Json = nlohmann::ordered_json;

static std::string line(const Json &object) {
  // Text is whole characters; a piece of a tokenizer that is not is mended.
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// To standard error: standard output is the model's.
static void printTimes(const Totals &totals) {
  if (totals.promptTokens != 0) {
    double rate = double(totals.promptTokens) / totals.promptSeconds;
    if (totals.tokens == 0)
      std::fprintf(stderr, "prompt: %ju tokens in %.3f s, %.1f tokens/s\n",
                   uintmax_t(totals.promptTokens), totals.promptSeconds, rate);
    else
      std::fprintf(stderr,
                   "time to first token: %.1f ms (%ju prompt tokens, %.1f "
                   "tokens/s)\n",
                   totals.promptSeconds * 1e3, uintmax_t(totals.promptTokens),
                   rate);
  }
  if (totals.tokens > 1)
    std::fprintf(stderr, "generated: %ju tokens, %.1f tokens/s\n",
                 uintmax_t(totals.tokens),
                 double(totals.tokens - 1) / totals.seconds);
  else if (totals.tokens == 1)
    std::fprintf(stderr, "generated: 1 token\n");
}

Output::Output(const Model &model, Form form, std::vector<std::string> strings)
    : form(form), stops(std::move(strings)) {
  if (!model.info().has_tokenizer || form == Form::Ids)
    return;
  mambit_decoder *created;
  check(mambit_decoder_create(model.get(), &created));
  decoder.reset(created);
}

std::string Output::decode(int32_t id) {
  if (!decoder)
    return "";
  const char *text;
  size_t length;
  check(mambit_decoder_push(decoder.get(), id, &text, &length));
  return {text, length};
}

void Output::print(const std::string &text) {
  if (!text.empty() &&
      (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
       std::fflush(stdout) != 0))
    fail("cannot write to standard output");
}

void Output::context(const std::vector<int32_t> &ids, bool visible) {
  for (int32_t id : ids) {
    std::string text = decode(id);
    if (!visible)
      continue;
    if (form != Form::JsonLines && !decoder)
      text = (count++ ? " " : "") + std::to_string(id);
    if (form == Form::JsonLines)
      echo += text;
    else
      print(text);
  }
}

void Output::promptDone(const Totals &totals) {
  if (form != Form::JsonLines)
    return;
  Json object{{"type", "prompt"},
              {"tokens", totals.promptTokens},
              {"seconds", totals.promptSeconds}};
  if (!echo.empty())
    object["text"] = echo;
  print(line(object));
}

bool Output::token(int32_t id) {
  std::string text = stops.push(decode(id));
  if (form == Form::JsonLines) {
    Json object{{"type", "token"}, {"index", count}, {"id", id}};
    if (decoder)
      object["text"] = text;
    print(line(object));
  } else if (decoder) {
    print(text);
  } else {
    print((count ? " " : "") + std::to_string(id));
  }
  ++count;
  return !stops.found();
}

void Output::end(const Totals &totals, bool newline) {
  std::string rest;
  if (decoder) {
    const char *text;
    size_t length;
    check(mambit_decoder_finish(decoder.get(), &text, &length));
    rest = stops.push({text, length}) + stops.finish();
  }
  if (form != Form::JsonLines) {
    print(rest + (newline ? "\n" : ""));
    printTimes(totals);
    return;
  }
  Json object{{"type", "end"},
              {"reason", stops.found() ? "stop" : totals.reason}};
  if (stops.found())
    object["stop"] = *stops.found();
  if (decoder)
    object["text"] = rest;
  object["prompt_tokens"] = totals.promptTokens;
  object["prompt_seconds"] = totals.promptSeconds;
  object["tokens"] = totals.tokens;
  object["seconds"] = totals.seconds;
  object["position"] = totals.position;
  print(line(object));
}
