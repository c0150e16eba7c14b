#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares docs/command-line.md with what the tools, found by PATH, print.

  check_command_line.py            exit status 1, and the difference, if they differ
  check_command_line.py --update   rewrites the page

After each line '<!-- help TOOL -->' stands the tool's --help. Every tool has one.
"""

import difflib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/command-line.md"
BLOCK = re.compile(r"^<!-- help (\S+) -->\n(?:\n```text\n.*?^```\n)?", re.M | re.S)
OTHERS = {"mambit-opt"}  # hundreds of options of MLIR's


def block(tool):
    text = subprocess.run([tool, "--help"], check=True, capture_output=True).stdout.decode()
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return f"<!-- help {tool} -->\n\n```text\n" + "\n".join(lines) + "\n```\n"


def main():
    page = PAGE.read_text(encoding="utf-8")
    tools = [match[1] for match in BLOCK.finditer(page)]
    folders = {path.name for path in (ROOT / "tools").glob("mambit-*")}
    assert sorted(tools) == sorted(folders - OTHERS), (tools, folders)
    wanted = BLOCK.sub(lambda match: block(match[1]), page)
    if sys.argv[1:] == ["--update"]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != page:
        sys.stdout.writelines(difflib.unified_diff(
            page.splitlines(True), wanted.splitlines(True), str(PAGE), "--help of the tools"))
        sys.exit(f"{PAGE} is out of date: run {__file__} --update")


if __name__ == "__main__":
    main()
