//===- Module.cpp - code loaded into a GPU -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/device/cuda/Module.h"

using namespace mambit;
using namespace mambit::cuda;
using artifact::ImageKind;

Result cuda::loadImage(const Driver &api, Module *module, const void *image,
                       std::string &log) {
  char text[4096] = "";
  JitOption options[] = {kErrorLog, kErrorLogSize};
  void *values[] = {text, reinterpret_cast<void *>(sizeof(text))};
  Result result = api.moduleLoad(module, image, 2, options, values);
  text[sizeof(text) - 1] = 0;
  log = text;
  while (!log.empty() && (log.back() == '\n' || log.back() == ' '))
    log.pop_back();
  return result;
}

Code::Code(const Driver &api, const artifact::Artifact &artifact,
           const artifact::Target &target)
    : api(api), module(api) {
  std::string failures;
  for (ImageKind kind : {ImageKind::cubin, ImageKind::ptx})
    for (const artifact::Image *image : *target.images()) {
      if (image->kind() != kind)
        continue;
      artifact::Bytes bytes = artifact.section(image->section());
      // PTX is text that the driver reads up to a zero.
      std::string copy(reinterpret_cast<const char *>(bytes.data), bytes.size);
      std::string log;
      Result result = loadImage(api, module.address(), copy.c_str(), log);
      if (result == 0)
        return;
      failures += std::string(failures.empty() ? "" : "; ") +
                  artifact::EnumNameImageKind(kind) + ": " +
                  api.describe(result) + (log.empty() ? "" : "\n" + log);
    }
  if (failures.empty())
    fail("target '", target.name()->str(),
         "' has no image of kind cubin or ptx");
  failWith(MAMBIT_UNSUPPORTED, "the driver does not take the code of target '",
           target.name()->str(), "': ", failures);
}

Function Code::function(const std::string &symbol) const {
  Function result;
  api.check(api.moduleGetFunction(&result, module.get(), symbol.c_str()),
            "finding the kernel '", symbol, "'");
  return result;
}
