//===- Error.h - errors of reading a checkpoint ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_FRONTEND_CHECKPOINT_ERROR_H
#define MAMBIT_FRONTEND_CHECKPOINT_ERROR_H

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mambit::checkpoint {

/// Thrown by everything in frontend/checkpoint. The message is lower case,
/// without a full stop, and names the file, the key, what was expected and what
/// was found.
class Error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// Throws an Error whose message is `parts`, streamed one after another.
template <typename... Parts>
[[noreturn]] void fail(const Parts &...parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(message.str());
}

/// Text from a file, fit for a message: bytes that are not printable ASCII as
/// \x and two digits, and cut where it is long.
std::string printable(std::string_view text, size_t longest = 160);

/// The same in quotes.
std::string quote(std::string_view text);

} // namespace mambit::checkpoint

#endif // MAMBIT_FRONTEND_CHECKPOINT_ERROR_H
