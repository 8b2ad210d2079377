# Two targets do everything on a fresh machine: `make serve` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GENERATED := ttsw/rpc/generated
ARGS ?=

.PHONY: serve test check lint types layers format proto bench clean

serve: $(VENV)/.serve
	$(BIN)/ttsw serve $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest $(ARGS)

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

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
