//===- Snapshot.cpp - the state of a session in a file
//----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Snapshot.h"

#include "runtime/Status.h"
#include "runtime/artifact/Hash.h"
#include "runtime/artifact/TemporaryFile.h"

#include <cstring>
#include <iomanip>

using namespace mambit;
using artifact::Bytes;

void mambit::writeSnapshot(const std::string &path,
                           const SnapshotIdentity &identity, uint64_t tokens,
                           Bytes state, Bytes note) {
  const Bytes parts[] = {
      {reinterpret_cast<const uint8_t *>(identity.form.data()),
       identity.form.size()},
      state,
      note};
  SnapshotHeader header{};
  std::memcpy(header.magic, kSnapshotMagic, sizeof(kSnapshotMagic));
  header.major = kSnapshotMajor;
  header.minor = kSnapshotMinor;
  header.model = identity.model;
  header.tokens = tokens;
  header.formSize = identity.form.size();
  header.stateSize = state.size;
  header.noteSize = note.size;

  artifact::TemporaryFile file(path);
  artifact::Checksum checksum;
  uint64_t end = sizeof(header);
  for (Bytes part : parts) {
    file.writeAt(end, part.data, part.size);
    checksum.update(part.data, part.size);
    end += part.size;
  }
  header.fileSize = end;
  header.checksum = checksum.value();
  header.headerChecksum =
      artifact::checksum(&header, offsetof(SnapshotHeader, headerChecksum));
  file.writeAt(0, &header, sizeof(header));
  file.commit();
}

namespace {

template <typename... Parts>
[[noreturn]] void refuse(const std::string &path, const Parts &...parts) {
  failWith(MAMBIT_INVALID_SNAPSHOT, path, ": ", parts...);
}

artifact::MappedFile mapFile(const std::string &path) {
  try {
    return artifact::MappedFile(path);
  } catch (const Error &error) {
    failWith(MAMBIT_INVALID_SNAPSHOT, error.what());
  }
}

std::string hexadecimal(uint64_t value) {
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << value;
  return text.str();
}

/// Names the first state in which two forms differ.
void checkForm(const std::string &path, const std::string &expected,
               const std::string &found) {
  if (expected == found)
    return;
  std::istringstream ours(expected), theirs(found);
  std::string our, their;
  do {
    our = their = "no more states";
    std::getline(ours, our);
    std::getline(theirs, their);
  } while (our == their);
  refuse(path, "holds states of another form: expected ", our, ", found ",
         their);
}

} // namespace

Snapshot::Snapshot(const std::string &path, const SnapshotIdentity &identity,
                   uint64_t stateSize)
    : file(mapFile(path)) {
  Bytes bytes = file.bytes();
  if (bytes.size < sizeof(header))
    refuse(path, "expected a saved session, of at least ", sizeof(header),
           " bytes, found ", bytes.size, " bytes");
  std::memcpy(&header, bytes.data, sizeof(header));
  if (std::memcmp(header.magic, kSnapshotMagic, sizeof(kSnapshotMagic)) != 0)
    refuse(path, "expected a saved session, found a file that does not begin "
                 "like one");
  if (header.major != kSnapshotMajor)
    refuse(path, "saved session of format version ", header.major, ".",
           header.minor, "; this runtime reads version ", kSnapshotMajor);
  if (header.headerChecksum !=
      artifact::checksum(&header, offsetof(SnapshotHeader, headerChecksum)))
    refuse(path, "the header is damaged: its checksum differs");
  if (header.fileSize != bytes.size)
    refuse(path, bytes.size < header.fileSize ? "truncated: " : "too long: ",
           "expected ", header.fileSize, " bytes, found ", bytes.size);
  uint64_t rest = bytes.size - sizeof(header);
  if (header.formSize > rest || header.stateSize > rest - header.formSize ||
      header.noteSize != rest - header.formSize - header.stateSize)
    refuse(path, "parts of ", header.formSize, ", ", header.stateSize, " and ",
           header.noteSize, " bytes do not make the file's ", bytes.size);
  if (header.model != identity.model)
    refuse(path, "was saved with another model: expected model ",
           hexadecimal(identity.model), ", found ", hexadecimal(header.model));
  if (artifact::checksum(bytes.data + sizeof(header), rest) != header.checksum)
    refuse(path, "damaged: the checksum of its contents differs");
  checkForm(path, identity.form,
            {reinterpret_cast<const char *>(bytes.data) + sizeof(header),
             header.formSize});
  if (header.stateSize != stateSize)
    refuse(path, "expected a state of ", stateSize, " bytes, found ",
           header.stateSize);
}

Bytes Snapshot::state() const {
  return {file.bytes().data + sizeof(header) + header.formSize,
          header.stateSize};
}

Bytes Snapshot::note() const {
  return {state().data + header.stateSize, header.noteSize};
}
