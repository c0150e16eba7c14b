//===- ImageTest.cpp - images of kernels --------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "codegen/Compile.h"
#include "codegen/cpu/Lower.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace mambit;

namespace {
class Image : public testing::Test {
protected:
  Image() {
    mlir::DialectRegistry registry;
    registerCodegenDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const char *text) {
    return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }

  mlir::MLIRContext context;
};
} // namespace

static const char *copyText = R"(
func.func private @copy(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %tokens: index,
                        %sequences: index, %rows: index, %tile: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  scf.for %i = %c0 to %c64 step %c1 {
    %v = memref.load %x[%tile, %i] : memref<?x64xf32>
    memref.store %v, %y[%tile, %i] : memref<?x64xf32>
  }
  return
})";

TEST_F(Image, SameBytesEveryTime) {
  for (const Target &target : getTargets()) {
    if (target.device != "cpu")
      continue;
    auto first = cpu::compileToImage(*parse(copyText), target, nullptr);
    auto second = cpu::compileToImage(*parse(copyText), target, nullptr);
    ASSERT_TRUE(succeeded(first) && succeeded(second)) << target.name;
    EXPECT_FALSE(first->empty());
    EXPECT_EQ(*first, *second) << target.name;
  }
}

TEST_F(Image, CallsOutsideAreRefusedByName) {
  auto module = parse(R"(
func.func private @tangent(%x: memref<?xf32>, %tokens: index, %sequences: index,
                           %rows: index, %tile: index) {
  %v = memref.load %x[%tile] : memref<?xf32>
  %t = math.tan %v : f32
  memref.store %t, %x[%tile] : memref<?xf32>
  return
})");
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&context,
                                        [&](mlir::Diagnostic &diagnostic) {
                                          message = diagnostic.str();
                                          return mlir::success();
                                        });
  const Target *target = llvm::cantFail(lookupTarget("x86-64-v3"));
  EXPECT_TRUE(failed(cpu::compileToImage(*module, *target, nullptr)));
  EXPECT_EQ(message, "kernels for x86-64-v3 call functions outside them: tanf");
}
