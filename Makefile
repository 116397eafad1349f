# Two commands matter to a newcomer: `make demo` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Stamps in .venv say what is installed, so that both commands work again without a network.
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-full check format bench docs lock install clean

demo: $(VENV)/.demo
	$(BIN)/plimsoll demo

# Byte code of Plimsoll is made here, once, and not by each of the processes that tests start: these write none, because what Python
# looks at to trust it (whole seconds and the size) is kept by the quick edits that tests make.
# TESTS="tests/unit tests/contract" runs these alone.
test: $(VENV)/.python
	$(MAKE) --no-print-directory --jobs 3 $(VENV)/.test $(VENV)/.wire
	$(BIN)/python -m compileall -q plimsoll tests
	PYTHONDONTWRITEBYTECODE=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(TESTS)

# What is tried many times is tried as often as is promised.
test-full: export PLIMSOLL_FULL := 1
test-full: test

# Format, types, house and unit tests: under two minutes, before every commit.
check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONDONTWRITEBYTECODE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/house tests/unit tests/contract -m "not slow"

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test
	$(BIN)/python -m bench

docs: $(VENV)/.docs
	$(BIN)/python docs/make_reference.py
	$(BIN)/zensical build --strict

install: $(VENV)/.demo

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Plimsoll needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Run: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# A lock holds exact versions with hashes; the project itself is then installed without looking for anything.
$(VENV)/.demo: $(VENV)/.python requirements/demo.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements/demo.txt
	$(PIP) install --require-hashes -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# pip makes byte code on one core, of the packages' own tests as well; here all cores make what is imported.
$(VENV)/.test: $(VENV)/.python requirements/test.txt pyproject.toml
	$(PIP) install --no-compile --require-hashes -r requirements/test.txt
	-$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib/python3*/site-packages
	$(PIP) install --require-hashes -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.demo

# MLflow's clients of both generations, each in an environment of its own, for tests/wire. A lock is whole: nothing to resolve.
$(VENV)/.wire: $(VENV)/.wire-2 $(VENV)/.wire-3
	@touch $@

WIRE := -m pip --disable-pip-version-check --quiet install --no-deps --no-compile --require-hashes

$(VENV)/.wire-2: $(VENV)/.python requirements/wire-2.txt
	$(PYTHON) -m venv --clear $(VENV)/wire-2
	$(VENV)/wire-2/bin/python $(WIRE) -r requirements/wire-2.txt
	@touch $@

# It begins as a copy of the other, with which it has nine packages in ten in common; pip replaces the rest.
$(VENV)/.wire-3: $(VENV)/.wire-2 requirements/wire-3.txt
	$(PYTHON) -m venv --clear --without-pip $(VENV)/wire-3
	cp -Rl $(VENV)/wire-2/lib/. $(VENV)/wire-3/lib || cp -R $(VENV)/wire-2/lib/. $(VENV)/wire-3/lib
	$(VENV)/wire-3/bin/python $(WIRE) -r requirements/wire-3.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.test requirements/docs.txt
	$(PIP) install --require-hashes -r requirements/docs.txt
	@touch $@

# Needs uv; the locks carry no index address, so that a mirror works as well.
lock:
	printf "hatchling\neditables\n" | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements/build.txt -
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements/core.txt
	for extra in demo test docs; do \
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    --extra $$extra pyproject.toml -o requirements/$$extra.txt || exit 1; done
	for client in "2 mlflow-skinny<3 pandas<3" "3 mlflow-skinny>=3 pandas skops opentelemetry-exporter-otlp-proto-http"; do \
	  set -- $$client; number=$$1; shift; \
	  printf "%s\n" "$$@" scikit-learn xgboost-cpu lightgbm matplotlib | uv pip compile -q --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements/wire-$$number.txt - || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .plimsoll-demo
