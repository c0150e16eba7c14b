//===- Zip.h - the directory of a zip file -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_ZIP_H
#define MAMBIT_FRONTEND_CHECKPOINT_ZIP_H

#include "frontend/checkpoint/MappedFile.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace mambit::checkpoint {

/// Entries of a zip file by name; each is the range of the file that holds it.
using ZipDirectory = std::map<std::string, std::string_view, std::less<>>;

/// Reads the directory of a zip or zip64 file whose entries are stored. Throws
/// Error, naming the entry, if one is compressed, encrypted, outside the file,
/// named twice or overlaps another. `name` is what messages call the file.
ZipDirectory readZip(const MappedFile &file, const std::string &name);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_ZIP_H
