# The main commands are `make demo` and `make test`. Both first install what they need in $(VENV),
# and reuse it the next time. You can use an existing environment; its torch is kept:
#   make demo VENV=$CONDA_PREFIX

VENV ?= .venv
export VENV
export PYTHON TORCH AUTO_APT MAX_JOBS ECLIP_MM_CACHE
export PYTHONUNBUFFERED := 1

SHELL := /bin/bash
BIN := $(abspath $(VENV))/bin
SETUP := bash tools/setup_env.sh

.DEFAULT_GOAL := help
.PHONY: help demo demo-generated page test lint format env env-det clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo
	@echo '  Variables: VENV (environment, default .venv), PYTHON (interpreter that makes VENV),'
	@echo '  TORCH (torch to install if VENV has none, default torch==2.13.0), ARGS (arguments of'
	@echo '  the demo, the page or pytest).'

demo: ## train on real photos from pretrained towers, print a table and draw pictures
	@$(SETUP)
	$(BIN)/python tools/demo.py $(ARGS)

demo-generated: ## the same from scratch on a generated catalogue; downloads no weights
	@$(SETUP)
	$(BIN)/python tools/demo.py configs/demo/eclip_tiny_synthetic.py $(ARGS)

page: ## search the sample photos in the browser, with the model of the demo
	@$(SETUP) --app
	$(BIN)/python tools/demo_page.py $(ARGS)

test: ## run all tests, two at a time; installs mmdet and compiled mmcv ops
	@$(SETUP) --tests --det
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 20 $(ARGS)

lint: ## check the style of all files that git tracks, with the hooks of .pre-commit-config.yaml
	@$(SETUP) --dev
	PATH="$(BIN):$$PATH" $(BIN)/pre-commit run --all-files --show-diff-on-failure

format: ## fix what `make lint` reports, as far as ruff can
	@$(SETUP) --dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env: ## only install what pretraining needs; compiles nothing
	@$(SETUP)

env-det: ## only install; includes mmdet and compiled mmcv ops
	@$(SETUP) --det

clean: ## remove caches and build products, but not .venv, data/, work_dirs/ or demo_output/
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find eclip_mm tools tests projects configs -name __pycache__ -type d -prune -exec rm -rf {} +
