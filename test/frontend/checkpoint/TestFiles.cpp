//===- TestFiles.cpp - writes the files that the tests read -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "TestFiles.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace mambit::checkpoint::test {

TempFolder::TempFolder()
    : folder(std::filesystem::temp_directory_path() / "mambit-XXXXXX") {
  if (!mkdtemp(folder.data()))
    throw std::runtime_error("cannot make a temporary folder");
}

TempFolder::~TempFolder() { std::filesystem::remove_all(folder); }

std::string TempFolder::write(const std::string &name,
                              std::string_view bytes) const {
  std::string path = folder + "/" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

void TempFolder::makeFolder(const std::string &name) const {
  std::filesystem::create_directory(folder + "/" + name);
}

std::string safetensors(const std::string &header, const std::string &data) {
  return bytesOf<uint64_t>(header.size()) + header + data;
}

std::string zip(const std::vector<ZipEntry> &entries, bool isZip64) {
  std::string file, directory;
  for (const ZipEntry &entry : entries) {
    uint64_t offset = file.size(), size = entry.data.size();
    uint32_t shortSize = isZip64 ? UINT32_MAX : size;
    uint32_t shortOffset = isZip64 ? UINT32_MAX : offset;
    std::string wide = bytesOf<uint16_t>(1) + bytesOf<uint16_t>(24) +
                       bytesOf(size) + bytesOf(size) + bytesOf(offset);
    std::string extra = isZip64 ? wide : "";
    // From the version needed to the sizes, both headers are alike.
    std::string common =
        bytesOf<uint16_t>(45) + bytesOf(entry.flags) + bytesOf(entry.method) +
        bytesOf<uint32_t>(0) + bytesOf<uint32_t>(0) + bytesOf(shortSize) +
        bytesOf(shortSize) + bytesOf<uint16_t>(entry.name.size());
    file += "PK\3\4" + common + bytesOf<uint16_t>(entry.padding) + entry.name +
            std::string(entry.padding, 'Z') + entry.data;
    directory += "PK\1\2" + bytesOf<uint16_t>(45) + common +
                 bytesOf<uint16_t>(extra.size()) + std::string(10, '\0') +
                 bytesOf(shortOffset) + entry.name + extra;
  }
  uint64_t offset = file.size(), size = directory.size();
  uint64_t count = entries.size();
  file += directory;
  if (isZip64) {
    uint64_t end = file.size();
    file += "PK\6\6" + bytesOf<uint64_t>(44) + bytesOf<uint32_t>(0) +
            bytesOf<uint64_t>(0) + bytesOf(count) + bytesOf(count) +
            bytesOf(size) + bytesOf(offset);
    file +=
        "PK\6\7" + bytesOf<uint32_t>(0) + bytesOf(end) + bytesOf<uint32_t>(1);
  }
  return file + "PK\5\6" + bytesOf<uint32_t>(0) +
         bytesOf<uint16_t>(isZip64 ? UINT16_MAX : count) +
         bytesOf<uint16_t>(isZip64 ? UINT16_MAX : count) +
         bytesOf<uint32_t>(isZip64 ? UINT32_MAX : size) +
         bytesOf<uint32_t>(isZip64 ? UINT32_MAX : offset) +
         bytesOf<uint16_t>(0);
}

std::string pickleString(std::string_view text) {
  return "X" + bytesOf<uint32_t>(text.size()) + std::string(text);
}

std::string pickleInteger(int32_t value) { return "J" + bytesOf(value); }

std::string pickleGlobal(const std::string &module, const std::string &name) {
  return "c" + module + "\n" + name + "\n";
}

std::string pickleTuple(std::initializer_list<std::string> items) {
  std::string result = "(";
  for (const std::string &item : items)
    result += item;
  return result + "t";
}

std::string pickleCall(const std::string &function, const std::string &args) {
  return function + args + "R";
}

std::string pickleStorage(const std::string &type, const std::string &key,
                          int32_t count) {
  return pickleTuple({pickleString("storage"), pickleGlobal("torch", type),
                      pickleString(key), pickleString("cpu"),
                      pickleInteger(count)}) +
         "Q";
}

static std::string pickleIntegers(const Shape &values) {
  std::string result = "(";
  for (int64_t value : values)
    result += "\x8a\x08" + bytesOf(value);
  return result + "t";
}

std::string pickleTensor(const std::string &storage, int32_t offset,
                         const Shape &shape, const Shape &strides) {
  std::string hooks =
      pickleCall(pickleGlobal("collections", "OrderedDict"), ")");
  return pickleCall(
      pickleGlobal("torch._utils", "_rebuild_tensor_v2"),
      pickleTuple({storage, pickleInteger(offset), pickleIntegers(shape),
                   pickleIntegers(strides), "\x89", hooks}));
}

std::string
pickleDict(const std::vector<std::pair<std::string, std::string>> &items) {
  std::string result = "\x80\x02}(";
  for (const auto &[key, value] : items)
    result += pickleString(key) + value;
  return result + "u.";
}

std::string torchFile(const std::string &pickle,
                      const std::vector<std::string> &storages) {
  std::vector<ZipEntry> entries = {{"archive/data.pkl", pickle},
                                   {"archive/byteorder", "little"}};
  for (size_t i = 0; i < storages.size(); ++i)
    entries.push_back({"archive/data/" + std::to_string(i), storages[i], 0, 0,
                       uint32_t(i % 7)});
  return zip(entries);
}

std::string safetensors(const TestTensors &tensors) {
  static const std::map<DType, const char *> names = {
      {DType::f64, "F64"}, {DType::f32, "F32"}, {DType::f16, "F16"},
      {DType::i32, "I32"}, {DType::i8, "I8"},
  };
  Json header = Json::object();
  std::string data;
  for (const auto &[key, tensor] : tensors) {
    header[key] = {
        {"dtype", names.at(tensor.dtype)},
        {"shape", tensor.shape},
        {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  return safetensors(header.dump(), data);
}

std::string torchFile(const TestTensors &tensors) {
  static const std::map<DType, const char *> types = {
      {DType::f64, "DoubleStorage"}, {DType::f32, "FloatStorage"},
      {DType::f16, "HalfStorage"},   {DType::i32, "IntStorage"},
      {DType::i8, "CharStorage"},
  };
  std::vector<std::pair<std::string, std::string>> items;
  std::vector<std::string> storages;
  for (const auto &[key, tensor] : tensors) {
    int32_t count = tensor.bytes.size() / dtypeSize(tensor.dtype);
    std::string storage = pickleStorage(types.at(tensor.dtype),
                                        std::to_string(storages.size()), count);
    items.emplace_back(key, pickleTensor(storage, 0, tensor.shape,
                                         contiguousStrides(tensor.shape)));
    storages.push_back(tensor.bytes);
  }
  return torchFile(pickleDict(items), storages);
}

TestTensor makeTensor(const Shape &shape, float first) {
  TestTensor tensor{DType::f32, shape, ""};
  for (int64_t i = 0; i < *checkedElementCount(shape); ++i)
    tensor.bytes += bytesOf(first + float(i));
  return tensor;
}

TestModel::TestModel(Family family, int64_t layers) : family(family) {
  constexpr int64_t rows = 10, dModel = 12, dInner = 24, heads = 4, groups = 2;
  constexpr int64_t dState = 5, dConv = 3,
                    channels = dInner + 2 * groups * dState;
  if (family == huggingFace)
    config = {{"model_type", "mamba2"},
              {"hidden_size", dModel},
              {"num_hidden_layers", layers},
              {"vocab_size", rows},
              {"num_heads", heads},
              {"head_dim", dInner / heads},
              {"state_size", dState},
              {"n_groups", groups},
              {"conv_kernel", dConv},
              {"expand", 2},
              {"layer_norm_epsilon", 1e-6},
              {"time_step_limit", {0.0, {{"__float__", "Infinity"}}}},
              {"tie_word_embeddings", true},
              {"use_bias", false},
              {"use_conv_bias", true},
              {"bos_token_id", 1},
              {"eos_token_id", 2}};
  else
    config = {{"d_model", dModel},
              {"d_intermediate", 0},
              {"n_layer", layers},
              {"vocab_size", rows - 1},
              {"ssm_cfg", {{"layer", "Mamba2"}, {"ngroups", groups}}},
              {"attn_layer_idx", Json::array()},
              {"attn_cfg", Json::object()},
              {"rms_norm", true},
              {"residual_in_fp32", true},
              {"fused_add_norm", true},
              {"pad_vocab_size_multiple", 5},
              {"tie_embeddings", true}};

  auto addLinear = [&](const std::string &prefix, int64_t out, int64_t in) {
    tensors[prefix + "weight"] = makeTensor({out, in});
    if (family == official) {
      tensors[prefix + "wscale"] = makeTensor({1, in});
      tensors[prefix + "wbias"] = makeTensor({1, in});
    }
  };
  std::string embedding =
      family == huggingFace ? "backbone.embeddings" : "backbone.embedding";
  tensors[embedding + ".weight"] = makeTensor({rows, dModel});
  for (int64_t i = 0; i < layers; ++i) {
    std::string prefix = "backbone.layers." + std::to_string(i) + ".";
    std::string mixer = prefix + "mixer.";
    tensors[prefix + "norm.weight"] = makeTensor({dModel});
    addLinear(mixer + "in_proj.", dInner + channels + heads, dModel);
    addLinear(mixer + "out_proj.", dModel, dInner);
    tensors[mixer + "conv1d.weight"] = makeTensor({channels, 1, dConv});
    tensors[mixer + "conv1d.bias"] = makeTensor({channels});
    tensors[mixer + "norm.weight"] = makeTensor({dInner});
    for (const char *name : {"dt_bias", "A_log", "D"})
      tensors[mixer + name] = makeTensor({heads});
  }
  tensors["backbone.norm_f.weight"] = makeTensor({dModel});
}

void TestModel::write(const TempFolder &folder) const {
  folder.write("config.json", config.dump());
  if (family == huggingFace)
    folder.write("model.safetensors", safetensors(tensors));
  else
    folder.write("pytorch_model.bin", torchFile(tensors));
}

} // namespace mambit::checkpoint::test
