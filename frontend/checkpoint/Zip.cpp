//===- Zip.cpp - the directory of a zip file ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//
//
// Structures and field names follow PKWARE's APPNOTE.TXT, section 4.3.
//
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Zip.h"
#include "frontend/checkpoint/Error.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mambit::checkpoint {
namespace {

constexpr uint32_t localSignature = 0x04034b50;
constexpr uint32_t centralSignature = 0x02014b50;
constexpr uint32_t endSignature = 0x06054b50;
constexpr uint32_t end64Signature = 0x06064b50;
constexpr uint32_t locator64Signature = 0x07064b50;
constexpr uint64_t localSize = 30, centralSize = 46, endSize = 22;
constexpr uint64_t end64Size = 56, locator64Size = 20;
constexpr uint64_t maxComment = 0xffff;
constexpr uint64_t maxEntries = 1 << 20;
constexpr uint16_t zip64Extra = 0x0001;
constexpr uint16_t encryptionFlags = 1 << 0 | 1 << 6 | 1 << 13;

struct Entry {
  std::string name;
  uint64_t begin, end; // from the local header to the end of the data
};

class Reader {
public:
  Reader(const MappedFile &file, const std::string &name)
      : file(file), name(name) {}

  ZipDirectory read();

private:
  /// An integer at an offset whose bytes were checked to be in the file.
  template <typename T>
  T at(uint64_t offset) const {
    T value;
    std::memcpy(&value, file.data() + offset, sizeof(T));
    return value;
  }

  /// Whether a structure of this size and signature lies before `limit`.
  bool holds(uint64_t offset, uint64_t size, uint64_t limit,
             uint32_t signature) const {
    return offset <= limit && size <= limit - offset &&
           at<uint32_t>(offset) == signature;
  }

  uint64_t findEnd() const;
  void findDirectory();
  uint64_t readEntry(uint64_t offset);
  void readZip64(uint64_t offset, uint64_t size, const std::string &entry,
                 uint64_t &stored, uint64_t &compressed, uint64_t &local) const;
  void checkOverlaps();

  const MappedFile &file;
  const std::string &name;
  uint64_t directoryBegin = 0, directoryEnd = 0, entryCount = 0;
  std::vector<Entry> entries;
  ZipDirectory directory;
};

uint64_t Reader::findEnd() const {
  if (file.size() >= endSize) {
    uint64_t last = file.size() - endSize;
    uint64_t first = last > maxComment ? last - maxComment : 0;
    for (uint64_t offset = last + 1; offset-- > first;)
      if (at<uint32_t>(offset) == endSignature &&
          at<uint16_t>(offset + 20) == last - offset)
        return offset;
  }
  bool isZip = file.size() >= 4 && at<uint32_t>(0) == localSignature;
  fail(name, isZip ? ": truncated: expected a zip file's directory at the end, "
                     "found none"
                   : ": expected a zip file as torch.save writes it since "
                     "PyTorch 1.6, found something else");
}

void Reader::findDirectory() {
  uint64_t end = findEnd();
  bool singleDisk = at<uint16_t>(end + 4) == 0 && at<uint16_t>(end + 6) == 0;
  entryCount = at<uint16_t>(end + 10);
  uint64_t size = at<uint32_t>(end + 12);
  directoryBegin = at<uint32_t>(end + 16);

  if (end >= locator64Size &&
      at<uint32_t>(end - locator64Size) == locator64Signature) {
    uint64_t locator = end - locator64Size;
    end = at<uint64_t>(locator + 8);
    if (!holds(end, end64Size, locator, end64Signature))
      fail(name, ": zip64 end record: expected one at offset ", end,
           ", found none");
    singleDisk = at<uint32_t>(end + 16) == 0 && at<uint32_t>(end + 20) == 0;
    entryCount = at<uint64_t>(end + 32);
    size = at<uint64_t>(end + 40);
    directoryBegin = at<uint64_t>(end + 48);
  }
  if (!singleDisk)
    fail(name, ": expected a zip file in one part, found one of several");
  if (directoryBegin > end || size > end - directoryBegin)
    fail(name, ": zip directory: expected it before offset ", end, ", found ",
         size, " bytes at ", directoryBegin);
  directoryEnd = directoryBegin + size;
  uint64_t most = std::min(size / centralSize, maxEntries);
  if (entryCount > most)
    fail(name, ": zip directory: expected at most ", most, " entries in ", size,
         " bytes, found ", entryCount);
}

/// Takes the sizes that did not fit from the zip64 field among the extra ones.
void Reader::readZip64(uint64_t offset, uint64_t size, const std::string &entry,
                       uint64_t &stored, uint64_t &compressed,
                       uint64_t &local) const {
  uint64_t end = offset + size;
  while (end - offset >= 4) {
    uint16_t tag = at<uint16_t>(offset), length = at<uint16_t>(offset + 2);
    offset += 4;
    if (length > end - offset)
      break;
    if (tag == zip64Extra) {
      uint64_t fieldEnd = offset + length;
      for (uint64_t *value : {&stored, &compressed, &local}) {
        if (*value != UINT32_MAX)
          continue;
        if (fieldEnd - offset < 8)
          fail(name, ": zip entry ", quote(entry),
               ": expected a zip64 size or offset, found none");
        *value = at<uint64_t>(offset);
        offset += 8;
      }
      return;
    }
    offset += length;
  }
}

/// Reads the entry whose central header is at `offset`; returns the next one's.
uint64_t Reader::readEntry(uint64_t offset) {
  if (!holds(offset, centralSize, directoryEnd, centralSignature))
    fail(name, ": zip directory: expected an entry at offset ", offset,
         ", found none");
  uint64_t nameSize = at<uint16_t>(offset + 28);
  uint64_t extraSize = at<uint16_t>(offset + 30);
  uint64_t next =
      offset + centralSize + nameSize + extraSize + at<uint16_t>(offset + 32);
  if (next > directoryEnd)
    fail(name, ": zip directory: expected the entry at offset ", offset,
         " to end before ", directoryEnd, ", found ", next);

  std::string entry(file.bytes(offset + centralSize, nameSize));
  uint16_t flags = at<uint16_t>(offset + 8), method = at<uint16_t>(offset + 10);
  if (flags & encryptionFlags)
    fail(name, ": zip entry ", quote(entry), ": is encrypted");
  if (method != 0)
    fail(name, ": zip entry ", quote(entry),
         ": expected stored data, found compression method ", method);

  uint64_t compressed = at<uint32_t>(offset + 20);
  uint64_t stored = at<uint32_t>(offset + 24);
  uint64_t local = at<uint32_t>(offset + 42);
  readZip64(offset + centralSize + nameSize, extraSize, entry, stored,
            compressed, local);
  if (stored != compressed)
    fail(name, ": zip entry ", quote(entry), ": expected ", stored,
         " stored bytes, found ", compressed);
  if (!holds(local, localSize, directoryBegin, localSignature))
    fail(name, ": zip entry ", quote(entry),
         ": expected a local header at offset ", local, ", found none");
  uint64_t data =
      local + localSize + at<uint16_t>(local + 26) + at<uint16_t>(local + 28);
  if (data > directoryBegin || stored > directoryBegin - data)
    fail(name, ": zip entry ", quote(entry), ": expected it before offset ",
         directoryBegin, ", found ", stored, " bytes at ", data);
  if (at<uint16_t>(local + 26) != nameSize ||
      file.bytes(local + localSize, nameSize) != entry)
    fail(name, ": zip entry ", quote(entry),
         ": expected the same name in its local header, found another");

  if (!directory.emplace(entry, file.bytes(data, stored)).second)
    fail(name, ": zip entry ", quote(entry), ": occurs twice");
  entries.push_back({std::move(entry), local, data + stored});
  return next;
}

void Reader::checkOverlaps() {
  std::sort(entries.begin(), entries.end(),
            [](const Entry &a, const Entry &b) { return a.begin < b.begin; });
  for (size_t i = 1; i < entries.size(); ++i)
    if (entries[i].begin < entries[i - 1].end)
      fail(name, ": zip entry ", quote(entries[i].name), ": overlaps ",
           quote(entries[i - 1].name));
}

ZipDirectory Reader::read() {
  findDirectory();
  uint64_t offset = directoryBegin;
  for (uint64_t i = 0; i < entryCount; ++i)
    offset = readEntry(offset);
  checkOverlaps();
  return std::move(directory);
}

} // namespace

ZipDirectory readZip(const MappedFile &file, const std::string &name) {
  return Reader(file, name).read();
}

} // namespace mambit::checkpoint
