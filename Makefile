# make setup | test | parity | lint | type | house | docs | demo | bench | format | dist | clean
#
# Everything runs on a bare machine with Python 3.11: each target makes the environment that it needs.
# `make PYTHON=/path/to/python test` takes another interpreter.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := dev,docs,rl,train,demo,heif,eval,forge,mcp,provenance,scale,serve,watch

# The demo needs a hundredth of what the tests need: a light environment of its own, unless the full one is there.
DEMO_VENV := $(if $(wildcard $(STAMP)),$(VENV),.venv-demo)
DEMO_STAMP := $(DEMO_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup test parity lint type house format docs demo bench dist clean

help:
	@echo 'make setup   make $(VENV) with everything that the tests need'
	@echo 'make test    ruff, mypy, pytest with doctests'
	@echo 'make parity  all comparisons with the authors'"'"' own numbers, the long ones too'
	@echo 'make lint    ruff check and ruff format --check'
	@echo 'make type    mypy'
	@echo 'make house   files, lines, twin names, circles, inner arrows, what is too long'
	@echo 'make format  let ruff rewrite the sources'
	@echo 'make docs    build the documentation, strictly, to site/'
	@echo 'make demo    check photographs and forgeries made of them, write pixelsleuth-demo/report.html'
	@echo 'make bench   speed, memory and installed size of this machine'
	@echo 'make dist    wheel and source archive in dist/'
	@echo 'make clean   remove what the other targets made'

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[$(EXTRAS)]' -c constraints.txt
	@touch $@

# Every check runs even when an earlier one failed, so that one call shows all there is to mend; pytest's summary is last.
# Two processes, a test file in one of them: what tests compute does not use two cores, and files share what they load.
# Files in the order of tests/conftest.py, not by their number of tests: those with slow tests begin.
# mypy runs beside them and is heard only where it found something, then behind pytest's summary.
test: $(STAMP)
	@status=0; types=$$(mktemp); \
	$(BIN)/mypy >"$$types" 2>&1 & checker=$$!; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not thorough' || status=1; \
	wait "$$checker" || { status=1; cat "$$types"; }; \
	rm -f "$$types"; \
	exit $$status

parity: $(STAMP)
	$(BIN)/python -m pytest tests/parity tests/scale/test_ray.py tests/scale/test_engine.py tests/docs/test_pages.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP)
	$(BIN)/mypy

house:
	$(PYTHON) benchmarks/house.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv-demo/.installed: pyproject.toml constraints.txt
	test -x .venv-demo/bin/python || $(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet -e '.[demo]' -c constraints.txt
	@touch $@

# Strict: a dead link, a page without a place and a generated part that there is not are errors.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

demo: $(DEMO_STAMP)
	$(DEMO_VENV)/bin/pixelsleuth demo

bench: $(STAMP)
	$(BIN)/python benchmarks/speed.py

dist: $(STAMP)
	$(BIN)/python -m build --no-isolation --outdir dist

clean:
	rm -rf .venv .venv-demo dist build site .mypy_cache .pytest_cache .ruff_cache .hypothesis pixelsleuth-demo
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
