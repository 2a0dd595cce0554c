# Everything runs in .venv, which the first target makes from constraints.txt. Needs Python 3.10
# to 3.12 with its venv module: `make PYTHON=python3.11 demo` chooses another interpreter.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Waiting OpenMP threads sleep instead of burning the cores that others could use.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint docs bench clean

demo: $(READY)  ## train the built-in data set alone and aligned, and write a report
	$(BIN)/crossalign demo --jobs 2 --out runs/demo

test: $(READY)  ## CROSSALIGN_DATA=folder adds tests on real data; ARGS=... goes to pytest
	$(BIN)/pytest --numprocesses 2 $(ARGS)

lint: $(READY) build/types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The package under its own name, whatever the checkout is called, and without .venv and build in it.
MODULES := $(wildcard *.py) $(patsubst %/,%,$(dir $(wildcard */__init__.py)))
.PHONY: build/types
build/types:
	rm -rf $@ && mkdir -p $@/crossalign
	ln -s $(addprefix ../../../,$(MODULES) py.typed) $@/crossalign/

docs: $(READY) build/types  ## the documentation, into build/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(READY)  ## on a machine without other work, where a thread that waits should not sleep
	env -u OMP_WAIT_POLICY $(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
