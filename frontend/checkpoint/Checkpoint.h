//===- Checkpoint.h - a folder of tensors, mapped ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_CHECKPOINT_H
#define MAMBIT_FRONTEND_CHECKPOINT_CHECKPOINT_H

#include "frontend/checkpoint/Error.h"
#include "frontend/checkpoint/MappedFile.h"
#include "frontend/checkpoint/Tensor.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mambit::checkpoint {

/// The tensors of a checkpoint folder, from the first of these that exists:
///   model.safetensors, model.safetensors.index.json and its shards,
///   pytorch_model.bin, pytorch_model.bin.index.json and its shards,
///   all *.safetensors, all pytorch_model*.bin.
/// Subfolders are not looked into. Files are mapped read-only and stay mapped;
/// memory use is that of the tensors' names and shapes.
class Checkpoint {
public:
  using TensorMap = std::map<std::string, Tensor, std::less<>>;

  /// Opens a folder and checks the structure of all its tensor files. Throws
  /// Error if a file is damaged, hostile or of an unknown kind, if a key occurs
  /// twice, or if an index names a shard or a tensor that is not there.
  static Checkpoint open(const std::string &directory);

  /// The tensors of a checkpoint that is not at hand: they have keys, types and
  /// shapes, but no data. `name` stands for the folder in messages.
  static Checkpoint describe(std::string name, std::vector<Tensor> tensors);

  const std::string &directory() const { return dir; }

  /// Names of the tensor files, sorted; what Tensor::file refers to.
  const std::vector<std::string> &files() const { return fileNames; }

  /// All tensors by key.
  const TensorMap &tensors() const { return byKey; }

  /// A tensor by key, or null.
  const Tensor *find(std::string_view key) const;

  /// A tensor by key; throws Error naming the key and the folder.
  const Tensor &get(std::string_view key) const;

  /// Path of a file in the folder, whether or not it exists.
  std::string path(std::string_view fileName) const;

  /// Whether the folder holds a file of this name.
  bool hasFile(std::string_view fileName) const;

  /// Path of the SentencePiece model, or empty if there is none.
  std::string tokenizerPath() const;

  /// Gives back the memory of a tensor's pages; they are read again if needed.
  /// Pages that other tensors share may go too.
  void release(const Tensor &tensor) const;

private:
  Checkpoint() = default;

  std::string dir;
  std::vector<std::string> fileNames;
  std::vector<std::shared_ptr<const MappedFile>> mappings;
  TensorMap byKey;
};

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_CHECKPOINT_H
