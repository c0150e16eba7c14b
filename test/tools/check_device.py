#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks compiled models on a device, with the runtime's tools alone.

  check_device.py [--device cuda] [--against cpu] MODEL.mbt[=CHECKPOINT]...

The tools are taken from PATH. Random prompts of awkward lengths: prefill and
decode against each other and, if the file has code for it, against a second
device. With CHECKPOINT, a folder that has golden/: its logits, greedy tokens
and nats per token. Then what holds for every model (mambit-invariants-tests).
Prints a line a check; exit status 1 when one fails.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

LENGTHS = [1, 5, 255, 256, 257, 1000, 4096]
# Every token's logits of the long ones would be gigabytes.
DECODED = 300


def tool(*arguments, fatal=True, **environment):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True,
                          env={**os.environ, **environment})
    if done.returncode and fatal:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit status {done.returncode}\n"
                 f"{done.stdout}{done.stderr}")
    return done if not fatal else done.stdout


def relative_l2(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class Checker:
    failed = False

    def __call__(self, name, error, tolerance):
        bad = not error <= tolerance  # NaN is bad
        self.failed |= bad
        print(f"{name:50} {error:9.3g}  (at most {tolerance:g}){'  FAILED' if bad else ''}",
              flush=True)


def logits_of(model, device, ids, work, *flags):
    out = work / "logits.npy"
    tool("mambit-run", model, "--device", device, "--ids", ids, "--logits", out, *flags)
    return np.load(out).astype(np.float64)


def check_prompts(check, model, args, work, vocab, against):
    random = np.random.default_rng(1)
    lengths = [n for n in LENGTHS if n <= args.longest]
    for length in lengths:
        ids = work / "ids.npy"
        np.save(ids, random.integers(0, vocab, length, dtype=np.int32))
        prefill = logits_of(model, args.device, ids, work)
        if length <= DECODED:
            check(f"{length} tokens, prefill against decode",
                  relative_l2(prefill, logits_of(model, args.device, ids, work, "--decode")), 1e-4)
        if against:
            check(f"{length} tokens, against {against}",
                  relative_l2(prefill, logits_of(model, against, ids, work)), args.tolerance)


def check_golden(check, model, args, work, folder):
    golden = json.loads((folder / "golden/golden.json").read_text())
    expected = np.load(folder / "golden/logits.npy").astype(np.float64)
    positions = golden["positions"]
    ids_file = next(p / golden["ids"] for p in (folder, folder.parent, folder / "golden")
                    if (p / golden["ids"]).exists())
    ids = np.load(ids_file)
    np.save(work / "ids.npy", ids[: max(positions) + 1].astype(np.int32))
    np.save(work / "prompt.npy", ids[: golden["prompt_tokens"]].astype(np.int32))
    for road, flags in {"prefill": [], "decode": ["--decode"]}.items():
        logits = logits_of(model, args.device, work / "ids.npy", work, *flags)
        check(f"golden logits, {road}", relative_l2(logits[positions], expected), args.tolerance)
    greedy = tool("mambit-run", model, "--device", args.device, "--ids", work / "prompt.npy",
                  "-n", len(golden["greedy"]), "--greedy-ids").split()
    check("greedy tokens that differ",
          sum(int(a) != b for a, b in zip(greedy, golden["greedy"]))
          + abs(len(greedy) - len(golden["greedy"])), 0)
    nats = json.loads(tool("mambit-eval", model, "--device", args.device, "--ids", ids_file,
                           "--window", golden["nll_window"], "--max-windows",
                           golden["nll_windows"], "--json"))
    check("nats per token", abs(nats["nats_per_token"] - golden["nats_per_token"]), 2e-3)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL.mbt[=CHECKPOINT]", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--against", default="cpu")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--longest", type=int, default=4096, help="prompt, in tokens")
    args = parser.parse_args()

    check = Checker()
    for entry in args.models:
        model, _, checkpoint = entry.partition("=")
        print(f"== {model} on {args.device}", flush=True)
        report = json.loads(tool("mambit-inspect", model, "--json"))
        kinds = [device["kind"] for device in report["devices"]]
        against = args.against if args.against in kinds else None
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            check_prompts(check, model, args, work, report["config"]["vocab"], against)
            if checkpoint:
                check_golden(check, model, args, work, pathlib.Path(checkpoint))
        done = tool("mambit-invariants-tests", f"--gtest_filter=*{args.device.split(':')[0]}*",
                    fatal=False, MAMBIT_TEST_MODEL=model)
        if done.returncode:
            print(done.stdout)
        check("invariants that fail", int(done.returncode != 0), 0)
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
