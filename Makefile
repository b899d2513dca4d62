# Two commands matter: `make demo` and `make test`. Both set up what they need in $(VENV) first,
# and reuse it the next time. An environment of your own is used as it is, with its torch kept:
#   make demo VENV=$CONDA_PREFIX

VENV ?= .venv
export VENV
export PYTHON TORCH AUTO_APT MAX_JOBS ECLIP_MM_CACHE
export PYTHONUNBUFFERED := 1

SHELL := /bin/bash
BIN := $(abspath $(VENV))/bin
SETUP := bash tools/setup_env.sh

.DEFAULT_GOAL := help
.PHONY: help demo test lint format env env-det clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo
	@echo '  Variables: VENV (default .venv), PYTHON (makes VENV), TORCH (what to install where'
	@echo '  there is no torch; default torch==2.13.0), ARGS (passed on to the demo or to pytest).'

demo: ## set up, train on a generated catalogue, print a table, write pictures
	@$(SETUP)
	$(BIN)/python tools/demo.py $(ARGS)

test: ## set up (mmdet and compiled mmcv ops included) and run all tests, two at a time
	@$(SETUP) --tests --det
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 20 $(ARGS)

lint: ## check style: the hooks of .pre-commit-config.yaml on all files that git knows
	@$(SETUP) --dev
	PATH="$(BIN):$$PATH" $(BIN)/pre-commit run --all-files --show-diff-on-failure

format: ## mend what `make lint` complains about, as far as ruff can
	@$(SETUP) --dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env: ## set up only: what pretraining needs, nothing compiled
	@$(SETUP)

env-det: ## set up only: with mmdet and compiled mmcv ops
	@$(SETUP) --det

clean: ## remove caches and build products (never .venv, data/, work_dirs/ or demo_output/)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find eclip_mm tools tests projects configs -name __pycache__ -type d -prune -exec rm -rf {} +
