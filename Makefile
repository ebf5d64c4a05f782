# Two commands for a fresh machine: `make demo` and `make test`. They make the environments that they need.

PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint types own parity bench clean

help:
	@echo "make demo    install, and read the example images with the bundled model"
	@echo "make test    lint, types, the package's tests, then parity tests against transformers 4.57.6"
	@echo "make bench   measure against transformers 4.57.6, side by side (quiet machine, some minutes)"
	@echo "make clean   remove the environments"

demo: $(VENV)/.installed
	$(VENV)/bin/vision2seq read examples/lines

test: lint types own parity

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.dev
	$(VENV)/bin/mypy

# The newest releases of everything, and no transformers.
own: $(VENV)/.dev
	$(VENV)/bin/python -m pytest tests --ignore=tests/parity

# transformers 4.57.6 wants older releases of huggingface_hub and tokenizers, so it lives apart.
parity: $(PARITY)/.installed
	$(PARITY)/bin/python -m pytest tests/parity

bench: $(PARITY)/.installed
	$(PARITY)/bin/python benchmarks/run.py

$(VENV)/.installed: pyproject.toml constraints.txt | python-is-usable
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,recipes]'
	touch $@

$(PARITY)/.installed: pyproject.toml constraints-parity.txt | python-is-usable
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/pip install --quiet --constraint constraints-parity.txt --editable . transformers pytest protobuf sentencepiece
	touch $@

.PHONY: python-is-usable
python-is-usable:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "vision2seq needs Python 3.10 or newer as $(PYTHON); set PYTHON=… to another one." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments. On Debian: apt-get install python3-venv" >&2; exit 1; }

clean:
	rm -rf $(VENV) $(PARITY)
