//===- Features.h - what the processor can do --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CPU_FEATURES_H
#define MAMBIT_RUNTIME_DEVICE_CPU_FEATURES_H

#include <string>

namespace mambit::cpu {

/// "x86_64" and the like: the first part of a target's triple.
const char *machineArchitecture();

/// "AMD EPYC 9654 96-Core Processor" and the like; the architecture where the
/// system does not say.
std::string processorName();

/// Whether processor and operating system have a feature, by LLVM's name for
/// it ("avx2", "avx512vnni"). A name this runtime does not know is one that the
/// machine lacks.
bool hasFeature(const std::string &name);

} // namespace mambit::cpu

#endif // MAMBIT_RUNTIME_DEVICE_CPU_FEATURES_H
