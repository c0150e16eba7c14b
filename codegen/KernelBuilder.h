//===- KernelBuilder.h - writes kernels in few words --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// Emitters of kernels read like the code they emit:
//
//   b.phase("scale", {{plan::Dim::tokens}}, [&](ArrayRef<Val> tile) {
//     Val x = b.buffer("x"), y = b.buffer("y");
//     b.chunks(width, [&](Val k, int64_t lanes) {
//       b.store(2.0 * b.load(x, {tile[0], k}, lanes), y, {tile[0], k});
//     });
//   });
//
// A C++ loop or condition in an emitter runs when the kernel is compiled, one
// written with the builder when the kernel runs.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_KERNELBUILDER_H
#define MAMBIT_CODEGEN_KERNELBUILDER_H

#include "dialects/plan/Plan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <limits>

namespace mambit {

class KernelBuilder;

/// A value of the code being emitted, with the operators of C++. Integers are
/// signed, except that >> shifts in zeros. Nothing is reassociated and no
/// product contracted with a sum, but by `fma`.
class Val {
public:
  Val() = default;
  Val(KernelBuilder &builder, mlir::Value value)
      : builder(&builder), value(value) {}

  operator mlir::Value() const { return value; }
  explicit operator bool() const { return bool(value); }
  mlir::Type getType() const { return value.getType(); }
  KernelBuilder &getBuilder() const { return *builder; }

private:
  KernelBuilder *builder = nullptr;
  mlir::Value value;
};

using Vals = llvm::SmallVector<Val>;

/// An operand: a value, or a C++ number that becomes a constant of the type of
/// what it goes with. A scalar that goes with a vector is broadcast.
class Operand {
public:
  Operand(Val value) : value(value) {}
  template <typename T,
            typename = std::enable_if_t<std::is_arithmetic<T>::value>>
  Operand(T number) : number(double(number)) {}

  Val value;
  double number = 0;
};

Val operator+(const Operand &lhs, const Operand &rhs);
Val operator-(const Operand &lhs, const Operand &rhs);
Val operator*(const Operand &lhs, const Operand &rhs);
Val operator/(const Operand &lhs, const Operand &rhs);
Val operator%(const Operand &lhs, const Operand &rhs);
Val operator&(const Operand &lhs, const Operand &rhs);
Val operator|(const Operand &lhs, const Operand &rhs);
Val operator^(const Operand &lhs, const Operand &rhs);
Val operator<<(const Operand &lhs, const Operand &rhs);
Val operator>>(const Operand &lhs, const Operand &rhs);
Val operator<(const Operand &lhs, const Operand &rhs);
Val operator>(const Operand &lhs, const Operand &rhs);
Val operator==(const Operand &lhs, const Operand &rhs);

Val fma(Val a, const Operand &b, const Operand &c);
Val sqrt(Val x);
Val abs(Val x);
/// The number of bits of an integer that are set.
Val countBits(Val x);
/// To an integral value, ties to even.
Val roundEven(Val x);
Val select(Val condition, const Operand &whenTrue, const Operand &whenFalse);
/// `b` where neither is less or greater, and so where `a` is not a number.
Val min(const Operand &a, const Operand &b);
Val max(const Operand &a, const Operand &b);

/// One term of the number of tiles of a phase: ceildiv(extent, divisor), where
/// the extent is a dynamic one or, with `Dim::none`, a
/// constant.
struct GridTerm {
  plan::Dim dim = plan::Dim::none;
  int64_t extent = 1;
  int64_t divisor = 1;
};

/// When a phase is launched: only if low <= extent of `dim`, less that of
/// `less`,
/// <= high. So strategies for few and for many tokens are phases of their own.
struct Condition {
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

  static Condition between(plan::Dim dim, int64_t low, int64_t high) {
    return {dim, plan::Dim::none, low, high};
  }
  static Condition atMost(plan::Dim dim, int64_t high) {
    return between(dim, 0, high);
  }
  static Condition moreThan(plan::Dim dim, int64_t low) {
    return between(dim, low + 1, kNoLimit);
  }
  /// Whether every sequence has one token, or some more.
  static Condition single() {
    return {plan::Dim::tokens, plan::Dim::sequences, 0, 0};
  }
  static Condition several() {
    return {plan::Dim::tokens, plan::Dim::sequences, 1, kNoLimit};
  }

  bool isAlways() const { return low <= 0 && high == kNoLimit; }

  plan::Dim dim = plan::Dim::none, less = plan::Dim::none;
  int64_t low = 0, high = kNoLimit;
};

/// What a phase needs of a GPU and uses there; 0 where it is not known.
struct Resources {
  unsigned threads = 0; // of a block, which is a tile
  unsigned cluster = 0; // blocks that run together, if not alone
  unsigned staticSharedBytes = 0;
  unsigned sharedBytes = 0; // asked for at the launch, besides
  unsigned registers = 0;   // of a thread
  unsigned spillBytes = 0;
};

/// A function of a kernel. The phases of a kernel whose conditions hold run in
/// order, each tile by tile, all of one before the next.
struct Phase {
  std::string symbol;
  llvm::SmallVector<GridTerm> grid;
  Condition condition;
  Resources resources;
};

/// Weights must lie as kernels read them: in tiles of 16 rows.
mlir::LogicalResult verifyLayouts(plan::KernelOp kernel);

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  /// Lanes of the vectors that kernels compute with. The same on every target,
  /// so that sums have the same order on every target.
  static constexpr int64_t kLanes = 16;

  /// Emits the phases of `kernel` at the end of `module`.
  KernelBuilder(mlir::ModuleOp module, plan::KernelOp kernel);

  /// Emits a phase; `body` gets the coordinates of the tile, one for each term.
  void phase(llvm::StringRef suffix, llvm::ArrayRef<GridTerm> grid,
             llvm::function_ref<void(llvm::ArrayRef<Val> tile)> body,
             const Condition &condition = {});
  llvm::ArrayRef<Phase> getPhases() const { return phases; }

  /// Whether the kernel has a parameter of that name.
  bool has(llvm::StringRef name);
  /// A parameter of the kernel, by name.
  Val buffer(llvm::StringRef name);
  /// A dynamic extent, as an index.
  Val extent(plan::Dim dim);

  // Constants and types.
  Val index(int64_t value);
  Val constant(mlir::Type type, double value);
  Val zeros(mlir::Type element, int64_t lanes = kLanes);
  Val lanes(llvm::ArrayRef<int32_t> values);
  Val lanes(llvm::ArrayRef<int8_t> values);
  mlir::VectorType vector(mlir::Type element, int64_t lanes = kLanes) {
    return mlir::VectorType::get({lanes}, element);
  }

  // Memory. Without `lanes` a scalar, with it a vector along the last
  // dimension, which is aligned as its elements are unless `alignment` says
  // more.
  Val load(Val buffer, llvm::ArrayRef<Operand> at);
  Val load(Val buffer, llvm::ArrayRef<Operand> at, int64_t lanes,
           llvm::MaybeAlign alignment = {});
  void store(Val value, Val buffer, llvm::ArrayRef<Operand> at,
             llvm::MaybeAlign alignment = {});
  /// Has a line of memory fetched for a later load. The place may be beyond the
  /// end of the buffer.
  void prefetch(Val buffer, llvm::ArrayRef<Operand> at);
  /// An uninitialised buffer on the stack, alive for the phase.
  Val scratch(int64_t size, mlir::Type element,
              llvm::MaybeAlign alignment = {});

  // Conversions.
  Val toIndex(Val x);
  Val toInteger(Val x, unsigned bits);
  /// Of unsigned integers.
  Val zeroExtend(Val x, mlir::Type type);
  /// f16, bf16 and integers to f32.
  Val toF32(Val x);
  /// f32 and integers to f64.
  Val toF64(Val x);
  /// f32 to f32, f16 or bf16: to nearest, ties to even. What is beyond the
  /// largest finite value becomes that; NaN stays NaN.
  Val fromF32(Val x, mlir::Type element);
  Val bitcast(Val x, mlir::Type type);
  Val broadcast(Val x, int64_t lanes = kLanes);

  // Lanes.
  Val extract(Val vector, int64_t lane);
  /// The vector with the value in place of a lane's.
  Val insert(Val value, Val vector, int64_t lane);
  Val slice(Val vector, int64_t begin, int64_t lanes);
  Val concat(Val low, Val high);
  /// The lanes of both that `mask` numbers.
  Val shuffle(Val low, Val high, llvm::ArrayRef<int64_t> mask);
  Val shuffle(Val vector, llvm::ArrayRef<int64_t> mask) {
    return shuffle(vector, vector, mask);
  }
  /// The vector with the lanes that it lacks up to `lanes` filled with `fill`.
  Val pad(Val vector, double fill, int64_t lanes = kLanes);
  /// Combines all lanes in a fixed order, halves by halves.
  Val reduce(Val vector, llvm::function_ref<Val(Val, Val)> combine);
  Val sum(Val vector);

  // Control.
  Vals loop(const Operand &begin, const Operand &end, int64_t step,
            llvm::ArrayRef<Val> init,
            llvm::function_ref<Vals(Val, llvm::ArrayRef<Val>)> body);
  void loop(const Operand &begin, const Operand &end, int64_t step,
            llvm::function_ref<void(Val)> body);
  /// Covers `size` elements by vectors of kLanes and a shorter last one.
  Vals chunks(
      int64_t size, llvm::ArrayRef<Val> init,
      llvm::function_ref<Vals(Val offset, int64_t lanes, llvm::ArrayRef<Val>)>
          body);
  void chunks(int64_t size,
              llvm::function_ref<void(Val offset, int64_t lanes)> body);
  void when(Val condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = nullptr);
  /// The values of the side that is run.
  Vals choose(Val condition, llvm::function_ref<Vals()> then,
              llvm::function_ref<Vals()> otherwise);

  /// An instruction of the target, by the name of its LLVM intrinsic.
  Val intrinsic(llvm::StringRef name, mlir::Type result,
                llvm::ArrayRef<Val> operands);

  /// The operand as a value of `type`, or of its element type.
  Val materialize(const Operand &operand, mlir::Type type);
  Val wrap(mlir::Value value) { return Val(*this, value); }

protected:
  mlir::ModuleOp module;
  plan::KernelOp kernel;
  llvm::SmallVector<Phase> phases;
  /// Of the phase being emitted.
  mlir::func::FuncOp function;

private:
  std::optional<unsigned> find(llvm::StringRef name);
  llvm::SmallVector<mlir::Value> indices(llvm::ArrayRef<Operand> at);
};

} // namespace mambit

#endif // MAMBIT_CODEGEN_KERNELBUILDER_H
