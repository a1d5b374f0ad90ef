# Every target makes the environment it needs first: `make demo` in a fresh clone is enough.

# The first of these that runs, is 3.11 or newer and can make environments (version managers leave
# commands on the path that do not run).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
    "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)

VENV := .venv
QLIB := .venv-qlib
BIN := $(VENV)/bin
OUT ?= demo-out
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check cases parity bench setup clean
.DEFAULT_GOAL := demo

demo: setup  ## the whole way on a synthetic market, into demo-out/
	$(BIN)/raybench demo --out $(OUT)

test: setup  ## every test that needs no second environment, those without Ray first
	$(BIN)/pytest -n 2 --dist loadscope -m "not ray and not parity"
	$(BIN)/pytest -n 2 --dist loadscope -m "ray and not parity"

check: setup  ## style, types, and the order of the layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py

parity: setup $(QLIB)/.stamp  ## the same numbers as pyqlib, run side by side
	RAYBENCH_QLIB_PYTHON=$(CURDIR)/$(QLIB)/bin/python $(BIN)/pytest -m parity

cases: setup  ## small inputs from public bug reports, where they are there
	@cases="$${RAYBENCH_SHARED:-../shared}/cases"; if [ -f "$$cases/run.py" ]; then \
	    room=$$(mktemp -d) && trap 'rm -rf "$$room"' EXIT && \
	    CASES_ROOM="$$room" RAYBENCH="$(CURDIR)/$(BIN)/raybench" $(BIN)/python "$$cases/run.py"; \
	else echo "no cases in $$cases: nothing to run"; fi

bench: setup $(QLIB)/.stamp  ## every benchmark at full size: hours; see benchmarks/README.md
	RAYBENCH_QLIB_PYTHON=$(CURDIR)/$(QLIB)/bin/python $(BIN)/python -m benchmarks

setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "raybench needs Python 3.11 or newer with venv on the PATH (or make PYTHON=...)"; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,lightgbm,onnx,tensorboard]"
	@touch $@

$(QLIB)/.stamp: constraints-qlib.txt
	@test -n "$(PYTHON)" || { echo "raybench needs Python 3.11 or newer with venv on the PATH (or make PYTHON=...)"; exit 2; }
	"$(PYTHON)" -m venv $(QLIB)
	$(QLIB)/bin/python -m pip install --quiet --constraint constraints-qlib.txt pyqlib torch
	@touch $@

clean:  ## what make and the tools left here, environments included
	rm -rf $(VENV) $(QLIB) $(OUT) .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
