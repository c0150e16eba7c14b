#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kills mambit-compile and mambit-pack at many moments.

After each kill the output is what it was before, or the whole new file, and
nothing else in its folder opens. Moments are spread over the whole run and, more
densely, from when the temporary file appears; which of them hits what depends on
the machine, what must hold does not.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

CHECKPOINT = str(pathlib.Path(__file__).parent.parent / "checkpoints/bimamba")
OVERALL, WRITING = 5, 10


def opens(path):
    result = subprocess.run(["mambit-inspect", str(path)], capture_output=True)
    assert result.returncode in (0, 1), result
    return result.returncode == 0


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), time.monotonic()


def await_writing(process, folder):
    while process.poll() is None and not list(folder.glob("*.partial-*")):
        time.sleep(0.0005)
    return time.monotonic()


def kill_at(command, folder, seconds, writing):
    """Kills a command some time after its start or after it begins to write."""
    process, begin = start(command)
    if writing:
        begin = await_writing(process, folder)
    while process.poll() is None and time.monotonic() < begin + seconds:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def check(tool, command, folder, before):
    output = folder / "m.mbt"
    output.write_bytes(before)
    process, begin = start(command)
    writing = await_writing(process, folder)
    assert process.wait() == 0
    duration, writing = time.monotonic() - begin, time.monotonic() - writing
    after = output.read_bytes()
    assert after != before

    killed = replaced = half = 0
    moments = [(duration * i / OVERALL, False) for i in range(OVERALL)]
    moments += [(writing * i / WRITING, True) for i in range(WRITING)]
    for seconds, once_writing in moments:
        output.write_bytes(before)
        killed += kill_at(command, folder, seconds, once_writing)
        found = output.read_bytes()
        assert found in (before, after), f"{tool}: neither old nor new"
        replaced += found == after
        for path in folder.iterdir():
            if path != output:
                half += 1
                # Complete but not yet renamed is as good as not written.
                assert not opens(path) or path.read_bytes() == after, f"{path} opens"
                path.unlink()
    print(f"{tool}: of {len(moments)} runs {killed} killed, {half} of them while "
          f"writing; {replaced} had replaced the output")
    assert killed > 0

    # Where there was no file there is none, or a whole one.
    for i in range(OVERALL):
        output.unlink()
        kill_at(command, folder, duration * i / OVERALL, False)
        assert not output.exists() or output.read_bytes() == after
        output.write_bytes(before)
        for path in folder.glob("*.partial-*"):
            path.unlink()


def main():
    with tempfile.TemporaryDirectory(prefix="mambit-kill-") as root:
        root = pathlib.Path(root)
        skeleton, old = root / "skeleton.mbt", root / "old.mbt"
        targets = "--target=x86-64-v3"
        subprocess.run(["mambit-compile", CHECKPOINT, targets, "--quiet", "--weights=none",
                        "-o", skeleton], check=True)
        subprocess.run(["mambit-pack", skeleton, "--random=1", "--quiet", "-o", old],
                       check=True)
        folder = root / "out"
        folder.mkdir()
        output = str(folder / "m.mbt")
        check("mambit-compile",
              ["mambit-compile", CHECKPOINT, targets, "--quiet", "-o", output],
              folder, old.read_bytes())
        check("mambit-pack",
              ["mambit-pack", str(skeleton), CHECKPOINT, "--quiet", "-o", output],
              folder, old.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
