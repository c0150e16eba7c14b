//===- PickleTest.cpp - the restricted unpickler -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Pickle.h"
#include "TestFiles.h"

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

namespace {

const std::string storageBytes(24, 's');

std::vector<Tensor> read(const std::string &pickle) {
  return readPickle(pickle, "m.bin", [](std::string_view key) {
    if (key != "0")
      fail("no storage ", key);
    return std::string_view(storageBytes);
  });
}

void expectRefused(const std::string &pickle,
                   std::initializer_list<const char *> parts) {
  expectError([&] { read(pickle); }, parts);
}

const std::string floats = pickleStorage("FloatStorage", "0", 6);
const std::string tensor = pickleTensor(floats, 0, {2, 3}, {3, 1});
const std::string protocol2 = "\x80\x02";

std::string dictOf(const std::string &value) {
  return pickleDict({{"k", value}});
}

} // namespace

TEST(Pickle, ReadsViews) {
  std::vector<Tensor> tensors = read(
      pickleDict({{"whole", tensor},
                  {"transposed", pickleTensor(floats, 0, {3, 2}, {1, 3})},
                  {"part", pickleTensor(floats, 4, {2}, {1})},
                  {"scalar", pickleTensor(floats, 5, {}, {})},
                  {"empty", pickleTensor(floats, 6, {0, 4}, {4, 1})},
                  {"bytes", pickleTensor(pickleStorage("CharStorage", "0", 24),
                                         1, {4}, {2})}}));
  ASSERT_EQ(tensors.size(), 6u);
  auto base = reinterpret_cast<const unsigned char *>(storageBytes.data());
  EXPECT_EQ(tensors[0].key, "whole");
  EXPECT_EQ(tensors[0].file, "m.bin");
  EXPECT_EQ(tensors[0].data, base);
  EXPECT_TRUE(tensors[0].isContiguous());
  EXPECT_EQ(tensors[1].strides, (Shape{1, 3}));
  EXPECT_FALSE(tensors[1].isContiguous());
  EXPECT_EQ(tensors[2].data, base + 16);
  EXPECT_EQ(tensors[3].data, base + 20);
  EXPECT_EQ(tensors[3].elementCount(), 1);
  EXPECT_EQ(tensors[4].elementCount(), 0);
  EXPECT_EQ(tensors[5].dtype, DType::i8);
  EXPECT_EQ(tensors[5].data, base + 1);
}

TEST(Pickle, ReadsParametersAndSubclasses) {
  std::string parameter =
      pickleCall(pickleGlobal("torch._utils", "_rebuild_parameter"),
                 pickleTuple({tensor, "\x88", "}"}));
  std::string function = pickleGlobal("torch._utils", "_rebuild_tensor_v2");
  std::string args =
      pickleTuple({floats, pickleInteger(0), pickleTuple({pickleInteger(6)}),
                   pickleTuple({pickleInteger(1)}), "\x89", "}"});
  std::string subclass = pickleCall(
      pickleGlobal("torch._tensor", "_rebuild_from_type_v2"),
      pickleTuple({function, pickleGlobal("torch.nn.parameter", "Parameter"),
                   args, "}"}));
  std::vector<Tensor> tensors =
      read(pickleDict({{"p", parameter}, {"s", subclass}}));
  EXPECT_EQ(tensors[0].shape, (Shape{2, 3}));
  EXPECT_EQ(tensors[1].shape, (Shape{6}));
}

TEST(Pickle, ReadsOrderedDictWithMetadata) {
  // OrderedDict(), its items, and the _metadata that state_dict() sets.
  std::string pickle =
      protocol2 + pickleCall(pickleGlobal("collections", "OrderedDict"), ")") +
      "q\x01(" + pickleString("k") + tensor + "u}" + pickleString("_metadata") +
      "}sb.";
  EXPECT_EQ(read(pickle).at(0).key, "k");
}

TEST(Pickle, ReadsProtocol4) {
  auto shortText = [](const std::string &text) {
    return "\x8c" + std::string(1, char(text.size())) + text + "\x94";
  };
  std::string storage = "(" + shortText("storage") + shortText("torch") +
                        shortText("FloatStorage") + "\x93\x94" +
                        shortText("0") + shortText("cpu") + "K\x06tQ";
  std::string rebuilt = shortText("torch._utils") +
                        shortText("_rebuild_tensor_v2") + "\x93(" + storage +
                        std::string("K\x00K\x06\x85K\x01\x85\x89}tR", 12);
  std::string body = "}\x94" + shortText("k") + rebuilt + "s.";
  std::string pickle = "\x80\x04\x95" + bytesOf<uint64_t>(body.size()) + body;
  EXPECT_EQ(read(pickle).at(0).shape, (Shape{6}));
}

TEST(Pickle, NamesRefusedGlobals) {
  expectRefused(protocol2 +
                    pickleCall(pickleGlobal("os", "system"),
                               pickleTuple({pickleString("true")})) +
                    ".",
                {"m.bin", "refused the global \"os.system\""});
  expectRefused(protocol2 + pickleString("builtins") + pickleString("eval") +
                    "\x93.",
                {"refused the global \"builtins.eval\""});
  expectRefused(protocol2 + "(iposix\nsystem\n.",
                {"refused the global \"posix.system\""});
  expectRefused(dictOf(pickleStorage("ComplexFloatStorage", "0", 3)),
                {"refused the global \"torch.ComplexFloatStorage\""});
  expectRefused(protocol2 + pickleGlobal("torch\x1b[31m", "x") + ".",
                {"refused the global \"torch\\x1b[31m.x\""});
}

TEST(Pickle, RefusesMisusedGlobals) {
  std::string orderedDict = pickleGlobal("collections", "OrderedDict");
  expectRefused(dictOf(pickleCall(pickleGlobal("torch", "FloatStorage"), ")")),
                {"expected a function", "FloatStorage"});
  expectRefused(dictOf(pickleCall(orderedDict, pickleTuple({"]"}))),
                {"OrderedDict: expected no argument"});
  std::string fromType = pickleGlobal("torch._tensor", "_rebuild_from_type_v2");
  expectRefused(
      dictOf(pickleCall(fromType, pickleTuple({fromType, orderedDict, ")"}))),
      {"expected to rebuild a tensor"});
  expectRefused(dictOf(tensor + "}b"),
                {"expected the state of an OrderedDict"});
}

TEST(Pickle, RefusesViewsOutsideTheirStorage) {
  auto expectOutside = [](int32_t offset, const Shape &shape,
                          const Shape &strides) {
    expectRefused(dictOf(pickleTensor(floats, offset, shape, strides)),
                  {"m.bin: \"k\": expected a tensor inside its storage of 6"});
  };
  expectOutside(1, {2, 3}, {3, 1});
  expectOutside(-1, {2}, {1});
  expectOutside(0, {2}, {6});
  expectOutside(7, {0}, {1});
  expectOutside(0, {1 << 20}, {0});
  expectOutside(0, {INT64_MAX, INT64_MAX}, {1, 1});
  expectOutside(0, {2, 2}, {INT64_MAX, INT64_MAX});
  expectRefused(dictOf(pickleTensor(floats, 0, {-2}, {1})), {"below 0"});
  expectRefused(dictOf(pickleTensor(floats, 0, {2}, {-1})), {"below 0"});
  expectRefused(dictOf(pickleTensor(floats, 0, {2}, {})), {"strides"});
}

TEST(Pickle, RefusesStoragesOfAnotherSize) {
  for (int32_t count : {5, 7, -6, INT32_MAX})
    expectRefused(dictOf(pickleTensor(pickleStorage("FloatStorage", "0", count),
                                      0, {1}, {1})),
                  {"storage \"0\"", "f32", "found 24 bytes"});
}

TEST(Pickle, RefusesWhatIsNoStateDict) {
  expectRefused(protocol2 + "].", {"expected a dict of tensors, found a list"});
  expectRefused(dictOf("K\x03"), {"\"k\": expected a tensor, found a int"});
  expectRefused(dictOf("}"), {"\"k\": expected a tensor, found a dict"});
  expectRefused(pickleDict({{"k", tensor}, {"k", tensor}}),
                {"duplicate key \"k\""});
  expectRefused(protocol2 + "}K\x03" + tensor + "s.", {"expected keys"});
}

TEST(Pickle, RefusesTruncatedAndDamagedPickles) {
  std::string good = dictOf(tensor);
  for (size_t size = 0; size < good.size(); ++size)
    expectRefused(good.substr(0, size), {"m.bin: pickle at byte"});
  expectRefused(protocol2 + "t.", {"mark"});
  expectRefused(protocol2 + "0.", {"stack"});
  expectRefused(protocol2 + "h\x05.", {"memo at 5"});
  expectRefused(protocol2 + "(a.", {"stack"});
  expectRefused(protocol2 + "\x81.", {"opcode 129 is not supported"});
  expectRefused("(lp0\n.", {"protocol"});
  expectRefused(protocol2 + "B" + bytesOf<uint32_t>(~0u) + ".", {"truncated"});
}

TEST(Pickle, BoundsNestingAndMemory) {
  std::string nested = protocol2 + ")" + std::string(500000, '\x85') + ".";
  expectRefused(nested, {"found a tuple"});
  expectRefused(protocol2 + std::string(2 << 20, '}') + ".",
                {"expected at most 1048576 values"});
  expectRefused(protocol2 + "}" + std::string(2 << 20, '2') + ".",
                {"on the stack"});
  expectRefused(protocol2 + std::string(2 << 20, '(') + ".", {"marks"});
  // A list that holds itself.
  expectRefused(protocol2 + "]q\x01h\x01"
                            "a.",
                {"found a list"});
}
