"""lit configuration of all suites; lit.site.cfg.py.in says where the tools are."""

import os
import shutil

import lit.formats

config.name = "mambit"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["checkpoints", "reference", "CMakeLists.txt"]
config.test_source_root = config.mambit_source_dir + "/test"
config.test_exec_root = config.mambit_binary_dir + "/test"

# Our own tools first: the machine may have others of the same name.
config.environment["PATH"] = os.pathsep.join(
    [config.mambit_binary_dir + "/bin", config.llvm_tools_dir, config.environment["PATH"]]
)
config.substitutions += [
    ("%python", "/usr/bin/python3"),  # Debian's, which has Debian's numpy
    ("%checkpoints", config.mambit_source_dir + "/test/checkpoints"),
    ("%reference", config.mambit_source_dir + "/test/reference"),
]

# The teacher model is too heavy for every clone; its tests run where it is.
shared = os.environ.get(
    "MAMBIT_SHARED_CHECKPOINTS", config.mambit_source_dir + "/../shared/checkpoints"
)
if os.path.isdir(shared + "/mamba2-hf"):
    config.available_features.add("mamba2-hf")
    config.substitutions.append(("%shared", os.path.abspath(shared)))

# What the machine's processor can run.
with open("/proc/cpuinfo") as f:
    flags = next((set(l.split()) for l in f if l.startswith("flags")), set())
levels = {
    "x86-64-v3": {"avx2", "fma", "bmi2", "f16c"},
    "x86-64-v4": {"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
runnable = [level for level, needed in levels.items() if needed <= flags]
config.available_features.update(runnable)
config.substitutions.append(("%targets", ",".join(runnable)))

# Where there is an assembler of PTX, the code of every GPU goes through it.
if shutil.which("ptxas") or os.access("/usr/local/cuda/bin/ptxas", os.X_OK):
    config.available_features.add("ptxas")
else:
    lit_config.warning("no ptxas in PATH or /usr/local/cuda/bin: GPU code is not assembled")
