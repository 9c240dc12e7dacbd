# make demo: install, run the default sweep on MNIST-1D and print the path of its report.
# make docs: install with the docs extra and build the documentation into build/docs.
# make test: install with the test extra, then run ruff, mypy and all tests except the long ones, in two processes, as CI does.
# make test-all: run the long tests too.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip install --quiet --disable-pip-version-check --root-user-action=ignore

.PHONY: demo docs test test-all picture clean

demo: $(VENV)/.installed
	$(RUN) orchestrator.sweep --datasets mnist1d --seeds 3

test: $(VENV)/.installed-test
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	@$(RUN) mypy & types=$$!; $(RUN) pytest -n 2; tests=$$?; wait $$types && exit $$tests

test-all: $(VENV)/.installed-test
	$(RUN) pytest -n 2 -m ''

docs: $(VENV)/.installed-docs
	$(RUN) sphinx -W --keep-going -q -b html docs build/docs
	@echo 'The documentation: build/docs/index.html'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; name one: make PYTHON=python3.12'; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@

# README's and RESULTS' numbers, README's pictures and the notebook's outputs, from the demo's store; needs Chromium
picture: demo $(VENV)/.installed-test
	$(RUN) tests.docs.demo_numbers sweeps
	$(RUN) tests.browser.pictures sweeps/report.html docs
	$(RUN) tests.browser.notebook sweeps

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
