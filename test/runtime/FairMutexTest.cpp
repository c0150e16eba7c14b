//===- FairMutexTest.cpp - a mutex that is had in turn ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//

#include "runtime/FairMutex.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

using mambit::FairMutex;

TEST(FairMutex, OneThreadAtATime) {
  FairMutex mutex;
  int count = 0;
  auto add = [&] {
    for (int i = 0; i < 10000; ++i) {
      std::lock_guard lock(mutex);
      ++count;
    }
  };
  std::thread one(add), two(add);
  one.join();
  two.join();
  EXPECT_EQ(count, 20000);
}

// With std::mutex the second thread waits for most of the first one's turns.
TEST(FairMutex, WhoLetsGoWaitsForThoseThatWait) {
  FairMutex mutex;
  std::atomic<int> turns{0};
  std::atomic<bool> done{false};
  int whenServed = 0;
  std::thread busy([&] {
    while (!done) {
      std::lock_guard lock(mutex);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ++turns;
    }
  });
  while (turns == 0)
    std::this_thread::yield();
  int whenAsked = turns;
  {
    std::lock_guard lock(mutex);
    whenServed = turns;
  }
  done = true;
  busy.join();
  // The turn under way, and at most one that began before this one asked.
  EXPECT_LE(whenServed - whenAsked, 2);
}
