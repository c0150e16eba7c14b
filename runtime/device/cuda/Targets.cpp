//===- Targets.cpp - which code fits a GPU -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/device/cuda/Targets.h"

#include "runtime/Status.h"

#include <tuple>

using namespace mambit;
using namespace mambit::cuda;

std::optional<Chip> cuda::parseChip(const std::string &name) {
  if (name.rfind("sm_", 0) != 0)
    return std::nullopt;
  size_t end = name.find_first_not_of("0123456789", 3);
  std::string digits = name.substr(3, end == std::string::npos ? end : end - 3);
  std::string suffix = end == std::string::npos ? "" : name.substr(end);
  if (digits.size() < 2 || digits.size() > 4 ||
      (suffix != "" && suffix != "a" && suffix != "f"))
    return std::nullopt;
  int number = std::stoi(digits);
  Chip::Kind kind = suffix == "a"   ? Chip::specific
                    : suffix == "f" ? Chip::family
                                    : Chip::portable;
  return Chip{{number / 10, number % 10}, kind};
}

bool cuda::runsBinary(const Chip &chip, Capability gpu) {
  if (chip.kind == Chip::specific)
    return gpu == chip.capability;
  return gpu.major == chip.capability.major && !(gpu < chip.capability);
}

bool cuda::runsPtx(const Chip &chip, Capability gpu) {
  return runsBinary(chip, gpu) ||
         (chip.kind == Chip::portable && chip.capability < gpu);
}

static bool runs(const artifact::Target &target, const Chip &chip,
                 Capability gpu) {
  for (const artifact::Image *image : *target.images())
    if ((image->kind() == artifact::ImageKind::ptx && runsPtx(chip, gpu)) ||
        (image->kind() == artifact::ImageKind::cubin && runsBinary(chip, gpu)))
      return true;
  return false;
}

const artifact::Target &cuda::chooseTarget(const artifact::Device &device,
                                           const std::string &wanted,
                                           Capability gpu) {
  const artifact::Target *best = nullptr;
  auto rank = [](const Chip &chip) {
    return std::make_tuple(chip.capability.major, chip.capability.minor,
                           chip.kind);
  };
  std::string found;
  for (const artifact::Target *target : *device.targets()) {
    std::string name = target->name()->str();
    found += (found.empty() ? "" : ", ") + name;
    std::optional<Chip> chip = parseChip(target->chip()->str());
    if (!chip || !runs(*target, *chip, gpu) ||
        (!wanted.empty() && wanted != name))
      continue;
    if (!best || rank(*parseChip(best->chip()->str())) < rank(*chip))
      best = target;
  }
  if (best)
    return *best;
  if (wanted.empty())
    failWith(MAMBIT_UNSUPPORTED,
             "no code in the artifact fits the GPU, whose compute capability "
             "is ",
             gpu.major, ".", gpu.minor, "; it holds ", found);
  failWith(MAMBIT_UNSUPPORTED, "the artifact has no code for target '", wanted,
           "' that the GPU, whose compute capability is ", gpu.major, ".",
           gpu.minor, ", can run; it holds ", found);
}

std::string cuda::exceeded(const LaunchNeeds &needs,
                           const LaunchLimits &limits) {
  auto more = [](const char *what, uint64_t needed, uint64_t most,
                 const char *whose) {
    return std::to_string(needed) + " " + what + ", " + whose +
           " has at most " + std::to_string(most);
  };
  if (needs.threads == 0)
    return "0 threads in a block";
  if (needs.cluster > limits.cluster)
    return more("blocks in a cluster", needs.cluster, limits.cluster,
                "the GPU");
  if (needs.threads > limits.threads)
    return more("threads in a block", needs.threads, limits.threads, "the GPU");
  if (needs.threads > limits.functionThreads)
    return more("threads in a block", needs.threads, limits.functionThreads,
                "with its registers the kernel");
  if (needs.dynamicShared > limits.shared ||
      needs.staticShared > limits.shared - needs.dynamicShared)
    return more("bytes of shared memory in a block",
                needs.dynamicShared + needs.staticShared, limits.shared,
                "the GPU");
  if (needs.blocks > limits.blocks)
    return more("blocks", needs.blocks, limits.blocks, "the GPU");
  return "";
}
