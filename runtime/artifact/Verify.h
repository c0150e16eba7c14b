//===- Verify.h - checks an artifact before it is trusted --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_ARTIFACT_VERIFY_H
#define MAMBIT_RUNTIME_ARTIFACT_VERIFY_H

#include "runtime/artifact/artifact_generated.h"

#include <cstddef>

namespace mambit::artifact {

struct VerifyOptions {
  /// Whether to compare the checksums of weights, most of the file. All else,
  /// the contents of lists of zeros included, is always checked.
  bool weightChecksums = true;
};

/// Checks a whole artifact, `size` bytes at `data` (aligned to 8), and returns
/// its index: first the structure (header, ranges, checksums), then that the
/// parts fit each other, so that no command reaches outside its buffers. Used
/// where an artifact is written and where it is opened. Throws Error.
const Index &verify(const void *data, size_t size,
                    const VerifyOptions &options = {});

} // namespace mambit::artifact

#endif // MAMBIT_RUNTIME_ARTIFACT_VERIFY_H
