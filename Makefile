# Any Python from 3.11 on: make PYTHON=python3.13 repro
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
# Stages, tests and experiments find the environment's python and dvc first. The targets below name theirs: make 3.81,
# which macOS has, looks for programs in the PATH that it was started with.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Whatever environment is active, nothing outside of .venv is used or changed: these settings lead Python, pip and
# uv elsewhere, even where the environment is named.
unexport PYTHONHOME PYTHONPATH PIP_PREFIX PIP_PYTHON PIP_ROOT PIP_TARGET PIP_USER UV_WORKING_DIR

.PHONY: help environment repro recover experiments report plots demo worker test fuzz faults lint tour bench peers \
	results deps format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: .venv/requirements.txt ## Install the locked packages into .venv

# The copy of the lock is there while the environment is whole. Without it, an earlier make was interrupted and may have
# left packages in part, so the environment is made again.
.venv/requirements.txt: requirements.txt requirements-uv.txt
	@test -f $@ || rm -rf .venv
	@rm -f $@
	@test -d .venv || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is \
	missing or older than 3.11; name a newer one: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --no-deps --requirement requirements-uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --compile-bytecode --require-hashes requirements.txt
	cp requirements.txt $@

repro: environment ## Run the pipeline: whatever params.yaml asks for, rerunning only what changed
	$(BIN)/dvc repro

# Git takes a file whose size and times are those in its index for unchanged, without reading it. DVC, killed as it goes
# back to a commit, can leave an experiment's params.yaml and the commit's blob under the same times: touch makes Git read.
recover: ## After a failed or killed run: branch, params, metrics and outputs of the last commit; no image of yours is touched
	@$(PYTHON) -m json.tool .dvc/tmp/rwlock > /dev/null 2>&1 || rm -f .dvc/tmp/rwlock
	@git symbolic-ref -q HEAD > /dev/null || ! { git reflog -1 --format=%gs | grep -q '^commit: dvc: ' || \
		test "$$(git rev-parse HEAD)" = "$$(git rev-parse -q --verify '@{-1}')"; } || git switch -
	@git rm -q --cached --ignore-unmatch .dvc/tmp/repro.dat
	@touch -c params.yaml dvc.lock metrics/*
	@git diff HEAD -- params.yaml
	git checkout HEAD -- params.yaml dvc.lock metrics && dvc checkout --force --allow-missing dvc.yaml

demo: environment ## Serve a page to draw on, on this computer alone: make demo PORT=8001
	$(BIN)/python -m commands.demo --port $(PORT)

worker: environment ## Help another host to train: see docs/scaling.md
	$(BIN)/python -m commands.worker

# --drop takes a regular expression: here it matches every column but those that are named.
experiments: environment ## List the experiments in 80 columns: accuracy, dataset, model, seed; SHOW=-A for all commits
	$(BIN)/dvc exp show --no-pager --hide-workspace \
		--drop '(?!(Experiment|State|accuracy|dataset|model|seed)$$)' $(SHOW)

report: environment ## Draw all charts and figures on one page that needs no network
	$(BIN)/python -m commands.report

plots: report

# One thread for each process of the tests, so that they don't wait for each other's. All tests but those of CUDA expect
# the CPU; those of CUDA run first, alone on the GPU.
test: environment ## Run the tests, on up to four processors
	@status=0; $(BIN)/pytest -rs tests/test_cuda.py || status=$$?; \
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist worksteal \
		--ignore tests/test_cuda.py && exit $$status

fuzz: environment ## Read 11,000 damaged and malicious files of every kind, or as many as FUZZ says: make fuzz FUZZ=50000
	$(BIN)/python -m tests.fuzz $(FUZZ)

lint: environment ## Check style, types and workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet --strict-collection .github/workflows

faults: environment ## Kill the pipeline at random moments, run out of memory and of room, and write the figures: FAULTS=10
	$(BIN)/python -m tests.faults $(FAULTS)

tour: environment ## Execute docs/tour.ipynb and store its outputs
	$(BIN)/python -m tests.tour

bench: environment ## Measure training against the tutorials' loops and peers, and write docs/benchmarks.md; BENCH=--quick for less
	$(BIN)/python -m benchmarks.training $(BENCH)
	$(BIN)/python -m benchmarks.peers $(BENCH)

peers: environment ## Measure the peers alone: JAX, Keras, fastai, Lightning, scikit-learn, LightGBM, PyTorch's example
	$(BIN)/python -m benchmarks.peers $(BENCH)

results: environment ## Sweep all models on three datasets over ten seeds (takes hours), and put their summary into the README
	$(BIN)/python -m commands.sweep -S dataset=digits,mnist,fashion_mnist -S model=linear,mlp,cnn,resnet -S 'seed=range(10)' $(SWEEP)
	$(BIN)/python -m commands.summarize '*-linear-seed?' '*-mlp-seed?' '*-cnn-seed?' '*-resnet-seed?' --into README.md

deps: environment ## Bring the deps in dvc.yaml up to date with the imports
	$(BIN)/python -m tests.imports

format: environment ## Format the code and fix what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: environment ## Renew requirements.txt from pyproject.toml
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--group dev --output-file requirements.txt pyproject.toml
	echo uv | $(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --output-file requirements-uv.txt -

clean: ## Remove the environment and the tools' caches, but no data and no results
	rm -rf .venv .venv-peers .mypy_cache .pytest_cache .ruff_cache
