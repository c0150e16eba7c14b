#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Times Mambit beside bitmamba.cpp and llama.cpp on the CPU, in turns.
#
#   run.sh BITMAMBA LLAMA FOLDER [TARGET]
#
# BITMAMBA, LLAMA: sources of Zhayr1/bitmamba.cpp and ggml-org/llama.cpp. FOLDER
# takes what is built (2 GB) and is used again. mambit-* are found by PATH.
# THREADS (2) and ROUNDS (3) in the environment.
set -euo pipefail
here=$(realpath "$(dirname "$0")") bitmamba=$(realpath "$1") llama=$(realpath "$2")
mkdir -p "$3" && cd "$3"
target=${4:-x86-64-v4-vbmi} threads=${THREADS:-2}

[ -x bitmamba ] || g++ -std=c++17 -O3 -march=native -fopenmp -I"$bitmamba"/{include,src} \
  "$bitmamba"/src/*.cpp "$bitmamba"/examples/main.cpp -o bitmamba
[ -f 1B.bin ] || python3 "$here/make_bitmamba.py" 1B.bin
if [ ! -x time_llama ]; then
  cmake -S "$llama" -B llama -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_BUILD_{COMMON,TESTS,TOOLS,EXAMPLES,SERVER}=OFF
  ninja -C llama llama
  g++ -O2 -I"$llama"/{include,ggml/include} "$here/time_llama.cpp" llama/src/libllama.a \
    llama/ggml/src/libggml{,-cpu,-base}.a -fopenmp -ldl -o time_llama
fi
python3 -c "import numpy as np; np.save('ids.npy', np.arange(128, dtype='<i4') * 37)"
for size in 780M 1.3B; do
  [ -f $size.gguf ] || PYTHONPATH="$llama/gguf-py" python3 "$here/make_gguf.py" $size $size.gguf
  mambit-compile --config $size --weights=none --target="$target" --quiet -o skeleton.mbt
  mambit-pack skeleton.mbt --random=1 --quiet -o $size.mbt
done

export OMP_NUM_THREADS=$threads
for ((round = 1; round <= ${ROUNDS:-3}; ++round)); do
  for size in 780M 1.3B; do
    echo "mambit $size:" "$(mambit-bench $size.mbt --threads "$threads" --decode 1 --prefill 0 |
      awk '/^read/ {band = $3} /^decode/ {printf "decode %s tokens/s, %s of the floor at %s GB/s;", $6, $NF, band}')" \
      "$(mambit-run $size.mbt --ids ids.npy -n 0 --threads "$threads" 2>&1)"
    echo "llama.cpp $size: $(./time_llama $size.gguf "$threads")"
  done
  echo "bitmamba.cpp 1B: $(./bitmamba 1B.bin '10 11 12 13 14 15 16 17' raw 0.8 1.0 0.05 0.9 40 40 bench 2>&1 |
    grep -E '^(Speed|Peak)' | tr '\n' ' ')"
done
