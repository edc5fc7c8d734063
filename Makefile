# One door for everything. Needs Python 3.11 or 3.12, make and git; the rest goes into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help reproduce test lab doctor data base evaluate report claims bench lock clean-runs

PROFILE ?= laptop
SEED ?= 1
DATA ?=
DATABASES ?=
MODEL ?=

RIGHT_PYTHON := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c '$(RIGHT_PYTHON)' >/dev/null 2>&1 && { command -v $$p; break; }; done)
PY := .venv/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
STAMP := .venv/.installed
RUN := --profile $(PROFILE) --seed $(SEED)

help: ## show this list
	@echo "make <target> [PROFILE=smoke|laptop|qwen3-1.7b|qwen3-4b] [SEED=1]"
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

reproduce: $(STAMP) ## run the five notebooks: sampling, SFT, curriculum RL, evaluation, report
	$(PY) -m mtsql_lib reproduce $(RUN)

test: $(STAMP) ## lint and run all tests
	.venv/bin/ruff check .
	$(PY) -m pytest

lab: $(STAMP) ## open the notebooks in JupyterLab
	.venv/bin/jupyter lab .

doctor: $(STAMP) ## check the installation, the data and the machine before a long run
	$(PY) -m mtsql_lib doctor --profile $(PROFILE)

data: $(STAMP) ## rebuild the bundled corpora in data/ (same bytes every time)
	$(PY) -m mtsql_lib data build

base: $(STAMP) ## pre-train the tiny base model from scratch
	$(PY) -m mtsql_lib base

evaluate: $(STAMP) ## evaluate MODEL=<path|gold> on DATA=<SParC or CoSQL folder> DATABASES=<folder>
	$(PY) -m mtsql_lib evaluate --profile $(PROFILE) $(if $(DATA),--data "$(DATA)") \
		$(if $(DATABASES),--databases "$(DATABASES)") $(if $(MODEL),--model "$(MODEL)")

report: $(STAMP) ## write the report of a run: HTML, Markdown and report.json
	$(PY) -m mtsql_lib report $(RUN)

claims: $(STAMP) ## test MTSQL-R1's takeaways over three seeds (hours; resumes)
	$(PY) -m mtsql_lib claims --profile $(PROFILE)

bench: $(STAMP) ## side-by-side measurements; each prints a ratio
	@for script in benchmarks/*.py; do test -e "$$script" || continue; $(PY) "$$script" || exit 1; done

# The stamp is written last, so an interrupted installation is taken up again. Torch goes first: nothing may replace it.
$(STAMP): requirements.lock
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 found: install one, or name it with make PYTHON=/path/to/python." >&2; exit 2; }
	@$(PY) -c 'import pip; $(RIGHT_PYTHON)' >/dev/null 2>&1 || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; }
	@echo "installing requirements.lock into .venv (once; some minutes)"
	@$(PY) $(PIP_INSTALL) "$$(grep '^torch==' requirements.lock)"
	@$(PY) $(PIP_INSTALL) -r requirements.lock
	@$(PY) $(PIP_INSTALL) --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@$(PY) -m compileall -q mtsql_lib
	@touch $@

# Torch brings its own CUDA packages where it needs them, and a local label (+cpu) exists only on some indexes: neither is locked.
lock: ## remake requirements.lock from pyproject.toml in a fresh environment
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python $(PIP_INSTALL) "$$(sed -n 's/^ *"\(torch==[^"]*\)",.*/\1/p' pyproject.toml)"
	@.venv-lock/bin/python $(PIP_INSTALL) -c constraints.txt ".[dev]"
	@{ echo "# Made by make lock from pyproject.toml (with the dev extra); do not edit."; \
		.venv-lock/bin/python -m pip freeze --all --exclude pip --exclude mtsql-lib \
		| sed 's/^\(torch==[^+]*\)+.*/\1/' | grep -v -i -E '^(nvidia-|cuda-|triton==)' | LC_ALL=C sort -f; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@rm -rf .venv-lock build

clean-runs: ## delete runs/: every run, and the training state of make base
	rm -rf runs
