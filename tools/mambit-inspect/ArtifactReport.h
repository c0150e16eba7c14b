//===- ArtifactReport.h - what is in an artifact -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_TOOLS_MAMBIT_INSPECT_ARTIFACTREPORT_H
#define MAMBIT_TOOLS_MAMBIT_INSPECT_ARTIFACTREPORT_H

#include "runtime/artifact/Artifact.h"

#include <nlohmann/json.hpp>

namespace mambit::tools {

using Json = nlohmann::ordered_json;

/// What of the code to show.
struct CodeFilter {
  std::string device; // empty: all
  std::string target; // empty: all; the assembly of the first
  std::string kernel; // empty: all
};

/// All there is to know but the assembly. The text below is made from it, so
/// that the two cannot differ.
Json describeArtifact(const artifact::Artifact &artifact);

/// Throws Error if the artifact has nothing of the names in the filter. Takes
/// other devices out of the report.
void applyFilter(Json &artifact, const CodeFilter &filter);

/// The assembly of each phase, by kernel and symbol; for a GPU its PTX.
Json describeAssembly(const artifact::Artifact &artifact,
                      const CodeFilter &filter);

/// Writes the code images to `folder`, as TARGET.KIND, and returns their paths.
std::vector<std::string> extractImages(const artifact::Artifact &artifact,
                                       const std::string &folder);

void printSummary(const Json &artifact);
void printPrograms(const Json &artifact);
void printMemory(const Json &artifact);
void printKernels(const Json &artifact, const CodeFilter &filter);
void printWeights(const Json &artifact);
void printAssembly(const Json &assembly);

} // namespace mambit::tools

#endif // MAMBIT_TOOLS_MAMBIT_INSPECT_ARTIFACTREPORT_H
