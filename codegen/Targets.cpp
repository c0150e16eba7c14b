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
  case Capability::byteShuffle256:
    return "byte_shuffle_256";
  case Capability::wordPermute512:
    return "word_permute_512";
  case Capability::bytePermute512:
    return "byte_permute_512";
  case Capability::bitCount512:
    return "bit_count_512";
  case Capability::halfConvert:
    return "half_convert";
  case Capability::b1Mma:
    return "b1_mma";
  case Capability::s8Mma:
    return "s8_mma";
  case Capability::bf16Mma:
    return "bf16_mma";
  case Capability::dependentLaunch:
    return "dependent_launch";
  case Capability::cluster:
    return "cluster";
  case Capability::bulkCopy:
    return "bulk_copy";
  case Capability::wgmma:
    return "wgmma";
  }
  llvm_unreachable("capability without a name");
}

bool Target::has(Capability capability) const {
  return llvm::is_contained(capabilities, capability);
}

static std::vector<Target> getCpuTargets() {
  Target v3;
  v3.name = v3.cpu = "x86-64-v3";
  v3.device = "cpu";
  v3.triple = "x86_64-unknown-linux-gnu";
  v3.required = {"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"};
  v3.vectorBits = 256;
  v3.vectorRegisters = 16;
  v3.capabilities = {Capability::byteDot256, Capability::byteShuffle256,
                     Capability::halfConvert};

  Target v4 = v3;
  v4.name = v4.cpu = "x86-64-v4";
  for (const char *feature :
       {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
    v4.required.push_back(feature);
  // By the times LLVM has for x86-64-v4, loops of many dot products would be
  // reordered until they spill.
  v4.tune = "generic";
  v4.vectorBits = 512;
  v4.vectorRegisters = 32;
  v4.capabilities.push_back(Capability::byteDot512);
  v4.capabilities.push_back(Capability::wordPermute512);

  Target vnni = v4;
  vnni.name = "x86-64-v4-vnni";
  // LLVM is not to split vpdpwssd, to save latency that does not matter.
  vnni.features = "+avx512vnni,+fast-dpwssd";
  vnni.required.push_back("avx512vnni");
  vnni.capabilities.push_back(Capability::byteDotAccumulate512);

  // Processors with both VBMI and VNNI count bits as well.
  Target vbmi = vnni;
  vbmi.name = "x86-64-v4-vbmi";
  vbmi.features += ",+avx512vbmi,+avx512vpopcntdq";
  vbmi.required.push_back("avx512vbmi");
  vbmi.required.push_back("avx512vpopcntdq");
  vbmi.capabilities.push_back(Capability::bytePermute512);
  vbmi.capabilities.push_back(Capability::bitCount512);

  return {vbmi, vnni, v4, v3};
}

/// The chips, each as what it has beyond an older one. Where the assembler
/// expands products of bits into a long sequence, they do not count as had.
static std::vector<Target> getGpuTargets() {
  auto chip = [](Target base, const char *name, const char *ptx,
                 int64_t sharedKilobytes, int64_t l2Megabytes,
                 int64_t multiprocessors,
                 std::initializer_list<Capability> more = {}) {
    base.name = base.cpu = name;
    base.features = ptx;
    base.gpu.sharedBytes = sharedKilobytes << 10;
    base.gpu.l2Bytes = l2Megabytes << 20;
    base.gpu.multiprocessors = multiprocessors;
    base.capabilities.insert(base.capabilities.end(), more);
    return base;
  };
  Target gpu;
  gpu.device = "cuda";
  gpu.triple = "nvptx64-nvidia-cuda";
  gpu.vectorBits = 32;
  gpu.vectorRegisters = 255;
  gpu.gpu.staticSharedBytes = 48 << 10;
  gpu.gpu.threads = 1024;
  gpu.gpu.registers = 65536;
  gpu.capabilities = {Capability::halfConvert, Capability::s8Mma,
                      Capability::bf16Mma};

  Target sm80 = chip(gpu, "sm_80", "+ptx78", 163, 40, 108, {Capability::b1Mma});
  Target sm86 = chip(sm80, "sm_86", "+ptx78", 99, 6, 84);
  Target sm89 = chip(sm80, "sm_89", "+ptx78", 99, 96, 142);
  // Bulk copies came with PTX 8.0, stores in other blocks' memory with 8.1.
  constexpr Capability kLaunch = Capability::dependentLaunch,
                       kCluster = Capability::cluster,
                       kBulkCopy = Capability::bulkCopy;
  Target sm90 = chip(sm80, "sm_90", "+ptx78", 227, 50, 132, {kLaunch});
  Target sm90a = chip(sm90, "sm_90a", "+ptx81", 227, 50, 132,
                      {kCluster, kBulkCopy, Capability::wgmma});
  Target sm100 = chip(gpu, "sm_100", "+ptx86", 227, 126, 148,
                      {kLaunch, kCluster, kBulkCopy});
  Target sm103 = chip(sm100, "sm_103", "+ptx88", 227, 126, 160);
  Target sm120 = chip(sm100, "sm_120", "+ptx87", 99, 128, 188);
  Target sm121 = chip(sm120, "sm_121", "+ptx88", 99, 24, 48);
  return {sm121, sm120, sm103, sm100, sm90a, sm90, sm89, sm86, sm80};
}

llvm::ArrayRef<Target> mambit::getTargets() {
  static const std::vector<Target> targets = [] {
    std::vector<Target> all = getCpuTargets();
    llvm::append_range(all, getGpuTargets());
    return all;
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
