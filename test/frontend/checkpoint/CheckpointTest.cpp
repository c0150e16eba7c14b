//===- CheckpointTest.cpp - folders of tensors -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Checkpoint.h"
#include "TestFiles.h"

#include <cstring>

using namespace mambit::checkpoint;
using namespace mambit::checkpoint::test;

namespace {

const TestTensors first = {{"a", makeTensor({2})}};
const TestTensors second = {{"b", makeTensor({3})}};

std::string indexOf(const Json &map) {
  return Json{{"metadata", {{"total_size", 20}}}, {"weight_map", map}}.dump();
}

void expectRefused(const TempFolder &folder,
                   std::initializer_list<const char *> parts) {
  expectError([&] { Checkpoint::open(folder.path()); }, parts);
}

} // namespace

TEST(Checkpoint, OpensOneFile) {
  for (bool isPickle : {false, true}) {
    TempFolder folder;
    std::string name = isPickle ? "pytorch_model.bin" : "model.safetensors";
    folder.write(name, isPickle ? torchFile(first) : safetensors(first));
    Checkpoint checkpoint = Checkpoint::open(folder.path());
    EXPECT_EQ(checkpoint.files(), std::vector<std::string>{name});
    const Tensor &tensor = checkpoint.get("a");
    EXPECT_EQ(tensor.file, name);
    EXPECT_EQ(std::memcmp(tensor.data, first.at("a").bytes.data(), 8), 0);
    checkpoint.release(tensor);
    EXPECT_EQ(std::memcmp(tensor.data, first.at("a").bytes.data(), 8), 0);
    EXPECT_EQ(checkpoint.find("b"), nullptr);
    expectError([&] { checkpoint.get("b"); }, {"\"b\"", "found none"});
  }
}

TEST(Checkpoint, OpensShardsWithAnIndex) {
  TempFolder folder;
  folder.write("part-1.safetensors", safetensors(first));
  folder.write("part-2.safetensors", safetensors(second));
  folder.write("other.safetensors", "not a shard");
  folder.write(
      "model.safetensors.index.json",
      indexOf({{"a", "part-1.safetensors"}, {"b", "part-2.safetensors"}}));
  Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.files().size(), 2u);
  EXPECT_EQ(checkpoint.get("b").file, "part-2.safetensors");
}

TEST(Checkpoint, OpensPickleShardsWithAnIndex) {
  TempFolder folder;
  folder.write("s1.bin", torchFile(first));
  folder.write("s2.bin", torchFile(second));
  folder.write("pytorch_model.bin.index.json",
               indexOf({{"a", "s1.bin"}, {"b", "s2.bin"}}));
  EXPECT_EQ(Checkpoint::open(folder.path()).get("b").file, "s2.bin");
}

TEST(Checkpoint, OpensShardsWithoutAnIndexAndIgnoresFolders) {
  TempFolder folder;
  folder.write("pytorch_model-00001-of-00002.bin", torchFile(first));
  folder.write("pytorch_model-00002-of-00002.bin", torchFile(second));
  folder.write("training_args.bin", "something else");
  folder.makeFolder("fabric_ckpt");
  folder.write("fabric_ckpt/x.safetensors", "something else");
  EXPECT_EQ(Checkpoint::open(folder.path()).tensors().size(), 2u);
}

TEST(Checkpoint, NamesMissingFolderAndFiles) {
  TempFolder folder;
  expectError([&] { Checkpoint::open(folder.path() + "/none"); },
              {"/none: expected a folder"});
  expectRefused(folder, {"expected model.safetensors, pytorch_model.bin"});
}

TEST(Checkpoint, NamesMissingShard) {
  TempFolder folder;
  folder.write("part-1.safetensors", safetensors(first));
  folder.write(
      "model.safetensors.index.json",
      indexOf({{"a", "part-1.safetensors"}, {"b", "part-2.safetensors"}}));
  expectRefused(folder, {"model.safetensors.index.json", "\"b\"",
                         "missing shard \"part-2.safetensors\""});
}

TEST(Checkpoint, NamesTensorNotWhereTheIndexSays) {
  TempFolder folder;
  folder.write("1.safetensors", safetensors(first));
  folder.write("2.safetensors", safetensors(second));
  folder.write("model.safetensors.index.json",
               indexOf({{"a", "2.safetensors"}, {"b", "1.safetensors"}}));
  expectRefused(folder, {"\"a\": expected it in \"2.safetensors\", found it in "
                         "\"1.safetensors\""});
  folder.write("model.safetensors.index.json",
               indexOf({{"a", "1.safetensors"}, {"c", "1.safetensors"}}));
  expectRefused(folder, {"\"c\"", "found it nowhere"});
}

TEST(Checkpoint, RefusesIndexThatLeavesTheFolder) {
  TempFolder folder;
  folder.write("model.safetensors.index.json",
               indexOf({{"a", "../x.safetensors"}}));
  expectRefused(folder, {"\"a\"", "in the folder", "../x.safetensors"});
  for (const char *text : {"[]", "{}", "{\"weight_map\": {}}"}) {
    folder.write("model.safetensors.index.json", text);
    expectRefused(folder, {"index.json: expected an object weight_map"});
  }
}

TEST(Checkpoint, NamesDuplicateKeys) {
  TempFolder folder;
  folder.write("1.safetensors", safetensors(first));
  folder.write("2.safetensors", safetensors(first));
  expectRefused(
      folder, {"2.safetensors: duplicate key \"a\"", "also in 1.safetensors"});
}

TEST(Checkpoint, NamesMissingStorageAndPickle) {
  TempFolder folder;
  folder.write("pytorch_model.bin", zip({{"x/data/0", "1"}}));
  expectRefused(folder, {"pytorch_model.bin", "data.pkl"});
  std::string pickle =
      pickleDict({{"k", pickleTensor(pickleStorage("FloatStorage", "7", 1), 0,
                                     {1}, {1})}});
  folder.write("pytorch_model.bin", zip({{"x/data.pkl", pickle}}));
  expectRefused(folder, {"pytorch_model.bin", "\"x/data/7\"", "found none"});
}

TEST(Checkpoint, RefusesBigEndian) {
  TempFolder folder;
  folder.write("pytorch_model.bin",
               zip({{"x/data.pkl", pickleDict({})}, {"x/byteorder", "big"}}));
  expectRefused(folder, {"byteorder", "expected \"little\", found \"big\""});
}
