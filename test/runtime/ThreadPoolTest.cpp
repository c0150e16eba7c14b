//===- ThreadPoolTest.cpp -------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/device/cpu/ThreadPool.h"

#include <gtest/gtest.h>
#include <numeric>
#include <time.h>

using namespace mambit;

namespace {

TEST(ShareOf, CoversEachTileOnceAndEvenly) {
  for (int64_t tiles : {0, 1, 2, 3, 7, 8, 9, 1000})
    for (unsigned threads : {1u, 2u, 3u, 8u, 13u}) {
      int64_t next = 0;
      for (unsigned thread = 0; thread < threads; ++thread) {
        TileRange share = shareOf(tiles, thread, threads);
        EXPECT_EQ(share.begin, next);
        EXPECT_GE(share.end - share.begin, tiles / threads);
        EXPECT_LE(share.end - share.begin, tiles / threads + 1);
        next = share.end;
      }
      EXPECT_EQ(next, tiles);
    }
}

TEST(ThreadPool, EveryThreadRunsTheBodyOnce) {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<std::atomic<int>> calls(threads);
      pool.run([&](unsigned thread) { ++calls[thread]; });
      for (auto &count : calls)
        ASSERT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, BarriersOrderPhases) {
  // Each phase reads what another thread wrote in the one before; plain
  // memory, so that the thread sanitizer sees what orders it.
  for (unsigned threads : {2u, 4u}) {
    ThreadPool pool(threads);
    constexpr int64_t kTiles = 37;
    std::vector<int> from(kTiles), to(kTiles);
    std::iota(from.begin(), from.end(), 0);
    std::vector<int> expected = from;
    constexpr int kPhases = 200;
    pool.run([&](unsigned thread) {
      for (int phase = 0; phase < kPhases; ++phase) {
        std::vector<int> &source = phase % 2 ? to : from;
        std::vector<int> &target = phase % 2 ? from : to;
        TileRange share = shareOf(kTiles, thread, pool.size());
        for (int64_t tile = share.begin; tile < share.end; ++tile)
          target[tile] = source[(tile + 11) % kTiles] + 1;
        pool.barrier();
      }
    });
    for (int64_t tile = 0; tile < kTiles; ++tile)
      EXPECT_EQ(from[tile], expected[(tile + 11 * kPhases) % kTiles] + kPhases);
  }
}

TEST(ThreadPool, CallersTakeTurns) {
  ThreadPool pool(3);
  std::atomic<int> inside{0}, total{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 50; ++repeat)
        pool.run([&](unsigned) {
          EXPECT_LE(++inside, 3);
          ++total;
          pool.barrier();
          --inside;
          pool.barrier();
        });
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(total, 4 * 50 * 3);
}

TEST(ThreadPool, SleepsWhenIdle) {
  ThreadPool pool(4);
  pool.run([](unsigned) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  auto processorTime = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
  };
  double before = processorTime();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(processorTime() - before, 0.02);
}

TEST(ThreadPool, WakesFromSleep) {
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> calls{0};
    pool.run([&](unsigned thread) {
      // The others sleep at the barrier by the time this one comes.
      if (thread == unsigned(repeat) % 4)
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      pool.barrier();
      ++calls;
    });
    EXPECT_EQ(calls, 4);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(AvailableThreads, IsSane) {
  EXPECT_GE(availableThreads(), 1u);
  EXPECT_LE(availableThreads(),
            std::max(1u, std::thread::hardware_concurrency()));
}

TEST(AvailableThreads, ReadsQuotas) {
  EXPECT_EQ(processorsOfQuota("max 100000\n"), 0u);
  EXPECT_EQ(processorsOfQuota("-1 100000\n"), 0u);
  EXPECT_EQ(processorsOfQuota(""), 0u);
  EXPECT_EQ(processorsOfQuota("200000 100000\n"), 2u);
  EXPECT_EQ(processorsOfQuota("150000 100000\n"), 2u);
  EXPECT_EQ(processorsOfQuota("1000 100000\n"), 1u);
}

} // namespace
