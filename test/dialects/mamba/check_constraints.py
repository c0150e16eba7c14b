"""Every constraint of the dialect's descriptions has its negative test.

    check_constraints.py INVALID.mlir FILE.td...

A label (C1) in the description of `mamba.linear` asks for a test whose name
starts with `linear_c1`. The plan dialect is held to the same.
"""

import re
import sys

invalid, *sources = sys.argv[1:]
with open(invalid) as f:
    tests = set(re.findall(r"@(\w+_c\d+)", f.read()))
constraints = set()
for source in sources:
    with open(source) as f:
        for definition in re.split(r"^def ", f.read(), flags=re.MULTILINE):
            name = re.search(r'\w+_(?:\w*Op<|(?:Attr|Type)<"\w+", )"(\w+)"', definition)
            if name:
                constraints |= {
                    f"{name.group(1)}_c{label}" for label in re.findall(r"\(C(\d+)\)", definition)
                }
for test in sorted(constraints - tests):
    print(f"no test for {test}")
for test in sorted(tests - constraints):
    print(f"no constraint for {test}")
sys.exit(constraints != tests)
