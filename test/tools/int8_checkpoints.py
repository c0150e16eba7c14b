"""Writes a random checkpoint three times: with latent 1-bit weights, and with
their signs as int8 in a .bin and in safetensors.

usage: int8_checkpoints.py OUT
"""

import pathlib
import sys

import numpy as np

import broken_files as files


def main():
    out = pathlib.Path(sys.argv[1])
    for name, container in (
        ("latent", "bin"),
        ("int8-bin", "bin"),
        ("int8-safetensors", "safetensors"),
    ):
        # A tied copy is in a .bin alone; its own head makes both the same.
        checkpoint = files.Checkpoint("official", container, zeros=40, untied=True)
        if name != "latent":
            for key, array in checkpoint.tensors.items():
                if key.endswith("_proj.weight"):
                    checkpoint.tensors[key] = np.sign(array).astype("i1")
                    checkpoint.types[key] = "CharStorage" if container == "bin" else "I8"
        (out / name).mkdir()
        checkpoint.write(out / name)
    np.save(out / "ids.npy", np.arange(50, dtype="<i4") * 7 % 64)


main()
