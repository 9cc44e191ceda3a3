# Everything works from Python >= 3.10, pip and make; running a target again is cheap.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt $(shell find src -type f -not -name '*.pyc')
# The profiler writes two lines a profile to standard error otherwise.
export KINETO_LOG_LEVEL := 99

.PHONY: demo test test-slow test-gpu test-compat lint types bench-attention bench-report clean

demo: $(VENV)/installed  ## the built-in LLaVA with FlashAttention on and off, side by side
	$(BIN)/attnswitch compare --report demo-report.html --json demo-result.json

test: $(VENV)/installed-dev lint types  ## everything that is quick
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu" tests

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "slow and not gpu" tests

test-gpu: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m gpu tests

test-compat: $(VENV)/installed-dev  ## old transformers and the real LLaVA, each in its own folder
	$(BIN)/python -m pytest -n 2 --dist loadfile compat

lint: $(VENV)/installed-dev
	$(BIN)/ruff check src tests compat benchmarks training docs/examples
	$(BIN)/ruff format --check src tests compat benchmarks training docs/examples

types: $(VENV)/installed-dev
	$(BIN)/mypy

bench-report: $(VENV)/installed  ## docs/measured/report.*: 40 minutes on two quiet cores; can be stopped and goes on
	benchmarks/report.sh $(BIN)

bench-attention: $(VENV)/installed-bench
	$(BIN)/python benchmarks/attention.py

# torch first and by its exact version, so that pip never looks for another build of it.
$(VENV)/torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	touch $@

# A normal install, not an editable one: what is tested is what a user gets, .pth file included.
$(VENV)/installed: $(VENV)/torch $(SOURCES)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ".[models,report]"
	touch $@

$(VENV)/installed-dev: $(VENV)/torch $(SOURCES)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ".[dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-bench: $(VENV)/installed-dev benchmarks/requirements.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt -r benchmarks/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) build dist .compat
