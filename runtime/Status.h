//===- Status.h - errors that carry a status ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_STATUS_H
#define MAMBIT_RUNTIME_STATUS_H

#include "runtime/Error.h"
#include "runtime/mambit.h"

namespace mambit {

/// An error of which the C interface reports `status`; of a plain Error it
/// decides by the function that was called.
class StatusError : public Error {
public:
  StatusError(mambit_status status, const std::string &message)
      : Error(message), status(status) {}

  const mambit_status status;
};

/// fail() with a status.
template <typename... Parts>
[[noreturn]] void failWith(mambit_status status, const Parts &...parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw StatusError(status, message.str());
}

} // namespace mambit

#endif // MAMBIT_RUNTIME_STATUS_H
