//===- Model.h - a model, its sessions, and running them ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_MODEL_H
#define MAMBIT_RUNTIME_MODEL_H

#include "runtime/FairMutex.h"
#include "runtime/Pieces.h"
#include "runtime/Sampler.h"
#include "runtime/Snapshot.h"
#include "runtime/device/Device.h"
#include "runtime/text/Tokenizer.h"

#include <atomic>
#include <optional>
#include <utility>

namespace mambit {

class Session;

struct ModelOptions {
  std::string device = "cpu";
  std::string target;
  unsigned threads = 0;
  unsigned maxSessions = 64;
  bool weightChecksums = true;
};

/// A command that has just been run.
struct Observation {
  size_t program, command;
  Extents extents;
  std::vector<int32_t> slots; // of the sequences
};

/// A call of mambit_forward.
struct Batch {
  std::vector<Session *> sessions; // of one model, each once
  const int32_t *tokens;
  std::vector<size_t> offsets;
  mambit_logits which;
  float *logits;
  std::function<bool()> stop;
  std::vector<PhaseTime> *times = nullptr; // of all phases, where wanted
  /// If set, commands are run one by one, and this is called after each.
  std::function<void(const Observation &)> observe;
};

/// A call of mambit_generate.
struct Generation {
  std::vector<Session *> sessions; // of one model, each once
  std::vector<Sampler *> samplers; // of each, or null: greedy
  const int32_t *tokens;           // the next of each
  size_t steps;
  int32_t *chosen; // of each session `steps` tokens
  std::function<bool()> stop;
};

/// An open artifact on a device. Knows no architecture: it runs the artifact's
/// programs. Safe to use from several threads; pieces take turns on the device.
class Model {
public:
  static std::shared_ptr<Model> open(const std::string &path,
                                     const ModelOptions &options);

  const artifact::Artifact &artifact() const { return file; }
  const artifact::Device &deviceTables() const { return tables; }
  const Device &device() const { return *machine; }
  Device &device() { return *machine; }
  const std::optional<Tokenizer> &tokenizer() const { return text; }
  const std::string &target() const { return targetName; }
  size_t vocabSize() const { return vocab; }
  unsigned maxSessions() const { return slots; }
  const Capacity &prefillCapacity() const { return prefill.capacity; }
  const Capacity &decodeCapacity() const { return decode.capacity; }
  /// Of the checkpoint that the model was made from.
  uint64_t hash() const { return identity.model; }

  /// Opens a snapshot and checks that it is of this model.
  Snapshot openSnapshot(const std::string &path) const;

  /// Runs a checked batch; false if it was stopped.
  bool forward(const Batch &batch);
  bool generate(const Generation &batch);

private:
  friend class Session;

  /// A program and where its inputs and outputs lie in the arena.
  struct Program {
    size_t index;
    Capacity capacity;
    uint64_t ids, offsets, slots, rows, logits;
    uint64_t vocab;
    /// Where the program takes what it draws a row's token by, and leaves it.
    struct Sampling {
      uint64_t random, temperature, topK, topP, minP;
      uint64_t chosen, highest, nextRandom;
    };
    std::optional<Sampling> sampling;
  };

  /// Some sequences of a generation, decoded together.
  struct Part {
    const Generation &batch;
    size_t first, count;
    Extents extents() const {
      return {int64_t(count), int64_t(count), int64_t(count)};
    }
    Sampler *sampler(size_t i) const { return batch.samplers[first + i]; }
  };

  Model(artifact::Artifact artifact, const ModelOptions &options);
  Program findProgram(const char *name) const;
  static std::optional<Program::Sampling>
  findSampling(const artifact::Program &program);
  SnapshotIdentity findIdentity() const;
  bool runPiece(const Piece &piece, const Batch &batch);
  void copyInputs(const Program &program, const std::vector<int32_t> &ids,
                  const std::vector<int32_t> &offsets,
                  const std::vector<int32_t> &slots,
                  const std::vector<int32_t> &rows,
                  const std::vector<Draw> &draws);
  bool generatePart(const Part &part);
  size_t computeLogits(const Part &part, std::vector<float> &logits);
  void chooseOnHost(const Part &part, std::vector<float> &logits,
                    int32_t *chosen);
  size_t chooseOnDevice(const Part &part, bool random, size_t steps,
                        int32_t *chosen);
  std::optional<std::vector<Draw>> drawsOf(const Part &part) const;
  uint64_t stateBytes() const;

  // Slots are zero when they are free.
  unsigned takeSlot();
  void returnSlot(unsigned slot) noexcept;

  artifact::Artifact file;
  const artifact::Device &tables;
  Program prefill, decode;
  size_t vocab;
  std::optional<Tokenizer> text;
  unsigned slots;
  std::unique_ptr<Device> machine;
  std::string targetName;
  SnapshotIdentity identity;
  FairMutex mutex; // of the device and the free slots
  std::vector<unsigned> freeSlots;
};

/// The state of one sequence: a slot of the device's pool.
class Session {
public:
  explicit Session(std::shared_ptr<Model> model);
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  /// Marks a session as in use; throws MAMBIT_BUSY if it is.
  class Use {
  public:
    explicit Use(const Session &session);
    Use(Use &&other) : session(std::exchange(other.session, nullptr)) {}
    ~Use();

  private:
    const Session *session;
  };

  Model &model() const { return *owner; }
  std::unique_ptr<Session> fork() const;
  void reset();

  /// The state and the caller's note in a file.
  void save(const std::string &path, artifact::Bytes note) const;
  /// A session in the state of a snapshot of the model.
  static std::unique_ptr<Session> restore(std::shared_ptr<Model> model,
                                          const Snapshot &snapshot);

  /// Throws MAMBIT_INVALID_STATE if the session was stopped inside a piece.
  uint64_t position() const;

private:
  friend class Model;

  std::shared_ptr<Model> owner;
  unsigned slot;
  uint64_t tokens = 0;
  bool torn = false; // the state is between two tokens
  mutable std::atomic<bool> busy{false};
};

} // namespace mambit

#endif // MAMBIT_RUNTIME_MODEL_H
