//===- ThreadPool.h - persistent threads with barriers -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CPU_THREADPOOL_H
#define MAMBIT_RUNTIME_DEVICE_CPU_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace mambit {

/// A number that threads wait on: they spin for a moment, as the next step of a
/// program is microseconds away, and then sleep in the kernel. The moment gets
/// shorter as often as it was in vain: then others need the processors.
class Signal {
public:
  uint32_t load() const { return value.load(std::memory_order_acquire); }
  void storeAndWake(uint32_t next);
  /// Returns once the value is not `old`.
  void waitWhile(uint32_t old);

  /// Longer than a phase is uneven, shorter than a wasted millisecond.
  static constexpr int32_t kMostSpin = 200;

private:
  std::atomic<uint32_t> value{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<int32_t> microseconds{kMostSpin}; // to spin for
};

/// Half-open range of tiles.
struct TileRange {
  int64_t begin, end;
};

/// The contiguous share of one of `threads` threads; shares differ by at most
/// one tile and cover each tile once.
inline TileRange shareOf(int64_t tiles, unsigned thread, unsigned threads) {
  int64_t each = tiles / threads, rest = tiles % threads;
  int64_t begin = each * thread + (thread < rest ? thread : rest);
  return {begin, begin + each + (thread < rest ? 1 : 0)};
}

/// Runs a body on all threads at once, the caller's being one of them.
class ThreadPool {
public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  unsigned size() const { return workers.size() + 1; }

  /// Calls body(thread) once for each thread and returns when all have
  /// returned; the caller is thread 0. The body does not throw, and does not
  /// call run. Several callers take turns.
  void run(const std::function<void(unsigned thread)> &body);

  /// Inside a body: returns when every thread of the pool has called it as
  /// often as this one. What was written before it is visible after it.
  void barrier();

private:
  void work(unsigned thread);

  std::mutex turn;
  const std::function<void(unsigned)> *current = nullptr;
  bool stopping = false;
  Signal region; // counts bodies handed out
  // A central barrier: the last to arrive starts the next round.
  std::atomic<unsigned> arrived{0};
  Signal round;
  std::vector<std::thread> workers;
};

/// The threads this process may use: its affinity mask, and no more than the
/// processor time its control group is given.
unsigned availableThreads();

/// Of a control group's limit, the content of cpu.max ("200000 100000", "max
/// 100000"): the processors that it amounts to, rounded up; 0 for no limit.
unsigned processorsOfQuota(const std::string &cpuMax);

} // namespace mambit

#endif // MAMBIT_RUNTIME_DEVICE_CPU_THREADPOOL_H
