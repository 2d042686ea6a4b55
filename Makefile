# Everything a developer runs. `make help` lists the targets.
#
# Each target makes the virtual environment and builds what it needs by itself; a second run rebuilds nothing that did
# not change. PYTHON picks the interpreter: `make test PYTHON=python3.13`.

PYTHON ?= python3
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TAG := $(shell $(PYTHON) scripts/interpreter_tag.py)
ifeq ($(TAG),)
$(error $(PYTHON) cannot build Ferrio: see the line above. Pick another interpreter with PYTHON=...)
endif

VENV := .venvs/$(TAG)
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Of their own: some of the libraries change pytest or asyncio for everybody who has them installed.
LIBRARIES := $(VENV)-libraries
# A development build beside the packages of $(VENV); see `make check`.
CHECK := $(VENV)-check
CHECK_TARGET := $(or $(CARGO_TARGET_DIR),target)/check/$(TAG)
ENGINE_SOURCES := $(shell find crates/engine -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
NATIVE_SOURCES := $(ENGINE_SOURCES) $(shell find crates/python -name '*.rs' -o -name Cargo.toml) pyproject.toml

# How many tests run at a time, where they may: `make test JOBS=4`.
JOBS ?= $(shell nproc)
# A fork in a worker of pytest-xdist warns of the thread that talks to the reporting process.
PARALLEL := -n $(JOBS) --dist worksteal -W "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"

# Where bytecode is not kept, hundreds of tests' interpreters compile the package and the test's assertions again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	mkdir -p $(STAMPS)
	touch $@

# One stamp for each dependency group of pyproject.toml.
$(STAMPS)/group-%: pyproject.toml $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --group $*
	touch $@

$(STAMPS)/built: $(NATIVE_SOURCES) $(STAMPS)/group-build
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet
	touch $@

.PHONY: build
build: $(STAMPS)/built  ## Build the extension module into the virtual environment of PYTHON

# What wheels are built for: one interpreter of each version at hand.
INTERPRETERS ?= $(shell $(PYTHON) scripts/interpreters.py)
DIST ?= dist

.PHONY: wheels
wheels: $(STAMPS)/group-packages  ## Build the source distribution and a wheel for each interpreter at hand, and look at them
	$(PYTHON) scripts/notices.py --check
	rm -rf $(DIST)
	$(BIN)/maturin sdist --out $(DIST)
	RUSTFLAGS="--remap-path-prefix=$(CURDIR)=ferrio --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo" \
	  $(BIN)/maturin build --quiet --profile dist --out $(DIST) $(INTERPRETERS:%=--interpreter %)
	$(BIN)/python scripts/check_packages.py $(DIST)

.PHONY: try-wheels
try-wheels:  ## Try the wheels of `make wheels` in empty environments: the package's tests, the time of the import
	$(PYTHON) scripts/try_package.py $(DIST) $(INTERPRETERS:%=--interpreter %) --pytest '$(PARALLEL)'

.PHONY: try-sources
try-sources:  ## Build the source distribution of `make wheels` in an empty environment, and try it in the same way
	$(PYTHON) scripts/try_package.py $(DIST) --sources --pytest '$(PARALLEL)'

.PHONY: bench
bench: build $(STAMPS)/group-bench  ## Measure against the other loops (QUICK=1: three minutes; BENCH="--only net --rounds 9")
	$(BIN)/python benchmarks $(if $(QUICK),--brief) $(BENCH)

.PHONY: instructions
instructions: build  ## Count instructions of the hot paths against benchmarks/instructions.json (INSTRUCTIONS="--update")
	$(BIN)/python benchmarks/instructions.py $(or $(INSTRUCTIONS),--baseline)

.PHONY: conformance
conformance: build  ## Run the interpreter's own asyncio suite over Ferrio (CONFORMANCE="test_events -k name")
	$(BIN)/python tests/conformance $(CONFORMANCE)

# The environment of `make check`: the packages of $(VENV), and a folder `ferrio` of links to the sources in Python and
# to the development build. What `make build` makes, and what is measured, is another file elsewhere.
$(CHECK)/made: $(STAMPS)/group-test
	$(PYTHON) -m venv --without-pip $(CHECK)
	mkdir -p $(CHECK)/package/ferrio
	purelib='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	{ echo $(abspath $(CHECK)/package); $(BIN)/python -c "$$purelib"; } > "$$($(CHECK)/bin/python -c "$$purelib")/ferrio.pth"
	touch $@

$(STAMPS)/engine-tested: $(ENGINE_SOURCES) $(STAMPS)/venv
	@TIMEFORMAT='== engine tests: %R s (%U + %S s of CPU)'; time cargo test --quiet -p ferrio-engine --all-features
	@touch $@

.PHONY: check
check: $(CHECK)/made  ## While you work: a development build, the engine's tests if it changed, of the others what is quick (WHOLE=1) and concerns the change
	@TIMEFORMAT='== development build: %R s (%U + %S s of CPU)'; \
	time PYO3_PYTHON=$(abspath $(BIN)/python) cargo build --quiet -p ferrio-python --target-dir $(CHECK_TARGET)
	@find $(CHECK)/package/ferrio -maxdepth 1 -type l -delete
	@ln -s $(abspath $(filter-out %.so %/__pycache__,$(wildcard python/ferrio/*))) $(CHECK)/package/ferrio
	@ln -s $(abspath $(CHECK_TARGET)/debug/lib_ferrio.so) $(CHECK)/package/ferrio/_ferrio.so
	@$(MAKE) --no-print-directory --silent $(STAMPS)/engine-tested
	@touch $(CHECK)/started
	@TIMEFORMAT='== quick tests: %R s (%U + %S s of CPU)'; \
	time $(CHECK)/bin/python -m pytest -q --quick $(if $(WHOLE),,--since=$(CHECK)/passed) $(PARALLEL)
	@mv $(CHECK)/started $(CHECK)/passed

.PHONY: test
test: build $(STAMPS)/group-test  ## Run every test: the crates', the benchmarks' own, then the package's on PYTHON
	cargo test --quiet -p ferrio-engine --all-features
	cargo test --quiet -p ferrio
	$(BIN)/python -m pytest -q benchmarks/tests
	$(MAKE) --no-print-directory test-bridge test-examples test-package

.PHONY: test-bridge
test-bridge: build $(STAMPS)/group-test  ## Run the tests of crates/bridge: they build an extension with it
	$(BIN)/python -m pytest -q tests/bridge

.PHONY: test-examples
test-examples: build $(STAMPS)/group-test  ## Run the tests of examples/: each program serves or works, and ends
	$(BIN)/python -m pytest -q tests/examples $(PARALLEL)

# AGAIN=1 leaves out the tests marked `once`, where they have run on another interpreter.
.PHONY: test-package
test-package: build $(STAMPS)/group-test  ## Run the package's tests, the frameworks', a short soak, CPython's own suite
	$(BIN)/python -m pytest -q --ignore tests/frameworks --ignore tests/bridge --ignore tests/examples $(if $(AGAIN),-m "not once") $(PARALLEL)
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-frameworks conformance

.PHONY: test-frameworks
test-frameworks: build $(STAMPS)/group-test  ## Run real servers, clients and libraries on Ferrio
	$(BIN)/python -m pytest -q tests/frameworks

.PHONY: lint
lint: build $(STAMPS)/group-lint  ## Check format, lints, layers, types and that the stubs match the built module
	cargo fmt --all --check
	cargo clippy --quiet -p ferrio-engine -p ferrio --all-targets --all-features -- -D warnings
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy --quiet -p ferrio-python -- -D warnings
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy --quiet -p ferrio-pyo3 -- -D warnings
	$(BIN)/python scripts/layers.py
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest ferrio._ferrio --allowlist tests/typing/stubtest_allowlist.txt
	$(BIN)/python scripts/compatibility.py --check
	$(BIN)/python scripts/figures.py --check
	$(BIN)/python scripts/notices.py --check

.PHONY: deny
deny: $(STAMPS)/group-deny  ## Check the licences, bans and sources of the dependencies by deny.toml
	PATH=$(abspath $(BIN)):$$PATH cargo deny check licenses bans sources

# A folder of its own: the option is one for all crates.
.PHONY: loom
loom:  ## Explore every interleaving of the inbox's hand-over
	RUSTFLAGS="--cfg loom" cargo test --quiet -p ferrio-engine --release --test loom_inbox \
	  --target-dir $(or $(CARGO_TARGET_DIR),target)/loom --config 'profile.release.lto="off"' --config profile.release.codegen-units=16

$(LIBRARIES)/installed: pyproject.toml
	$(PYTHON) -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(LIBRARIES)/bin/python -m pip install --quiet --group libraries
	realpath python > "$$($(LIBRARIES)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ferrio.pth"
	touch $@

.PHONY: libraries
libraries: build $(LIBRARIES)/installed  ## Try real libraries on Ferrio, each beside a control run on asyncio (a minute)
	$(LIBRARIES)/bin/python tests/libraries $(PROGRAMS)

.PHONY: fuzz
fuzz: build  ## Random calls with hostile arguments for two minutes (FUZZ="--seconds 3600")
	$(BIN)/python tests/fuzz $(FUZZ)

# The module is built again for it: with Rust's assertions, in place of the one that `make build` makes.
.PHONY: fuzz-checked
fuzz-checked: $(STAMPS)/group-build  ## The same with Rust's assertions (PYTHON=python3.14-dbg: and CPython's)
	rm -f $(STAMPS)/built
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --profile checked --quiet
	$(BIN)/python tests/fuzz $(FUZZ)

.PHONY: asan
asan: build $(STAMPS)/group-test  ## The engine's tests, the unit tests and a minute of the fuzzer under AddressSanitizer
	$(BIN)/python scripts/asan.py --engine
	$(BIN)/python scripts/asan.py -m pytest -q tests/unit -k "not keep_no_memory"
	$(BIN)/python scripts/asan.py tests/fuzz --seconds 60

.PHONY: demo
demo: build $(STAMPS)/group-demo  ## What one gains over asyncio: the loop itself, a web service, a crawler; in one picture (two minutes)
	$(BIN)/python examples/demo

.PHONY: soak
soak: build $(STAMPS)/group-test  ## 200,000 connections, hostile peers, 50,000 over TLS, each with a look for leaks
	$(BIN)/python tests/stress/soak.py --connections 200000
	$(BIN)/python tests/stress/hostile_peers.py --seconds 10
	$(BIN)/python tests/stress/tls_soak.py --connections 50000

.PHONY: docs
docs: build $(STAMPS)/group-docs  ## Build the site into build/docs/site, the tables of docs/compatibility.md and README.md
	$(BIN)/python scripts/compatibility.py
	$(BIN)/python scripts/figures.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps -p ferrio-engine -p ferrio --target-dir build/docs/engine
