# `make` lists what there is to make. Everything happens in .venv; nothing is installed
# elsewhere but the Debian packages that `make test` names.

python := .venv/bin/python
# What `make run` hands to `costmeter serve`: make run ARGS="--config.file costmeter.yml",
# and `make demo` to `costmeter demo`.
ARGS ?=
# Tests on all cores and one more, for many wait for programs and disks; each file in one process:
# what a file sets up is set up once.
PARALLEL ?= -n $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1))) --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help run demo test check search format generate bench clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: ## Set up and run costmeter on http://127.0.0.1:9952/ (flags: ARGS="...")
	@scripts/venv run
	@echo "Starting costmeter. Open http://127.0.0.1:9952/ and send a first event; Ctrl-C stops it."
	@exec $(python) -m costmeter serve $(ARGS)

demo: ## Watch a budget be crossed and the page arrive here (flags: ARGS="...")
	@scripts/venv run
	@exec $(python) -m costmeter demo $(ARGS)

test: ## Set up everything on a fresh machine, then run every check
	@scripts/packages
	@$(MAKE) --no-print-directory check

check: ## Format, lint, types, imports, generated files, rules and tests
	@scripts/venv dev
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	$(python) -m mypy
	.venv/bin/lint-imports
	$(python) -m costmeter.config.reference --check
	$(python) -m costmeter.config.json_schema --check
	$(python) -m costmeter.cli.reference --check
	$(python) -m costmeter.metrics.reference --check
	$(python) -m costmeter.pricing.compile --check
	$(python) -m dashboards.build --check
	$(python) -m deploy.build --check
	$(python) -m pytest -m "not benchmark" $(PARALLEL)

search: ## Let the property tests draw new cases, which `make test` does not
	@scripts/venv dev
	COSTMETER_HYPOTHESIS=search $(python) -m pytest -m "hypothesis and not benchmark" $(PARALLEL)

format: ## Format the code and mend what the linter can mend
	@scripts/venv dev
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

generate: ## Write the generated files anew: references, default configuration, prices
	@scripts/venv dev
	$(python) -m costmeter.config.reference
	$(python) -m costmeter.config.json_schema
	$(python) -m costmeter.cli.reference
	$(python) -m costmeter.metrics.reference
	$(python) -m costmeter.pricing.compile
	$(python) -m dashboards.build
	$(python) -m deploy.build

bench: ## Print the figures, each beside its peer; takes several minutes
	@scripts/venv dev
	@for script in tests/benchmarks/bench_*.py; do \
	  echo "== $$script"; PYTHONPATH=tests $(python) "$$script" || exit 1; \
	done
	$(python) -m pytest -m benchmark -s -q

clean: ## Remove environments and caches; the ledger in costmeter-data stays
	rm -rf .venv .venv-* .tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find exporter tests -name __pycache__ -type d -prune -exec rm -rf {} +
