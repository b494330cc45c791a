# `make dev` runs Lifecycle here, `make test` runs everything CI runs. Both install what is missing first.

RUN := .venv/bin

.PHONY: help setup dev demo test check unit integration acceptance chaos fmt bench docs

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## Install what is missing; a second run does nothing
	@scripts/setup

dev: setup ## Start everything on this machine; Ctrl-C stops it
	@$(RUN)/lifecycle dev

demo: setup ## The same, then tell the story: deploy, roll back, promote, delete, verify the receipt
	@$(RUN)/python scripts/demo.py

check: setup ## Format, lint, types, unit tests: seconds
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/ruff check --quiet .
	@$(RUN)/mypy
	@$(RUN)/pytest tests/unit -q

test: ## Everything that CI runs
	@scripts/setup --tests
	@$(MAKE) --no-print-directory check
	@$(RUN)/pytest tests/integration/certs -m "not chaos"
	@$(RUN)/pytest tests/integration --ignore tests/integration/certs -m "not chaos"
	@$(RUN)/pytest tests/acceptance -m "not chaos"

unit: setup ## Only the unit tests
	@$(RUN)/pytest tests/unit -q

integration: ## Only the integration tests
	@scripts/setup --tests
	@$(RUN)/pytest tests/integration

acceptance: ## Only the acceptance tests
	@scripts/setup --tests
	@$(RUN)/pytest tests/acceptance

chaos: setup ## Kill the real servers for minutes and check the history
	@$(RUN)/pytest tests/chaos tests/integration/deploy tests/integration/certs -m chaos

fmt: setup ## Format and mend what can be mended
	@$(RUN)/ruff format --quiet .
	@$(RUN)/ruff check --fix --quiet .

docs: setup ## Write the generated pages anew: errors, settings, API
	@$(RUN)/python scripts/generate_docs.py

bench: ## Run every benchmark; each prints a table with its own baseline
	@scripts/setup --tests
	@for script in benchmarks/[a-z]*.py; do $(RUN)/python $$script; done
