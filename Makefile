# `make demo` and `make test` do all their own set-up: Python 3.10 or newer with pip is enough.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= metamodal-demo

.PHONY: demo test check bench clean

demo: .venv/installed
	$(BIN)/metamodal demo --out $(OUT)

test: .venv/dev-installed
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST)

check: .venv/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/dev-installed
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
