# The daily habits. `make run` and `make test` set up everything they need; a second call takes seconds.
PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OWN_MODELS := telepathy telepathy-commercial

.PHONY: help run setup test check fix audit model clean

help:  ## Say what can be done here
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

run: setup  ## Start the workbench on http://localhost:8501 (PORT= overrides)
	$(BIN)/streamlit run app.py --server.port $(PORT)

setup: $(READY)  ## Create .venv, install pinned packages, migrate the store
	@$(BIN)/python -m core.store migrate

$(READY): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Telepathy needs Python 3.11 or newer; $(PYTHON) is older. Use: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $(READY)

test: $(READY)  ## Run every test, two at a time; those of a live stream, which is in real time, alone
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/browser
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/browser --ignore tests/browser/test_live.py
	$(BIN)/python -m pytest tests/browser/test_live.py

check: $(READY)  ## Lint, format check and types, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

fix: $(READY)  ## Format and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(READY)  ## Look up known vulnerabilities of everything that is pinned (asks PyPI)
	$(BIN)/pip-audit --requirement requirements.txt --requirement constraints.txt --no-deps --disable-pip --strict

model: $(READY)  ## Make the committed models from ../shared/corpora; goes on where it stopped
	$(BIN)/python -m training train
	for name in $(OWN_MODELS); do \
		$(BIN)/python -m training base-sample $$name && $(BIN)/python -m training surrogate --model $$name || exit 1; \
	done
	for name in $(OWN_MODELS) whisper; do $(BIN)/python -m training card $$name || exit 1; done

clean:  ## Remove .venv and caches; recordings and the store stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
