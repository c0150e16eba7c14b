//===- MappedFile.h - a file mapped read-only --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_MAPPEDFILE_H
#define MAMBIT_FRONTEND_CHECKPOINT_MAPPEDFILE_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mambit::checkpoint {

/// A regular file, mapped read-only for as long as the object lives. The file
/// must not be shortened meanwhile.
class MappedFile {
public:
  /// Throws Error if the file cannot be opened or mapped. An empty file has no
  /// bytes.
  explicit MappedFile(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return filePath; }
  const unsigned char *data() const { return begin; }
  uint64_t size() const { return length; }

  /// The bytes from `offset`, which must lie inside.
  std::string_view bytes(uint64_t offset, uint64_t count) const {
    return {reinterpret_cast<const char *>(begin) + offset, count};
  }

  bool contains(const unsigned char *address) const {
    return address >= begin && address < begin + length;
  }

  /// Drops the pages that lie wholly inside the range from this process; they
  /// are read again if touched.
  void release(const unsigned char *address, uint64_t count) const;

private:
  std::string filePath;
  const unsigned char *begin = nullptr;
  uint64_t length = 0;
};

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_MAPPEDFILE_H
