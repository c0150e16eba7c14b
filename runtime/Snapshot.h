//===- Snapshot.h - the state of a session in a file -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_SNAPSHOT_H
#define MAMBIT_RUNTIME_SNAPSHOT_H

#include "runtime/artifact/MappedFile.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace mambit {

/// A reader refuses another major version (docs/snapshot-format.md).
constexpr uint16_t kSnapshotMajor = 1;
constexpr uint16_t kSnapshotMinor = 0;

constexpr char kSnapshotMagic[8] = {'M', 'A', 'M', 'B', 'S', 'T', '\r', '\n'};

/// The first bytes of the file, little endian; form, state and note follow.
/// Magic and version keep their place in every version to come.
struct SnapshotHeader {
  char magic[8];
  uint16_t major;
  uint16_t minor;
  uint32_t reserved; // 0
  uint64_t fileSize;
  uint64_t model;  // Model::hash
  uint64_t tokens; // that the state has taken in
  uint64_t formSize;
  uint64_t stateSize;
  uint64_t noteSize;
  uint64_t checksum;       // XXH3-64 of what follows the header
  uint64_t headerChecksum; // XXH3-64 of the bytes before it
};
static_assert(sizeof(SnapshotHeader) == 80 &&
                  offsetof(SnapshotHeader, headerChecksum) == 72,
              "the header is written as it lies in memory");

/// What a snapshot must fit: the same for every device, target and precision of
/// a model, so that a state can move between them.
struct SnapshotIdentity {
  uint64_t model;
  std::string form; // a line for each state: its name, type and shape
};

/// Writes a snapshot; it appears whole or not at all. Throws Error.
void writeSnapshot(const std::string &path, const SnapshotIdentity &identity,
                   uint64_t tokens, artifact::Bytes state,
                   artifact::Bytes note);

/// A snapshot, checked to the last byte, of which the parts lie in the mapped
/// file.
class Snapshot {
public:
  /// Throws StatusError, MAMBIT_INVALID_SNAPSHOT.
  Snapshot(const std::string &path, const SnapshotIdentity &identity,
           uint64_t stateSize);

  uint64_t tokens() const { return header.tokens; }
  artifact::Bytes state() const;
  artifact::Bytes note() const;

private:
  artifact::MappedFile file;
  SnapshotHeader header;
};

} // namespace mambit

#endif // MAMBIT_RUNTIME_SNAPSHOT_H
