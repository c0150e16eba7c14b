//===- CheckpointWriter.cpp - files of tensors -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-synth/CheckpointWriter.h"

#include "runtime/Error.h"
#include "runtime/artifact/TemporaryFile.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

using namespace mambit;
using namespace mambit::tools;
using artifact::TemporaryFile;
using checkpoint::DType;
using checkpoint::Tensor;

static uint64_t byteSize(const Tensor &tensor) {
  return uint64_t(tensor.elementCount() * checkpoint::dtypeSize(tensor.dtype));
}

static void append(TemporaryFile &file, const std::string &bytes) {
  file.append(bytes.data(), bytes.size());
}

/// Appends an integer, little endian.
template <typename T>
static void put(std::string &bytes, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    bytes += char(uint64_t(value) >> 8 * i);
}

//===-----------------------------------------------------------------===//
// Zip
//===-----------------------------------------------------------------===//

namespace {

/// CRC-32 of zip, eight bytes a step.
class Crc32 {
public:
  void update(const void *data, uint64_t size) {
    static const Tables tables = makeTables();
    const auto *bytes = static_cast<const unsigned char *>(data);
    for (; size >= 8; bytes += 8, size -= 8) {
      uint64_t word;
      std::memcpy(&word, bytes, sizeof(word));
      word ^= state;
      state = 0;
      for (int i = 0; i < 8; ++i)
        state ^= tables[7 - i][word >> 8 * i & 0xff];
    }
    for (; size > 0; ++bytes, --size)
      state = tables[0][(state ^ *bytes) & 0xff] ^ state >> 8;
  }

  uint32_t value() const { return ~state; }

private:
  using Tables = std::array<std::array<uint32_t, 256>, 8>;

  static Tables makeTables() {
    Tables tables;
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit)
        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
      tables[0][i] = crc;
    }
    for (int t = 1; t < 8; ++t)
      for (uint32_t i = 0; i < 256; ++i)
        tables[t][i] =
            tables[0][tables[t - 1][i] & 0xff] ^ tables[t - 1][i] >> 8;
    return tables;
  }

  uint32_t state = 0xffffffff;
};

/// Writes a zip of stored records as torch does: sizes and checksum follow the
/// data, and an extra field of the local header aligns it.
class ZipWriter {
public:
  ZipWriter(TemporaryFile &file, std::string folder)
      : file(file), folder(std::move(folder)) {}

  void add(const std::string &name, uint64_t size,
           const std::function<void(const Sink &)> &produce) {
    Record record{folder + "/" + name, file.appended(), size, 0};
    bool large = size >= kLarge;
    std::string extra;
    if (large) {
      put<uint16_t>(extra, kZip64Tag);
      put<uint16_t>(extra, 16);
      put<uint64_t>(extra, 0); // as all sizes here, they follow the data
      put<uint64_t>(extra, 0);
    }
    uint64_t data = record.offset + 30 + record.name.size() + extra.size() + 4;
    uint16_t padding = uint16_t(-data % 64);
    put<uint16_t>(extra, kPaddingTag);
    put<uint16_t>(extra, padding);
    extra.append(padding, 'Z');

    std::string header = "PK\3\4";
    putCommon(header, large);
    put<uint32_t>(header, 0);
    put<uint32_t>(header, large ? kLarge : 0);
    put<uint32_t>(header, large ? kLarge : 0);
    put<uint16_t>(header, record.name.size());
    put<uint16_t>(header, extra.size());
    append(file, header + record.name + extra);

    Crc32 crc;
    produce([&](const void *bytes, uint64_t count) {
      crc.update(bytes, count);
      file.append(bytes, count);
    });
    record.crc = crc.value();

    std::string descriptor = "PK\7\10";
    put<uint32_t>(descriptor, record.crc);
    for (int i = 0; i < 2; ++i)
      if (large)
        put<uint64_t>(descriptor, size);
      else
        put<uint32_t>(descriptor, size);
    append(file, descriptor);
    records.push_back(std::move(record));
  }

  void add(const std::string &name, const std::string &bytes) {
    add(name, bytes.size(),
        [&](const Sink &sink) { sink(bytes.data(), bytes.size()); });
  }

  void finish() {
    uint64_t begin = file.appended();
    for (const Record &record : records)
      append(file, directoryEntry(record));
    uint64_t size = file.appended() - begin, count = records.size();
    std::string end;
    if (begin >= kLarge || size >= kLarge || count >= 0xffff) {
      uint64_t at = file.appended();
      end += "PK\6\6";
      put<uint64_t>(end, 44); // bytes that follow
      put<uint16_t>(end, kVersion);
      put<uint16_t>(end, kVersion);
      put<uint64_t>(end, 0); // disks
      put<uint64_t>(end, count);
      put<uint64_t>(end, count);
      put<uint64_t>(end, size);
      put<uint64_t>(end, begin);
      end += "PK\6\7";
      put<uint32_t>(end, 0);
      put<uint64_t>(end, at);
      put<uint32_t>(end, 1);
    }
    end += "PK\5\6";
    put<uint32_t>(end, 0);
    put<uint16_t>(end, std::min<uint64_t>(count, 0xffff));
    put<uint16_t>(end, std::min<uint64_t>(count, 0xffff));
    put<uint32_t>(end, std::min<uint64_t>(size, kLarge));
    put<uint32_t>(end, std::min<uint64_t>(begin, kLarge));
    put<uint16_t>(end, 0);
    append(file, end);
  }

private:
  struct Record {
    std::string name;
    uint64_t offset, size;
    uint32_t crc;
  };

  static constexpr uint32_t kLarge = 0xffffffff;
  static constexpr uint16_t kVersion = 45; // knows zip64
  static constexpr uint16_t kZip64Tag = 1, kPaddingTag = 0x4246;

  /// Version needed, flags, method, time and date.
  static void putCommon(std::string &bytes, bool large) {
    put<uint16_t>(bytes, large ? kVersion : 20);
    put<uint16_t>(bytes, 0x0808); // sizes follow; names are UTF-8
    put<uint16_t>(bytes, 0);
    put<uint16_t>(bytes, 0);
    put<uint16_t>(bytes, 0x21); // 1980-01-01
  }

  static std::string directoryEntry(const Record &record) {
    bool largeSize = record.size >= kLarge,
         largeOffset = record.offset >= kLarge;
    std::string extra;
    if (largeSize || largeOffset) {
      put<uint16_t>(extra, kZip64Tag);
      put<uint16_t>(extra, 16 * largeSize + 8 * largeOffset);
      if (largeSize) {
        put<uint64_t>(extra, record.size);
        put<uint64_t>(extra, record.size);
      }
      if (largeOffset)
        put<uint64_t>(extra, record.offset);
    }
    std::string entry = "PK\1\2";
    put<uint16_t>(entry, kVersion);
    putCommon(entry, largeSize || largeOffset);
    put<uint32_t>(entry, record.crc);
    put<uint32_t>(entry, largeSize ? kLarge : record.size);
    put<uint32_t>(entry, largeSize ? kLarge : record.size);
    put<uint16_t>(entry, record.name.size());
    put<uint16_t>(entry, extra.size());
    put<uint16_t>(entry, 0); // comment
    put<uint16_t>(entry, 0); // disk
    put<uint16_t>(entry, 0); // attributes
    put<uint32_t>(entry, 0);
    put<uint32_t>(entry, largeOffset ? kLarge : record.offset);
    return entry + record.name + extra;
  }

  TemporaryFile &file;
  std::string folder;
  std::vector<Record> records;
};

} // namespace

//===-----------------------------------------------------------------===//
// Pickle
//===-----------------------------------------------------------------===//

namespace {

/// Opcodes of protocol 2.
class Pickler {
public:
  std::string bytes = "\x80\x02";

  void string(const std::string &text) {
    bytes += 'X';
    put<uint32_t>(bytes, text.size());
    bytes += text;
  }
  void global(const std::string &module, const std::string &name) {
    bytes += 'c' + module + '\n' + name + '\n';
  }
  void integer(int64_t value) {
    if (value <= INT32_MAX) {
      bytes += 'J';
      put<int32_t>(bytes, value);
    } else {
      bytes += "\x8a\x08";
      put<int64_t>(bytes, value);
    }
  }
  void tuple(const checkpoint::Shape &values) {
    bytes += '(';
    for (int64_t value : values)
      integer(value);
    bytes += 't';
  }
  void emptyOrderedDict() {
    global("collections", "OrderedDict");
    bytes += ")R";
  }
};

} // namespace

static const char *storageType(DType dtype) {
  switch (dtype) {
  case DType::f32:
    return "FloatStorage";
  case DType::f16:
    return "HalfStorage";
  case DType::bf16:
    return "BFloat16Storage";
  default:
    fail("cannot write elements of type ", checkpoint::dtypeName(dtype));
  }
}

/// A state_dict's item: a key, and a tensor that fills storage `number`.
static void pickleItem(Pickler &pickler, const std::string &key,
                       const Tensor &tensor, size_t number) {
  pickler.string(key);
  pickler.global("torch._utils", "_rebuild_tensor_v2");
  pickler.bytes += "((";
  pickler.string("storage");
  pickler.global("torch", storageType(tensor.dtype));
  pickler.string(std::to_string(number));
  pickler.string("cpu");
  pickler.integer(tensor.elementCount());
  pickler.bytes += "tQ";
  pickler.integer(0);
  pickler.tuple(tensor.shape);
  pickler.tuple(tensor.strides);
  pickler.bytes += '\x89'; // needs no gradient
  pickler.emptyOrderedDict();
  pickler.bytes += "tR";
}

void tools::writeTorch(const std::string &path,
                       const std::vector<Tensor> &tensors,
                       const std::string &alias, const std::string &aliased,
                       const Produce &produce) {
  Pickler pickler;
  pickler.emptyOrderedDict();
  pickler.bytes += '(';
  for (size_t i = 0; i < tensors.size(); ++i) {
    pickleItem(pickler, tensors[i].key, tensors[i], i);
    if (!alias.empty() && tensors[i].key == aliased)
      pickleItem(pickler, alias, tensors[i], i);
  }
  pickler.bytes += "u.";

  TemporaryFile file(path);
  ZipWriter zip(file, "pytorch_model");
  zip.add("data.pkl", pickler.bytes);
  zip.add("byteorder", "little");
  for (size_t i = 0; i < tensors.size(); ++i)
    zip.add("data/" + std::to_string(i), byteSize(tensors[i]),
            [&](const Sink &sink) { produce(tensors[i], sink); });
  zip.add("version", "3\n");
  zip.finish();
  file.commit();
}

//===-----------------------------------------------------------------===//
// Safetensors
//===-----------------------------------------------------------------===//

void tools::writeSafetensors(const std::string &path,
                             const std::vector<Tensor> &tensors,
                             const Produce &produce) {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t end = 0;
  for (const Tensor &tensor : tensors) {
    std::string dtype = checkpoint::dtypeName(tensor.dtype);
    for (char &c : dtype)
      c = char(std::toupper(c));
    uint64_t begin = end;
    end += byteSize(tensor);
    header[tensor.key] = {{"dtype", dtype},
                          {"shape", tensor.shape},
                          {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append(-text.size() % 8, ' ');
  std::string length;
  put<uint64_t>(length, text.size());

  TemporaryFile file(path);
  append(file, length + text);
  for (const Tensor &tensor : tensors)
    produce(tensor,
            [&](const void *data, uint64_t size) { file.append(data, size); });
  file.commit();
}
