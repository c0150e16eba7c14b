//===- make_toy.cpp - writes the toy's artifact ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "test/runtime/ToyModel.h"

#include <cstdio>
#include <exception>

int main(int argc, char **argv) try {
  if (argc != 3 && argc != 4) {
    fprintf(stderr, "usage: %s IMAGE ARTIFACT [PTX]\n", argv[0]);
    return 2;
  }
  mambit::test::ToyOptions options;
  options.image = argv[1];
  if (argc == 4)
    options.cudaTargets = {{"sm_80", argv[3], ""}};
  mambit::artifact::Draft draft = mambit::test::makeToy(options);
  mambit::artifact::write(draft, argv[2]);
  return 0;
} catch (const std::exception &error) {
  fprintf(stderr, "%s\n", error.what());
  return 1;
}
