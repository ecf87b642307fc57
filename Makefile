# Everything a developer types. Each target makes .venv by itself; all it needs is Python 3.11 or later.
#
#   make demo      train a small tokenizer and transformer on synthetic faces, make new faces
#   make test      the tests that take seconds
#   make test-all  those that take minutes or install packages as well
#   make faults    the tests that cause faults, and a table of them
#   make check     formatting, lint, types, known vulnerabilities
#   make audit     known vulnerabilities of what is installed, where pip-audit is installed and gets an answer
#   make docs      docs/commands.md and docs/presets.md, from the program and its presets
#   make bench     the demo's model against the straightforward way and the limits of this machine
#   make fix       repair formatting and what the linter can
#   make clean     remove what was built, not runs/ and not .venv

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The pair that the tests ran with; pyproject.toml allows a range.
TORCH ?= torch==2.13.0 torchvision==0.28.0

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

DEMO := runs/demo

.PHONY: help demo test test-all faults check audit docs fix bench clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

# A small transformer and a short training, which is enough where a map says most. Small batches with a high learning rate
# reach the same loss in a third of the time that 32 images a step took.
SMALL = --steps 250 --batch-size 16 --set train_transformer.learning_rate=0.002 --set train_transformer.max_images=800 \
  --set transformer.layers=2 --set transformer.width=128 --set transformer.embedding_dropout=0 \
  --set transformer.residual_dropout=0 --set data.validation_images=64 --set train_transformer.sample_every=0

demo: $(STAMP)
	$(BIN)/vqgan train-ae --preset demo --out $(DEMO)/ae --force
	$(BIN)/vqgan train-transformer --preset demo --ae $(DEMO)/ae --out $(DEMO)/transformer --force
	$(BIN)/vqgan train-transformer --preset demo --ae $(DEMO)/ae $(SMALL) --out $(DEMO)/by-map --force \
	  --set condition.kind=segmentation --set condition.tokenizer=none --set data.maps.classes=12
	$(BIN)/vqgan train-transformer --preset demo --ae $(DEMO)/ae $(SMALL) --out $(DEMO)/larger --force \
	  --set condition.kind=lowres --set condition.tokenizer=same
	$(BIN)/vqgan synthetic faces --number 64 --size 64 --seed 1 --out $(DEMO)/pictures --force
	$(BIN)/vqgan encode $(DEMO)/pictures --ae $(DEMO)/ae --out $(DEMO)/codes.npy --force
	$(BIN)/vqgan decode $(DEMO)/codes.npy --ae $(DEMO)/ae --out $(DEMO)/decoded.png --grid --force
	$(BIN)/vqgan generate --model $(DEMO)/transformer --class all -n 4 --out $(DEMO)/samples --force
	$(BIN)/vqgan generate --model $(DEMO)/transformer --class 0 -n 1 --size 64x256 --out $(DEMO)/wide --force
	$(BIN)/vqgan synthetic faces --number 6 --size 64 --seed 2 --maps segmentation --out $(DEMO)/pairs --force
	$(BIN)/vqgan generate --model $(DEMO)/by-map --condition $(DEMO)/pairs/segmentation -n 3 \
	  --out $(DEMO)/faces-by-map --force
	$(BIN)/vqgan synthetic faces --number 6 --size 16 --seed 2 --out $(DEMO)/small --force
	$(BIN)/vqgan upscale $(DEMO)/small --model $(DEMO)/larger --out $(DEMO)/upscaled --consistent --force
	@echo
	@echo "How both trainings went, for a browser: $(DEMO)/ae/report.html $(DEMO)/transformer/report.html"
	@echo "64 pictures, encoded and decoded: $(DEMO)/decoded.png"
	@echo "New faces, a class after the other: $(DEMO)/samples/sheet.png"
	@echo "A picture four times as wide as those of training: $(DEMO)/wide/"
	@echo "Label maps, and faces drawn by them: $(DEMO)/faces-by-map/sheet.png"
	@echo "Faces of 16x16 pixels enlarged to 64x64: $(DEMO)/upscaled/"
	@echo
	@echo "Next, with your own photos (. .venv/bin/activate puts vqgan on the path):"
	@echo "  vqgan train-ae --preset demo --data PHOTOS --max-time 20m"
	@echo "  vqgan train-transformer --preset demo --data PHOTOS --unconditional --max-time 20m"
	@echo "  vqgan generate -n 8 -o samples/"

bench: $(STAMP)
	$(BIN)/vqgan bench

# A file of tests stays in one process, whose fixtures its tests share.
JOBS ?= 2

test: $(STAMP)
	$(BIN)/pytest -n $(JOBS) --dist loadfile

test-all: $(STAMP)
	$(BIN)/pytest -m "" -n $(JOBS) --dist loadfile

faults: $(STAMP)
	$(BIN)/pytest -m fault --faults

check: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	@$(MAKE) audit

audit: $(STAMP)
	@$(BIN)/python -m tests.security.known_vulnerabilities

docs: $(STAMP)
	@$(BIN)/python -m tests.docs.generate

fix: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find vqgan_cli tests -name __pycache__ -prune -exec rm -rf {} +

# The first of these that is recent enough. Set PYTHON to choose another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or later is needed; set PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }

$(STAMP): pyproject.toml Makefile | $(BIN)/python
	@echo "Installing into $(VENV); the first time downloads torch and takes minutes."
	$(PIP) install $(TORCH)
	$(PIP) install -e ".[dev]"
	@touch $@
