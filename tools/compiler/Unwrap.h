//===- Unwrap.h - errors of the compiler's libraries ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_COMPILER_UNWRAP_H
#define MAMBIT_TOOLS_COMPILER_UNWRAP_H

#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

#include <stdexcept>
#include <string>

namespace mambit::tools {

/// The value, or its error as the exception that ends a tool.
template <typename T>
T unwrap(llvm::Expected<T> value) {
  if (!value)
    throw std::runtime_error(llvm::toString(value.takeError()));
  return std::move(*value);
}

/// Throws if an operation on the file failed.
inline void check(std::error_code error, const std::string &file) {
  if (error)
    throw std::runtime_error("'" + file + "': " + error.message());
}

/// Throws if what was written to the file did not reach it.
inline void finish(llvm::raw_fd_ostream &stream, const std::string &file) {
  stream.flush();
  std::error_code error = stream.error();
  stream.clear_error();
  check(error, file);
}

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_COMPILER_UNWRAP_H
