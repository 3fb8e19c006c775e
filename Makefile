# picoauth: `make serve` runs the server, `make test` runs every test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := pyproject.toml requirements.txt constraints.txt $(wildcard plugins/*/pyproject.toml)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

help:  ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(VENV)/.serve  ## serve picoauth.toml on a unix socket and on loopback
	@$(BIN)/picoauth serve

test: $(VENV)/.test  ## run every test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.test  ## format, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/.test  ## put the code into its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

$(VENV)/.venv:
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: $(VENV)/.venv $(PROJECTS)
	@$(PIP) --requirement requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.serve
	@$(PIP) --editable '.[dev]' --editable plugins/picoauth-verify
	@touch $@

.PHONY: help serve test check format
