//===- Features.cpp - what the processor can do ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/device/cpu/Features.h"

#include <cstdint>
#include <fstream>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

using namespace mambit;

std::string cpu::processorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0)
      if (size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return machineArchitecture();
}

#if defined(__x86_64__)

namespace {

enum Register { eax, ebx, ecx, edx };

/// Which registers the operating system must save, as bits of XCR0.
enum Saved : uint64_t { none = 0, avx = 0x6, avx512 = 0xe6 };

struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  unsigned bit;
  Saved saved;
};

constexpr Feature kFeatures[] = {
    {"sse2", 1, 0, edx, 26, none},
    {"sse3", 1, 0, ecx, 0, none},
    {"pclmul", 1, 0, ecx, 1, none},
    {"ssse3", 1, 0, ecx, 9, none},
    {"fma", 1, 0, ecx, 12, avx},
    {"cx16", 1, 0, ecx, 13, none},
    {"sse4.1", 1, 0, ecx, 19, none},
    {"sse4.2", 1, 0, ecx, 20, none},
    {"movbe", 1, 0, ecx, 22, none},
    {"popcnt", 1, 0, ecx, 23, none},
    {"aes", 1, 0, ecx, 25, none},
    {"xsave", 1, 0, ecx, 26, none},
    {"avx", 1, 0, ecx, 28, avx},
    {"f16c", 1, 0, ecx, 29, avx},
    {"bmi", 7, 0, ebx, 3, none},
    {"avx2", 7, 0, ebx, 5, avx},
    {"bmi2", 7, 0, ebx, 8, none},
    {"avx512f", 7, 0, ebx, 16, avx512},
    {"avx512dq", 7, 0, ebx, 17, avx512},
    {"avx512ifma", 7, 0, ebx, 21, avx512},
    {"avx512cd", 7, 0, ebx, 28, avx512},
    {"avx512bw", 7, 0, ebx, 30, avx512},
    {"avx512vl", 7, 0, ebx, 31, avx512},
    {"avx512vbmi", 7, 0, ecx, 1, avx512},
    {"avx512vbmi2", 7, 0, ecx, 6, avx512},
    {"gfni", 7, 0, ecx, 8, none},
    {"vaes", 7, 0, ecx, 9, avx},
    {"vpclmulqdq", 7, 0, ecx, 10, avx},
    {"avx512vnni", 7, 0, ecx, 11, avx512},
    {"avx512bitalg", 7, 0, ecx, 12, avx512},
    {"avx512vpopcntdq", 7, 0, ecx, 14, avx512},
    {"avx512fp16", 7, 0, edx, 23, avx512},
    {"avxvnni", 7, 1, eax, 4, avx},
    {"avx512bf16", 7, 1, eax, 5, avx512},
    {"avxvnniint8", 7, 1, edx, 4, avx},
    {"avxvnniint16", 7, 1, edx, 10, avx},
    {"sahf", 0x80000001, 0, ecx, 0, none},
    {"lzcnt", 0x80000001, 0, ecx, 5, none},
    {"64bit", 0x80000001, 0, edx, 29, none},
};

/// XCR0, or 0 where the operating system does not use it.
uint64_t savedRegisters() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)))
    return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

} // namespace

const char *cpu::machineArchitecture() { return "x86_64"; }

bool cpu::hasFeature(const std::string &name) {
  for (const Feature &feature : kFeatures) {
    if (name != feature.name)
      continue;
    uint32_t registers[4];
    // Fails where the processor has no such leaf; a subleaf it does not have
    // reads as zero.
    return __get_cpuid_count(feature.leaf, feature.subleaf, &registers[eax],
                             &registers[ebx], &registers[ecx],
                             &registers[edx]) &&
           (registers[feature.reg] >> feature.bit & 1) &&
           (savedRegisters() & feature.saved) == feature.saved;
  }
  return false;
}

#else

const char *cpu::machineArchitecture() {
#if defined(__aarch64__)
  return "aarch64";
#else
  return "unknown";
#endif
}

bool cpu::hasFeature(const std::string &) { return false; }

#endif
