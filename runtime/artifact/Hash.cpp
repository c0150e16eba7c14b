//===- Hash.cpp - checksums of sections and input files ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Hash.h"

#include "runtime/Error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace mambit::artifact {

uint64_t checksum(const void *data, size_t size) {
  return XXH3_64bits(data, size);
}

struct Checksum::State {
  XXH3_state_t xxh;
};

Checksum::Checksum() : state(std::make_unique<State>()) {
  XXH3_64bits_reset(&state->xxh);
}

Checksum::~Checksum() = default;

void Checksum::update(const void *data, size_t size) {
  XXH3_64bits_update(&state->xxh, data, size);
}

uint64_t Checksum::value() const { return XXH3_64bits_digest(&state->xxh); }

FileHash hashFile(const std::string &path) {
  std::unique_ptr<FILE, int (*)(FILE *)> file(std::fopen(path.c_str(), "rb"),
                                              std::fclose);
  if (!file)
    fail(path, ": cannot open: ", std::strerror(errno));

  // Read, not mapped: the pages must not count as memory of ours.
  std::vector<char> buffer(size_t(1) << 20);
  auto state = std::make_unique<Checksum::State>();
  XXH3_128bits_reset(&state->xxh);
  FileHash result{0, {}};
  while (size_t count =
             std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    XXH3_128bits_update(&state->xxh, buffer.data(), count);
    result.size += count;
  }
  if (std::ferror(file.get()))
    fail(path, ": cannot read: ", std::strerror(errno));

  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state->xxh));
  for (unsigned char byte : canonical.digest) {
    result.hash += "0123456789abcdef"[byte >> 4];
    result.hash += "0123456789abcdef"[byte & 15];
  }
  return result;
}

} // namespace mambit::artifact
