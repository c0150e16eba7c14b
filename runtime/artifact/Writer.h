//===- Writer.h - writes artifacts -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_WRITER_H
#define MAMBIT_RUNTIME_ARTIFACT_WRITER_H

#include "runtime/artifact/Artifact.h"

#include <functional>
#include <vector>

namespace mambit::artifact {

/// Where the bytes of a section go, in order.
class Sink {
public:
  virtual ~Sink() = default;
  virtual void write(const void *data, size_t size) = 0;
};

/// Produces the bytes of a section when the writer gets to it.
using Payload = std::function<void(Sink &)>;

/// An artifact before it is written: the index, and a payload a section.
/// Offsets, sizes and checksums of `index.sections` are the writer's to fill
/// in.
struct Draft {
  IndexT index;
  std::vector<Payload> payloads;

  /// Appends a section and returns its number.
  int32_t addSection(std::string name, Payload payload);
  int32_t addSection(std::string name, std::vector<uint8_t> bytes);

  /// Names a feature without which a reader must refuse the file.
  void require(const char *feature);

  /// A draft equal to an artifact, which must outlive it.
  static Draft fromArtifact(const Artifact &artifact);
};

/// Writes a draft to `path`: the same bytes for the same draft. The file
/// appears under its name whole and verified, or not at all; memory does not
/// grow with the sections. Throws Error.
void write(Draft &draft, const std::string &path);

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_WRITER_H
