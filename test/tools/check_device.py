#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks compiled models on a device, with the runtime's tools alone.

  check_device.py [--device cuda] [--against cpu] MODEL.mbt[=CHECKPOINT]...

The tools are taken from PATH. Random prompts of awkward lengths: prefill and
decode against each other and, if the file has code for it, against a second
device. What every operation gives, against MODEL.values, which the interpreter
wrote (make_gpu_models.py), if it is there. With CHECKPOINT, a folder that has
golden/: its logits, greedy tokens and nats per token. Then what holds for every
model (mambit-invariants-tests). Prints a line a check; exit status 1 when one
fails.
"""

import argparse
import json
import pathlib
import re
import sys
import tempfile

import numpy as np

from checks import Checker, Golden, logits_of, relative_l2, run, tool

LENGTHS = [1, 5, 40, 100, 255, 256, 257, 1000, 4096]
# Every token's logits of the long ones would be gigabytes.
DECODED = 300
# Of another device, and of the interpreter, by the bits of activations.
TOLERANCE = {8: 2.5e-2, 16: 1e-3, 32: 1e-4}


def cut_tolerance(config, trained=False):
    """Of a prompt cut otherwise. Roundings of activations turn, a trained model's less; a
    state of 16 bits is rounded after every call (docs/numerics.md)."""
    bits = config["activation_bits"]
    of_bits = {8: 2.5e-2, 16: 1e-4 if trained else 2e-4, 32: 1e-4}[bits]
    return max(of_bits, {"f32": 0, "f16": 1e-3, "bf16": 1e-2}[config["state_dtype"]])


def check_prompts(check, model, args, work, config, tolerance, against):
    random = np.random.default_rng(1)
    ids, out = work / "ids.npy", work / "logits.npy"
    for length in [n for n in LENGTHS if n <= args.longest]:
        np.save(ids, random.integers(0, config["vocab"], length, dtype=np.int32))
        on = ["--device", args.device]
        prefill = logits_of(model, ids, out, *on)
        if length <= DECODED:
            check(f"{length} tokens, prefill against decode",
                  relative_l2(prefill, logits_of(model, ids, out, *on, "--decode")),
                  cut_tolerance(config))
        if against:
            check(f"{length} tokens, against {against}",
                  relative_l2(prefill, logits_of(model, ids, out, "--device", against)),
                  tolerance)


def check_values(check, model, args, tolerance, values):
    """Every operation's results, as the interpreter has them."""
    for road, flags in {"prefill": [], "decode": ["--decode"]}.items():
        done = run("mambit-compare", model, values / road, "--device", args.device,
                   "--ids", values / f"{road}.npy", "--bound", tolerance, *flags)
        largest = re.search(r"values compared, largest error ([^:]+)", done.stdout)
        if done.returncode or not largest:
            print(done.stdout + done.stderr)
        check(f"values of operations, {road}", float(largest[1]) if largest else np.nan,
              tolerance)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL.mbt[=CHECKPOINT]", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--against", default="cpu")
    parser.add_argument("--tolerance", type=float,
                        help="by default by the bits of activations")
    parser.add_argument("--longest", type=int, default=4096, help="prompt, in tokens")
    args = parser.parse_args()

    check = Checker()
    for entry in args.models:
        model, _, checkpoint = entry.partition("=")
        print(f"== {model} on {args.device}", flush=True)
        report = json.loads(tool("mambit-inspect", model, "--json"))
        config = report["config"]
        tolerance = args.tolerance or TOLERANCE[config["activation_bits"]]
        kinds = [device["kind"] for device in report["devices"]]
        against = args.against if args.against in kinds else None
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            check_prompts(check, model, args, work, config, tolerance, against)
            values = pathlib.Path(model).with_suffix(".values")
            if values.is_dir():
                check_values(check, model, args, tolerance, values)
            if checkpoint:
                Golden(pathlib.Path(checkpoint), work).check(
                    check, "golden", model, "--device", args.device, tolerance=tolerance,
                    nats_tolerance=2e-3, cut_tolerance=cut_tolerance(config, trained=True))
        done = run("mambit-invariants-tests", f"--gtest_filter=*{args.device.split(':')[0]}*",
                   MAMBIT_TEST_MODEL=model)
        if done.returncode:
            print(done.stdout)
        check("invariants that fail", int(done.returncode != 0), 0)
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
