#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares two .npy files by relative L2: |A - B| / |B|.

  compare.py A.npy B.npy --tolerance 1e-3
  compare.py A.npy golden/logits.npy --positions golden/golden.json

With --positions (a .npy of indices, or a JSON file with a list "positions")
only those rows of A are compared, with the rows of B. NaN and infinity count
as failures. Exit status 1, and a message that says what is wrong, on failure.
"""

import argparse
import json
import sys

import numpy as np


def relative_l2(a, b):
    """|a - b| / |b|; 0 where both are zero."""
    norm, error = np.linalg.norm(b), np.linalg.norm(a - b)
    return float(error / norm) if norm else float(error and np.inf)


def load(path):
    return np.asarray(np.load(path), np.float64)


def load_positions(path):
    if path.endswith(".npy"):
        return np.load(path)
    with open(path) as file:
        return np.array(json.load(file)["positions"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", metavar="A.npy")
    parser.add_argument("b", metavar="B.npy", help="what A should be")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="(1e-3)")
    parser.add_argument("--positions", metavar="FILE", help="the rows of A to compare")
    args = parser.parse_args()

    a, b = load(args.a), load(args.b)
    if args.positions:
        positions = load_positions(args.positions)
        if positions.max(initial=-1) >= len(a):
            sys.exit(f"'{args.a}': position {positions.max()} is beyond its {len(a)} rows")
        a = a[positions]
    if a.shape != b.shape:
        sys.exit(f"'{args.a}' has shape {a.shape}, '{args.b}' has shape {b.shape}")
    for path, values in ((args.a, a), (args.b, b)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            sys.exit(f"'{path}': {len(bad)} values are not finite, the first at {at}")

    error = relative_l2(a, b)
    if error <= args.tolerance:
        print(f"relative L2 {error:.3g}")
        return
    if a.ndim > 1:
        rows = [relative_l2(x, y) for x, y in zip(a, b)]
        where = f"; worst row {np.argmax(rows)} with {max(rows):.3g}"
    else:
        where = f"; largest difference at {np.argmax(abs(a - b))}"
    sys.exit(f"relative L2 {error:.3g} is beyond {args.tolerance:g}{where}")


if __name__ == "__main__":
    main()
