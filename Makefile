# All targets run in the environment .venv, which is updated when pyproject.toml or constraints.txt changes.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The static checks, which can run at the same time.
STATIC = format-check lint types imports plain-english

.PHONY: demo check test $(STATIC) quick-tests chaos bad-input bench parity reference format manifests lock clean

demo: .venv/demo
	.venv/bin/xlm demo demo-out

# Two worker processes, as many as CI has cores; tests/scheduling.py distributes the tests.
PYTEST = .venv/bin/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# The folders with quick tests. The tests of checkpoints start servers.
QUICK = tests/xlm_core tests/jobs tests/pipelines tests/infra tests/style --ignore tests/pipelines/checkpoints

check: .venv/test  ## the quick checks: all static ones, and the quick tests, which start neither Ray nor servers
	@$(MAKE) --no-print-directory --jobs --output-sync $(STATIC) quick-tests

test: .venv/test  ## everything that CI checks
	@$(MAKE) --no-print-directory --jobs --output-sync $(STATIC)
	$(PYTEST)

format-check: .venv/test
	.venv/bin/ruff format --check .

lint: .venv/test
	.venv/bin/ruff check .

types: .venv/test
	.venv/bin/basedpyright

imports: .venv/test
	.venv/bin/lint-imports

plain-english: .venv/test
	.venv/bin/python -m tests.style.plain_english

quick-tests: .venv/test
	$(PYTEST) -m "not slow and not long" --hypothesis-profile quick $(QUICK)

chaos: .venv/test  ## inject every kind of fault and write the results to a table; takes half an hour
	.venv/bin/python -m tests.chaos.run tests/chaos/CHAOS.md

bad-input: .venv/test  ## give every kind of bad input to a job, and write the table of the messages
	.venv/bin/python -m tests.chaos.bad_input.catalogue

bench: .venv/test  ## measure speed, and keep the table in tests/bench/RESULTS.md; XLM_TEST_CORPORA: texts to run on
	.venv/bin/python -m tests.bench.run

parity: .venv/test  ## write the table of the largest differences from the reference
	XLM_PARITY_TABLE=tests/parity/PARITY.md .venv/bin/python -m pytest tests/parity

reference: .venv/test  ## write the references of job files into jobs/README.md and jobs/TRAINING.md
	.venv/bin/python -m tests.docs.job_reference

format: .venv/test
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

manifests: .venv/test  ## write the manifests of infra/kuberay again, after a change of jobs/submission/kuberay
	.venv/bin/xlm submit infra/kuberay/base/job.yaml --kuberay --secret object-store > infra/kuberay/base/ray-job.yaml

lock: .venv/test  ## record the installed versions, after the tests have passed with them
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
	# an Azure server on loopback; its tests are skipped without npm
	command -v npm > /dev/null && npm install --silent --no-audit --no-fund --prefix .venv/azurite azurite@3 || true
	touch $@
