//===- MemoryPlan.cpp - what lies where in the arena, and when -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===---------------------------------------------------------------------===//

#include "tools/mambit-inspect/MemoryPlan.h"

#include <algorithm>
#include <map>
#include <utility>

using namespace mambit;
using namespace mambit::tools;
using artifact::Access;

MemoryPlan tools::deriveMemoryPlan(const artifact::DeviceT &device,
                                   const artifact::ProgramT &program) {
  MemoryPlan plan;
  // The value that begins at an offset now.
  std::map<uint64_t, size_t> current;
  auto begin = [&](std::string name, uint64_t offset, uint64_t size,
                   int64_t command) {
    current[offset] = plan.values.size();
    plan.values.push_back({std::move(name), offset, size, command, command});
  };

  for (const auto &port : program.inputs)
    begin(port->name, port->offset, port->size, -1);
  int64_t count = int64_t(program.commands.size());
  for (int64_t c = 0; c < count; ++c) {
    const artifact::CommandT &command = *program.commands[c];
    const artifact::KernelT &kernel = *device.kernels[command.kernel];
    // Reads come first: a kernel may write where it has read. What is read and
    // written in the arena is scratch: a new value.
    for (bool writes : {false, true})
      for (size_t a = 0; a < command.args.size(); ++a) {
        const artifact::ArgT &arg = *command.args[a];
        const artifact::ParamT &param = *kernel.params[a];
        if (arg.kind != artifact::ArgKind::arena ||
            writes != (param.access != Access::read))
          continue;
        auto held = current.find(arg.offset);
        if (writes || held == current.end()) {
          begin(kernel.name + "." + param.name, arg.offset, arg.size, c);
        } else {
          ArenaValue &value = plan.values[held->second];
          value.last = c;
          value.size = std::max(value.size, arg.size);
        }
      }
  }
  for (const auto &port : program.outputs)
    if (auto held = current.find(port->offset); held != current.end())
      plan.values[held->second].last = count;

  for (int64_t c = 0; c < count; ++c) {
    uint64_t alive = 0;
    for (const ArenaValue &value : plan.values)
      if (value.first <= c && c <= value.last)
        alive += value.size;
    plan.peak = std::max(plan.peak, alive);
  }
  return plan;
}
