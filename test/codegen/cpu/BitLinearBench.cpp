//===- BitLinearBench.cpp - rates of the 1-bit product ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===--------------------------------------------------------------------===//
//
// Prints the rates of a 10576 x 2560 product on one thread, by each way to make
// its sums, of the best of many runs: mambit-codegen-bench.
//
//===--------------------------------------------------------------------===//

#include "CompiledKernel.h"

#include "codegen/cpu/Kernels.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>

using namespace mambit;
using namespace mambit::test;

static double seconds() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

int main() {
  constexpr int64_t n = 10576, k = 2560, most = 64;
  Random random(1);
  std::vector<int> signs(n * k);
  for (int &sign : signs)
    sign = random.integer(0, 1) * 2 - 1;
  PackedSigns packed(signs, n, k);
  // Activations are sums of many products.
  std::vector<float> x(most * k), y(most * n);
  for (float &value : x)
    for (int i = 0; i < 12; ++i)
      value += random.real(-1, 1);
  std::vector<Line> weight(packed.bits.size() * sizeof(int32_t) / sizeof(Line));
  memcpy(weight.data(), packed.bits.data(), weight.size() * sizeof(Line));
  auto measure = [&](const Target &target, int64_t bits, BitSums how) {
    std::string types = "(tensor<?x2560xf32>, !mamba.bits<10576x2560, "
                        "#mamba.bit_tile<rows = 16>>) -> tensor<?x10576xf32>";
    CompiledKernel kernel("%x: tensor<?x2560xf32>, %w: !mamba.bits<10576x2560, "
                          "#mamba.bit_tile<rows = 16>>",
                          "%y = mamba.fused_linear %x, %w {activation_bits = " +
                              std::to_string(bits) + " : i64} : " + types,
                          target, 0, summingBy(how));
    for (int64_t tokens : {1, 4, 64}) {
      std::map<std::string, void *> buffers = {
          {"x", x.data()},
          {"weight", weight.data()},
          {"weight.zeros", packed.zeros.data()},
          {"y", y.data()}};
      kernel.run(buffers, {tokens});
      // What has become scratch need not be made again.
      for (const plan::ParamAttr &param : kernel.getParams())
        if (std::string name = param.getName().str(); !buffers.count(name))
          buffers[name] = const_cast<char *>(kernel.scratch<char>(name));
      // The best run: what else uses the core only takes from the rate.
      double begin = seconds(), end = begin, best = HUGE_VAL;
      while (end - begin < 0.5) {
        double start = end;
        kernel.run(buffers, {tokens});
        end = seconds();
        best = std::min(best, end - start);
      }
      printf("%-16s %-6s %2d bits %2d tokens %7.1f GMAC/s\n",
             target.name.c_str(), stringify(how).data(), int(bits), int(tokens),
             double(n) * k * tokens / best * 1e-9);
    }
  };
  for (const Target &target : getHostTargets()) {
    for (BitSums how :
         {BitSums::masks, BitSums::dots, BitSums::lookup, BitSums::planes})
      for (int64_t bits : {8, 16})
        if (cpu::supports(target, how))
          measure(target, bits, how);
    measure(target, 32, BitSums::automatic);
  }
}
