# Two commands on a fresh Debian 12 machine (as root, or with sudo):
#   make demo    installs what is missing, builds, compiles the bundled checkpoint, generates text
#   make check   installs what is missing, builds, runs every test
# On a machine with an NVIDIA GPU, which needs neither LLVM nor CUDA's toolkit:
#   make check-gpu
# Every step is skipped when there is nothing to do.

SHELL := /bin/bash
BUILD := build
# ccache may use a precompiled header only if told what to ignore.
export CCACHE_SLOPPINESS := pch_defines,time_macros,include_file_mtime,include_file_ctime

RUNTIME_PACKAGES := g++ cmake ninja-build python3 ccache flatbuffers-compiler libflatbuffers-dev \
  libxxhash-dev libsentencepiece-dev nlohmann-json3-dev libcli11-dev libgtest-dev
COMPILER_PACKAGES := clang-22 lld-22 liblld-22-dev llvm-22-dev llvm-22-tools \
  libmlir-22-dev mlir-22-tools python3-numpy

DEMO := --prompt "To create an index on a table, use" -n 48 --temperature 0.8 --top-p 0.9 --seed 1

.PHONY: all demo check check-runtime check-gpu gpu-models packages packages-runtime build runtime docs format clean

all: build

# Installs only what is missing, so that a machine that has all needs no root.
# With INSTALL=no the machine is taken as it is.
INSTALL ?= yes
define install
	@[ "$(INSTALL)" = yes ] || exit 0; \
	missing=$$(dpkg-query -W -f='$${Status} $${Package}\n' $(1) 2>/dev/null | awk '$$3 == "installed" {print $$4}' | sort); \
	missing=$$(comm -23 <(printf '%s\n' $(1) | sort) <(printf '%s\n' "$$missing")); \
	if [ -n "$$missing" ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing" $$missing; \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

packages:
	$(call install,$(RUNTIME_PACKAGES) $(COMPILER_PACKAGES))

packages-runtime:
	$(call install,$(RUNTIME_PACKAGES))

build: packages
	@[ -f $(BUILD)/build.ninja ] || cmake --preset default -B $(BUILD)
	@ninja -C $(BUILD)

# The runtime part alone, with the system compiler and no LLVM.
runtime: packages-runtime
	@[ -f $(BUILD)/runtime-only/build.ninja ] || cmake --preset runtime -B $(BUILD)/runtime-only
	@ninja -C $(BUILD)/runtime-only

$(BUILD)/demo.mbt: build
	@[ -f $@ ] && [ $@ -nt $(BUILD)/bin/mambit-compile ] || \
	  $(BUILD)/bin/mambit-compile test/checkpoints/bimamba -o $@

demo: $(BUILD)/demo.mbt
	$(BUILD)/bin/mambit-run $< $(DEMO)

check: build runtime
	@ctest --test-dir $(BUILD)/runtime-only --output-on-failure -j2
	@ctest --test-dir $(BUILD) --output-on-failure -j2

check-runtime: runtime
	@ctest --test-dir $(BUILD)/runtime-only --output-on-failure -j2

# What check-gpu checks, made where the compiler is.
gpu-models: build
	@PATH="$(abspath $(BUILD))/bin:$$PATH" test/tools/make_gpu_models.py $(BUILD)/gpu

# Builds the runtime part alone and checks it on the GPU: with the toy of its
# tests, then with compiled models that have code for GPUs. A model's checkpoint
# may follow it, for its golden values (docs/running-on-a-gpu.md).
MODELS ?= $(patsubst %/bimamba.mbt,%/bimamba.mbt=test/checkpoints/bimamba,$(wildcard $(BUILD)/gpu/*.mbt))
check-gpu: runtime
	$(call install,python3-numpy)
	@ctest --test-dir $(BUILD)/runtime-only --output-on-failure -L gpu
	@if [ -n "$(MODELS)" ]; then \
	  PATH="$(abspath $(BUILD))/runtime-only/bin:$$PATH" \
	    python3 test/tools/check_device.py $(MODELS); \
	else \
	  echo "no compiled models: bring $(BUILD)/gpu of 'make gpu-models', or give MODELS=\"a.mbt b.mbt=CHECKPOINT\""; \
	fi

# Regenerates the reference pages in docs/ from the tablegen files.
docs: build
	@ninja -C $(BUILD) mambit-doc

format:
	@git ls-files '*.h' '*.cpp' '*.c' | xargs clang-format-22 -i

clean:
	rm -rf $(BUILD)
