# The environment is made anew when what it is made from changes; everything else runs in it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test chaos bench parity format lock clean

demo: .venv/demo
	.venv/bin/xlm demo demo-out

test: .venv/test
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports
	.venv/bin/python -m pytest

chaos: .venv/test  ## kills and breaks everything that can be, and writes down what came of it
	.venv/bin/python -m tests.chaos.run tests/chaos/CHAOS.md

bench: .venv/test  ## ratios to the reference, measured in one run
	.venv/bin/python tests/bench/bench_tokenizer.py
	.venv/bin/python tests/bench/bench_model.py
	.venv/bin/python tests/bench/bench_language_model.py

parity: .venv/test  ## the table of how near everything is to the reference
	XLM_PARITY_TABLE=tests/parity/PARITY.md .venv/bin/python -m pytest tests/parity

format: .venv/test
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: .venv/test  ## write down the versions that are installed, after the tests have passed with them
	.venv/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf .venv demo-out

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[fugashi]'
	touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[kytea,fugashi,rjieba,test]'
	# an Azure server on loopback, whose tests are passed over where there is no npm
	command -v npm > /dev/null && npm install --silent --no-audit --no-fund --prefix .venv/azurite azurite@3 || true
	touch $@
