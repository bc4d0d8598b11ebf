# Two commands matter: `make demo` and `make test`. They need git, make and Python >= 3.11 with venv, and install the rest.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Tests are divided over so many processes; most of them wait for a node more than they compute.
WORKERS ?= 3
# Compiled byte-code is part of the installation; a start must not depend on who runs first.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test verify bench conformance lint protobuf lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements/all.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Penstock needs Python 3.11 or newer with venv. On Debian and Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/all.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	touch $@

demo: install
	$(BIN)/python examples/demo/demo.py

test: install
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

verify: install
	$(BIN)/python -m verification $(WHAT)

bench: install
	$(BIN)/python bench/report.py

conformance: install
	$(BIN)/python bench/conformance.py

lint: install
	$(BIN)/ruff format --check src tests examples verification
	$(BIN)/ruff check src tests examples verification
	$(BIN)/mypy
	$(BIN)/lint-imports

# The descriptors of the messages that a node speaks over gRPC; protoc comes with the package grpcio-tools.
protobuf:
	for file in oip/open_inference tfserving/tf_serving; do $(PYTHON) -m grpc_tools.protoc \
		-I src/penstock/protocols/$${file%/*} --descriptor_set_out=src/penstock/protocols/$$file.binpb $${file#*/}.proto; done

# The extras that the lock holds. The others (torch, tensorflow, ...) take gigabytes: `make verify WHAT=kinds` installs them.
LIGHT := pack control log judge plot grpc postgres s3 sklearn xgboost lightgbm catboost

# The one lock: every light extra and what the tests need, with hashes, without the address of an index.
lock:
	uv pip compile -q pyproject.toml $(LIGHT:%=--extra %) --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --upgrade -o requirements/all.txt
	echo "uv" | uv pip compile -q - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --upgrade -o requirements/uv.txt

clean:
	rm -rf $(VENV)
