# make demo     install into .venv and sharpen the photos of examples/
# make test     all tests              make check    style, types and layers
# make fix      format and mend        make bench    timings, as rows of Markdown
# make soak     the tests that try to break it, at full size: an hour or so
# make demo-cluster   a store and a Ray cluster on this machine, of which a node is killed
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo demo-cluster test check fix bench soak

demo: $(READY)
	$(BIN)/deblur examples/*.jpg examples/*.png -o demo-results/ --overwrite
	@echo "The sharpened photos are in demo-results/, the blurred ones in examples/."

demo-cluster: $(READY)
	$(BIN)/python tests/demo_cluster.py

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
	GOMP_SPINCOUNT=10000 $(BIN)/python benchmarks/bench.py

soak: $(READY)
	DEBLUR_FUZZ_FILES=2000 $(BIN)/pytest tests/test_photo_faults.py -k mutated
	DEBLUR_SOAK=1 $(BIN)/pytest -s tests/test_soak.py
	DEBLUR_SOAK=1 $(BIN)/pytest tests/test_storage.py tests/test_cluster.py
	-$(BIN)/pip install --quiet --constraint constraints.txt --upgrade --target .venv/clouds gcsfs adlfs gcp-storage-emulator
	-npm install --silent --prefix .venv/clouds azurite
	DEBLUR_SOAK=1 $(BIN)/pytest -rs tests/test_clouds.py

# The pinned set; users get the ranges of pyproject.toml.
KERNELS := $(addprefix src/deblur_cli/kernels/,kernels.cpp blocks.cpp common.h build.py)
$(READY): pyproject.toml constraints.txt hatch_build.py $(KERNELS)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip==26.3
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --group dev --editable .
	touch $(READY)
