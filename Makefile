# All the set-up there is: each target makes the virtual environment first, from a machine with Python and make alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The demo: enough epochs for AP50 >= 0.5 on its validation images, in under 10 minutes on 2 cores.
DEMO_TRAIN ?= --data demo --backbone tiny_moat0 --imgsz 192 --epochs 20 --batch 16 --seed 0
DEMO := runs/demo

# Tests share the cores as processes, one thread each: small tensors gain nothing from more threads.
PYTEST_ARGS ?= -n logical --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format docs clean

help:
	@echo "make demo     train, validate and detect on the demo set (makes $(VENV) first)"
	@echo "make test     run the tests (makes $(VENV) first)"
	@echo "make lint     ruff, mypy and import-linter (makes $(VENV) first)"
	@echo "make format   let ruff mend what it can"
	@echo "make docs     build the documentation into site/ (makes $(VENV) first)"
	@echo "make install  only make $(VENV)"
	@echo "make clean    remove caches and builds; runs/, weights/ and $(VENV) stay"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "No '$(PYTHON)' here: install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$$($(PYTHON) --version 2>&1) is too old: Python 3.10 or newer is needed: make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/moat train $(DEMO_TRAIN) --project $(DEMO) --name train --exist-ok
	$(BIN)/moat val --weights $(DEMO)/train/weights/best.pt --data demo --project $(DEMO) --name val --exist-ok
	$(BIN)/moat detect --weights $(DEMO)/train/weights/best.pt --project $(DEMO) --name detect --exist-ok \
		--source "$$($(BIN)/python -c 'from moat_det.demo import demo_dataset as d; print(d().parent)')/images/val"
	@echo
	@echo "Losses and curves of the training: $(DEMO)/train"
	@echo "COCO mAP, curves, confusion matrix: $(DEMO)/val"
	@echo "Pictures with their detections: $(DEMO)/detect"

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A page may link to other sites, but loads nothing from them: a reader needs no network.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@! grep -rnE '<(script|link|img|iframe)[^>]* (src|href)="?(https?:)?//' site --include='*.html' || { \
		echo "These load something from another site" >&2; exit 1; }

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache
	find moat_det tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
