# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Holds the tokens that mambit-run samples to numpy's, sampled from its logits.

  check_sampling.py MODEL.mbt [--device cuda]

By options that a device serves and by others, which the host does.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np

from checks import Checker, logits_of, tool

PROMPT, COUNT = 5, 60
MASK = (1 << 64) - 1
SAMPLINGS = [
    {"temperature": 0.0},
    {"temperature": 0.8, "top-k": 40},
    {"temperature": 1.5, "top-k": 64, "top-p": 0.9},
    {"temperature": 1.0, "top-k": 7, "min-p": 0.2},
    {"temperature": 3.0, "top-k": 1},
    {"temperature": 2.0, "top-k": 50, "top-p": 0.7, "min-p": 0.05},
    {"temperature": 0.8, "top-k": 65},
    {"temperature": 0.8, "top-p": 0.8},
    {"temperature": 1.2, "min-p": 0.1},
    {"temperature": 1.0},
]


def uniforms(seed):
    """SplitMix64."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        yield ((z ^ z >> 31) >> 11) / 2**53


def sample(logits, u, sampling):
    """A token, as mambit.h says."""
    top_k, top_p = sampling.get("top-k", 0), sampling.get("top-p", 1)
    logits = logits.astype(np.float64)
    order = np.arange(len(logits))
    if top_k or top_p < 1:
        order = np.lexsort((order, -logits))[: top_k or None]
    weights = np.exp((logits[order] - logits.max()) / sampling["temperature"])
    sums = np.cumsum(weights)
    if top_p < 1:
        kept = np.searchsorted(sums, top_p * sums[-1]) + 1
        order, weights = order[:kept], weights[:kept]
    likely = weights >= sampling.get("min-p", 0)
    order, sums = order[likely], np.cumsum(weights[likely])
    return order[np.searchsorted(sums, u * sums[-1], side="right")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.mbt")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    check = Checker()
    vocab = json.loads(tool("mambit-inspect", args.model, "--json"))["config"]["vocab"]
    prompt = np.random.default_rng(1).integers(0, vocab, PROMPT, dtype=np.int32)
    with tempfile.TemporaryDirectory() as work:
        ids, out = (pathlib.Path(work) / name for name in ("ids.npy", "logits.npy"))
        # One by one, so that all logits are those that were sampled from.
        flags = ["--device", args.device, "--decode"]
        for sampling in SAMPLINGS:
            options = [f"--{name}={value}" for name, value in sampling.items()]
            for seed in (0, 7, MASK):
                np.save(ids, prompt)
                lines = tool("mambit-run", args.model, "--ids", ids, "-n", COUNT, "--jsonl",
                             "--ignore-eos", "--seed", seed, *flags, *options).splitlines()
                found = [line["id"] for line in map(json.loads, lines)
                         if line["type"] == "token"]
                np.save(ids, np.concatenate([prompt, found]).astype(np.int32))
                logits = logits_of(args.model, ids, out, *flags)[PROMPT - 1:]
                random = uniforms(seed)
                wrong = sum(
                    token != (row.argmax() if sampling["temperature"] == 0
                              else sample(row, next(random), sampling))
                    for token, row in zip(found, logits))
                check(f"{' '.join(options)} seed {seed}, wrong",
                      wrong + abs(len(found) - COUNT), 0)
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
