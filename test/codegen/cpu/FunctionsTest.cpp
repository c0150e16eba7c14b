//===- FunctionsTest.cpp - errors of the transcendental functions -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include <gtest/gtest.h>
