#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs check_model.py for every checkpoint in a folder.

  check_models.py FOLDER [options of check_model.py]
"""

import pathlib
import subprocess
import sys

folder, options = pathlib.Path(sys.argv[1]), sys.argv[2:]
checker = pathlib.Path(__file__).with_name("check_model.py")
checkpoints = sorted(p.parent for p in folder.glob("*/config.json"))
failed = []
for checkpoint in checkpoints:
    print(f"== {checkpoint.name}", flush=True)
    if subprocess.run([sys.executable, checker, checkpoint, *options]).returncode:
        failed.append(checkpoint.name)
print(f"{len(checkpoints)} checkpoints, failed: {', '.join(failed) or 'none'}")
sys.exit(bool(failed) or not checkpoints)
