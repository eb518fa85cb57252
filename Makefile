# make demo     install into .venv and sharpen the photos of examples/
# make test     all tests              make check    style, types and layers
# make fix      format and mend        make bench    timings, as rows of Markdown
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test check fix bench

demo: $(READY)
	$(BIN)/deblur examples/*.jpg examples/*.png -o demo-results/ --overwrite
	@echo "The sharpened photos are in demo-results/, the blurred ones in examples/."

test: $(READY)
	$(BIN)/pytest

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py

fix: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	$(BIN)/python benchmarks/bench.py

# The pinned set; users get the ranges of pyproject.toml.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip==26.3
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable .
	touch $(READY)
