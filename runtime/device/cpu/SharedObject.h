//===- SharedObject.h - code loaded from memory ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#ifndef MAMBIT_RUNTIME_DEVICE_CPU_SHAREDOBJECT_H
#define MAMBIT_RUNTIME_DEVICE_CPU_SHAREDOBJECT_H

#include <cstddef>
#include <string>

namespace mambit::cpu {

/// A shared object whose bytes are in memory. It is written to a file without
/// a name, sealed, and given to the dynamic linker.
class SharedObject {
public:
  /// Throws Error.
  SharedObject(const void *data, size_t size);
  ~SharedObject();
  SharedObject(const SharedObject &) = delete;
  SharedObject &operator=(const SharedObject &) = delete;

  /// Throws Error if there is no such symbol.
  void *symbol(const std::string &name) const;

private:
  // Open as long as the object is loaded: the dynamic linker knows an object by
  // its path, which is the descriptor's number, and would take a second object
  // of the same number for the first.
  int descriptor = -1;
  void *handle = nullptr;
};

} // namespace mambit::cpu

#endif // MAMBIT_RUNTIME_DEVICE_CPU_SHAREDOBJECT_H
