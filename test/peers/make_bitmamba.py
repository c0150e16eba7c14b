#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes random weights in bitmamba.cpp's format, in the shape of its 1B model.

  make_bitmamba.py OUT.bin
"""

import struct
import sys

import numpy as np

VOCAB, D_MODEL, LAYERS, HEADS, TAPS = 50257, 2048, 32, 32, 4
D_INNER = 2 * D_MODEL
MAGIC, DENSE, TERNARY = 0x42495432, 0, 2


def main(path):
    rng = np.random.default_rng(1)
    with open(path, "wb") as file:

        def integers(*values):
            file.write(struct.pack(f"<{len(values)}i", *values))

        def dense(*shape, mean=0.0, deviation=0.05):
            integers(DENSE, len(shape), *shape)
            values = rng.standard_normal(shape, dtype=np.float32)
            file.write((mean + deviation * values).astype("<f4").tobytes())

        def norm(size):
            dense(size, mean=1, deviation=0)

        def ternary(rows, columns):
            integers(TERNARY, rows, columns)
            file.write(struct.pack("<f", 30))
            pairs = rng.integers(0, 256, rows * columns // 4, dtype=np.uint8)
            pairs &= ~(pairs & 0xAA & (pairs & 0x55) << 1)  # no pair is 3
            file.write(pairs.tobytes())

        integers(MAGIC, VOCAB, D_MODEL, LAYERS, HEADS)
        dense(VOCAB, D_MODEL)
        for _ in range(LAYERS):
            norm(D_MODEL)
            ternary(2 * D_INNER + 3 * HEADS, D_MODEL)
            dense(D_INNER, 1, TAPS)
            dense(D_INNER)
            for _ in ("dt_bias", "A_log", "D"):
                dense(HEADS)
            norm(D_INNER)
            ternary(D_MODEL, D_INNER)
        norm(D_MODEL)
        norm(D_MODEL)
        ternary(VOCAB, D_MODEL)


if __name__ == "__main__":
    main(sys.argv[1])
