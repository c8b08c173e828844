# Two commands set everything up:  make demo   and   make test.   The others: CONTRIBUTING.md
PYTHON  ?= python3
VENV    ?= .venv
OUT     ?= edgesafe-report
# `make models` only: folders of captioned photos (photos.jsonl), and where its steps leave their
# output.
PHOTOS  ?=
WORK    ?= out/models
# `make marker-cure` takes PHOTOS too, folders of any photos.
# `make experiments` only: quadruplets to train on.
DATA    ?=
# Extra arguments of pip, e.g. an index with CPU-only builds of torch.
PIPARGS ?=
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install -q --disable-pip-version-check $(PIPARGS)

.DELETE_ON_ERROR:
.PHONY: demo test test-full test-extras check trt-check trt-check-full format models experiments marker-cure \
	photos-named clean

# --- environments: one .venv, filled as far as a target needs it ---------------------------------
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# What a device needs: no torch.
$(VENV)/.cpu: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[cpu]'
	@touch $@

# Everything: training, export, tests and the tools of `make check`.
$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[test,check]'
	@touch $(VENV)/.cpu $@

# TensorRT-RTX, which builds engines without a GPU (Linux on x86-64).
$(VENV)/.trt-check: pyproject.toml $(VENV)/.test
	$(PIP) -e '.[trt-check]'
	@touch $@

# Backends and formats that only some tests need.
$(VENV)/.test-extras: pyproject.toml $(VENV)/.test
	$(PIP) -e '.[test-extras]'
	@touch $(VENV)/.trt-check $@

# What retrains the embedded model.
$(VENV)/.models: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[samples]'
	@touch $(VENV)/.cpu $@

# --- what a user runs ----------------------------------------------------------------------------
demo: $(VENV)/.cpu
	@$(BIN)/edgesafe demo --out $(OUT)

test: $(VENV)/.test
	$(BIN)/python -m pytest -m 'not slow'

test-full: $(VENV)/.test
	$(BIN)/python -m pytest

# The tests that are skipped without OpenVINO, FAISS, TensorRT-RTX, Triton's protobuf and CycloneDX.
test-extras: $(VENV)/.test-extras
	$(BIN)/python -m pytest tests/runtime/backends tests/runtime/test_sessions.py \
		tests/export/bundles tests/export/trt tests/calib/retrieval -m 'not slow'

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every sample package in fp32, fp16 and int8: all networks parsed, and built for every compute
# capability that must build; the other tries SM 7.5 too.
TRT_CHECK := -m edgesafe.export.trt.check samples/models/moderation samples/models/pose-lmo \
	--calib samples/data/photos --calib samples/data/texts_calibration.jsonl \
	--calib samples/data/pose/val

trt-check: $(VENV)/.trt-check
	$(BIN)/python $(TRT_CHECK) --sm SM80 --sm SM86 --sm SM89 --sm SM120 --sm SM121

trt-check-full: $(VENV)/.trt-check
	$(BIN)/python $(TRT_CHECK)

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Hours; goes on where it was interrupted. Needs npm, apt-get and dpkg-deb (no root) for the drawings.
models: photos-named $(VENV)/.models
	$(BIN)/python -m edgesafe.samples.train_models $(PHOTOS:%=--photos %) --work $(WORK)

# About an hour of two cores; DATA=DIR takes quadruplets of your own, else npm and apt-get fetch drawings.
experiments: $(VENV)/.models
	$(BIN)/python -m edgesafe.samples.experiments --work out/experiments $(DATA:%=--data %)

# Two hours of one core; PHOTOS='DIR ...' names photos for backgrounds, the more the better.
marker-cure: $(VENV)/.models
	$(BIN)/python -m edgesafe.samples.marker_cure --work out/marker-cure $(PHOTOS:%=--photos %)

photos-named:
	@test -n "$(PHOTOS)" || { echo "Name folders with photos.jsonl: make models PHOTOS='DIR ...'" >&2; exit 2; }

clean:
	rm -rf $(VENV) $(OUT) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find runtime calib export train samples tests -name __pycache__ -prune -exec rm -rf {} +
