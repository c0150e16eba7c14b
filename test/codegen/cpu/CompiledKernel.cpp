//===- CompiledKernel.cpp - kernels compiled and run by tests -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include "passes/KernelSignature.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/TargetParser/Host.h"

#include <cstring>
#include <dlfcn.h>

using namespace mambit;
using namespace mambit::test;

[[noreturn]] static void fail(const std::string &message) {
  fprintf(stderr, "%s\n", message.c_str());
  abort();
}

std::vector<Target> test::getHostTargets() {
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  std::vector<Target> targets;
  for (const Target &target : getTargets())
    if (target.device == "cpu" &&
        llvm::all_of(target.required,
                     [&](const std::string &f) { return host.lookup(f); }))
      targets.push_back(target);
  Target plain = targets.back();
  plain.name = "no-capabilities";
  plain.capabilities.clear();
  targets.push_back(plain);
  // Bits are counted by an operation that every target has in some way.
  plain.name = "bit-count-alone";
  plain.capabilities = {Capability::bitCount512};
  targets.push_back(plain);
  return targets;
}

LoadedImage::LoadedImage(const std::vector<uint8_t> &image) {
  llvm::SmallString<128> path;
  if (llvm::sys::fs::createTemporaryFile("mambit-test", "so", path))
    fail("no temporary file");
  llvm::FileRemover remover(path);
  std::error_code error;
  llvm::raw_fd_ostream(path, error)
      .write(reinterpret_cast<const char *>(image.data()), image.size());
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    fail(dlerror());
}

LoadedImage::~LoadedImage() { dlclose(library); }

LoadedImage::Entry LoadedImage::find(const std::string &symbol) const {
  auto entry = reinterpret_cast<Entry>(dlsym(library, symbol.c_str()));
  if (!entry)
    fail("no symbol " + symbol);
  return entry;
}

CompiledKernel::CompiledKernel(const std::string &arguments,
                               const std::string &op, const Target &target,
                               int64_t slotBytes,
                               const CodegenOptions &options) {
  mlir::DialectRegistry registry;
  registerCodegenDialects(registry);
  context = std::make_unique<mlir::MLIRContext>(registry);
  context->loadAllAvailableDialects();
  std::string text =
      "func.func @op(" + arguments + ") {\n" + op + "\nreturn\n}";
  auto parsed = mlir::parseSourceString<mlir::ModuleOp>(text, context.get());
  if (!parsed)
    fail("cannot parse\n" + text);

  // The same operation as the body of a kernel.
  auto function = *parsed->getOps<mlir::func::FuncOp>().begin();
  mlir::Operation *fused = &function.getBody().front().front();
  auto signature = getKernelSignature(fused);
  if (failed(signature))
    fail("no signature");
  params.assign(signature->begin(), signature->end());
  module = mlir::ModuleOp::create(mlir::UnknownLoc::get(context.get()));
  mlir::ImplicitLocOpBuilder b(module->getLoc(), context.get());
  b.setInsertionPointToEnd(module->getBody());
  auto kernel = b.create<plan::KernelOp>(
      b.getStringAttr("kernel"),
      b.getArrayAttr(llvm::SmallVector<mlir::Attribute>(signature->begin(),
                                                        signature->end())),
      slotBytes ? b.getI64IntegerAttr(slotBytes) : mlir::IntegerAttr());
  mlir::Block *body = b.createBlock(&kernel.getBody());
  mlir::IRMapping map;
  for (mlir::BlockArgument argument : function.getArguments())
    map.map(argument, body->addArgument(argument.getType(), b.getLoc()));
  mlir::Operation *copy = b.clone(*fused, map);
  b.create<plan::ReturnOp>(copy->getResults());
  if (failed(module->verify()))
    fail("not a kernel");

  auto compiled = compileKernels(*module, target, options);
  if (failed(compiled))
    fail("cannot compile\n" + text);
  code = std::move(*compiled);
  image = std::make_unique<LoadedImage>(code.images[0].bytes);
}

static int64_t getTiles(const Phase &phase, const int64_t *extents) {
  auto extentOf = [&](plan::Dim dim) {
    return dim == plan::Dim::none ? 0
                                  : extents[int(dim) - int(plan::Dim::tokens)];
  };
  const Condition &when = phase.condition;
  int64_t number = extentOf(when.dim) - extentOf(when.less);
  if (number < when.low || number > when.high)
    return 0;
  int64_t tiles = 1;
  for (const GridTerm &term : phase.grid) {
    int64_t extent =
        term.dim == plan::Dim::none ? term.extent : extentOf(term.dim);
    tiles *= (extent + term.divisor - 1) / term.divisor;
  }
  return tiles;
}

void CompiledKernel::run(const std::map<std::string, void *> &buffers,
                         Extents extents, bool reverse) {
  int64_t dims[] = {extents.tokens, extents.sequences, extents.rows};
  std::vector<void *> bases;
  for (plan::ParamAttr param : params) {
    std::string name = param.getName().str();
    auto given = buffers.find(name);
    if (given != buffers.end()) {
      bases.push_back(given->second);
      continue;
    }
    int64_t extent = param.getDim() == plan::Dim::none
                         ? 0
                         : dims[int(param.getDim()) - int(plan::Dim::tokens)];
    // Kernels must not count on what scratch held before.
    std::vector<Line> &lines = owned[name];
    lines.resize((param.getBytes(extent) + sizeof(Line) - 1) / sizeof(Line));
    memset(lines.data(), 0x5a, lines.size() * sizeof(Line));
    bases.push_back(lines.data());
  }
  for (const Phase &phase : code.kernels[0]) {
    LoadedImage::Entry entry = image->find(phase.symbol);
    int64_t tiles = getTiles(phase, dims);
    for (int64_t i = 0; i < tiles; ++i)
      entry(bases.data(), dims, reverse ? tiles - 1 - i : i);
  }
}

PackedSigns::PackedSigns(const std::vector<int> &signs, int64_t n, int64_t k) {
  int64_t tiles = (n + 15) / 16, blocks = (k + 31) / 32;
  bits.assign(tiles * blocks * 16, 0);
  std::vector<int32_t> entries;
  zeros.assign(tiles + 1, 0);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column) {
      int sign = signs[row * k + column];
      int64_t inBlock = column % 32, bit = inBlock % 4 * 8 + inBlock / 4;
      uint32_t &word = bits[(row / 16 * blocks + column / 32) * 16 + row % 16];
      if (sign > 0)
        word |= uint32_t(1) << bit;
      if (sign == 0) {
        entries.push_back(int32_t(row));
        entries.push_back(int32_t(column));
        for (int64_t tile = row / 16 + 1; tile <= tiles; ++tile)
          ++zeros[tile];
      }
    }
  zeros.insert(zeros.end(), entries.begin(), entries.end());
}
