//===- NpyTest.cpp - tests of tools/common/Npy.h -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/Npy.h"

#include "runtime/Error.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace mambit;
using namespace mambit::tools;

namespace {

class NpyTest : public testing::Test {
protected:
  NpyTest()
      : path((std::filesystem::temp_directory_path() /
              ("mambit-npy-" + std::to_string(getpid()) + "-" +
               testing::UnitTest::GetInstance()->current_test_info()->name() +
               ".npy"))
                 .string()) {}
  ~NpyTest() override { std::filesystem::remove(path); }

  /// Writes a file with any header.
  void writeFile(const std::string &header, const std::string &data,
                 int version = 1) {
    std::ofstream file(path, std::ios::binary);
    file << "\x93NUMPY" << char(version) << '\0' << char(header.size() & 255)
         << char(header.size() >> 8);
    if (version > 1)
      file << '\0' << '\0';
    file << header << data;
  }

  template <typename Function>
  std::string messageOf(Function function) {
    try {
      function();
    } catch (const Error &error) {
      return error.what();
    }
    return "no error";
  }

  void expectReadFails(const std::string &part) {
    std::string message = messageOf([&] { readNpy(path); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find(path), std::string::npos) << message;
  }

  void expectIdsFail(const std::string &part) {
    std::string message = messageOf([&] { readIds(path); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  std::string path;
};

template <typename T>
std::string bytesOf(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.begin(), bytes.size());
  return bytes;
}

TEST_F(NpyTest, WritesWhatItReads) {
  const float values[] = {1, -2.5f, 0, 1e30f, 5, 6};
  writeNpy(path, {2, 3}, values);
  NpyArray array = readNpy(path);
  EXPECT_EQ(array.type, NpyType::F32);
  EXPECT_EQ(array.shape, (NpyShape{2, 3}));
  EXPECT_EQ(array.toDoubles(),
            std::vector<double>(std::begin(values), std::end(values)));

  const double wide[] = {0.1};
  writeNpy(path, {}, wide);
  EXPECT_EQ(readNpy(path).toDoubles(), std::vector<double>{0.1});

  const int32_t ids[] = {7, 0, INT32_MAX};
  writeNpy(path, {3}, ids);
  EXPECT_EQ(readIds(path), (std::vector<int32_t>{7, 0, INT32_MAX}));
}

TEST_F(NpyTest, AlignsItsData) {
  const int32_t id = 1;
  for (size_t rank = 0; rank < 40; ++rank) {
    writeNpy(path, NpyShape(rank, 1), &id);
    EXPECT_EQ(std::filesystem::file_size(path) % 64, 4u) << rank;
    EXPECT_EQ(readNpy(path).shape.size(), rank);
  }
}

TEST_F(NpyTest, ReadsEveryIntegerType) {
  auto check = [&](const std::string &type, const std::string &data) {
    writeFile("{'descr': '" + type +
                  "', 'fortran_order': False, 'shape': (2,), }\n",
              data);
    EXPECT_EQ(readIds(path), (std::vector<int32_t>{1, 100})) << type;
  };
  check("|i1", bytesOf<int8_t>({1, 100}));
  check("|u1", bytesOf<uint8_t>({1, 100}));
  check("<i2", bytesOf<int16_t>({1, 100}));
  check("<u2", bytesOf<uint16_t>({1, 100}));
  check("<i4", bytesOf<int32_t>({1, 100}));
  check("<u4", bytesOf<uint32_t>({1, 100}));
  check("<i8", bytesOf<int64_t>({1, 100}));
  check("<u8", bytesOf<uint64_t>({1, 100}));
}

TEST_F(NpyTest, ReadsOtherHeaders) {
  std::string data = bytesOf<int32_t>({1, 2});
  // Version 2, other order and quotes; one dimension is in both orders.
  writeFile("{\"shape\":(1,2),\"descr\":\"<i4\",\"fortran_order\":False}", data,
            2);
  EXPECT_EQ(readIds(path), (std::vector<int32_t>{1, 2}));
  writeFile("{'descr': '<i4', 'fortran_order': True, 'shape': (2,), }", data);
  EXPECT_EQ(readIds(path), (std::vector<int32_t>{1, 2}));
}

TEST_F(NpyTest, RefusesDamagedFiles) {
  expectReadFails("No such file");
  std::ofstream(path) << "hello, world";
  expectReadFails("is not a .npy file");
  std::ofstream(path) << "\x93NUM";
  expectReadFails("is not a .npy file");
  writeFile("", "", 9);
  expectReadFails("version 9");

  auto header = [&](const std::string &text) { writeFile(text, ""); };
  header("{'descr': '<i4', 'shape': (2,), }");
  expectReadFails("expected descr, fortran_order and shape");
  header("{'descr': '<i4");
  expectReadFails("a string without end");
  header("{'descr': 4}");
  expectReadFails("expected a string");
  header("{'descr': '<i4', 'fortran_order': Maybe, 'shape': (2,)}");
  expectReadFails("neither True nor False");
  header("{'descr': '<i4', 'fortran_order': False, 'shape': (-2,)}");
  expectReadFails("expected an extent");
  header("{'descr': '<i4', 'fortran_order': False, "
         "'shape': (99999999999999999999,)}");
  expectReadFails("too large");
  header("{'name': '<i4'}");
  expectReadFails("unknown key 'name'");
  header(std::string("{'na\nm\0': 1}", 12));
  expectReadFails("unknown key 'na m '");
  // The product does not fit.
  header("{'descr': '<i4', 'fortran_order': False, "
         "'shape': (4294967296, 4294967296)}");
  expectReadFails("expected those of (4294967296, 4294967296)");

  writeFile("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }",
            "1234567");
  expectReadFails("has 7 bytes of data, expected those of (2,)");
  std::filesystem::resize_file(path, 20);
  expectReadFails("is truncated");
}

TEST_F(NpyTest, RefusesWhatItCannotConvert) {
  writeFile("{'descr': '>i4', 'fortran_order': False, 'shape': (), }", "1234");
  expectReadFails("type '>i4'");
  writeFile("{'descr': '<c8', 'fortran_order': False, 'shape': (), }", "1234");
  expectReadFails("type '<c8'");
  writeFile("{'descr': '<i4', 'fortran_order': True, 'shape': (1, 1), }",
            "1234");
  expectReadFails("Fortran order");
}

TEST_F(NpyTest, RefusesIdsThatAreNone) {
  auto ids = [&](const std::string &type, const std::string &data) {
    writeFile("{'descr': '" + type + "', 'fortran_order': False, 'shape': (" +
                  std::to_string(data.size() / (type[2] - '0')) + ",), }",
              data);
  };
  ids("<i4", bytesOf<int32_t>({3, -1}));
  expectIdsFail("element 1 is -1");
  ids("|i1", bytesOf<int8_t>({-3}));
  expectIdsFail("element 0 is -3");
  ids("<i8", bytesOf<int64_t>({int64_t(1) << 31}));
  expectIdsFail("element 0 is 2147483648");
  ids("<u8", bytesOf<uint64_t>({UINT64_MAX}));
  expectIdsFail("element 0 is 18446744073709551615");
  ids("<f4", bytesOf<float>({1}));
  expectIdsFail("floating-point");
  const int32_t matrix[] = {1, 2, 3, 4};
  writeNpy(path, {2, 2}, matrix);
  expectIdsFail("shape (2, 2)");
}

TEST_F(NpyTest, WriterWantsAllElements) {
  const float row[] = {1, 2};
  {
    NpyWriter writer(path, NpyType::F32, {2, 2});
    writer.write(row, sizeof(row));
    EXPECT_NE(messageOf([&] { writer.finish(); }).find("8 bytes"),
              std::string::npos);
    writer.write(row, sizeof(row));
    EXPECT_NE(messageOf([&] { writer.write(row, 4); }).find("more elements"),
              std::string::npos);
    writer.finish();
  }
  EXPECT_EQ(readNpy(path).toDoubles(), (std::vector<double>{1, 2, 1, 2}));

  // What was there stays until there is a whole file.
  {
    NpyWriter abandoned(path, NpyType::F32, {2, 2});
    abandoned.write(row, sizeof(row));
  }
  EXPECT_EQ(readNpy(path).toDoubles(), (std::vector<double>{1, 2, 1, 2}));
  // No file takes the place of a device.
  writeNpy("/dev/null", {2}, row);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_NE(messageOf([&] {
              NpyWriter(path + "/no/such/folder", NpyType::F32, {1});
            }).find("cannot write"),
            std::string::npos);
}

} // namespace
