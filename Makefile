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
	$(BIN)/pytest $(ARGS)

# mypy has to find the package under its own name, whatever the checkout is called.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build/types && ln -sfn ../.. build/types/crossalign
	$(BIN)/mypy

docs: $(READY)  ## the documentation, into build/site; any warning is an error
	mkdir -p build/types && ln -sfn ../.. build/types/crossalign
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(READY)
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
