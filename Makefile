# Any Python from 3.11 on: make PYTHON=python3.13 repro
PYTHON ?= python3
PORT ?= 8000
# Stages, tests and experiments find the environment's python and dvc first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help environment repro recover report plots demo test lint tour bench results deps format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: .venv/requirements.txt ## Install the locked packages into .venv

.venv/requirements.txt: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements-uv.txt
	uv pip sync --quiet --compile-bytecode --require-hashes requirements.txt
	cp requirements.txt $@

repro: environment ## Run the pipeline: whatever params.yaml asks for, rerunning only what changed
	dvc repro

recover: ## After a failed or killed run: branch, params, metrics and outputs of the last commit; no image of yours is touched
	@test -s .dvc/tmp/rwlock || rm -f .dvc/tmp/rwlock
	@git symbolic-ref -q HEAD > /dev/null || test "$$(git rev-parse HEAD)" != "$$(git rev-parse -q --verify '@{-1}')" || \
		git switch -
	@git diff HEAD -- params.yaml
	git checkout HEAD -- params.yaml dvc.lock metrics
	dvc checkout --allow-missing dvc.yaml

demo: environment ## Serve a page to draw on, on this computer alone: make demo PORT=8001
	python -m commands.demo --port $(PORT)

report: environment ## Draw all charts and figures on one page that needs no network
	python -m commands.report

plots: report

test: environment ## Run the tests
	pytest

lint: environment ## Check style and types
	ruff check
	ruff format --check
	mypy

tour: environment ## Execute docs/tour.ipynb and store its outputs
	python -m tests.tour

bench: environment ## Measure training against the tutorials' way and write docs/benchmarks.md; BENCH=--quick for less
	python -m benchmarks.training $(BENCH)

results: environment ## Train all models on all datasets over ten seeds (hours) and write the README's table
	python -m benchmarks.results $(RESULTS)

deps: environment ## Bring the deps in dvc.yaml up to date with the imports
	python -m tests.imports

format: environment ## Put the code into its format
	ruff format
	ruff check --fix

lock: environment ## Renew requirements.txt from pyproject.toml
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--group dev --output-file requirements.txt pyproject.toml
	echo uv | uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --output-file requirements-uv.txt -

clean: ## Remove the environment and the tools' caches, but no data and no results
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
