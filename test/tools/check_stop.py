"""Stops mambit-run before strings of a text that it is known to generate.

usage: check_stop.py MODEL.mbt FILE, the text after the prompt below
"""

import json
import subprocess
import sys

PROMPT = "To create an index on a table, use"


def run(*flags):
    command = ["mambit-run", sys.argv[1], "--prompt", PROMPT, "-n", "40", "--jsonl", *flags]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return [json.loads(line) for line in output.decode().splitlines()]


def main():
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
        events = run("--stop", "\u2603", "--stop", stop)
        text = "".join(e["text"] for e in events if e["type"] != "prompt")
        end = events[-1]
        assert text == expected, (stop, text, expected)
        assert (end["type"], end["reason"], end["stop"]) == ("end", "stop", stop), end
        checked += 1
        if checked == 5:
            break
    assert checked == 5, checked


main()
