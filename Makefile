# What people type. Everything lives in .venv; a second call sets nothing up again.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help run test test-slow lint docs clean
.NOTPARALLEL:

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

run: $(VENV)/.installed ## Set up, train and score the quick suite, build the report (ARGS="..." goes to mmvae-bench run)
	$(BIN)/mmvae-bench run $(ARGS)
	$(BIN)/mmvae-bench report

# One thread a process: two workers on two cores would otherwise start four.
test: $(VENV)/.dev ## Set up and run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" --durations=10

test-slow: $(VENV)/.dev ## The tests that take minutes or need real data
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m slow --durations=10

lint: $(VENV)/.dev ## Style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev ## Build the documentation site: docs/_build/index.html
	$(BIN)/python -m sphinx -q -E -W --keep-going -n -c docs . docs/_build
	@echo "Open docs/_build/index.html"

clean: ## Remove the environment and what tools leave behind; results/ and reports/ stay
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mmvae-bench needs Python 3.11 or newer as '$(PYTHON)'; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing mmvae-bench into $(VENV): once, some minutes (PyTorch is large) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@echo "Installing the tools for tests and lint ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $@
