//===- Model.cpp - the runtime's C interface with exceptions -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-------------------------------------------------------------------===//

#include "tools/common/Model.h"

#include "runtime/Error.h"
#include "tools/common/ToolMain.h"

#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>

using namespace mambit;
using namespace mambit::tools;

void tools::check(mambit_status status) {
  if (status != MAMBIT_OK)
    throw Error(mambit_last_error());
}

void ModelOptions::addTo(CLI::App &app) {
  app.add_option("MODEL.mbt", path, "The compiled model")->required();
  app.add_option("--device", device,
                 "Where to run: cpu, cuda, or cuda:N for one of several GPUs "
                 "(cpu)")
      ->option_text("NAME")
      ->group("Machine");
  app.add_option("--target", target,
                 "Run the code of this target, such as x86-64-v3 (the best "
                 "that the machine can run)")
      ->option_text("NAME")
      ->group("Machine");
  app.add_option("--threads", threads,
                 "Threads to use (as many as the process may)")
      ->option_text("N")
      ->check(wholeNumber(1))
      ->group("Machine");
}

Model::Model(const ModelOptions &options)
    : modelInfo(MAMBIT_INIT(mambit_model_info)) {
  auto open = MAMBIT_INIT(mambit_model_options);
  open.device = options.device.c_str();
  open.target = options.target.empty() ? nullptr : options.target.c_str();
  open.threads = options.threads;
  mambit_model *model;
  check(mambit_model_open(options.path.c_str(), &open, &model));
  handle.reset(model);
  check(mambit_model_get_info(model, &modelInfo));
}

Session Model::createSession() const {
  mambit_session *session;
  check(mambit_session_create(handle.get(), &session));
  return Session(session);
}

std::vector<int32_t> Model::encode(const std::string &text, bool addBos) const {
  if (!modelInfo.has_tokenizer)
    fail("the model has no tokenizer; give token ids with --ids");
  // One token a byte is the most that byte fallback makes; a blank may be put
  // in front.
  std::vector<int32_t> ids(text.size() + 2);
  size_t count = 0;
  mambit_status status = mambit_encode(handle.get(), text.data(), text.size(),
                                       addBos, ids.data(), ids.size(), &count);
  if (status == MAMBIT_BUFFER_TOO_SMALL) {
    ids.resize(count);
    status = mambit_encode(handle.get(), text.data(), text.size(), addBos,
                           ids.data(), ids.size(), &count);
  }
  check(status);
  ids.resize(count);
  return ids;
}

void Model::checkIds(const std::vector<int32_t> &ids,
                     const std::string &path) const {
  for (size_t i = 0; i < ids.size(); ++i)
    if (uint64_t(ids[i]) >= modelInfo.vocab_size)
      fail("'", path, "': element ", i, " is ", ids[i],
           ", expected a token id less than ", modelInfo.vocab_size);
}

std::string tools::readText(const std::string &path) {
  std::ostringstream text;
  std::ifstream file;
  if (path != "-")
    file.open(path, std::ios::binary);
  std::istream &stream = path == "-" ? std::cin : file;
  // Nothing to read is no error, but sets the failure bit.
  if (stream && stream.peek() != std::istream::traits_type::eof())
    text << stream.rdbuf();
  if (stream.bad() || (path != "-" && !file.is_open()))
    fail("cannot read '", path, "'");
  return text.str();
}

// A signal handler reaches nothing else.
static mambit_cancel *interruptFlag;

InterruptGuard::InterruptGuard() {
  check(mambit_cancel_create(&interruptFlag));
  struct sigaction action = {};
  action.sa_handler = [](int) { mambit_cancel_request(interruptFlag); };
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  mambit_cancel_free(interruptFlag);
}

mambit_cancel *InterruptGuard::flag() const { return interruptFlag; }

void tools::forward(mambit_batch batch, const InterruptGuard &interrupt) {
  batch.cancel = interrupt.flag();
  mambit_status status = mambit_forward(&batch);
  if (status == MAMBIT_CANCELLED)
    throw Interrupted();
  check(status);
}
