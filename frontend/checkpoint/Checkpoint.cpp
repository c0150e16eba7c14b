//===- Checkpoint.cpp - a folder of tensors, mapped --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Checkpoint.h"
#include "frontend/checkpoint/Json.h"
#include "frontend/checkpoint/Safetensors.h"
#include "frontend/checkpoint/TorchZip.h"

#include <algorithm>
#include <filesystem>

namespace mambit::checkpoint {
namespace {

namespace fs = std::filesystem;

bool startsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

bool endsWith(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() &&
         text.substr(text.size() - suffix.size()) == suffix;
}

/// The tensor files of a folder and, with an index, where each key should be.
struct Layout {
  std::vector<std::string> files;
  std::string index; // name; empty if there is none
  std::map<std::string, std::string> fileOfKey;
};

Layout readIndex(const Checkpoint &checkpoint, const std::string &name) {
  Layout layout;
  layout.index = name;
  Json index = readJson(checkpoint.path(name), name);
  auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object() || map->empty())
    fail(name, ": expected an object weight_map, found none");
  for (const auto &[key, file] : map->items()) {
    if (!file.is_string())
      fail(name, ": ", quote(key), ": expected the name of a file, found a ",
           file.type_name());
    std::string shard = file.get<std::string>();
    if (shard.find('/') != std::string::npos || shard.empty() ||
        shard.find('\0') != std::string::npos)
      fail(name, ": ", quote(key),
           ": expected the name of a file in the folder, found ", quote(shard));
    if (!checkpoint.hasFile(shard))
      fail(name, ": ", quote(key), ": missing shard ", quote(shard));
    layout.fileOfKey.emplace(key, shard);
    layout.files.push_back(std::move(shard));
  }
  std::sort(layout.files.begin(), layout.files.end());
  layout.files.erase(std::unique(layout.files.begin(), layout.files.end()),
                     layout.files.end());
  return layout;
}

Layout findFiles(const Checkpoint &checkpoint) {
  constexpr const char *stems[] = {"model.safetensors", "pytorch_model.bin"};
  for (std::string stem : stems) {
    if (checkpoint.hasFile(stem))
      return {{stem}, "", {}};
    if (checkpoint.hasFile(stem + ".index.json"))
      return readIndex(checkpoint, stem + ".index.json");
  }
  Layout safetensors, pickles;
  for (const fs::directory_entry &entry :
       fs::directory_iterator(checkpoint.directory())) {
    std::string name = entry.path().filename().string();
    if (!checkpoint.hasFile(name))
      continue;
    if (endsWith(name, ".safetensors"))
      safetensors.files.push_back(name);
    else if (startsWith(name, "pytorch_model") && endsWith(name, ".bin"))
      pickles.files.push_back(name);
  }
  Layout &layout = safetensors.files.empty() ? pickles : safetensors;
  if (layout.files.empty())
    fail(checkpoint.directory(), ": expected model.safetensors, "
                                 "pytorch_model.bin, or shards of one, found "
                                 "none");
  std::sort(layout.files.begin(), layout.files.end());
  return layout;
}

} // namespace

Checkpoint Checkpoint::open(const std::string &directory) {
  Checkpoint checkpoint;
  checkpoint.dir = directory;
  std::error_code error;
  if (!fs::is_directory(directory, error))
    fail(directory, ": expected a folder that holds a checkpoint, found ",
         fs::exists(directory, error) ? "a file" : "none");

  Layout layout;
  try {
    layout = findFiles(checkpoint);
  } catch (const fs::filesystem_error &failure) {
    fail(directory, ": cannot list: ", failure.code().message());
  }
  for (const std::string &name : layout.files) {
    auto file = std::make_shared<const MappedFile>(checkpoint.path(name));
    std::vector<Tensor> tensors = endsWith(name, ".safetensors")
                                      ? readSafetensors(*file, name)
                                      : readTorchZip(*file, name);
    for (Tensor &tensor : tensors) {
      std::string key = tensor.key;
      auto [place, isNew] = checkpoint.byKey.emplace(key, std::move(tensor));
      if (!isNew)
        fail(name, ": duplicate key ", quote(key), ", also in ",
             place->second.file);
    }
    checkpoint.mappings.push_back(std::move(file));
  }
  for (const auto &[key, file] : layout.fileOfKey) {
    const Tensor *tensor = checkpoint.find(key);
    if (!tensor || tensor->file != file)
      fail(layout.index, ": ", quote(key), ": expected it in ", quote(file),
           ", found it ",
           tensor ? "in " + quote(tensor->file) : std::string("nowhere"));
  }
  checkpoint.fileNames = std::move(layout.files);
  return checkpoint;
}

Checkpoint Checkpoint::describe(std::string name, std::vector<Tensor> tensors) {
  Checkpoint checkpoint;
  checkpoint.dir = std::move(name);
  for (Tensor &tensor : tensors) {
    if (std::find(checkpoint.fileNames.begin(), checkpoint.fileNames.end(),
                  tensor.file) == checkpoint.fileNames.end())
      checkpoint.fileNames.push_back(tensor.file);
    std::string key = tensor.key;
    checkpoint.byKey.emplace(std::move(key), std::move(tensor));
  }
  return checkpoint;
}

const Tensor *Checkpoint::find(std::string_view key) const {
  auto found = byKey.find(key);
  return found == byKey.end() ? nullptr : &found->second;
}

const Tensor &Checkpoint::get(std::string_view key) const {
  if (const Tensor *tensor = find(key))
    return *tensor;
  fail(dir, ": expected a tensor ", quote(key), ", found none");
}

std::string Checkpoint::path(std::string_view fileName) const {
  return (fs::path(dir) / fileName).string();
}

bool Checkpoint::hasFile(std::string_view fileName) const {
  std::error_code error;
  return fs::exists(path(fileName), error) &&
         !fs::is_directory(path(fileName), error);
}

std::string Checkpoint::tokenizerPath() const {
  constexpr std::string_view name = "tokenizer.model";
  return hasFile(name) ? path(name) : "";
}

void Checkpoint::release(const Tensor &tensor) const {
  if (tensor.elementCount() == 0)
    return;
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i)
    last += (tensor.shape[i] - 1) * tensor.strides[i];
  for (const auto &mapping : mappings)
    if (mapping->contains(tensor.data))
      mapping->release(tensor.data, (last + 1) * dtypeSize(tensor.dtype));
}

} // namespace mambit::checkpoint
