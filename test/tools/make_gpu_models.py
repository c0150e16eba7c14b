#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles what check_device.py checks on a GPU, on a machine that has the compiler.

  make_gpu_models.py FOLDER [--targets x86-64-v3,sm_90a]

The bundled checkpoint and every odd configuration of test/reference: NAME.mbt;
some with activations of other than 16 bits too: NAME-BITS.mbt; the bundled one with
states of 16 bits. Beside the odd ones .values, what the interpreter has for every
operation. And models of two layers of random weights: wide, of the 2.7B's widths,
and tiles, whose products run in tiles of every shape. The tools are taken from PATH.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np

from checks import tool

TEST = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TEST / "reference"))
from configs import CONFIGS  # noqa: E402


def layers(width, vocabulary, expand=2):
    return {"d_model": width, "n_layer": 2, "vocab_size": vocabulary,
            "ssm_cfg": {"layer": "Mamba2", "expand": expand}}


# The wide ones have enough words for tall tiles of the logits. In the others the prompts of
# check_device.py take tiles of warpgroups of all shapes, most with more steps along K than
# stages.
RANDOM = {"wide": layers(2560, 16900), "wide-32": layers(2560, 16900),
          "tiles": layers(1024, 512, expand=4), "tiles-8": layers(1792, 512)}
TOKENS = {"prefill": 20, "decode": 4}
OTHER_BITS = {8: ["official-single"], 32: ["official-zeros", "official-single"]}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--targets", default="x86-64-v3,sm_90a")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    def compile(checkpoint, artifact, *flags):
        tool("mambit-compile", checkpoint, "--target", args.targets, "--quiet", *flags,
             "-o", args.folder / artifact)

    compile(TEST / "checkpoints/bimamba", "bimamba.mbt")
    compile(TEST / "checkpoints/bimamba", "bimamba-f16.mbt", "--state-dtype=f16")
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        config, skeleton = work / "config.json", work / "skeleton.mbt"
        for artifact, of in RANDOM.items():
            bits = artifact.partition("-")[2] or 16
            config.write_text(json.dumps(of))
            tool("mambit-compile", "--config", config, "--weights=none", "--target", args.targets,
                 "--activation-bits", bits, "--quiet", "-o", skeleton)
            tool("mambit-pack", skeleton, "--random=1", "--quiet",
                 "-o", args.folder / f"{artifact}.mbt")
        tool(sys.executable, TEST / "reference/make_checkpoint.py", "--all", work)
        models = [(name, name, 16) for name in CONFIGS]
        models += [(name, f"{name}-{bits}", bits)
                   for bits, names in OTHER_BITS.items() for name in names]
        for name, artifact, bits in models:
            checkpoint, bits = work / name, ["--activation-bits", bits]
            compile(checkpoint, f"{artifact}.mbt", *bits)
            values = args.folder / f"{artifact}.values"
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
