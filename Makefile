# `make` lists the targets. Everything runs in .venv, which `make setup` builds from requirements.lock.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow lint types fmt docs bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## install what the project needs from Debian and PyPI

$(READY): requirements.lock pyproject.toml scripts/setup
	scripts/setup $(VENV) $(PYTHON)
	@touch $(READY)

demo: $(READY)  ## the main job: two tenants, their agents isolated, governed, metered
	$(BIN)/insula demo

test: $(READY)  ## pass the tests (the slow ones: make slow)
	$(BIN)/pytest -m "not slow" $(ARGS)

slow: $(READY)  ## pass the slow tests
	$(BIN)/pytest -m slow $(ARGS)

lint: $(READY)  ## style, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

fmt: $(READY)  ## rewrite in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## write the generated pages of docs/reference anew
	$(BIN)/python -m insula.cli.reference

bench: $(READY)  ## print every figure of SPECIFICATION.md, measured here
	$(BIN)/python -m benchmarks $(ARGS)

lock:  ## pin every dependency anew (needs uv)
	@{ head -2 requirements.lock; uv pip compile pyproject.toml --extra dev --extra local-model --extra tracing \
	    --extra simulation --extra valkey \
	    --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
