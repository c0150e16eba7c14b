#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Does the reference reproduce the golden values of a checkpoint?

  check_golden.py DIR [--text]

Files that golden.json names are looked for beside the checkpoint or in it.
--text checks `eval_text` too. Exit status 1 when something differs.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

import mamba2
from compare import relative_l2


def load_ids(folder, name):
    path = next(p / name for p in (folder.parent, folder) if (p / name).exists())
    return np.load(path).astype(np.int64)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path)
    parser.add_argument("--text", action="store_true", help="check eval_text too")
    args = parser.parse_args()

    folder = args.folder.resolve()
    golden = json.loads((folder / "golden/golden.json").read_text())
    model = mamba2.Model(folder)
    ids = load_ids(folder, golden["ids"])
    ok = True

    def check(name, error, tolerance):
        nonlocal ok
        print(f"{name:16} {error:.3g}" + (" FAILED" if not error <= tolerance else ""))
        ok &= error <= tolerance

    positions = golden["positions"]
    logits = model.logits(ids[: max(positions) + 1], rows=positions)
    expected = np.load(folder / "golden/logits.npy")
    check("logits", relative_l2(logits, expected), 1e-6)

    prompt = ids[: golden["prompt_tokens"]]
    chosen, _ = mamba2.greedy(model, prompt, len(golden["greedy"]))
    check("greedy, wrong", np.sum(np.array(chosen) != golden["greedy"]), 0)

    window, windows = golden["nll_window"], golden["nll_windows"]
    nats = mamba2.nats_per_token(model, ids, window, windows)
    check("nats per token", abs(nats - golden["nats_per_token"]), 1e-6)

    if args.text:
        text = golden["eval_text"]
        ids = load_ids(folder, text["tokens"])
        nats = mamba2.nats_per_token(model, ids, text["window"], text["windows"])
        check("eval_text", abs(nats - text["nats_per_token"]), 1e-6)
    sys.exit(not ok)


if __name__ == "__main__":
    main()
