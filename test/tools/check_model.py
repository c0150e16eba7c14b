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
import sys
import tempfile

import numpy as np

from checks import Checker, Golden, relative_l2, tool

# The passes of the pipeline whose result the interpreter can run, in order.
PASSES = ["imported", "expand-blocks", "fold-scales", "choose-activation-precision",
          "choose-state-precision", "fuse-scan", "fuse-linear", "assign-layouts", "form-kernels"]


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

    check = Checker()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        golden = Golden(args.folder, work, args.ids)

        # The interpreter: the definition, before and after every pass.
        stages = [PASSES[0], PASSES[-1]] if args.quick else PASSES
        before = None
        for stage in stages:
            out = work / "interpreted.npy"
            tool("mambit-interpret", args.folder, "--ids", golden.ids, "--logits", out,
                 "--after", stage, "--activation-bits", args.activation_bits)
            logits = np.load(out).astype(np.float64)
            quantised = PASSES.index(stage) >= PASSES.index("choose-activation-precision")
            check(f"interpreter, {stage}", golden.error(logits),
                  args.tolerance if quantised and args.activation_bits < 32 else 1e-5)
            if before is not None and not (quantised and not before[0]):
                check(f"  against the stage before", relative_l2(logits, before[1]), 1e-6)
            before = (quantised, logits)

        # The artifact.
        model = work / "model.mbt"
        tool("mambit-compile", args.folder, "-o", model,
             "--activation-bits", args.activation_bits)
        for target in args.targets.split(","):
            golden.check(check, target, model, "--target", target, tolerance=args.tolerance,
                         nats_tolerance=1e-3)
            if args.text:
                text = golden.values["eval_text"]
                nats = json.loads(tool("mambit-eval", model, "--target", target, "--text", args.text,
                                       "--window", text["window"], "--json"))
                check(f"{target}, nats per token of the text",
                      abs(nats["nats_per_token"] - text["nats_per_token"]), 1e-3)
                check(f"{target}, windows of the text", abs(nats["windows"] - text["windows"]), 0)
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
