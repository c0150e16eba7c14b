//===- FairMutex.h - a mutex that is had in turn ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_FAIRMUTEX_H
#define MAMBIT_RUNTIME_FAIRMUTEX_H

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace mambit {

/// Who asks first has it first: a thread that lets go and asks again at once,
/// as one that generates token by token does, waits for those that wait.
class FairMutex {
public:
  void lock() {
    std::unique_lock lock(mutex);
    uint64_t turn = asked++;
    let.wait(lock, [&] { return turn == served; });
  }
  void unlock() {
    {
      std::lock_guard lock(mutex);
      ++served;
    }
    let.notify_all();
  }

private:
  std::mutex mutex;
  std::condition_variable let;
  uint64_t asked = 0, served = 0;
};

} // namespace mambit

#endif // MAMBIT_RUNTIME_FAIRMUTEX_H
