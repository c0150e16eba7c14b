//===- Interpreter.h - the definition of the mamba dialect, executable ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Executes functions of the mamba dialect in double precision. It is written
// to be read: what it computes is what an operation means, and every pass and
// every backend is tested against it.
//
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_DIALECTS_MAMBA_INTERPRETER_INTERPRETER_H
#define MAMBIT_DIALECTS_MAMBA_INTERPRETER_INTERPRETER_H

#include "dialects/mamba/Mamba.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace mambit::mamba::interpreter {

/// A tensor of any element type, row-major; integers are exact in double.
struct Tensor {
  llvm::SmallVector<int64_t, 4> shape;
  std::vector<double> values;

  Tensor() = default;
  Tensor(llvm::ArrayRef<int64_t> shape, std::vector<double> values);
  /// All zeros.
  explicit Tensor(llvm::ArrayRef<int64_t> shape);

  /// The elements below one index of the leading dimension.
  int64_t rowSize() const;
  double *row(int64_t i) { return values.data() + i * rowSize(); }
  const double *row(int64_t i) const { return values.data() + i * rowSize(); }
};

/// A matrix of signs -1, 0 and 1, row-major: the value of a `!mamba.bits`.
struct Signs {
  int64_t rows = 0, columns = 0;
  std::vector<int8_t> values;

  const int8_t *row(int64_t i) const { return values.data() + i * columns; }
};

/// The value of a `!mamba.sequences`: n + 1 offsets and n slots.
struct Sequences {
  std::vector<int64_t> offsets, slots;
};

/// The value of an SSA value. Values are shared and never change.
using Datum =
    std::variant<std::shared_ptr<const Tensor>, std::shared_ptr<const Signs>,
                 std::shared_ptr<const Sequences>>;

template <typename T>
Datum makeDatum(T value) {
  return std::make_shared<const T>(std::move(value));
}

/// Where the elements of checkpoint tensors come from.
class WeightSource {
public:
  virtual ~WeightSource() = default;
  /// The elements of `source`, row-major, exactly as stored.
  virtual llvm::Expected<std::vector<double>> read(SourceAttr source) = 0;
};

/// Executes the recipe of `weight`: a Tensor, or Signs for `!mamba.bits`.
/// Every step rounds to f32 or to what it casts to, as packing does.
llvm::Expected<Datum> executeRecipe(WeightOp weight, WeightSource &source);

class Interpreter {
public:
  /// Both must outlive the interpreter. The module is verified, and must not
  /// change.
  Interpreter(mlir::ModuleOp module, WeightSource &weights);

  /// Called for every value that an operation produces (weights apart), in
  /// order of execution. `name` is made of the function, the operation and the
  /// result, as `forward.rms_norm.u`; it repeats from layer to layer.
  using Observer = std::function<void(mlir::OpResult result,
                                      llvm::StringRef name, const Datum &)>;
  void setObserver(Observer newObserver) { observer = std::move(newObserver); }

  /// Calls a function of the module. An error names the operation.
  llvm::Expected<std::vector<Datum>> run(llvm::StringRef function,
                                         llvm::ArrayRef<Datum> arguments);

private:
  llvm::Expected<std::vector<Datum>> call(mlir::func::FuncOp function,
                                          llvm::ArrayRef<Datum> arguments);
  llvm::Expected<std::vector<Datum>> execute(mlir::Operation *op,
                                             llvm::ArrayRef<Datum> operands);
  llvm::Expected<Datum> getWeight(WeightOp weight);
  llvm::Expected<std::vector<Datum>>
  evaluateBlock(BlockOp op, llvm::ArrayRef<Datum> operands);

  mlir::ModuleOp module;
  WeightSource &weights;
  Observer observer;
  mlir::SymbolTableCollection symbols;
  /// Weights already made, by their mamba.weight.
  llvm::DenseMap<mlir::Operation *, Datum> cache;
  llvm::SmallVector<mlir::func::FuncOp> callStack;
};

} // namespace mambit::mamba::interpreter

#endif // MAMBIT_DIALECTS_MAMBA_INTERPRETER_INTERPRETER_H
