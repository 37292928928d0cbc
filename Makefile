# Every target builds the environment first, so each works on a fresh clone with python3 and make alone.
# Another Python: make clean setup PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
UV := $(BIN)/uv
SYNC := $(UV) pip sync --require-hashes --build-constraints requirements.lock
export UV_HTTP_TIMEOUT ?= 180

# The stamp names the folder it was made in. Without it, in a moved copy, or beside a Python that no longer runs,
# the environment counts as broken and is made anew.
READY := $(shell $(BIN)/python -c 'print(open("$(STAMP)").read())' 2>/dev/null)
ifneq ($(READY),$(CURDIR))
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := help
.PHONY: help setup lint type test test-all test-browser test-chaos test-slurm audit demo bench wheel-check lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from requirements.lock, hashes checked; does nothing when nothing changed

$(STAMP): pyproject.toml requirements.lock Makefile
	@if [ "$(READY)" != "$(CURDIR)" ] || [ ! -f $@ ]; then \
		$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
			"fcnseg needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d: try make setup PYTHON=python3.11" % v)' && \
		rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); fi
	@rm -f $@
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(VENV)/uv.txt
	$(SYNC) --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "Compiling the packages once, so that every later start is quick"
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true
	@printf '%s' '$(CURDIR)' > $@

lint: setup ## Ruff, its formatter, the contract of layers, and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

type: setup ## mypy alone
	$(BIN)/mypy

test: setup ## The quick tests, on up to four processors
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-all: setup ## Every test, the slow ones included; test-browser and test-slurm stand apart
	$(BIN)/python -m pytest -m "not browser and not slurm"

test-browser: setup ## Open a report in a real Chromium, at a phone's width and in the dark; FCNSEG_BROWSER=PATH names one
	@for name in "$${FCNSEG_BROWSER:-chromium}" chromium-browser google-chrome google-chrome-stable chrome; do \
		command -v "$$name" > /dev/null && exit 0; done; \
		echo "There is no Chromium here: on Debian and Ubuntu apt-get install chromium, or FCNSEG_BROWSER=PATH" >&2; exit 1
	$(BIN)/python -m pytest -m browser tests/test_browser.py

test-chaos: setup ## Kill trainings at random moments and compare how they end; FCNSEG_CHAOS=SEED,COUNT chooses
	$(BIN)/python -m pytest -m chaos -rP tests/test_chaos.py

SLURM := slurmctld slurmd slurm-client munge

test-slurm: setup ## Start a real Slurm of two nodes here and sweep in it; as root, and installs Debian's packages of it
	@PATH="$$PATH:/usr/sbin:/sbin"; for program in slurmctld slurmd munged sbatch; do \
		command -v $$program > /dev/null && continue; \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then \
			echo "make test-slurm needs $(SLURM): install them, or run it as root on Debian or Ubuntu" >&2; exit 1; fi; \
		apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $(SLURM); break; \
	done
	$(BIN)/python -m pytest -m slurm tests/test_on_slurm.py

audit: setup ## Look the locked packages up among known vulnerabilities; needs PyPI itself, no mirror
	$(UV) tool run --from 'pip-audit>=2.9,<3' pip-audit --strict --require-hashes --disable-pip -r requirements.lock

demo: setup ## Train a small network on drawn shapes
	$(BIN)/python -m fcnseg.train

BENCH := .venv-bench
MEASURE := $(BENCH)/bin/python -m fcnseg.benchmark

$(BENCH)/.ready: $(STAMP) requirements-bench.txt
	rm -rf $(BENCH)
	$(UV) venv --quiet --python $(BIN)/python $(BENCH)
	$(SYNC) --python $(BENCH)/bin/python requirements.lock
	$(UV) pip install --quiet --python $(BENCH)/bin/python --no-deps --require-hashes \
		--build-constraints requirements.lock --requirement requirements-bench.txt
	$(UV) pip install --quiet --python $(BENCH)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

bench: setup $(BENCH)/.ready ## Speed and memory on this processor, beside torchfcn and torchvision: half an hour
	$(MEASURE) infer
	$(MEASURE) train
	$(MEASURE) memory
	$(MEASURE) loss
	$(MEASURE) metrics
	$(MEASURE) loader
	$(MEASURE) overhead
	$(MEASURE) convolutionalization
	$(MEASURE) scaling --sides 250,500,1000 --batches 1,4,16 --repeat 2

wheel-check: setup ## Build the wheel, install it elsewhere, compose every configuration and train two steps
	rm -rf dist
	$(BIN)/python -m hatchling build --target wheel
	@set -e; there=$$(mktemp -d); trap 'rm -rf "$$there"' EXIT; set -x; \
	$(UV) venv --quiet --python $(BIN)/python "$$there/env"; \
	$(UV) pip install --quiet --python "$$there/env" dist/*.whl \
		--constraints requirements.lock --build-constraints requirements.lock; \
	cp tests/wheel_check.py "$$there/"; mkdir "$$there/outside"; cd "$$there/outside"; \
	../env/bin/python ../wheel_check.py "$(CURDIR)"; \
	../env/bin/python -m fcnseg.train trainer.max_steps=2 trainer.limit_val_batches=2

lock: setup ## Remake requirements.lock from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	$(UV) pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --fork-strategy fewest \
		--extra dev --extra dashboard --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock, or make lock UPGRADE=--upgrade to take the newest versions" \
		--output-file requirements.lock pyproject.toml

clean: ## Remove the environment, the builds and the caches; runs stay
	rm -rf $(VENV) $(BENCH) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
