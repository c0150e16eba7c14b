#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles a checkpoint that has golden values, and checks every road to them.

  check_model.py DIR [--ids FILE.npy] [--text FILE] [--targets a,b] [--activation-bits N]
                 [--work DIR] [--quick]

The interpreter after every pass, and the artifact's prefill and decode on each
target, against the golden logits; greedy tokens; nats per token. The golden
values come from an independent implementation (test/reference). Prints a line
a check; exit status 1 when one fails.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

# The passes of the pipeline whose result the interpreter can run, in order.
PASSES = ["imported", "expand-blocks", "fold-scales", "choose-activation-precision",
          "fuse-scan", "fuse-linear", "assign-layouts", "form-kernels"]


def tool(*arguments):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit status {done.returncode}\n"
                 f"{done.stdout}{done.stderr}")
    return done.stdout


def relative_l2(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class Checker:
    failed = False

    def __call__(self, name, error, tolerance):
        bad = not error <= tolerance  # NaN is bad
        self.failed |= bad
        print(f"{name:44} {error:9.3g}  (at most {tolerance:g}){'  FAILED' if bad else ''}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path)
    parser.add_argument("--ids", type=pathlib.Path, help="default: what golden.json names")
    parser.add_argument("--text", type=pathlib.Path, help="checks eval_text of golden.json too")
    parser.add_argument("--targets", default="x86-64-v3")
    parser.add_argument("--activation-bits", type=int, default=16)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--quick", action="store_true", help="the interpreter only as imported and last")
    args = parser.parse_args()

    golden = json.loads((args.folder / "golden/golden.json").read_text())
    expected = np.load(args.folder / "golden/logits.npy").astype(np.float64)
    positions = golden["positions"]
    ids_file = args.ids or next(p / golden["ids"] for p in (args.folder, args.folder.parent)
                                if (p / golden["ids"]).exists())
    ids = np.load(ids_file)
    check = Checker()

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        np.save(work / "ids.npy", ids[: max(positions) + 1].astype(np.int32))
        np.save(work / "prompt.npy", ids[: golden["prompt_tokens"]].astype(np.int32))

        # The interpreter: the definition, before and after every pass.
        stages = [PASSES[0], PASSES[-1]] if args.quick else PASSES
        before = None
        for stage in stages:
            out = work / "interpreted.npy"
            tool("mambit-interpret", args.folder, "--ids", work / "ids.npy", "--logits", out,
                 "--after", stage, "--activation-bits", args.activation_bits)
            logits = np.load(out).astype(np.float64)
            quantised = PASSES.index(stage) >= PASSES.index("choose-activation-precision")
            check(f"interpreter, {stage}", relative_l2(logits[positions], expected),
                  args.tolerance if quantised and args.activation_bits < 32 else 1e-5)
            if before is not None and not (quantised and not before[0]):
                check(f"  against the stage before", relative_l2(logits, before[1]), 1e-6)
            before = (quantised, logits)

        # The artifact.
        model = work / "model.mbt"
        tool("mambit-compile", args.folder, "-o", model,
             "--activation-bits", args.activation_bits)
        for target in args.targets.split(","):
            roads = {}
            for road, flags in {"prefill": [], "decode": ["--decode"]}.items():
                out = work / "logits.npy"
                tool("mambit-run", model, "--target", target, "--ids", work / "ids.npy",
                     "--logits", out, *flags)
                roads[road] = np.load(out).astype(np.float64)
                check(f"{target}, {road}", relative_l2(roads[road][positions], expected),
                      args.tolerance)
            check(f"{target}, prefill against decode",
                  relative_l2(roads["prefill"], roads["decode"]), 1e-4)
            greedy = tool("mambit-run", model, "--target", target, "--ids", work / "prompt.npy",
                          "-n", len(golden["greedy"]), "--greedy-ids").splitlines()[-1]
            check(f"{target}, greedy tokens that differ",
                  sum(int(a) != b for a, b in zip(greedy.split(), golden["greedy"]))
                  + abs(len(greedy.split()) - len(golden["greedy"])), 0)

            window, windows = golden["nll_window"], golden["nll_windows"]
            nats = json.loads(tool("mambit-eval", model, "--target", target, "--ids", ids_file,
                                   "--window", window, "--max-windows", windows, "--json"))
            check(f"{target}, nats per token", abs(nats["nats_per_token"] - golden["nats_per_token"]),
                  1e-3)
            if args.text:
                text = golden["eval_text"]
                nats = json.loads(tool("mambit-eval", model, "--target", target, "--text", args.text,
                                       "--window", text["window"], "--json"))
                check(f"{target}, nats per token of the text",
                      abs(nats["nats_per_token"] - text["nats_per_token"]), 1e-3)
                check(f"{target}, windows of the text", abs(nats["windows"] - text["windows"]), 0)
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
