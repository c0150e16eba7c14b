//===- TargetsTest.cpp - the table of targets ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Targets.h"

#include <gtest/gtest.h>

using namespace mambit;

TEST(Targets, FindsByName) {
  llvm::Expected<const Target *> target = lookupTarget("x86-64-v3");
  ASSERT_TRUE(bool(target));
  EXPECT_EQ((*target)->vectorBits, 256u);
  EXPECT_TRUE((*target)->has(Capability::byteDot256));
  EXPECT_FALSE((*target)->has(Capability::byteDot512));
}

TEST(Targets, UnknownNameListsTheKnown) {
  llvm::Expected<const Target *> target = lookupTarget("sparc");
  ASSERT_FALSE(bool(target));
  EXPECT_EQ(llvm::toString(target.takeError()),
            "unknown target 'sparc', expected one of: x86-64-v4-vbmi, "
            "x86-64-v4-vnni, x86-64-v4, x86-64-v3, sm_121, sm_120, sm_103, "
            "sm_100, sm_90a, "
            "sm_90, sm_89, sm_86, sm_80");
}

TEST(Targets, ListsAreSortedBestFirst) {
  auto targets = lookupTargets("x86-64-v3, x86-64-v4,x86-64-v3");
  ASSERT_TRUE(bool(targets));
  ASSERT_EQ(targets->size(), 2u);
  EXPECT_EQ((*targets)[0]->name, "x86-64-v4");
  EXPECT_EQ((*targets)[1]->name, "x86-64-v3");
}
