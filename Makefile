# `make` lists what there is to make. Everything happens in .venv; nothing is installed
# elsewhere but the Debian packages that `make test` names.

python := .venv/bin/python
# What `make run` hands to `costmeter serve`: make run ARGS="--config.file costmeter.yml"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format generate bench clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: ## Set up and run costmeter on http://127.0.0.1:9952/ (flags: ARGS="...")
	@scripts/venv run
	@echo "Starting costmeter. Open http://127.0.0.1:9952/ and send a first event; Ctrl-C stops it."
	@exec $(python) -m costmeter serve $(ARGS)

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
	$(python) -m costmeter.metrics.reference --check
	$(python) -m costmeter.pricing.compile --check
	$(python) -m pytest -m "not benchmark"

format: ## Format the code and mend what the linter can mend
	@scripts/venv dev
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

generate: ## Write the generated files anew: references, default configuration, prices
	@scripts/venv dev
	$(python) -m costmeter.config.reference
	$(python) -m costmeter.metrics.reference
	$(python) -m costmeter.pricing.compile

bench: ## Print the figures, each beside its peer; takes several minutes
	@scripts/venv dev
	@for script in tests/benchmarks/bench_*.py; do \
	  echo "== $$script"; PYTHONPATH=tests $(python) "$$script" || exit 1; \
	done
	$(python) -m pytest -m benchmark -s -q

clean: ## Remove environments and caches; the ledger in costmeter-data stays
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find exporter tests -name __pycache__ -type d -prune -exec rm -rf {} +
