//===- Format.h - header and version of the artifact -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_FORMAT_H
#define MAMBIT_RUNTIME_ARTIFACT_FORMAT_H

#include <cstddef>
#include <cstdint>

namespace mambit::artifact {

/// A reader refuses another major version. A newer minor version loads as long
/// as the reader knows all of the index's required features and enumerators
/// (docs/artifact-format.md).
constexpr uint16_t kMajorVersion = 1;
constexpr uint16_t kMinorVersion = 3;

/// Features that a reader must know (docs/artifact-format.md): phases that run
/// only under a condition.
constexpr char kConditionsFeature[] = "conditions";

/// Ends like PNG's, so that a transfer as text is noticed.
constexpr char kMagic[8] = {'M', 'A', 'M', 'B', 'I', 'T', '\r', '\n'};

constexpr uint64_t kSectionAlignment = 64;
/// Sections of code may be mapped on their own.
constexpr uint64_t kCodeAlignment = 4096;
/// Of buffers in the arena and of states in a slot.
constexpr uint64_t kBufferAlignment = 64;

/// Programs that sample can draw among so many of the likeliest tokens.
constexpr uint32_t kMostTopK = 64;

/// The first bytes of the file, little endian. Magic and version keep their
/// place in every version to come.
struct Header {
  char magic[8];
  uint16_t major;
  uint16_t minor;
  uint32_t reserved; // 0
  uint64_t fileSize;
  uint64_t indexOffset;
  uint64_t indexSize;
  uint64_t indexChecksum;  // XXH3-64 of the index
  uint64_t reserved2;      // 0
  uint64_t headerChecksum; // XXH3-64 of the bytes before it
};
static_assert(sizeof(Header) == 64 && offsetof(Header, headerChecksum) == 56,
              "the header is written as it lies in memory");

constexpr uint64_t alignTo(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_FORMAT_H
