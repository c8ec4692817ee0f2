# Everything that is run by hand, and all that CI runs. `make` alone lists the targets.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
E2E := $(wildcard tests/e2e)
# Two files of tests at a time (on four processors, four), those that start Ray one after the other.
BESIDE := --numprocesses logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder
CODE := serving runtimes protos benchmarks tests

.PHONY: help install demo test test-long test-gpu explore check format protos docs bench bench-gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with Bascule and its tools, once

# pip throughout: uv does not read pip's configuration, where a machine says which build of torch it
# wants, and may choose one that brings gigabytes of CUDA libraries to a machine without a GPU.
$(INSTALLED): pyproject.toml constraints.txt
	@python="$$(.ci/find-python)" && "$$python" -m venv $(VENV)
	@echo "installing some 2 GB into $(VENV), once: this takes some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

demo: $(INSTALLED) ## serve real models, flip a version and kill a worker under load; a short report
	$(BIN)/python -m benchmarks.demo

test: $(INSTALLED) ## all tests but the long ones
	$(BIN)/python -m pytest $(E2E) tests/integration tests/unit -m "not long and not gpu" $(BESIDE)

test-long: $(INSTALLED) ## the tests that take minutes each
	$(BIN)/python -m pytest tests/unit tests/integration $(E2E) -m long

test-gpu: $(INSTALLED) ## the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest tests/gpu -m gpu

explore: $(INSTALLED) ## the property tests, with a thousand new examples each: another thousand every time
	$(BIN)/python -m pytest tests/unit tests/integration -m "hypothesis and not long and not gpu" --hypothesis-profile=explore $(BESIDE)

check: $(INSTALLED) ## lint, format, types, layers, generated code
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m protos.generate --check

format: $(INSTALLED) ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

protos: $(INSTALLED) ## make the stubs in protos/generated again
	$(BIN)/python -m protos.generate

docs: $(INSTALLED) ## write what is made of the code and of reports: settings, schemas, metrics, tables
	$(BIN)/python -m benchmarks.settings_table
	$(BIN)/python -m benchmarks.comparison_table
	$(BIN)/python -m benchmarks.bundle_schema
	$(BIN)/python -m benchmarks.monitoring_files

bench: $(INSTALLED) ## the edge beside other servers, and engines alone: needs wrk and h2load
	@for tool in wrk h2load; do command -v $$tool >/dev/null || \
	  { echo "$$tool is not on PATH: apt-get install wrk nghttp2-client, then run make bench again" >&2; exit 1; }; done
	-$(BIN)/python -m benchmarks.peers.install
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.wide
	$(BIN)/python -m benchmarks.padding
	$(BIN)/python -m benchmarks.mixed

bench-gpu: $(INSTALLED) ## this node: engines alone and served, on CPU and CUDA: needs wrk
	$(BIN)/python -m benchmarks.gpu_node

clean: ## remove what these targets made, .venv included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
