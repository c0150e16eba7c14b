//===- TorchZip.cpp - reads one file of torch.save ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/TorchZip.h"
#include "frontend/checkpoint/Error.h"
#include "frontend/checkpoint/Pickle.h"
#include "frontend/checkpoint/Zip.h"

namespace mambit::checkpoint {
namespace {

/// The folder inside the zip file, "NAME/", that holds data.pkl.
std::string findPrefix(const ZipDirectory &directory, const std::string &name) {
  constexpr std::string_view pickleName = "data.pkl";
  for (const auto &[entry, bytes] : directory) {
    size_t slash = entry.find('/');
    if (slash != std::string::npos && entry.substr(slash + 1) == pickleName)
      return entry.substr(0, slash + 1);
  }
  fail(name, ": zip file: expected an entry ", quote("*/data.pkl"),
       ", found none");
}

} // namespace

std::vector<Tensor> readTorchZip(const MappedFile &file,
                                 const std::string &name) {
  ZipDirectory directory = readZip(file, name);
  std::string prefix = findPrefix(directory, name);

  auto byteOrder = directory.find(prefix + "byteorder");
  if (byteOrder != directory.end() && byteOrder->second != "little")
    fail(name, ": zip entry ", quote(byteOrder->first), ": expected ",
         quote("little"), ", found ", quote(byteOrder->second));

  return readPickle(directory.at(prefix + "data.pkl"), name,
                    [&](std::string_view key) {
                      std::string entry = prefix + "data/" + std::string(key);
                      auto found = directory.find(entry);
                      if (found == directory.end())
                        fail(name, ": expected a storage in zip entry ",
                             quote(entry), ", found none");
                      return found->second;
                    });
}

} // namespace mambit::checkpoint
