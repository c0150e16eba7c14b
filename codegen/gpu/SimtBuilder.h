//===- SimtBuilder.h - writes kernels of threads ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===------------------------------------------------------------------===//
//
// On a GPU a tile is a block, and what an emitter writes is what one of its
// threads does.
//
//===------------------------------------------------------------------===//

#ifndef MAMBIT_CODEGEN_GPU_SIMTBUILDER_H
#define MAMBIT_CODEGEN_GPU_SIMTBUILDER_H

#include "codegen/KernelBuilder.h"
#include "codegen/Targets.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace mambit::cuda {

class SimtBuilder : public KernelBuilder {
public:
  static constexpr int64_t kWarp = 32;

  SimtBuilder(mlir::ModuleOp module, plan::KernelOp kernel,
              const Target &target)
      : KernelBuilder(module, kernel), target(target) {}

  /// Emits a phase of blocks of so many threads, a multiple of a warp. Every
  /// thread must wait for the phase before (`waitForPrevious`), outside of all
  /// control flow, before it reads anything but weights, inputs and states that
  /// its own phase alone writes, and before it writes anything: the phases
  /// after it rely on that (runtime/device/cuda/CudaDevice.cpp).
  void phase(llvm::StringRef suffix, llvm::ArrayRef<GridTerm> grid,
             int64_t threads,
             llvm::function_ref<void(llvm::ArrayRef<Val> tile)> body,
             const Condition &condition = {});
  void waitForPrevious();

  const Target &getTarget() const { return target; }
  bool targetHas(Capability capability) const { return target.has(capability); }
  /// Says, before an instruction is emitted that needs it, that the target has
  /// a capability. Without it the kernel is refused.
  void require(Capability capability, llvm::StringRef instruction);
  /// Whether anything was refused.
  bool isRefused() const { return refused; }

  /// Asks for so many registers only that `blocks` of the phase fit together.
  void fitBlocks(int64_t blocks) {
    function->setAttr("blocks", getI64IntegerAttr(blocks));
  }

  /// Has so many adjacent blocks of the phase run together, as a cluster. The
  /// last term of its grid must be a multiple of them.
  void joinBlocks(int64_t blocks);

  // Threads: of the block, of the warp, and the number of the warp.
  Val thread() { return threadIndex; }
  Val lane() { return threadIndex % kWarp; }
  Val warp() { return threadIndex / kWarp; }
  int64_t numThreads() const { return threads; }
  int64_t numWarps() const { return threads / kWarp; }
  void barrier();
  /// Among some warps only, of so many threads together.
  void barrier(int64_t threads);

  /// An uninitialised buffer in shared memory, its own in every phase.
  Val shared(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  /// The same for more than arrays of fixed size may have together: in the part
  /// of shared memory that the launch sizes.
  Val dynamicShared(llvm::ArrayRef<int64_t> shape, mlir::Type element,
                    int64_t alignment = 16);

  /// The value of the lane whose number differs in the bits of `mask`.
  Val shuffleXor(Val x, int64_t mask);
  /// Combines the values of a run of lanes, by halves of the run, so that all
  /// of them have the result. `combine` must be commutative to the bit.
  Val reduceLanes(Val x, llvm::function_ref<Val(Val, Val)> combine,
                  int64_t firstMask = 1, int64_t lanes = kWarp);

  /// Combines the integers of all lanes of the warp.
  enum class Reduction { add, max };
  Val reduceWarp(Val x, Reduction reduction);

  Val rotateLeft(Val word, Val amount);
  /// Of each of four elements one byte, the lowest first, as a word; of eight
  /// two words.
  Val packBytes(Val words, int64_t byte);

  /// acc + and.popc of bits, m16n8k256.
  Vals mmaBits(llvm::ArrayRef<Val> a, llvm::ArrayRef<Val> b,
               llvm::ArrayRef<Val> acc);
  /// acc + products of signed bytes, m16n8k32.
  Vals mmaBytes(llvm::ArrayRef<Val> a, llvm::ArrayRef<Val> b,
                llvm::ArrayRef<Val> acc);

  /// acc + products of signed bytes, m64n128k32 for a warpgroup: `a` in
  /// registers, b in shared memory as `describe` says. Neither may be changed,
  /// nor the sums read, until `waitForProducts`.
  Vals startMmaBytes(llvm::ArrayRef<Val> a, Val b, llvm::ArrayRef<Val> acc);
  /// The same of f16 or bf16, m64n128k16, b as `describeColumns` says. A sum is
  /// the word of an f32.
  Vals startMmaHalves(llvm::ArrayRef<Val> a, Val b, llvm::ArrayRef<Val> acc,
                      bool isF16);
  /// To be called before a run of products that are started.
  void beginProducts();
  /// Ends a run, and waits until no more than `underWay` of them are.
  void commitProducts(int64_t underWay);
  /// Waits for all, and returns the sums to be read.
  Vals waitForProducts(llvm::ArrayRef<Val> acc);
  /// A matrix in shared memory, in pieces of 16 bytes: 8 rows of a piece lie
  /// together, the next 8 follow, and the next piece of a row lies `pitch`
  /// pieces behind.
  Val describeMatrix(Val pointer, Val pitch);

  /// A matrix of 16 bits in shared memory, of which 16 rows of a column lie
  /// together, those of the next column follow, and the next 16 rows lie
  /// `pitch` bytes behind. Of every second four columns the two pieces of 16
  /// bytes are exchanged, against conflicts of banks.
  Val describeColumns(Val pointer, int64_t pitch);

  /// Takes or gives back registers, so that a thread of the warpgroup has so
  /// many.
  void takeRegisters(int64_t count);
  void giveRegisters(int64_t count);

  /// Four matrices of 8 rows of 16 bytes; each lane says where a row lies.
  Vals loadMatrices(Val pointer);

  /// A pointer to a byte of a buffer.
  Val pointer(Val buffer, const Operand &byte = 0);
  /// The buffer as a run of bytes.
  Val bytes(Val buffer);
  /// Four words of a run of bytes.
  Val loadFour(Val bytes, Val at);
  /// One value a lane.
  Val gather(llvm::ArrayRef<Val> lanes);

  /// Starts to copy 16 bytes to shared memory, or zeros behind the `existing`
  /// ones.
  void startCopy(Val to, Val from, Val existing = {});
  void commitCopies();
  /// Waits until no more than `underWay` runs of copies are.
  void waitForCopies(int64_t underWay);

  // Barriers in shared memory. A phase of one ends when so many have arrived
  // and the bytes expected have come.
  void initBarrier(Val barrier, int64_t arrivals);
  /// Makes what was done to barriers known to copies.
  void fenceBarriers();
  /// For what this thread has done, not for the others of its warp. (If it has
  /// waited for them, then for them too, but compute-sanitizer knows no such
  /// thing.)
  void arrive(Val barrier);
  void arriveExpecting(Val barrier, Val bytes);
  /// Until the phase of that parity has ended.
  void waitForPhase(Val barrier, Val parity);
  /// Has products of a warpgroup and bulk copies, which go another way to
  /// shared memory, come behind what the thread has done there or waited for:
  /// its own ones, and those of others behind a barrier.
  void fenceAsync();
  /// Starts to copy a multiple of 16 bytes to shared memory.
  void startBulkCopy(Val to, Val from, Val bytes, Val barrier);
  /// Asks for a multiple of 16 bytes of global memory to be in the L2 cache,
  /// and to stay until they are used.
  void prefetchBulk(Val from, Val bytes);

  /// Says to the cluster that a thread has come here, and waits until all of
  /// its threads have said so; barriers made before are then known.
  void arriveAtCluster();
  void waitForCluster();
  /// The same place in the shared memory of a block of the cluster.
  Val inBlock(Val pointer, Val rank);
  /// Starts to store four words in the shared memory of a block of the cluster,
  /// which that block's barrier counts as 16 bytes.
  void startStore(Val four, Val to, Val barrier);

  /// Words of a buffer of bytes, `lanes` of them, at a byte of a row. The rows
  /// lie as the buffer's leading dimension, whatever it has inside.
  Val loadWords(Val bytes, Val row, Val byte, int64_t lanes);
  void storeWord(Val word, Val bytes, Val row, Val byte);

  /// f32 rounded to f16 or bf16, to infinity beyond their range.
  Val round(Val x, mlir::Type element);
  /// KernelBuilder's, by the chip's instructions.
  Val fromF32(Val x, mlir::Type element);

  /// Has these loads asked for here, not where they are first needed.
  void request(llvm::ArrayRef<Val> loaded);
  /// A buffer's elements in a row, of which it is not known how many.
  Val flat(Val buffer);
  /// The address of an element, of global or shared memory.
  Val address(Val buffer, llvm::ArrayRef<Operand> at);
  /// The address so many bytes behind. A constant becomes part of instructions.
  Val advance(Val address, const Operand &bytes);
  /// Adds one to an i32 in global memory, or makes it 0 if it was `last`.
  /// Returns what it was. Orders nothing: what must have been read before must
  /// have been used.
  Val atomicIncrement(Val buffer, llvm::ArrayRef<Operand> at, int64_t last);

  // Products of f32 on the tensor cores of 16 bits. x = high + low + an error
  // below 2^-17 |x|, both halves bf16; so high·high + high·low + low·high is as
  // near to a product as f32 nearly is.

  /// The halves of two adjacent elements: a word of high ones, one of low ones.
  std::pair<Val, Val> split(Val first, Val second);
  /// acc + products of bf16, or of f16, m16n8k16.
  Vals mmaHalves(llvm::ArrayRef<Val> a, llvm::ArrayRef<Val> b,
                 llvm::ArrayRef<Val> acc, bool isF16 = false);
  /// Four 8x8 matrices of 16 bits from shared memory; a lane gives the address
  /// of a row, less `offset` bytes, lanes 8i … those of the rows of matrix i.
  Vals loadMatrices(Val address, int64_t offset, bool transposed = false);

  /// Copies 4, 8 or 16 bytes to shared memory, zeros behind the `existing`
  /// ones. They are there after waitForCopies, for other threads after a
  /// barrier.
  void copyAsync(Val to, Val from, int64_t bytes = 16, Val existing = {});
  void waitForCopies();

  /// The value of a lane so many before; that of the lane itself in the first.
  Val shuffleUp(Val x, int64_t distance);
  /// The value of one lane.
  Val broadcastLane(Val x, int64_t lane);

  /// 2^x and 1/x as the chip has them: within 2 ULP, subnormals as zero.
  Val fastExp2(Val x);
  Val fastReciprocal(Val x);

private:
  Val shuffle(Val x, int64_t operand, int64_t clamp, mlir::NVVM::ShflKind kind);
  Vals mma(llvm::ArrayRef<int64_t> shape, bool bits, llvm::ArrayRef<Val> a,
           llvm::ArrayRef<Val> b, llvm::ArrayRef<Val> acc);
  Val flatten(Val bytes);
  Vals assembly(llvm::StringRef text, llvm::ArrayRef<Val> inputs,
                llvm::ArrayRef<Val> tied);
  Vals startMma(llvm::StringRef shape, llvm::StringRef immediates,
                llvm::ArrayRef<Val> a, Val b, llvm::ArrayRef<Val> acc);
  mlir::MemRefType getSharedType(llvm::ArrayRef<int64_t> shape,
                                 mlir::Type element);
  void checkShared(int64_t bytes, int64_t limit);
  void refuse(const llvm::Twine &why);

  const Target &target;
  int64_t threads = 0, staticShared = 0, sharedBytes = 0,
          cluster = 0; // of the phase
  Val threadIndex;
  unsigned buffers = 0;
  bool refused = false;
  bool waited = false; // in the phase
};

} // namespace mambit::cuda

#endif // MAMBIT_CODEGEN_GPU_SIMTBUILDER_H
