//===- TestFiles.h - writes the files that the tests read --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TEST_FRONTEND_CHECKPOINT_TESTFILES_H
#define MAMBIT_TEST_FRONTEND_CHECKPOINT_TESTFILES_H

#include "frontend/checkpoint/Checkpoint.h"
#include "frontend/checkpoint/Json.h"

#include <gtest/gtest.h>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mambit::checkpoint::test {

/// A folder that goes with the object.
class TempFolder {
public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder &) = delete;
  TempFolder &operator=(const TempFolder &) = delete;

  const std::string &path() const { return folder; }
  std::string write(const std::string &name, std::string_view bytes) const;
  void makeFolder(const std::string &name) const;

private:
  std::string folder;
};

/// The bytes of an integer, little endian.
template <typename T>
std::string bytesOf(T value) {
  return {reinterpret_cast<const char *>(&value), sizeof(value)};
}

// --- Safetensors -----------------------------------------------------------

/// A file with this header, for headers that lie.
std::string safetensors(const std::string &header, const std::string &data);

// --- Zip -------------------------------------------------------------------

struct ZipEntry {
  std::string name, data;
  uint16_t method = 0, flags = 0;
  uint32_t padding = 0; // extra bytes of the local header
};

std::string zip(const std::vector<ZipEntry> &entries, bool isZip64 = false);

// --- Pickle: each function gives the opcodes that push a value. ------------

std::string pickleString(std::string_view text);
std::string pickleInteger(int32_t value);
std::string pickleGlobal(const std::string &module, const std::string &name);
std::string pickleTuple(std::initializer_list<std::string> items);
std::string pickleCall(const std::string &function, const std::string &args);
std::string pickleStorage(const std::string &type, const std::string &key,
                          int32_t count);
std::string pickleTensor(const std::string &storage, int32_t offset,
                         const Shape &shape, const Shape &strides);
/// A whole pickle: a dict of these.
std::string
pickleDict(const std::vector<std::pair<std::string, std::string>> &items);

/// A file as torch.save writes it.
std::string torchFile(const std::string &pickle,
                      const std::vector<std::string> &storages);

// --- Models ----------------------------------------------------------------

struct TestTensor {
  DType dtype = DType::f32;
  Shape shape;
  std::string bytes;
};

using TestTensors = std::map<std::string, TestTensor>;

std::string safetensors(const TestTensors &tensors);
std::string torchFile(const TestTensors &tensors);

/// A tensor of f32 whose elements are all different.
TestTensor makeTensor(const Shape &shape, float first = 1);

/// A model small enough to change at will before writing it. d_model 12,
/// d_inner 24, 4 heads of 6, 2 groups, d_state 5, d_conv 3, 10 rows.
struct TestModel {
  enum Family { official, dense, huggingFace };
  explicit TestModel(Family family, int64_t layers = 2);

  Json config;
  TestTensors tensors;

  /// Writes config.json and the tensors, in the family's usual container.
  void write(const TempFolder &folder) const;

private:
  Family family;
};

// --- Checks ----------------------------------------------------------------

/// Expects `action` to throw Error, whose message contains all of `parts`.
template <typename Action>
void expectError(Action &&action, std::initializer_list<const char *> parts) {
  try {
    action();
    ADD_FAILURE() << "expected an error with " << *parts.begin();
  } catch (const Error &error) {
    for (const char *part : parts)
      EXPECT_NE(std::string_view(error.what()).find(part),
                std::string_view::npos)
          << "expected " << part << " in: " << error.what();
  }
}

} // namespace mambit::checkpoint::test

#endif // MAMBIT_TEST_FRONTEND_CHECKPOINT_TESTFILES_H
