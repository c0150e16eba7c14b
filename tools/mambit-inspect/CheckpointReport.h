//===- CheckpointReport.h - what would be imported ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_INSPECT_CHECKPOINTREPORT_H
#define MAMBIT_TOOLS_MAMBIT_INSPECT_CHECKPOINTREPORT_H

#include <nlohmann/json.hpp>

#include <string>

namespace mambit::tools {

using Json = nlohmann::ordered_json;

/// Opens a checkpoint folder as the importer does. Counts the exact zeros of
/// 1-bit weights and the negative scales, which reads them.
Json describeCheckpoint(const std::string &folder);

void printCheckpoint(const Json &checkpoint);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_INSPECT_CHECKPOINTREPORT_H
