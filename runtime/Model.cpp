//===- Model.cpp - a model, its sessions, and running them ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Model.h"

#include "runtime/Status.h"
#include "runtime/artifact/Format.h"
#include "runtime/artifact/Hash.h"
#include "runtime/artifact/Layout.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace mambit;
using artifact::DType;

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

namespace {

/// "cuda:1": a kind of device and which one of several.
struct DeviceName {
  std::string kind;
  unsigned ordinal = 0;
};

DeviceName parseDeviceName(const std::string &text) {
  size_t colon = text.find(':');
  DeviceName name{text.substr(0, colon)};
  if (name.kind != "cpu" && name.kind != "cuda")
    failWith(MAMBIT_UNSUPPORTED, "unknown device '", text,
             "'; this runtime has: cpu, cuda, cuda:N");
  if (colon == std::string::npos)
    return name;
  std::string digits = text.substr(colon + 1);
  if (name.kind == "cpu" || digits.empty() || digits.size() > 3 ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    failWith(MAMBIT_UNSUPPORTED, "device '", text,
             "': expected cpu, cuda or cuda:N with the number of a GPU");
  name.ordinal = std::stoul(digits);
  return name;
}

const artifact::Device &findDevice(const artifact::Artifact &artifact,
                                   const std::string &kind) {
  if (const artifact::Device *device = artifact.device(kind))
    return *device;
  std::string kinds;
  for (const artifact::Device *device : *artifact.index().devices())
    kinds += (kinds.empty() ? "" : ", ") + device->kind()->str();
  failWith(MAMBIT_UNSUPPORTED, "the artifact has no code for device '", kind,
           "'; it has: ", kinds.empty() ? "none" : kinds);
}

using Ports = flatbuffers::Vector<flatbuffers::Offset<artifact::Port>>;

const artifact::Port *lookUpPort(const Ports &ports, const char *name) {
  for (const artifact::Port *port : ports)
    if (port->name()->str() == name)
      return port;
  return nullptr;
}

const artifact::Port &findPort(const artifact::Program &program,
                               const Ports &ports, const char *name,
                               DType dtype, artifact::Dim dim) {
  const artifact::Port *port = lookUpPort(ports, name);
  if (!port)
    fail("program '", program.name()->str(), "' has no '", name, "'");
  if (port->dtype() != dtype || port->dim() != dim)
    fail("'", name, "' of program '", program.name()->str(), "' is ",
         artifact::EnumNameDType(port->dtype()), " led by ",
         artifact::EnumNameDim(port->dim()), ", expected ",
         artifact::EnumNameDType(dtype), " led by ",
         artifact::EnumNameDim(dim));
  return *port;
}

/// The offset of a port of `bytes` bytes a row, if there is one.
std::optional<uint64_t> findRows(const Ports &ports, const char *name,
                                 DType dtype, uint64_t bytes) {
  const artifact::Port *port = lookUpPort(ports, name);
  if (!port || port->dtype() != dtype || port->dim() != artifact::Dim::rows ||
      port->fixed_bytes() != 0 || port->bytes_per_dim() != bytes)
    return std::nullopt;
  return port->offset();
}

} // namespace

/// Nothing in old artifacts: the host samples.
std::optional<Model::Program::Sampling>
Model::findSampling(const artifact::Program &program) {
  const Ports &in = *program.inputs(), &out = *program.outputs();
  auto random = findRows(in, "random", DType::i32, 8),
       temperature = findRows(in, "temperature", DType::f32, 4),
       topK = findRows(in, "top_k", DType::i32, 4),
       topP = findRows(in, "top_p", DType::f32, 4),
       minP = findRows(in, "min_p", DType::f32, 4),
       chosen = findRows(out, "chosen", DType::i32, 4),
       highest = findRows(out, "highest", DType::f32, 4),
       nextRandom = findRows(out, "next_random", DType::i32, 8);
  if (!random || !temperature || !topK || !topP || !minP || !chosen ||
      !highest || !nextRandom)
    return std::nullopt;
  return Program::Sampling{*random, *temperature, *topK,    *topP,
                           *minP,   *chosen,      *highest, *nextRandom};
}

Model::Program Model::findProgram(const char *name) const {
  for (unsigned i = 0; i < tables.programs()->size(); ++i) {
    const artifact::Program &program = *tables.programs()->Get(i);
    if (program.name()->str() != name)
      continue;
    Program found;
    found.index = i;
    found.capacity = {program.max_tokens(), program.max_sequences(),
                      program.max_rows()};
    // fixed + one int32 for each unit of `dim`.
    auto input = [&](const char *port, artifact::Dim dim, uint64_t fixed) {
      const artifact::Port &result =
          findPort(program, *program.inputs(), port, DType::i32, dim);
      if (result.fixed_bytes() != fixed || result.bytes_per_dim() != 4)
        fail("'", port, "' of program '", name, "' has ", result.fixed_bytes(),
             " + ", result.bytes_per_dim(), " bytes a unit, expected ", fixed,
             " + 4");
      return result.offset();
    };
    found.ids = input("ids", artifact::Dim::tokens, 0);
    found.offsets = input("offsets", artifact::Dim::sequences, 4);
    found.slots = input("slots", artifact::Dim::sequences, 0);
    found.rows = input("rows", artifact::Dim::rows, 0);
    const artifact::Port &logits = findPort(
        program, *program.outputs(), "logits", DType::f32, artifact::Dim::rows);
    if (logits.fixed_bytes() != 0 || logits.bytes_per_dim() == 0 ||
        logits.bytes_per_dim() % sizeof(float) != 0)
      fail("'logits' of program '", name, "' has ", logits.fixed_bytes(), " + ",
           logits.bytes_per_dim(), " bytes a row");
    found.logits = logits.offset();
    found.vocab = logits.bytes_per_dim() / sizeof(float);
    found.sampling = findSampling(program);
    return found;
  }
  fail("the artifact has no program '", name, "'");
}

std::shared_ptr<Model> Model::open(const std::string &path,
                                   const ModelOptions &options) {
  artifact::VerifyOptions verify;
  verify.weightChecksums = options.weightChecksums;
  artifact::Artifact artifact = artifact::Artifact::open(path, verify);
  try {
    if (artifact.isSkeleton())
      fail("is a skeleton: its weights are yet to be attached");
    return std::shared_ptr<Model>(new Model(std::move(artifact), options));
  } catch (const StatusError &error) {
    failWith(error.status, path, ": ", error.what());
  } catch (const Error &error) {
    fail(path, ": ", error.what());
  }
}

Model::Model(artifact::Artifact artifact, const ModelOptions &options)
    : file(std::move(artifact)),
      tables(findDevice(file, parseDeviceName(options.device).kind)),
      prefill(findProgram("prefill")), decode(findProgram("decode")),
      vocab(prefill.vocab), slots(options.maxSessions) {
  const artifact::ModelConfig *config = file.index().config();
  if (decode.vocab != vocab || (config && config->vocab() != vocab))
    fail("rows of logits have ", vocab, " floats in prefill and ", decode.vocab,
         " in decode, for a vocabulary of ", config ? config->vocab() : vocab);
  if (const artifact::Tokenizer *tokenizer = file.index().tokenizer()) {
    if (tokenizer->kind()->str() != "sentencepiece")
      failWith(MAMBIT_UNSUPPORTED, "unknown kind of tokenizer '",
               tokenizer->kind()->str(), "'");
    artifact::Bytes bytes = file.section(tokenizer->section());
    text.emplace(std::string_view(reinterpret_cast<const char *>(bytes.data),
                                  bytes.size),
                 vocab);
  }
  DeviceOptions deviceOptions;
  deviceOptions.target = options.target;
  deviceOptions.threads = options.threads;
  deviceOptions.slots = slots;
  DeviceName name = parseDeviceName(options.device);
  deviceOptions.ordinal = name.ordinal;
  auto create = name.kind == "cuda" ? createCudaDevice : createCpuDevice;
  machine = create(file, tables, deviceOptions);
  targetName = machine->target();
  identity = findIdentity();
  for (unsigned slot = slots; slot-- > 0;)
    freeSlots.push_back(slot);
}

/// What a checkpoint is: its files or, where the weights are of no checkpoint,
/// the weights. What a state is: known of the kernels that it is an argument
/// of.
SnapshotIdentity Model::findIdentity() const {
  const artifact::Index &index = file.index();
  std::ostringstream model, form;
  if (index.inputs())
    for (const artifact::Input *input : *index.inputs())
      model << input->file()->str() << ' ' << input->hash()->str() << '\n';
  if (model.str().empty())
    for (const artifact::Weight *weight : *index.weights())
      model << weight->name()->str() << ' '
            << index.sections()->Get(weight->section())->checksum() << '\n';

  std::vector<std::string> types(tables.states()->size());
  for (const artifact::Program *program : *tables.programs())
    for (const artifact::Command *command : *program->commands())
      for (unsigned i = 0; i < command->args()->size(); ++i) {
        const artifact::Arg &arg = *command->args()->Get(i);
        if (arg.kind() != artifact::ArgKind::state)
          continue;
        const artifact::Param &param =
            *tables.kernels()->Get(command->kernel())->params()->Get(i);
        std::string shape;
        for (uint64_t extent : artifact::shapeOf(param.shape()))
          shape += (shape.empty() ? "" : ",") + std::to_string(extent);
        types[arg.index()] =
            artifact::EnumNameDType(param.dtype()) + ("[" + shape + "]");
      }
  for (unsigned i = 0; i < types.size(); ++i)
    form << tables.states()->Get(i)->name()->str() << ": "
         << (types[i].empty() ? "unused" : types[i]) << '\n';
  std::string text = model.str();
  return {artifact::checksum(text.data(), text.size()), form.str()};
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

bool Model::forward(const Batch &batch) {
  for (const Piece &piece : dividePieces(batch.offsets, batch.which,
                                         prefill.capacity, decode.capacity))
    if (!runPiece(piece, batch))
      return false;
  return true;
}

/// Draws say how the token of each row is chosen.
void Model::copyInputs(const Program &program, const std::vector<int32_t> &ids,
                       const std::vector<int32_t> &offsets,
                       const std::vector<int32_t> &slots,
                       const std::vector<int32_t> &rows,
                       const std::vector<Draw> &draws) {
  auto copyIn = [&](uint64_t offset, const auto &values) {
    if (!values.empty())
      machine->copyIn(program.index, offset, values.data(),
                      values.size() * sizeof(values[0]));
  };
  copyIn(program.ids, ids);
  copyIn(program.offsets, offsets);
  copyIn(program.slots, slots);
  copyIn(program.rows, rows);
  if (!program.sampling)
    return;
  auto copyMember = [&](uint64_t offset, auto Draw::*member) {
    std::vector<std::decay_t<decltype(Draw().*member)>> values;
    for (const Draw &draw : draws)
      values.push_back(draw.*member);
    copyIn(offset, values);
  };
  copyMember(program.sampling->random, &Draw::random);
  copyMember(program.sampling->temperature, &Draw::temperature);
  copyMember(program.sampling->topK, &Draw::topK);
  copyMember(program.sampling->topP, &Draw::topP);
  copyMember(program.sampling->minP, &Draw::minP);
}

bool Model::runPiece(const Piece &piece, const Batch &batch) {
  std::vector<int32_t> ids, offsets{0}, slots, rows;
  for (const Segment &segment : piece.segments) {
    for (size_t i = 0; i < segment.rows; ++i)
      rows.push_back(ids.size() + (segment.firstRow - segment.begin) + i);
    const int32_t *begin = batch.tokens + segment.begin;
    ids.insert(ids.end(), begin, begin + segment.count);
    offsets.push_back(ids.size());
    slots.push_back(batch.sessions[segment.sequence]->slot);
  }
  const Program &program = piece.decode ? decode : prefill;
  Extents extents{int64_t(ids.size()), int64_t(slots.size()),
                  int64_t(rows.size())};

  std::lock_guard lock(mutex);
  if (batch.stop())
    return false;
  copyInputs(program, ids, offsets, slots, rows,
             std::vector<Draw>(rows.size()));
  for (const Segment &segment : piece.segments)
    batch.sessions[segment.sequence]->torn = true;
  if (batch.observe) {
    const auto &commands = *tables.programs()->Get(program.index)->commands();
    for (size_t i = 0; i < commands.size(); ++i) {
      machine->runCommand(program.index, i, extents);
      batch.observe({program.index, i, extents, slots});
    }
  } else if (!machine->run(program.index, extents, {program.logits}, batch.stop,
                           batch.times)) {
    return false;
  }
  uint64_t source = program.logits;
  for (const Segment &segment : piece.segments) {
    if (segment.rows == 0)
      continue;
    size_t row =
        batch.which == MAMBIT_LOGITS_ALL ? segment.firstRow : segment.sequence;
    uint64_t bytes = segment.rows * vocab * sizeof(float);
    machine->copyOut(program.index, source, batch.logits + row * vocab, bytes);
    source += bytes;
  }
  for (const Segment &segment : piece.segments) {
    Session &session = *batch.sessions[segment.sequence];
    session.tokens += segment.count;
    session.torn = false;
  }
  return true;
}

bool Model::generate(const Generation &batch) {
  size_t count = batch.sessions.size();
  size_t most = std::min({decode.capacity.tokens, decode.capacity.sequences,
                          decode.capacity.rows});
  for (size_t first = 0; first < count; first += most)
    if (!generatePart({batch, first, std::min(most, count - first)}))
      return false;
  return true;
}

/// How the device is to sample, if it can.
std::optional<std::vector<Draw>> Model::drawsOf(const Part &part) const {
  if (!decode.sampling)
    return std::nullopt;
  std::vector<Draw> draws(part.count);
  for (size_t i = 0; i < part.count; ++i)
    if (const Sampler *sampler = part.sampler(i)) {
      std::optional<Draw> draw = sampler->draw(artifact::kMostTopK);
      if (!draw)
        return std::nullopt;
      draws[i] = *draw;
    }
  return draws;
}

/// All steps of some of the sequences.
bool Model::generatePart(const Part &part) {
  const Generation &batch = part.batch;
  size_t count = part.count;
  const int32_t *first = batch.tokens + part.first;
  std::vector<int32_t> ids(first, first + count);
  std::vector<int32_t> offsets(count + 1), slots, chosen;
  std::vector<float> logits;
  std::iota(offsets.begin(), offsets.end(), 0);
  std::vector<int32_t> rows(offsets.begin(), offsets.end() - 1);
  std::vector<Session *> sessions(batch.sessions.begin() + part.first,
                                  batch.sessions.begin() + part.first + count);
  for (const Session *session : sessions)
    slots.push_back(session->slot);
  for (size_t done = 0; done < batch.steps;) {
    std::optional<std::vector<Draw>> draws = drawsOf(part);
    // Other calls have their turn after so many steps.
    size_t steps = std::min<size_t>(draws ? 32 : 1, batch.steps - done), ran;
    chosen.resize(steps * count);
    {
      std::lock_guard lock(mutex);
      copyInputs(decode, ids, offsets, slots, rows,
                 draws.value_or(std::vector<Draw>(count)));
      for (Session *session : sessions)
        session->torn = true;
      if (draws) {
        bool random =
            std::any_of(draws->begin(), draws->end(),
                        [](const Draw &draw) { return draw.topK > 1; });
        ran = chooseOnDevice(part, random, steps, chosen.data());
      } else {
        ran = computeLogits(part, logits);
      }
    }
    if (!draws && ran > 0)
      chooseOnHost(part, logits, chosen.data());
    for (size_t i = 0; i < count; ++i) {
      for (size_t step = 0; step < ran; ++step) {
        int32_t token = chosen[step * count + i];
        batch.chosen[(part.first + i) * batch.steps + done + step] = token;
        if (Sampler *sampler = part.sampler(i))
          sampler->accept(token);
      }
      sessions[i]->tokens += ran;
      sessions[i]->torn = false;
    }
    done += ran;
    if (ran < steps)
      return false;
    ids.assign(chosen.end() - count, chosen.end());
  }
  return true;
}

/// Runs one step whose inputs are in place, unless it is to stop, and returns
/// how many were run.
size_t Model::computeLogits(const Part &part, std::vector<float> &logits) {
  if (part.batch.stop())
    return 0;
  machine->run(
      decode.index, part.extents(), {decode.logits}, [] { return false; },
      nullptr);
  logits.resize(part.count * vocab);
  machine->copyOut(decode.index, decode.logits, logits.data(),
                   logits.size() * sizeof(float));
  return 1;
}

/// Chooses a token of each sequence, while others may use the device.
void Model::chooseOnHost(const Part &part, std::vector<float> &logits,
                         int32_t *chosen) {
  Sampler greedy{SamplerOptions()};
  for (size_t i = 0; i < part.count; ++i) {
    Sampler *sampler = part.sampler(i);
    chosen[i] =
        (sampler ? *sampler : greedy).sample(logits.data() + i * vocab, vocab);
  }
}

/// Runs steps, the first of which has its inputs in place, until it is to stop,
/// and returns how many were run. `random`: the generators' numbers count.
size_t Model::chooseOnDevice(const Part &part, bool random, size_t steps,
                             int32_t *chosen) {
  const Program::Sampling &sampling = *decode.sampling;
  uint64_t bytes = part.count * sizeof(int32_t);
  Chain chain;
  chain.steps = steps;
  chain.links = {{sampling.chosen, decode.ids, bytes}};
  if (random)
    chain.links.push_back({sampling.nextRandom, sampling.random, 2 * bytes});
  chain.kept = {{sampling.highest, bytes}, {sampling.chosen, bytes}};
  std::vector<char> kept(chain.keptBytes() * steps);
  size_t ran = machine->runChain(decode.index, part.extents(), chain,
                                 part.batch.stop, kept.data());
  for (size_t step = 0; step < ran; ++step) {
    std::vector<float> highest(part.count);
    const char *source = kept.data() + chain.keptBytes() * step;
    int32_t *tokens = chosen + step * part.count;
    std::memcpy(highest.data(), source, bytes);
    std::memcpy(tokens, source + bytes, bytes);
    for (size_t i = 0; i < part.count; ++i)
      checkBest(tokens[i], highest[i]);
  }
  for (size_t i = 0; i < part.count; ++i)
    if (Sampler *sampler = part.sampler(i))
      sampler->skip(ran);
  return ran;
}

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

unsigned Model::takeSlot() {
  std::lock_guard lock(mutex);
  if (freeSlots.empty())
    failWith(MAMBIT_OUT_OF_RESOURCES, "all ", slots,
             " sessions of the model are in use");
  unsigned slot = freeSlots.back();
  machine->prepareSlot(slot);
  freeSlots.pop_back();
  return slot;
}

void Model::returnSlot(unsigned slot) noexcept {
  std::lock_guard lock(mutex);
  try {
    machine->zeroSlot(slot);
  } catch (const Error &) {
    return; // the device has failed; nobody gets a slot that is not zero
  }
  freeSlots.push_back(slot);
}

Session::Session(std::shared_ptr<Model> model)
    : owner(std::move(model)), slot(owner->takeSlot()) {}

Session::~Session() { owner->returnSlot(slot); }

Session::Use::Use(const Session &session) : session(&session) {
  if (session.busy.exchange(true, std::memory_order_acquire))
    failWith(MAMBIT_BUSY, "the session is in use by another call");
}

Session::Use::~Use() {
  if (session)
    session->busy.store(false, std::memory_order_release);
}

std::unique_ptr<Session> Session::fork() const {
  Use use(*this);
  uint64_t at = position();
  auto copy = std::make_unique<Session>(owner);
  std::lock_guard lock(owner->mutex);
  owner->machine->copySlot(slot, copy->slot);
  copy->tokens = at;
  return copy;
}

void Session::reset() {
  Use use(*this);
  std::lock_guard lock(owner->mutex);
  owner->machine->zeroSlot(slot);
  tokens = 0;
  torn = false;
}

uint64_t Model::stateBytes() const {
  uint64_t bytes = 0;
  for (const artifact::State *state : *tables.states())
    bytes += state->size();
  return bytes;
}

Snapshot Model::openSnapshot(const std::string &path) const {
  return {path, identity, stateBytes()};
}

void Session::save(const std::string &path, artifact::Bytes note) const {
  Use use(*this);
  uint64_t at = position();
  std::vector<uint8_t> bytes(owner->tables.slot_bytes()), states;
  {
    std::lock_guard lock(owner->mutex);
    owner->machine->readSlot(slot, bytes.data());
  }
  // End to end: their places need not be alike on another device.
  states.reserve(owner->stateBytes());
  for (const artifact::State *state : *owner->tables.states())
    states.insert(states.end(), bytes.begin() + state->offset(),
                  bytes.begin() + state->offset() + state->size());
  writeSnapshot(path, owner->identity, at, {states.data(), states.size()},
                note);
}

std::unique_ptr<Session> Session::restore(std::shared_ptr<Model> model,
                                          const Snapshot &snapshot) {
  std::vector<uint8_t> bytes(model->tables.slot_bytes());
  const uint8_t *source = snapshot.state().data;
  for (const artifact::State *state : *model->tables.states()) {
    std::memcpy(bytes.data() + state->offset(), source, state->size());
    source += state->size();
  }
  auto session = std::make_unique<Session>(model);
  std::lock_guard lock(model->mutex);
  model->machine->writeSlot(session->slot, bytes.data());
  session->tokens = snapshot.tokens();
  return session;
}

uint64_t Session::position() const {
  if (torn)
    failWith(MAMBIT_INVALID_STATE,
             "the session was stopped inside a token and is to be reset");
  return tokens;
}
