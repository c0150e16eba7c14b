#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles what check_device.py checks on a GPU, on a machine that has the compiler.

  make_gpu_models.py FOLDER [--targets x86-64-v3,sm_90a] [--activation-bits N]

The bundled checkpoint and every odd configuration of test/reference: NAME.mbt;
beside the odd ones NAME.values, what the interpreter has for every operation.
The tools are taken from PATH.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

import numpy as np

from checks import tool

TEST = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TEST / "reference"))
from configs import CONFIGS  # noqa: E402

TOKENS = {"prefill": 20, "decode": 4}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--targets", default="x86-64-v3,sm_90a")
    parser.add_argument("--activation-bits", type=int, default=16)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    bits = ["--activation-bits", args.activation_bits]

    def compile(checkpoint):
        tool("mambit-compile", checkpoint, "--target", args.targets, "--quiet", *bits,
             "-o", args.folder / f"{checkpoint.name}.mbt")

    compile(TEST / "checkpoints/bimamba")
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        tool(sys.executable, TEST / "reference/make_checkpoint.py", "--all", work)
        for checkpoint in map(work.joinpath, CONFIGS):
            compile(checkpoint)
            values = args.folder / f"{checkpoint.name}.values"
            shutil.rmtree(values, ignore_errors=True)
            values.mkdir()
            for road, count in TOKENS.items():
                ids = values / f"{road}.npy"
                np.save(ids, np.load(checkpoint / "ids.npy")[:count].astype(np.int32))
                tool("mambit-interpret", checkpoint, "--ids", ids, "--after=fuse-linear", *bits,
                     *(["--chunk=1"] if road == "decode" else []), "--dump-to", values / road)
    print(*sorted(args.folder.glob("*.mbt")), sep="\n")


if __name__ == "__main__":
    main()
