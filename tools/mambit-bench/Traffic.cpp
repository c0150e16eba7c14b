//===- Traffic.cpp - what a program moves and computes -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-bench/Traffic.h"

#include "runtime/artifact/Layout.h"
#include "runtime/device/Grid.h"

#include <algorithm>
#include <map>

using namespace mambit;
using namespace mambit::tools;
using artifact::Access;
using artifact::ArgKind;

/// Reads and writes of a parameter.
static uint64_t timesMoved(Access access) {
  return access == Access::read_write ? 2 : 1;
}

/// Bytes that a command reads of a weight. An embedding reads a row a token.
static uint64_t weightBytes(const artifact::Artifact &artifact,
                            const artifact::Kernel &kernel, size_t weight,
                            const Extents &extents) {
  uint64_t bytes = artifact.weight(weight).size;
  const artifact::Weight &table = *artifact.index().weights()->Get(weight);
  bool gathers = kernel.op() && kernel.op()->str() == "mamba.embedding";
  if (!gathers || !table.shape() || table.shape()->size() != 2)
    return bytes;
  uint64_t row = table.shape()->Get(1) * artifact::elementBytes(table.dtype());
  return std::min(bytes, row * uint64_t(extents.tokens));
}

/// Products of a linear: of all elements of its matrix, for each row of its
/// result.
static uint64_t countMacs(const artifact::Artifact &artifact,
                          const artifact::Kernel &kernel,
                          const artifact::Command &command,
                          const Extents &extents) {
  if (!kernel.op() || kernel.op()->str() != "mamba.fused_linear")
    return 0;
  uint64_t elements = 0, rows = 0;
  for (unsigned i = 0; i < command.args()->size(); ++i) {
    const artifact::Param &param = *kernel.params()->Get(i);
    if (param.access() == Access::write)
      rows = uint64_t(extentOf(param.dim(), extents, 0));
    const artifact::Arg &arg = *command.args()->Get(i);
    if (arg.kind() != ArgKind::weight || param.name()->str() != "weight")
      continue;
    const auto *shape = artifact.index().weights()->Get(arg.index())->shape();
    elements = shape && shape->size() == 2 ? shape->Get(0) * shape->Get(1) : 0;
  }
  return elements * rows;
}

/// Calls weight(index, bytes) for every weight that a command reads, and counts
/// the rest.
template <typename Visit>
static Traffic countCommand(const artifact::Artifact &artifact,
                            const artifact::Device &device,
                            const artifact::Command &command,
                            const Extents &extents, const Visit &weight) {
  const artifact::Kernel &kernel = *device.kernels()->Get(command.kernel());
  Traffic traffic;
  // Where no logits are wanted, nothing of what makes them is run.
  for (const artifact::Param *param : *kernel.params())
    if (param->dim() == artifact::Dim::rows && extents.rows == 0)
      return traffic;
  traffic.macs = countMacs(artifact, kernel, command, extents);
  for (unsigned i = 0; i < command.args()->size(); ++i) {
    const artifact::Arg &arg = *command.args()->Get(i);
    const artifact::Param &param = *kernel.params()->Get(i);
    switch (arg.kind()) {
    case ArgKind::weight:
      weight(arg.index(), weightBytes(artifact, kernel, arg.index(), extents));
      break;
    case ArgKind::state:
      traffic.states += timesMoved(param.access()) * param.bytes_per_dim() *
                        uint64_t(extents.sequences);
      break;
    case ArgKind::arena:
      // Scratch does not leave the kernel.
      if (param.access() == Access::read_write)
        break;
      traffic.activations +=
          (param.fixed_bytes() +
           param.bytes_per_dim() * uint64_t(extentOf(param.dim(), extents, 0)));
      break;
    }
  }
  return traffic;
}

Traffic tools::trafficOf(const artifact::Artifact &artifact,
                         const artifact::Device &device,
                         const artifact::Command &command,
                         const Extents &extents) {
  uint64_t weights = 0;
  Traffic traffic =
      countCommand(artifact, device, command, extents,
                   [&](uint32_t, uint64_t bytes) { weights += bytes; });
  traffic.weights = weights;
  return traffic;
}

Traffic tools::trafficOf(const artifact::Artifact &artifact,
                         const artifact::Device &device,
                         const artifact::Program &program,
                         const Extents &extents) {
  Traffic traffic;
  std::map<uint32_t, uint64_t> weights;
  for (const artifact::Command *command : *program.commands())
    traffic += countCommand(artifact, device, *command, extents,
                            [&](uint32_t index, uint64_t bytes) {
                              uint64_t &most = weights[index];
                              most = std::max(most, bytes);
                            });
  for (auto [index, bytes] : weights)
    traffic.weights += bytes;
  for (const artifact::Port *port : *program.outputs())
    traffic.logits +=
        port->fixed_bytes() +
        port->bytes_per_dim() * uint64_t(extentOf(port->dim(), extents, 0));
  traffic.activations -= std::min(traffic.activations, traffic.logits);
  return traffic;
}
