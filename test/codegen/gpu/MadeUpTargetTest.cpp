//===- MadeUpTargetTest.cpp - chips that are in no table ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Compile.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace mambit;

namespace {
/// Compiles the kernels that the lowering tests check for a target.
struct Compilation {
  explicit Compilation(const Target &target) {
    mlir::DialectRegistry registry;
    registerCodegenDialects(registry);
    mlir::MLIRContext context(registry);
    context.loadAllAvailableDialects();
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
      errors += d.str() + "\n";
      return mlir::success();
    });
    auto module =
        mlir::parseSourceFile<mlir::ModuleOp>(MAMBIT_KERNELS_MLIR, &context);
    if (!module)
      return;
    auto code = compileKernels(*module, target);
    if (failed(code))
      return;
    const std::vector<uint8_t> &bytes = code->images.back().bytes;
    ptx.assign(bytes.begin(), bytes.end());
  }
  std::string ptx, errors;
};

Target makeUp(std::vector<Capability> capabilities) {
  llvm::Expected<const Target *> base = lookupTarget("sm_80");
  Target target = **base;
  target.name = "sm_made_up";
  target.capabilities = std::move(capabilities);
  return target;
}
} // namespace

TEST(MadeUpTarget, IsOneRecord) {
  Compilation made(makeUp({Capability::s8Mma}));
  EXPECT_EQ(made.errors, "");
  EXPECT_NE(made.ptx.find(".target sm_80"), std::string::npos);
  EXPECT_NE(made.ptx.find("mma.sync.aligned.m16n8k32"), std::string::npos);
  EXPECT_EQ(made.ptx.find(".b1."), std::string::npos);
}

TEST(MadeUpTarget, IsRefusedWithoutTheInstructions) {
  Compilation made(makeUp({}));
  EXPECT_EQ(made.ptx, "");
  EXPECT_NE(made.errors.find("needs mma.m16n8k32 of bytes, but target "
                             "sm_made_up lacks s8_mma"),
            std::string::npos)
      << made.errors;
}

TEST(MadeUpTarget, IsRefusedAnUnknownPtxVersion) {
  Target target = makeUp({Capability::s8Mma});
  target.features = "+ptx99";
  Compilation made(target);
  EXPECT_EQ(made.ptx, "");
  EXPECT_NE(made.errors.find("expected PTX 9.9 for sm_80"), std::string::npos)
      << made.errors;
}
