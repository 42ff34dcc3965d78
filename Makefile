# make repro   regenerate every table, on a machine with Python 3.11 and pip
# make repro JOBS=1    one cell after the other; by default as many at a time as params.yaml says
# make test    lint, types and tests
# make pdf     reports/report.pdf, out of reports/report.tex (needs pdflatex)
# make cost    what the current params would take: requests, tokens, dollars, hours
# make ledger  what the calls in the call log have cost, by stage and model
# make budget USD=5    stop every run before the calls in the call log cost more
# make scale SCALE=paper    choose a scale: laptop (default), paper, open, tiny
# make clean   drop the environment (results, models and the call log stay)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
SCALE ?= laptop
JOBS ?= $(shell sed -n 's/^jobs: *\([0-9]*\).*/\1/p' params.yaml)
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: repro pdf test check cost ledger budget scale install clean

repro: install
	python -m stages.check --params params.yaml --prompts prompts
	$(if $(filter-out 1,$(JOBS)),python -m stages.jobs --jobs $(JOBS),dvc repro)

# The date of the file is fixed, so that the same report gives the same bytes.
pdf:
	@command -v pdflatex >/dev/null || { echo "error: pdflatex is not installed" >&2; exit 1; }
	cd reports && for pass in 1 2; do SOURCE_DATE_EPOCH=1727740800 FORCE_SOURCE_DATE=1 \
	  pdflatex -interaction=nonstopmode -halt-on-error report.tex >/dev/null \
	  || { tail -n 20 report.log >&2; exit 1; }; done
	cd reports && rm -f report.aux report.log report.out

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
