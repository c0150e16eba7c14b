//===- FeaturesTest.cpp ---------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/device/cpu/Features.h"

#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>

using namespace mambit;

namespace {

TEST(Features, UnknownNamesAreLacking) {
  EXPECT_FALSE(cpu::hasFeature(""));
  EXPECT_FALSE(cpu::hasFeature("avx9000"));
  EXPECT_FALSE(cpu::hasFeature("AVX2"));
}

#if defined(__x86_64__)
TEST(Features, AgreeWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; std::getline(file, line);)
    if (line.rfind("flags", 0) == 0) {
      std::istringstream words(line.substr(line.find(':') + 1));
      for (std::string word; words >> word;)
        flags.insert(word);
      break;
    }
  if (flags.empty())
    GTEST_SKIP() << "/proc/cpuinfo tells no flags";
  EXPECT_TRUE(cpu::hasFeature("sse2"));
  // LLVM's names, and those of /proc/cpuinfo.
  const std::pair<const char *, const char *> names[] = {
      {"avx", "avx"},
      {"avx2", "avx2"},
      {"fma", "fma"},
      {"f16c", "f16c"},
      {"bmi", "bmi1"},
      {"bmi2", "bmi2"},
      {"lzcnt", "abm"},
      {"movbe", "movbe"},
      {"popcnt", "popcnt"},
      {"ssse3", "ssse3"},
      {"sse4.2", "sse4_2"},
      {"cx16", "cx16"},
      {"sahf", "lahf_lm"},
      {"avx512f", "avx512f"},
      {"avx512bw", "avx512bw"},
      {"avx512cd", "avx512cd"},
      {"avx512dq", "avx512dq"},
      {"avx512vl", "avx512vl"},
      {"avx512vbmi", "avx512vbmi"},
      {"avx512vnni", "avx512_vnni"},
      {"avx512vpopcntdq", "avx512_vpopcntdq"},
      {"avxvnni", "avx_vnni"},
  };
  for (auto [llvm, kernel] : names)
    EXPECT_EQ(cpu::hasFeature(llvm), flags.count(kernel) != 0) << llvm;
}
#endif

} // namespace
