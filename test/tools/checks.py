# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the checkers of compiled models have in common."""

import json
import os
import subprocess
import sys

import numpy as np


def run(*arguments, **environment):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True,
                          env={**os.environ, **environment})


def tool(*arguments):
    """What a tool prints; ends the program where the tool fails."""
    done = run(*arguments)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit status {done.returncode}\n"
                 f"{done.stdout}{done.stderr}")
    return done.stdout


def relative_l2(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class Checker:
    """Prints a line a check, and knows whether one has failed."""

    failed = False

    def __call__(self, name, error, tolerance):
        bad = not error <= tolerance  # NaN is bad
        self.failed |= bad
        print(f"{name:50} {error:9.3g}  (at most {tolerance:g}){'  FAILED' if bad else ''}",
              flush=True)


class Golden:
    """The golden values in a checkpoint's folder, and a compiled model held to them."""

    def __init__(self, folder, work, ids=None):
        self.values = json.loads((folder / "golden/golden.json").read_text())
        self.logits = np.load(folder / "golden/logits.npy").astype(np.float64)
        self.positions = self.values["positions"]
        self.ids_file = ids or next(
            p / self.values["ids"] for p in (folder, folder.parent, folder / "golden")
            if (p / self.values["ids"]).exists())
        ids = np.load(self.ids_file)
        self.ids, self.prompt, self.out = (work / f"{n}.npy" for n in ("ids", "prompt", "out"))
        np.save(self.ids, ids[: max(self.positions) + 1].astype(np.int32))
        np.save(self.prompt, ids[: self.values["prompt_tokens"]].astype(np.int32))

    def error(self, logits):
        return relative_l2(logits[self.positions], self.logits)

    def check(self, check, name, model, *flags, tolerance, nats_tolerance,
              cut_tolerance=1e-4):
        """Prefill and decode, greedy tokens, nats per token; `flags` choose the machine."""
        roads = {road: logits_of(model, self.ids, self.out, *flags, *more)
                 for road, more in {"prefill": [], "decode": ["--decode"]}.items()}
        for road, logits in roads.items():
            check(f"{name}, {road}", self.error(logits), tolerance)
        check(f"{name}, prefill against decode",
              relative_l2(roads["prefill"], roads["decode"]), cut_tolerance)
        expected = self.values["greedy"]
        greedy = tool("mambit-run", model, *flags, "--ids", self.prompt, "-n", len(expected),
                      "--greedy-ids").split()
        check(f"{name}, greedy tokens that differ",
              sum(int(a) != b for a, b in zip(greedy, expected))
              + abs(len(greedy) - len(expected)), 0)
        nats = json.loads(tool("mambit-eval", model, *flags, "--ids", self.ids_file,
                               "--window", self.values["nll_window"],
                               "--max-windows", self.values["nll_windows"], "--json"))
        check(f"{name}, nats per token",
              abs(nats["nats_per_token"] - self.values["nats_per_token"]), nats_tolerance)


def logits_of(model, ids, out, *flags):
    tool("mambit-run", model, "--ids", ids, "--logits", out, *flags)
    return np.load(out).astype(np.float64)
