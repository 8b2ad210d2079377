# Two targets do everything on a fresh machine: `make serve` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES := .engines
FAMILIES := cosyvoice2 sesame xtts-v2
GENERATED := ttsw/rpc/generated
ARGS ?=

.PHONY: serve test test-engines check lint types layers format proto bench clean

serve: $(VENV)/.serve
	$(BIN)/ttsw serve $(ARGS)

test: test-engines
	$(BIN)/pytest $(ARGS)

# What needs a family's own libraries is tested under its own interpreter.
test-engines: $(FAMILIES:%=$(ENGINES)/.%.test)
	$(ENGINES)/xtts-v2/bin/python -m pytest -c tests/engines/pytest.ini tests/engines/pytorch tests/engines/xtts_v2
	$(ENGINES)/sesame/bin/python -m pytest -c tests/engines/pytest.ini tests/engines/sesame
	$(ENGINES)/cosyvoice2/bin/python -m pytest -c tests/engines/pytest.ini tests/engines/cosyvoice2

check: lint types layers

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8 ttsw tests bench

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Regenerate the wire types from proto/; a test shows that what is committed is current.
proto: $(VENV)/.dev
	$(BIN)/python -m tests.generate_proto $(GENERATED)

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

$(VENV)/.serve: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[hibari]'
	touch $@

$(VENV)/.dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(ENGINES)/.%.test: $(VENV)/.dev ttsw/adapters/requirements/%.txt
	$(BIN)/ttsw engines install $*
	$(ENGINES)/$*/bin/python -m pip install --quiet --disable-pip-version-check 'pytest>=9.0' 'pytest-trio>=0.8'
	touch $@

clean:
	rm -rf $(VENV) $(ENGINES) .mypy_cache .pytest_cache .ruff_cache .hypothesis
