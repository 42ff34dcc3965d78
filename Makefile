# make repro   regenerate every table, on a machine with Python 3.11 and pip
# make repro JOBS=2    with several cells at a time
# make test    lint, types and tests
# make cost    what the current params would take: requests, tokens, dollars, hours
# make ledger  what the calls in the call log have cost, by stage and model
# make budget USD=5    stop every run before the calls in the call log cost more
# make scale SCALE=paper    choose a scale: laptop (default), paper, open, tiny
# make clean   drop the environment (results, models and the call log stay)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
SCALE ?= laptop
JOBS ?= 1
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: repro test check cost ledger budget scale install clean

repro: install
	python -m stages.check --params params.yaml --prompts prompts
	$(if $(filter-out 1,$(JOBS)),python -m stages.jobs --jobs $(JOBS),dvc repro)

test: export PYTHONDONTWRITEBYTECODE = 1

# A process a core: what tests compute is small, so that more threads in each would only wait.
test: install check
	OMP_NUM_THREADS=1 pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: install
	ruff check .
	ruff format --check .
	mypy

cost: install
	@python -m stages.cost --params params.yaml --pipeline dvc.yaml

ledger: install
	@python -m stages.ledger --params params.yaml

budget: install
	@test -n "$(USD)" || { echo "error: make budget USD=<dollars>" >&2; exit 1; }
	@python -m stages.ledger --params params.yaml --budget "$(USD)"

scale: install
	@test -f scales/$(SCALE).yaml || { echo "error: no scales/$(SCALE).yaml" >&2; exit 1; }
	python -m stages.check --params scales/$(SCALE).yaml --prompts prompts
	cp scales/$(SCALE).yaml params.yaml

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	touch $@

clean:
	rm -rf $(VENV)
