//===- Artifact.cpp - an artifact opened for reading -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Artifact.h"

#include "runtime/Error.h"
#include "runtime/artifact/Format.h"

#include <cstring>

namespace mambit::artifact {

Artifact Artifact::open(const std::string &path, const VerifyOptions &options) {
  MappedFile file(path);
  Bytes bytes = file.bytes();
  try {
    const Index &index = verify(bytes.data, bytes.size, options);
    return Artifact(path, std::move(file), index);
  } catch (const Error &error) {
    fail(path, ": ", error.what());
  }
}

uint16_t Artifact::minorVersion() const {
  Header header;
  std::memcpy(&header, file.bytes().data, sizeof(header));
  return header.minor;
}

Bytes Artifact::section(size_t section) const {
  const Section &range = *root->sections()->Get(section);
  return {file.bytes().data + range.offset(), size_t(range.size())};
}

Bytes Artifact::weight(size_t weight) const {
  int32_t number = root->weights()->Get(weight)->section();
  return number < 0 ? Bytes() : section(number);
}

const Device *Artifact::device(const std::string &kind) const {
  for (const Device *device : *root->devices())
    if (device->kind()->str() == kind)
      return device;
  return nullptr;
}

bool Artifact::isSkeleton() const {
  return root->weights()->size() > 0 && root->weights()->Get(0)->section() < 0;
}

} // namespace mambit::artifact
