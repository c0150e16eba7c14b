//===- Npy.cpp - reads and writes NumPy's .npy files -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/Npy.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>
#include <sys/stat.h>
#include <utility>

using namespace mambit;
using namespace mambit::tools;

namespace {

struct TypeInfo {
  NpyType type;
  const char *name; // after the byte order
  unsigned bytes;
};

} // namespace

static constexpr TypeInfo kTypes[] = {
    {NpyType::I8, "i1", 1},  {NpyType::U8, "u1", 1},  {NpyType::I16, "i2", 2},
    {NpyType::U16, "u2", 2}, {NpyType::I32, "i4", 4}, {NpyType::U32, "u4", 4},
    {NpyType::I64, "i8", 8}, {NpyType::U64, "u8", 8}, {NpyType::F32, "f4", 4},
    {NpyType::F64, "f8", 8},
};

static const TypeInfo &infoOf(NpyType type) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes),
                       [=](const TypeInfo &info) { return info.type == type; });
}

static std::string toString(const NpyShape &shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

/// Bytes of an array; nothing if they cannot be counted.
static std::optional<uint64_t> byteSize(const NpyShape &shape,
                                        unsigned elementBytes) {
  uint64_t bytes = elementBytes;
  for (uint64_t extent : shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      return std::nullopt;
  return bytes;
}

namespace {

/// Scans the header: a Python dictionary of three known keys.
class HeaderParser {
public:
  HeaderParser(const std::string &path, std::string_view text)
      : path(path), text(text) {}

  void parse() {
    expect('{');
    while (!accept('}')) {
      std::string key = string();
      expect(':');
      if (key == "descr")
        descr = string();
      else if (key == "fortran_order")
        fortranOrder = boolean();
      else if (key == "shape")
        shape = tuple();
      else
        malformed("unknown key '" + key + "'");
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!descr || !fortranOrder || !shape)
      malformed("expected descr, fortran_order and shape");
  }

  std::optional<std::string> descr;
  std::optional<bool> fortranOrder;
  std::optional<NpyShape> shape;

private:
  [[noreturn]] void malformed(std::string what) const {
    auto isControl = [](unsigned char c) { return c < 0x20; };
    std::replace_if(what.begin(), what.end(), isControl, ' '); // on one line
    fail("'", path, "': malformed .npy header: ", what);
  }

  void skipBlanks() {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\n"), text.size()));
  }

  bool accept(char c) {
    skipBlanks();
    if (text.empty() || text.front() != c)
      return false;
    text.remove_prefix(1);
    return true;
  }

  void expect(char c) {
    if (!accept(c))
      malformed(std::string("expected '") + c + "' before '" +
                std::string(text.substr(0, 16)) + "'");
  }

  std::string string() {
    char quote = accept('"') ? '"' : '\'';
    if (quote == '\'' && !accept('\''))
      malformed("expected a string, found '" + std::string(text.substr(0, 32)) +
                "'");
    size_t end = text.find(quote);
    if (end == std::string_view::npos)
      malformed("a string without end");
    std::string value(text.substr(0, end));
    text.remove_prefix(end + 1);
    return value;
  }

  bool boolean() {
    skipBlanks();
    for (auto [word, value] : {std::pair("True", true), {"False", false}})
      if (text.substr(0, std::strlen(word)) == word) {
        text.remove_prefix(std::strlen(word));
        return value;
      }
    malformed("fortran_order is neither True nor False");
  }

  NpyShape tuple() {
    NpyShape extents;
    expect('(');
    while (!accept(')')) {
      uint64_t extent = 0;
      size_t digits = 0;
      skipBlanks();
      for (; !text.empty() && text.front() >= '0' && text.front() <= '9';
           ++digits, text.remove_prefix(1))
        if (__builtin_mul_overflow(extent, 10u, &extent) ||
            __builtin_add_overflow(extent, text.front() - '0', &extent))
          malformed("an extent of the shape is too large");
      if (!digits)
        malformed("expected an extent of the shape, found '" +
                  std::string(text.substr(0, 16)) + "'");
      extents.push_back(extent);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }

  const std::string &path;
  std::string_view text;
};

} // namespace

/// Calls `visit` with a value of the array's C++ type.
template <typename Visitor>
static auto dispatch(NpyType type, Visitor visit) {
  switch (type) {
  case NpyType::I8:
    return visit(int8_t());
  case NpyType::U8:
    return visit(uint8_t());
  case NpyType::I16:
    return visit(int16_t());
  case NpyType::U16:
    return visit(uint16_t());
  case NpyType::I32:
    return visit(int32_t());
  case NpyType::U32:
    return visit(uint32_t());
  case NpyType::I64:
    return visit(int64_t());
  case NpyType::U64:
    return visit(uint64_t());
  case NpyType::F32:
    return visit(float());
  case NpyType::F64:
    return visit(double());
  }
  __builtin_unreachable();
}

template <typename T>
static T elementAt(const NpyArray &array, uint64_t index) {
  T value;
  std::memcpy(&value, array.data.data() + index * sizeof(T), sizeof(T));
  return value;
}

static constexpr char kMagic[] = "\x93NUMPY";
static constexpr size_t kMagicSize = 6;

uint64_t NpyArray::count() const { return data.size() / infoOf(type).bytes; }

std::vector<double> NpyArray::toDoubles() const {
  std::vector<double> values(count());
  dispatch(type, [&](auto element) {
    for (uint64_t i = 0; i < values.size(); ++i)
      values[i] = double(elementAt<decltype(element)>(*this, i));
  });
  return values;
}

NpyArray tools::readNpy(const std::string &path) {
  struct stat status; // before it is opened: a pipe would wait for a writer
  if (stat(path.c_str(), &status) != 0)
    fail("cannot read '", path, "': ", std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    fail("cannot read '", path, "': not a file");
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(
      std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file)
    fail("cannot read '", path, "': ", std::strerror(errno));
  uint64_t available = status.st_size;
  auto read = [&](void *data, size_t size) {
    if (std::fread(data, 1, size, file.get()) != size)
      fail("'", path, "' is truncated: it has ", available, " bytes");
    available -= size;
  };

  uint8_t start[kMagicSize + 2];
  if (available < sizeof(start))
    fail("'", path, "' is not a .npy file");
  read(start, sizeof(start));
  if (std::memcmp(start, kMagic, kMagicSize) != 0)
    fail("'", path, "' is not a .npy file");
  unsigned major = start[kMagicSize];
  if (major < 1 || major > 3)
    fail("'", path, "': .npy version ", major, ".", unsigned(start[7]),
         ", expected 1 to 3");
  uint8_t length[4] = {};
  read(length, major == 1 ? 2 : 4);
  uint64_t headerSize =
      length[0] | length[1] << 8 | length[2] << 16 | uint64_t(length[3]) << 24;
  if (headerSize > available)
    fail("'", path, "' is truncated: its header has ", headerSize,
         " bytes, the file has ", available, " more");
  std::string header(headerSize, '\0');
  read(header.data(), header.size());
  HeaderParser parser(path, header);
  parser.parse();

  NpyArray array;
  const std::string &descr = *parser.descr;
  const TypeInfo *info = nullptr;
  for (const TypeInfo &candidate : kTypes)
    if (descr.size() == 3 && descr.substr(1) == candidate.name &&
        (descr[0] == '<' || (descr[0] == '|' && candidate.bytes == 1)))
      info = &candidate;
  if (!info)
    fail("'", path, "' has elements of type '", descr,
         "', expected little-endian integers, float32 or float64");
  array.type = info->type;
  array.shape = std::move(*parser.shape);
  if (*parser.fortranOrder && array.shape.size() > 1)
    fail("'", path, "' is in Fortran order, expected C order");
  std::optional<uint64_t> bytes = byteSize(array.shape, info->bytes);
  if (!bytes || *bytes != available)
    fail("'", path, "' has ", available, " bytes of data, expected those of ",
         toString(array.shape), " elements of type '", descr, "'");
  array.data.resize(*bytes);
  read(array.data.data(), array.data.size());
  return array;
}

std::vector<int32_t> tools::readIds(const std::string &path) {
  NpyArray array = readNpy(path);
  if (array.type == NpyType::F32 || array.type == NpyType::F64)
    fail("'", path, "' has floating-point elements, expected token ids");
  if (std::count_if(array.shape.begin(), array.shape.end(),
                    [](uint64_t extent) { return extent != 1; }) > 1)
    fail("'", path, "' has shape ", toString(array.shape),
         ", expected token ids in one dimension");
  std::vector<int32_t> ids(array.count());
  dispatch(array.type, [&](auto element) {
    for (uint64_t i = 0; i < ids.size(); ++i) {
      auto value = elementAt<decltype(element)>(array, i);
      if (value < 0 || uint64_t(value) > INT32_MAX)
        fail("'", path, "': element ", i, " is ", +value,
             ", expected a token id");
      ids[i] = int32_t(value);
    }
  });
  return ids;
}

NpyWriter::NpyWriter(const std::string &path, NpyType type,
                     const NpyShape &shape)
    : path(path), file(path), remaining(0) {
  const TypeInfo &info = infoOf(type);
  std::optional<uint64_t> bytes = byteSize(shape, info.bytes);
  if (!bytes)
    fail("cannot write '", path, "': shape ", toString(shape), " is too large");
  remaining = *bytes;

  std::string header =
      std::string("{'descr': '") + (info.bytes == 1 ? '|' : '<') + info.name +
      "', 'fortran_order': False, 'shape': " + toString(shape) + ", }";
  // Padded so that the data is aligned to 64 bytes, as NumPy does.
  constexpr size_t prefix = kMagicSize + 4;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header += '\n';
  if (header.size() > UINT16_MAX)
    fail("cannot write '", path, "': too many dimensions");

  const uint8_t version[] = {1, 0, uint8_t(header.size()),
                             uint8_t(header.size() >> 8)};
  file.append(kMagic, kMagicSize);
  file.append(version, sizeof(version));
  file.append(header.data(), header.size());
}

void NpyWriter::write(const void *data, uint64_t size) {
  if (size > remaining)
    fail("cannot write '", path, "': more elements than its shape holds");
  remaining -= size;
  file.append(data, size);
}

void NpyWriter::finish() {
  if (remaining)
    fail("cannot write '", path, "': ", remaining,
         " bytes of elements are missing");
  file.commit();
}

template <typename T>
static void writeWhole(const std::string &path, const NpyShape &shape,
                       NpyType type, const T *data) {
  NpyWriter writer(path, type, shape);
  writer.write(data, byteSize(shape, sizeof(T)).value());
  writer.finish();
}

void tools::writeNpy(const std::string &path, const NpyShape &shape,
                     const int32_t *data) {
  writeWhole(path, shape, NpyType::I32, data);
}

void tools::writeNpy(const std::string &path, const NpyShape &shape,
                     const float *data) {
  writeWhole(path, shape, NpyType::F32, data);
}

void tools::writeNpy(const std::string &path, const NpyShape &shape,
                     const double *data) {
  writeWhole(path, shape, NpyType::F64, data);
}
