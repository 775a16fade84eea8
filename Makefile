# `make demo` sets up and runs the main job; `make test` sets up and passes the tests; `make check` is what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup demo test test-slow test-all check format clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,mmio,export,reproduce,test,dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/rtvp samples demo/samples --count 12
	$(BIN)/rtvp detect demo/samples/images --prompts defect --out demo/found --explain
	$(BIN)/rtvp detect --coco demo/samples/instances.json --images demo/samples/images --threshold 0.5 --out demo/named
	@echo "Pictures: demo/found asks for any defect, demo/named for each by its name; labels: demo/samples/instances.json."

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-all: test test-slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist *.egg-info
