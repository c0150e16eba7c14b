//===- CheckpointSource.cpp - tensors for packing ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/CheckpointSource.h"

#include "runtime/Error.h"
#include "runtime/text/Tokenizer.h"

#include <filesystem>
#include <fstream>
#include <iterator>

using namespace mambit;
using namespace mambit::tools;

static artifact::DType convertDType(const checkpoint::Tensor &tensor) {
  switch (tensor.dtype) {
  case checkpoint::DType::f64:
    return artifact::DType::f64;
  case checkpoint::DType::f32:
    return artifact::DType::f32;
  case checkpoint::DType::f16:
    return artifact::DType::f16;
  case checkpoint::DType::bf16:
    return artifact::DType::bf16;
  case checkpoint::DType::i64:
    return artifact::DType::i64;
  case checkpoint::DType::i32:
    return artifact::DType::i32;
  case checkpoint::DType::i16:
    return artifact::DType::i16;
  case checkpoint::DType::i8:
    return artifact::DType::i8;
  case checkpoint::DType::u8:
    return artifact::DType::u8;
  case checkpoint::DType::boolean:
    break;
  }
  fail("'", tensor.file, "': '", tensor.key, "' has type ",
       checkpoint::dtypeName(tensor.dtype), ", expected numbers");
}

artifact::TensorView CheckpointSource::find(const std::string &file,
                                            const std::string &key) {
  const checkpoint::Tensor *tensor = checkpoint.find(key);
  if (!tensor)
    fail("'", checkpoint.directory(), "' has no tensor '", key,
         "', expected in '", file, "'");
  artifact::TensorView view;
  view.dtype = convertDType(*tensor);
  view.shape.assign(tensor->shape.begin(), tensor->shape.end());
  view.strides = tensor->strides;
  view.data = tensor->data;
  view.file = tensor->file;
  view.owner = std::shared_ptr<const void>(
      tensor->data, [&checkpoint = checkpoint, tensor](const void *) {
        checkpoint.release(*tensor);
      });
  return view;
}

std::vector<uint8_t>
tools::readTokenizer(const checkpoint::Checkpoint &checkpoint) {
  std::string path = checkpoint.tokenizerPath();
  if (path.empty())
    return {};
  std::ifstream stream(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(stream), {});
  if (!stream)
    fail("cannot read '", path, "'");
  try {
    Tokenizer(bytes, SIZE_MAX); // how many pieces, the config was checked for
  } catch (const Error &error) {
    fail("'", path, "': ", error.what());
  }
  return {bytes.begin(), bytes.end()};
}

artifact::PackOptions
tools::packOptions(const checkpoint::Checkpoint &checkpoint) {
  artifact::PackOptions options;
  auto add = [&](const std::string &name) {
    options.inputs.push_back({name, checkpoint.path(name)});
  };
  add("config.json");
  for (const std::string &file : checkpoint.files())
    add(file);

  std::string tokenizer = checkpoint.tokenizerPath();
  if (!tokenizer.empty()) {
    add(std::filesystem::path(tokenizer).filename().string());
    options.tokenizer = readTokenizer(checkpoint);
  }
  return options;
}
