//===- Safetensors.cpp - reads one .safetensors file -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Safetensors.h"
#include "frontend/checkpoint/Error.h"
#include "frontend/checkpoint/Json.h"

#include <algorithm>
#include <cstring>

namespace mambit::checkpoint {
namespace {

constexpr uint64_t maxHeader = 64 << 20;

struct NamedDType {
  const char *name;
  DType dtype;
};

constexpr NamedDType dtypes[] = {{"F64", DType::f64}, {"F32", DType::f32},
                                 {"F16", DType::f16}, {"BF16", DType::bf16},
                                 {"I64", DType::i64}, {"I32", DType::i32},
                                 {"I16", DType::i16}, {"I8", DType::i8},
                                 {"U8", DType::u8},   {"BOOL", DType::boolean}};

struct Range {
  uint64_t begin, end;
  size_t tensor;
};

class Reader {
public:
  Reader(const MappedFile &file, const std::string &name)
      : file(file), name(name) {}

  std::vector<Tensor> read();

private:
  std::string_view readHeader();
  void readTensor(const std::string &key, const Json &entry);
  DType readDType(const std::string &key, const Json &entry) const;
  Shape readShape(const std::string &key, const Json &entry) const;
  void checkCoverage();

  const MappedFile &file;
  const std::string &name;
  uint64_t dataBegin = 0;
  std::vector<Tensor> tensors;
  std::vector<Range> ranges;
};

std::string_view Reader::readHeader() {
  if (file.size() < 8)
    fail(name, ": truncated: expected a header length of 8 bytes, found ",
         file.size());
  uint64_t length;
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > file.size() - 8)
    fail(name, ": header: expected at most the ", file.size() - 8,
         " bytes that follow its length, found a length of ", length);
  if (length > maxHeader)
    fail(name, ": header: expected at most ", maxHeader, " bytes, found ",
         length);
  dataBegin = 8 + length;
  return file.bytes(8, length);
}

DType Reader::readDType(const std::string &key, const Json &entry) const {
  auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string())
    fail(name, ": ", quote(key), ": expected a dtype, found none");
  for (const NamedDType &candidate : dtypes)
    if (*found == candidate.name)
      return candidate.dtype;
  fail(name, ": ", quote(key), ": dtype ",
       quote(found->get_ref<const std::string &>()), " is not supported");
}

Shape Reader::readShape(const std::string &key, const Json &entry) const {
  auto found = entry.find("shape");
  if (found == entry.end() || !found->is_array())
    fail(name, ": ", quote(key), ": expected a shape, found none");
  Shape shape;
  for (const Json &size : *found) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX)
      fail(name, ": ", quote(key), ": shape: expected sizes, found ",
           describe(size));
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

void Reader::readTensor(const std::string &key, const Json &entry) {
  if (!entry.is_object())
    fail(name, ": ", quote(key), ": expected an object, found a ",
         entry.type_name());
  Tensor tensor;
  tensor.key = key;
  tensor.file = name;
  tensor.dtype = readDType(key, entry);
  tensor.shape = readShape(key, entry);

  auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned())
    fail(name, ": ", quote(key), ": expected two data_offsets");
  uint64_t begin = (*offsets)[0].get<uint64_t>();
  uint64_t end = (*offsets)[1].get<uint64_t>();
  uint64_t available = file.size() - dataBegin;
  if (begin > end || end > available)
    fail(name, ": ", quote(key), ": data_offsets: expected a range of the ",
         available, " bytes of data, found [", begin, ", ", end, "]");

  std::optional<int64_t> count = checkedElementCount(tensor.shape);
  int64_t bytes;
  if (!count ||
      __builtin_mul_overflow(*count, dtypeSize(tensor.dtype), &bytes) ||
      static_cast<uint64_t>(bytes) != end - begin)
    fail(name, ": ", quote(key), ": expected the bytes of ",
         dtypeName(tensor.dtype), " ", toString(tensor.shape), ", found ",
         end - begin);
  tensor.strides =
      *count ? contiguousStrides(tensor.shape) : Shape(tensor.shape.size(), 1);
  tensor.data = file.data() + dataBegin + begin;
  ranges.push_back({begin, end, tensors.size()});
  tensors.push_back(std::move(tensor));
}

void Reader::checkCoverage() {
  std::sort(ranges.begin(), ranges.end(), [](const Range &a, const Range &b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t covered = 0;
  const std::string *previous = nullptr;
  for (const Range &range : ranges) {
    const std::string &key = tensors[range.tensor].key;
    if (range.begin < covered)
      fail(name, ": ", quote(key), ": overlaps ", quote(*previous));
    if (range.begin > covered)
      fail(name, ": ", quote(key), ": expected data from offset ", covered,
           ", found ", range.begin);
    covered = range.end;
    previous = &key;
  }
  uint64_t available = file.size() - dataBegin;
  if (covered != available)
    fail(name, ": expected ", covered, " bytes of data, found ", available);
}

std::vector<Tensor> Reader::read() {
  Json header = parseJson(readHeader(), name + ": header");
  if (!header.is_object())
    fail(name, ": header: expected an object, found a ", header.type_name());
  for (const auto &[key, entry] : header.items())
    if (key != "__metadata__")
      readTensor(key, entry);
  checkCoverage();
  return std::move(tensors);
}

} // namespace

std::vector<Tensor> readSafetensors(const MappedFile &file,
                                    const std::string &name) {
  return Reader(file, name).read();
}

} // namespace mambit::checkpoint
