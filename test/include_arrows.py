"""Checks who may include whom, from the #include lines (docs/architecture.md).

    include_arrows.py REPOSITORY

Each folder names the folders of ours it may include; the runtime part must
also be free of MLIR and LLVM.
"""

import pathlib
import re
import sys

# The longest matching prefix speaks for a file.
ALLOWED = {
    "runtime": {"runtime"},
    "frontend/checkpoint": {"frontend/checkpoint"},
    "dialects": {"dialects"},
    "passes": {"passes", "dialects"},
    "codegen": {"codegen", "dialects", "passes", "runtime/artifact"},
    "frontend": {"frontend", "dialects"},
    "tools": {"tools", "frontend", "dialects", "passes", "codegen", "runtime"},
}
# No MLIR, no LLVM: these build alone.
WITHOUT_LLVM = ("runtime", "frontend/checkpoint", "tools/common", "tools/mambit-pack", "tools/mambit-synth")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def longest_prefix(path, prefixes):
    return max((p for p in prefixes if path.startswith(p + "/")), key=len, default=None)


def violations(path, text):
    """The offending includes of a file, each with what it breaks."""
    owner = longest_prefix(path, ALLOWED)
    for included in INCLUDE.findall(text):
        ours = included.split("/")[0] in {p.split("/")[0] for p in ALLOWED} and "/" in included
        if ours and not any(included.startswith(a + "/") for a in ALLOWED[owner]):
            yield f"{path}: {owner} may not include {included}"
        if longest_prefix(path, WITHOUT_LLVM) and included.startswith(("mlir/", "llvm/", "llvm-c/", "lld/")):
            yield f"{path}: builds without LLVM, but includes {included}"


def self_test():
    """The check must be able to fail."""
    assert list(violations("runtime/a.cpp", '#include "dialects/mamba/Mamba.h"'))
    assert list(violations("runtime/a.cpp", "#include <llvm/ADT/StringRef.h>"))
    assert list(violations("frontend/checkpoint/a.h", '#include "frontend/Import.h"'))
    assert list(violations("codegen/a.cpp", '#include "runtime/mambit.h"'))
    assert list(violations("passes/a.cpp", '#include "codegen/Targets.h"'))
    assert not list(violations("frontend/a.cpp", '#include "frontend/checkpoint/Config.h"'))
    assert not list(violations("codegen/cpu/a.cpp", '#include "runtime/artifact/artifact_generated.h"'))


def main():
    self_test()
    root = pathlib.Path(sys.argv[1])
    found, files = [], 0
    for folder in sorted({p.split("/")[0] for p in ALLOWED}):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".h", ".cpp", ".c"):
                files += 1
                found += violations(str(file.relative_to(root)), file.read_text())
    print("\n".join(found) if found else f"{files} files keep the arrows")
    sys.exit(bool(found) or files == 0)


main()
