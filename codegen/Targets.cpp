//===- Targets.cpp - the table of machines code is made for -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Targets.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ErrorHandling.h"

using namespace mambit;

llvm::StringRef mambit::stringify(Capability capability) {
  switch (capability) {
  case Capability::byteDot256:
    return "byte_dot_256";
  case Capability::byteDot512:
    return "byte_dot_512";
  case Capability::byteDotAccumulate512:
    return "byte_dot_accumulate_512";
  case Capability::halfConvert:
    return "half_convert";
  }
  llvm_unreachable("capability without a name");
}

bool Target::has(Capability capability) const {
  return llvm::is_contained(capabilities, capability);
}

llvm::ArrayRef<Target> mambit::getTargets() {
  static const std::vector<Target> targets = [] {
    Target v3;
    v3.name = v3.cpu = "x86-64-v3";
    v3.device = "cpu";
    v3.triple = "x86_64-unknown-linux-gnu";
    v3.required = {"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"};
    v3.vectorBits = 256;
    v3.vectorRegisters = 16;
    v3.capabilities = {Capability::byteDot256, Capability::halfConvert};

    Target v4 = v3;
    v4.name = v4.cpu = "x86-64-v4";
    for (const char *feature :
         {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
      v4.required.push_back(feature);
    v4.vectorBits = 512;
    v4.vectorRegisters = 32;
    v4.capabilities.push_back(Capability::byteDot512);

    Target vnni = v4;
    vnni.name = "x86-64-v4-vnni";
    vnni.features = "+avx512vnni";
    vnni.required.push_back("avx512vnni");
    vnni.capabilities.push_back(Capability::byteDotAccumulate512);

    return std::vector<Target>{vnni, v4, v3};
  }();
  return targets;
}

llvm::Expected<const Target *> mambit::lookupTarget(llvm::StringRef name) {
  for (const Target &target : getTargets())
    if (name == target.name)
      return &target;
  std::string known = llvm::join(
      llvm::map_range(getTargets(), [](const Target &t) { return t.name; }),
      ", ");
  return llvm::createStringError("unknown target '" + name +
                                 "', expected one of: " + known);
}

llvm::Expected<llvm::SmallVector<const Target *>>
mambit::lookupTargets(llvm::StringRef names) {
  llvm::SmallVector<const Target *> found;
  for (llvm::StringRef name : llvm::split(names, ',')) {
    llvm::Expected<const Target *> target = lookupTarget(name.trim());
    if (!target)
      return target.takeError();
    found.push_back(*target);
  }
  // Pointers into the table order as the table does.
  llvm::sort(found);
  found.erase(llvm::unique(found), found.end());
  return found;
}
