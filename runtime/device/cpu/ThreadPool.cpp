//===- ThreadPool.cpp - persistent threads with barriers ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/device/cpu/ThreadPool.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <csignal>
#include <fstream>
#include <linux/futex.h>
#include <sched.h>
#include <sstream>
#include <sys/syscall.h>
#include <unistd.h>

using namespace mambit;

//===----------------------------------------------------------------------===//
// Signal
//===----------------------------------------------------------------------===//

namespace {

/// What going to sleep and being woken costs, about.
constexpr int32_t kLeastSpin = 4;

void futex(const std::atomic<uint32_t> &word, int op, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t), "the kernel reads the word");
  syscall(SYS_futex, reinterpret_cast<const uint32_t *>(&word), op, value,
          nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

} // namespace

void Signal::waitWhile(uint32_t old) {
  // Threads that change the length at once do no harm.
  int32_t length = microseconds.load(std::memory_order_relaxed);
  auto end =
      std::chrono::steady_clock::now() + std::chrono::microseconds(length);
  do {
    for (int i = 0; i < 64; ++i) {
      if (load() != old) {
        if (length < kMostSpin)
          microseconds.store(length + 1, std::memory_order_relaxed);
        return;
      }
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  microseconds.store(std::max(length / 2, kLeastSpin),
                     std::memory_order_relaxed);

  // Sequentially consistent with storeAndWake: either it sees the sleeper or
  // the sleeper sees its value.
  sleepers.fetch_add(1);
  while (value.load() == old)
    futex(value, FUTEX_WAIT_PRIVATE, old);
  sleepers.fetch_sub(1);
}

void Signal::storeAndWake(uint32_t next) {
  value.store(next);
  if (sleepers.load() != 0)
    futex(value, FUTEX_WAKE_PRIVATE, INT_MAX);
}

//===----------------------------------------------------------------------===//
// ThreadPool
//===----------------------------------------------------------------------===//

ThreadPool::ThreadPool(unsigned threads) {
  // Signals are for the threads of the program around us.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (unsigned thread = 1; thread < threads; ++thread)
      workers.emplace_back([this, thread] { work(thread); });
  } catch (...) {
    // Run with what the system gave. No worker looks at the count before the
    // first body.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  stopping = true;
  region.storeAndWake(region.load() + 1);
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::work(unsigned thread) {
  for (uint32_t seen = 0;; ++seen) {
    region.waitWhile(seen);
    if (stopping)
      return;
    (*current)(thread);
    barrier();
  }
}

void ThreadPool::run(const std::function<void(unsigned)> &body) {
  std::lock_guard<std::mutex> lock(turn);
  current = &body;
  region.storeAndWake(region.load() + 1);
  body(0);
  barrier();
}

void ThreadPool::barrier() {
  uint32_t now = round.load();
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
    arrived.store(0, std::memory_order_relaxed);
    round.storeAndWake(now + 1);
  } else {
    round.waitWhile(now);
  }
}

//===----------------------------------------------------------------------===//
// availableThreads
//===----------------------------------------------------------------------===//

unsigned mambit::processorsOfQuota(const std::string &cpuMax) {
  std::istringstream stream(cpuMax);
  int64_t quota = 0, period = 0;
  if (!(stream >> quota >> period) || quota <= 0 || period <= 0)
    return 0;
  return std::min<int64_t>((quota + period - 1) / period, INT_MAX);
}

namespace {

std::string readFile(const std::string &path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The tightest limit from our control group up to the root; 0 for none.
unsigned controlGroupProcessors() {
  unsigned least = 0;
  auto apply = [&](unsigned limit) {
    if (limit != 0 && (least == 0 || limit < least))
      least = limit;
  };
  std::istringstream groups(readFile("/proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    // hierarchy-id:controllers:path, where version 2 is "0::path".
    size_t first = line.find(':');
    size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool unified = controllers.empty();
    if (!unified &&
        ("," + controllers + ",").find(",cpu,") == std::string::npos)
      continue;
    std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    for (std::string path = line.substr(second + 1);;) {
      std::string folder = root + (path == "/" ? "" : path);
      apply(processorsOfQuota(
          unified ? readFile(folder + "/cpu.max")
                  : readFile(folder + "/cpu.cfs_quota_us") + " " +
                        readFile(folder + "/cpu.cfs_period_us")));
      if (path.empty() || path == "/")
        break;
      path.resize(path.rfind('/'));
    }
  }
  return least;
}

} // namespace

unsigned mambit::availableThreads() {
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  // The mask is of any size: ask with a larger one until it fits.
  for (size_t processors = 1024; processors <= (1u << 20); processors *= 2) {
    cpu_set_t *mask = CPU_ALLOC(processors);
    if (!mask)
      break;
    size_t size = CPU_ALLOC_SIZE(processors);
    bool fits = sched_getaffinity(0, size, mask) == 0;
    if (fits)
      threads = std::max(1, CPU_COUNT_S(size, mask));
    CPU_FREE(mask);
    if (fits)
      break;
  }
  if (unsigned limit = controlGroupProcessors())
    threads = std::min(threads, limit);
  return threads;
}
