//===- Fixture.h - runs functions written as text ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_TEST_DIALECTS_MAMBA_INTERPRETER_FIXTURE_H
#define MAMBIT_TEST_DIALECTS_MAMBA_INTERPRETER_FIXTURE_H

#include "dialects/mamba/interpreter/Interpreter.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <map>
#include <random>

namespace mambit::mamba::interpreter {

/// Checkpoint tensors by key.
class MapSource : public WeightSource {
public:
  std::map<std::string, std::vector<double>> tensors;

  llvm::Expected<std::vector<double>> read(SourceAttr source) override {
    ++reads;
    auto found = tensors.find(source.getKey().str());
    if (found == tensors.end())
      return llvm::createStringError("no tensor " + source.getKey().str());
    return found->second;
  }
  int reads = 0;
};

class InterpreterTest : public testing::Test {
protected:
  InterpreterTest() {
    context.loadDialect<MambaDialect, mlir::func::FuncDialect>();
  }

  llvm::Expected<std::vector<Datum>> tryRun(const std::string &text,
                                            std::vector<Datum> arguments) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!module)
      return llvm::createStringError("the test's module is not valid");
    Interpreter interpreter(*module, source);
    interpreter.setObserver(observer);
    return interpreter.run("f", arguments);
  }

  /// The results of @f; a failure is the test's.
  std::vector<Datum> run(const std::string &text,
                         std::vector<Datum> arguments) {
    llvm::Expected<std::vector<Datum>> results = tryRun(text, arguments);
    if (!results) {
      ADD_FAILURE() << llvm::toString(results.takeError());
      return {};
    }
    return *results;
  }

  /// The message @f fails with.
  std::string getError(const std::string &text, std::vector<Datum> arguments) {
    llvm::Expected<std::vector<Datum>> results = tryRun(text, arguments);
    return results ? "no error" : llvm::toString(results.takeError());
  }

  /// Values spread over both signs, zeros among them.
  Tensor random(llvm::ArrayRef<int64_t> shape, double scale = 1) {
    Tensor tensor(shape);
    std::uniform_real_distribution<double> distribution(-scale, scale);
    for (double &value : tensor.values)
      value = float(distribution(generator));
    return tensor;
  }
  Signs randomSigns(int64_t rows, int64_t columns) {
    Signs signs{rows, columns, std::vector<int8_t>(rows * columns)};
    std::uniform_int_distribution<int> distribution(-1, 1);
    for (int8_t &value : signs.values)
      value = distribution(generator);
    return signs;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  MapSource source;
  Interpreter::Observer observer;
  std::mt19937 generator{20};
};

inline const Tensor &asTensor(const Datum &datum) {
  return *std::get<std::shared_ptr<const Tensor>>(datum);
}
inline const Signs &asSigns(const Datum &datum) {
  return *std::get<std::shared_ptr<const Signs>>(datum);
}

inline void expectNear(const Datum &datum, const Tensor &expected,
                       double tolerance = 1e-12) {
  const Tensor &found = asTensor(datum);
  ASSERT_EQ(found.shape, expected.shape);
  for (size_t i = 0; i < expected.values.size(); ++i)
    ASSERT_NEAR(found.values[i], expected.values[i], tolerance) << "at " << i;
}

} // namespace mambit::mamba::interpreter

#endif // MAMBIT_TEST_DIALECTS_MAMBA_INTERPRETER_FIXTURE_H
