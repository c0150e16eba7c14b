# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles checkpoints, or configurations alone, for every GPU target; each must come
out as machine code, on sm_90a without spills in what decoding runs. The scan's chunks
and the products of many tokens use all registers: at most 256 bytes of spills, stores
and loads together.

  assemble.py WORK ACTIVATION_BITS STATE_DTYPE CHECKPOINT|CONFIG.json...
"""

import json
import re
import subprocess
import sys


def tool(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def decodes(when):
    """Whether a phase of such a condition runs where each of the (by default at
    most 64) sequences has one token."""
    if when == "1 <= tokens - sequences":
        return False
    least = re.match(r"(\d+) <= (tokens|rows)", when)
    return not least or int(least[1]) <= 64


work, bits, state, *checkpoints = sys.argv[1:]
names = [line.split()[0] for line in tool("mambit-compile", "--list-targets").splitlines()
         if " cuda," in line]
for checkpoint in checkpoints:
    artifact = f"{work}/model.mbt"
    weights = (["--config", checkpoint, "--weights=none"] if checkpoint.endswith(".json")
               else [checkpoint])
    tool("mambit-compile", *weights, "-o", artifact, "--quiet", f"--activation-bits={bits}",
         f"--state-dtype={state}",
         "--target=" + ",".join(names))
    (device,) = json.loads(tool("mambit-inspect", artifact, "--json"))["devices"]
    assert sorted(t["name"] for t in device["targets"]) == sorted(names), device["targets"]
    for target in device["targets"]:
        kinds = [image["kind"] for image in target["images"]]
        assert kinds == ["cubin", "ptx"], (target["name"], kinds)
    for kernel in device["kernels"]:
        for target in kernel["targets"]:
            for phase in target["phases"]:
                used = phase["resources"]
                assert used["registers"] > 0, phase
                if target["target"] == "sm_90a":
                    most = 0 if decodes(phase.get("when", "")) else 256
                    assert used["spill_bytes"] <= most, phase
