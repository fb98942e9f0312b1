# make setup | check | test | parity | coverage | mutants | lint | type | house | docs | notebooks | demo | bench | format | dist | release | clean
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

# The tools that build and check packages, beside the light core.
RELEASE := .venv-release

# What `make check` tests: the rooms that judge a picture and the house; no torch, no Ray, no service.
FAST := $(wildcard tests/test_*.py) $(addprefix tests/,cli compact core data evaluation evidence pictures reporting)

.DEFAULT_GOAL := help
.PHONY: help setup check test parity coverage mutants lint type house format docs notebooks demo bench dist release clean

help:
	@echo 'make setup   make $(VENV) with everything that the tests need'
	@echo 'make check   ruff, mypy and the fast tests, those of what judges a picture: before a commit'
	@echo 'make test    ruff, mypy, pytest with doctests'
	@echo 'make parity  all comparisons with the authors'"'"' own numbers, the long ones too'
	@echo 'make coverage  the tests once more, and which share of src they run, by room'
	@echo 'make mutants   change a sample of lines in parsers and metrics: which changes no test notices'
	@echo 'make lint    ruff check and ruff format --check'
	@echo 'make type    mypy'
	@echo 'make house   files, lines, twin names, circles, inner arrows, what is too long'
	@echo 'make format  let ruff rewrite the sources'
	@echo 'make docs    build the documentation, strictly, to site/'
	@echo 'make notebooks  run the notebooks and keep their outputs in them'
	@echo 'make demo    check photographs and forgeries made of them, write pixelsleuth-demo/report.html'
	@echo 'make bench   speed, memory and installed size of this machine'
	@echo 'make dist    wheel, source archive, bill of materials and checksums in dist/, checked'
	@echo 'make release  refuse what is no release, else test and make dist; TAG=--tag also tags'
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
check: TESTS := not thorough and not slow
check: PLACES := $(FAST)
test: TESTS := not thorough
check test: $(STAMP)
	@status=0; types=$$(mktemp); \
	$(BIN)/mypy >"$$types" 2>&1 & checker=$$!; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m '$(TESTS)' $(PLACES) || status=1; \
	wait "$$checker" || { status=1; cat "$$types"; }; \
	rm -f "$$types"; \
	exit $$status

parity: $(STAMP)
	$(BIN)/python -m pytest tests/parity
	$(BIN)/python -m pytest -m thorough --ignore tests/parity

# A run of its own: counting lines costs time that the other targets do not have.
coverage: $(STAMP)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not thorough'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python tools/rooms.py

mutants: $(STAMP)
	$(BIN)/python tools/mutants.py

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

notebooks: $(STAMP)
	$(BIN)/python tools/notebooks.py

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

$(RELEASE)/.installed: pyproject.toml constraints.txt
	test -x $(RELEASE)/bin/python || $(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet -e '.[release]' -c constraints.txt
	@touch $@

dist: $(RELEASE)/.installed
	$(RELEASE)/bin/python tools/dist.py dist

# What refuses a release is asked before anything is installed.
release:
	@$(PYTHON) tools/release.py --state
	@$(MAKE) --no-print-directory $(RELEASE)/.installed $(STAMP)
	$(RELEASE)/bin/python tools/release.py $(TAG)

clean:
	rm -rf .venv .venv-demo $(RELEASE) dist build site .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* pixelsleuth-demo
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
