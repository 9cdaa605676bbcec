# `make demo` and `make test` set everything up first. TORCH names another torch build, for example
#   make demo TORCH="torch --index-url <the index of a CUDA or CPU build>"
PYTHON ?= python3
TORCH ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo demo-visual test check format clean
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "robot-ctrl needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@sh .ci/system-packages
	$(PYTHON) -m venv $(VENV)
ifneq ($(TORCH),)
	$(BIN)/pip install $(TORCH)
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
else
	cp constraints.txt $(VENV)/constraints.txt
endif
	$(BIN)/pip install -q -c $(VENV)/constraints.txt $$(grep '^torch==' $(VENV)/constraints.txt) -e '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/robot-ctrl run arm-reach run_dir=demo overwrite=true

demo-visual: $(READY)
	$(BIN)/robot-ctrl run push-goal-pixel run_dir=demo-visual overwrite=true
	$(BIN)/robot-ctrl goal demo-visual --pixel 56,56 --to 80,66

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo demo-visual *.egg-info
