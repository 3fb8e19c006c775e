# picoauth: `make serve` runs the server, `make test` runs every test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := pyproject.toml requirements.txt constraints.txt $(wildcard plugins/*/pyproject.toml)
# What the example for directories is built with, and tested against: it is left out elsewhere.
LDAP := $(and $(wildcard /usr/include/ldap.h),$(wildcard /usr/include/sasl/sasl.h),$(wildcard /usr/sbin/slapd))
EXAMPLES := examples/picoauth-one-time-link examples/picoauth-postgres $(if $(LDAP),examples/picoauth-ldap)
# Not in requirements.txt: what libsql-client brings along is more than all the rest.
APART := plugins/picoauth-libsql plugins/picoauth-verify
# Tests of one file stay together: they share what is costly to start. 0 runs all in one process.
WORKERS ?= auto
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

help:  ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(VENV)/.serve  ## serve picoauth.toml on a unix socket and on loopback
	@$(BIN)/picoauth serve

test: $(VENV)/.test  ## run every test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.test  ## format, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(VENV)/.test  ## put the code into its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/.docs  ## build the documentation, warnings being errors
	@$(BIN)/sphinx-build --builder html --conf-dir docs --fail-on-warning --keep-going \
	    --nitpicky --quiet --fresh-env --doctree-dir docs/_build/doctrees . docs/_build/html
	@echo "docs/_build/html/index.html"

$(VENV)/.venv:
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: $(VENV)/.venv $(PROJECTS)
	@$(PIP) --requirement requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.serve $(wildcard examples/*/pyproject.toml)
	@$(PIP) --editable '.[dev]' $(APART:%=--editable %) $(EXAMPLES:%=--editable %)
	@touch $@

$(VENV)/.docs: $(VENV)/.serve
	@$(PIP) --editable '.[docs]'
	@touch $@

.PHONY: help serve test check format docs
