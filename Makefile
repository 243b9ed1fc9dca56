# One word a job. `make demo` and `make test` set everything up on a machine that has Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= ../shared/data
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format proto docs bench bench-main bench-parse bench-detect bench-sets bench-feedback bench-workflow bench-pipeline bench-faults guard guard-record clean plugin lock

help:  ## List the jobs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(READY)  ## Create the environment in .venv and install the project with its tools

$(READY): pyproject.toml constraints.txt
	@echo "creating the environment in $(VENV) (a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: install  ## The main job end to end: learn, serve, stream, compare with the known faults
	@$(BIN)/deeplog-grpc demo

test: install  ## All tests and doctests
	$(BIN)/python -m pytest -n 3 --dist worksteal  # much of it waits: three at once on two cores

lint: install  ## Style, types, layers, contract, known vulnerabilities, secrets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python -m tools.audit
	$(BIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline $$(git ls-files) || [ $$? -eq 3 ]  # 3: lines have moved
	@if git rev-parse --verify --quiet HEAD:proto >/dev/null; then $(BIN)/buf breaking --against '.git#ref=HEAD'; fi

format: install  ## Put sources into the project's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

proto: install  ## Generate the code in deeplog_grpc/v1 and deeplog_grpc/foreign from proto/
	cd proto && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=.. --pyi_out=.. --grpc_python_out=.. deeplog_grpc/v1/*.proto
	cd proto && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=.. --pyi_out=.. deeplog_grpc/foreign/*.proto

docs: install  ## Write docs/config.yaml from the configuration's own descriptions
	env -i $(BIN)/deeplog-grpc config > docs/config.yaml

bench: install  ## Speed: stages, curves, peers, training, server, latency, memory, workers (DATA=folder)
	$(BIN)/python -m benchmarks.speed --data $(DATA)

bench-main: install  ## Accuracy and speed of the main job on real logs (DATA=folder)
	$(BIN)/python -m benchmarks.main --data $(DATA)

bench-parse: install  ## The parser beside Drain3: accuracy and speed (DATA=folder)
	$(BIN)/python -m benchmarks.parse --data $(DATA)

bench-detect: install  ## Detection on key sequences beside simple rules (DATA=folder)
	$(BIN)/python -m benchmarks.detect --data $(DATA)

bench-feedback: install  ## Feedback: labels, false alarms, forgetting, updates, crashes (DATA=folder)
	$(BIN)/python -m benchmarks.feedback --data $(DATA)

bench-workflow: install  ## Workflows beside known ones, on real logs, and what they cost (DATA=folder)
	$(BIN)/python -m benchmarks.workflow --data $(DATA)

bench-pipeline: install  ## Routes, shipper, learning mode; FLUENT_BIT=program adds Fluent Bit's routes (DATA=folder)
	$(BIN)/python -m benchmarks.pipeline --data $(DATA)

bench-faults: install  ## Kills, floods, overload, soak: what is lost and held (DATA=folder PARTS=some SOAK_MINUTES=30)
	$(BIN)/python -m benchmarks.faults --data $(DATA) $(PARTS)

bench-sets: install  ## Detection on other labelled logs beside simple rules (DATA=folder)
	$(BIN)/python -m benchmarks.sets --data $(DATA)

guard: install  ## Count the instructions of fixed work and compare with what is recorded (needs valgrind)
	@$(BIN)/python -m benchmarks.instructions

guard-record: install  ## Record the instructions of fixed work
	@$(BIN)/python -m benchmarks.instructions --record

clean:  ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

plugin:  ## The output plugin of Fluent Bit (NGHTTP2=sources of nghttp2: needs libc only)
	$(MAKE) -C plugins/fluent-bit/out_deeplog NGHTTP2=$(abspath $(NGHTTP2))

lock: install  ## The packages of the image with their hashes, from pyproject.toml and constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	@# Resolved as for a Mac, where torch needs none of CUDA; the hashes are those of all platforms.
	MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip compile pyproject.toml --quiet --no-config --constraint constraints.txt \
		--generate-hashes --no-annotate --no-emit-package torch --python-version 3.11 --python-platform aarch64-apple-darwin \
		--custom-compile-command "make lock" --output-file deploy/docker/requirements.txt
