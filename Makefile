# `make demo`: install what is needed, minify a sample image, show before and after.
# `make test`: install what is needed, run all the tests.
SHELL := /bin/bash
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin

.PHONY: help setup setup-tests demo test test-unit lint bench clean

help:
	@echo "make demo | test | test-unit | lint | bench | setup | clean"

setup-tests:
	@scripts/setup --tests

setup:
	@scripts/setup

demo: setup
	@scripts/with-engine scripts/demo

test: setup-tests lint
	@scripts/with-engine scripts/run-tests

test-unit: setup
	@$(BIN)/python -m pytest tests/unit

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup
	@scripts/with-engine $(BIN)/python -m benchmarks.run

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
