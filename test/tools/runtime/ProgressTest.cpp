//===- ProgressTest.cpp - tests of tools/common/Progress.h -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/Progress.h"

#include <gtest/gtest.h>

using namespace mambit::tools;

namespace {

TEST(ProgressTest, FormatsFigures) {
  EXPECT_EQ(formatBytes(0), "0 B");
  EXPECT_EQ(formatBytes(1023), "1023 B");
  EXPECT_EQ(formatBytes(1536), "1.50 KiB");
  EXPECT_EQ(formatBytes(100ull << 20), "100.0 MiB");
  EXPECT_EQ(formatBytes(5ull << 40), "5.00 TiB");
  EXPECT_EQ(formatTime(5), "0:05");
  EXPECT_EQ(formatTime(3723), "1:02:03");
}

TEST(ProgressTest, ShowsRateAndTimeLeft) {
  EXPECT_EQ(progressLine("prefill", 500, 2000, "tokens", 10, 80),
            "prefill ######..................  25% 50 tokens/s, 0:30 left");
  EXPECT_EQ(progressLine("pack", 3 << 20, 4 << 20, "bytes", 3, 80),
            "pack ##################......  75% 1.00 MiB/s, 0:01 left");
}

TEST(ProgressTest, CopesWithNothingDoneAndTooMuchDone) {
  EXPECT_EQ(progressLine("x", 0, 10, "steps", 2, 80),
            "x ........................   0% 0.0 steps/s");
  EXPECT_EQ(progressLine("x", 0, 0, "steps", 2, 80),
            "x ######################## 100% 0.0 steps/s");
  EXPECT_EQ(progressLine("x", 11, 10, "steps", 1, 80),
            "x ######################## 100% 10 steps/s, 0:00 left");
}

TEST(ProgressTest, FitsTheTerminal) {
  EXPECT_EQ(progressLine("prefill", 500, 2000, "tokens", 10, 40),
            "prefill  25% 50 tokens/s, 0:30 left");
  EXPECT_EQ(progressLine("prefill", 500, 2000, "tokens", 10, 10), "prefill  2");
}

} // namespace
