"""Every example of the dialect's descriptions is one that a test runs.

    check_examples.py OPS.mlir FILE.td...

Values have other names in the test; all else must be the same.
"""

import re
import sys


def normalize(text):
    text = re.sub(r"//.*", "", text)
    text = re.sub(r"%\w+", "%", text)
    return " ".join(text.split())


def statements(example):
    """An example's operations: each begins at the margin."""
    for part in re.split(r"^(?=[%\w#!])", example, flags=re.MULTILINE):
        if part.strip():
            yield part


ops, *sources = sys.argv[1:]
with open(ops) as f:
    tested = normalize(f.read())
missing = False
for source in sources:
    with open(source) as f:
        text = f.read()
    for indent, example in re.findall(r"^( *)```mlir\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        example = re.sub(f"^{indent}", "", example, flags=re.MULTILINE)
        for statement in statements(example):
            if normalize(statement) not in tested:
                print(f"{source}: no test has the example\n{statement}")
                missing = True
sys.exit(missing)
