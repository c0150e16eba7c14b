//===- Artifact.h - an artifact opened for reading ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_ARTIFACT_H
#define MAMBIT_RUNTIME_ARTIFACT_ARTIFACT_H

#include "runtime/artifact/MappedFile.h"
#include "runtime/artifact/Verify.h"

#include <string>

namespace mambit::artifact {

/// A verified artifact, mapped read-only. Everything it gives lives as long as
/// it does; several threads may read it. Whoever replaces the file does so by
/// renaming, as the writer does: the mapping then keeps the old one.
class Artifact {
public:
  /// Maps and verifies a file. Throws Error, with the path in the message.
  static Artifact open(const std::string &path,
                       const VerifyOptions &options = {});

  const std::string &path() const { return filePath; }
  const Index &index() const { return *root; }
  uint64_t fileSize() const { return file.bytes().size; }
  uint16_t minorVersion() const;

  /// Bytes of a section, as indexed by the tables.
  Bytes section(size_t section) const;

  /// Bytes of a weight; of no size in a skeleton.
  Bytes weight(size_t weight) const;

  /// A device by its kind, or null.
  const Device *device(const std::string &kind) const;

  /// Whether the weights are yet to be attached: valid, but not to be run.
  bool isSkeleton() const;

private:
  Artifact(std::string path, MappedFile file, const Index &index)
      : filePath(std::move(path)), file(std::move(file)), root(&index) {}

  std::string filePath;
  MappedFile file;
  const Index *root;
};

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_ARTIFACT_H
