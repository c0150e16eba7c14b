"""Stops mambit-run before strings of a text that it is known to generate, and
compares the saved state with that of a token a run.

usage: check_stop.py MODEL.mbt FILE, the text after the prompt below
"""

import filecmp
import json
import os
import subprocess
import sys
import tempfile

PROMPT = "To create an index on a table, use"


def run(*flags, prompt=("--prompt", PROMPT), tokens=40):
    command = ["mambit-run", sys.argv[1], *prompt, "-n", str(tokens), "--jsonl", *flags]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return [json.loads(line) for line in output.decode().splitlines()]


def main(folder):
    whole = open(sys.argv[2], encoding="utf-8").read().rstrip("\n")
    tokens = [event for event in run() if event["type"] == "token"]
    at, checked = 0, 0
    for token, after in zip(tokens, tokens[1:]):
        at += len(token["text"])
        if not token["text"].strip() or not after["text"].strip():
            continue
        # Across the boundary of two tokens.
        stop = whole[at - 1 : at + 1]
        expected = whole[: whole.index(stop)]
        stopped, stepped = (os.path.join(folder, f"{name}{checked}") for name in ("stopped", "stepped"))
        events = run("--stop", "\u2603", "--stop", stop, "--state", stopped)
        text = "".join(e["text"] for e in events if e["type"] != "prompt")
        end = events[-1]
        assert text == expected, (stop, text, expected)
        assert (end["type"], end["reason"], end["stop"]) == ("end", "stop", stop), end
        run("--state", stepped, tokens=0)
        for _ in range(end["tokens"]):
            run("--state", stepped, prompt=(), tokens=1)
        assert filecmp.cmp(stopped, stepped, shallow=False), stop
        checked += 1
        if checked == 5:
            break
    assert checked == 5, checked


with tempfile.TemporaryDirectory() as temporary:
    main(temporary)
