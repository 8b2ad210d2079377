# Two targets do everything on a fresh machine: `make serve` and `make test`.
# LATEST=1 runs a target on the newest releases, in an environment of its own, instead of those pinned.
PYTHON ?= python3
VENV := .venv
PINS := tests/constraints.txt
PINNED := -c $(PINS)
ifneq ($(filter-out 0,$(LATEST)),)
VENV := .venv-latest
PINNED := --upgrade --upgrade-strategy eager
RENEWED := $(if $(filter 0,$(MAKELEVEL)),FORCE)
endif
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ENGINES := .engines
FAMILIES := cosyvoice2 sesame xtts-v2
GENERATED := ttsw/fronts/abi/generated
ARGS ?=
# Tests that run at the same time; most of them wait. A module's tests stay together, as they share its servers.
JOBS ?= 4
PARALLEL := -n $(JOBS) --dist loadfile

.PHONY: serve quick test test-main test-engines test-beside test-pythons engines check lint types layers format proto bench pins clean FORCE

serve: $(VENV)/.serve
	$(BIN)/ttsw serve $(ARGS)

# The inner loop: everything but what takes seconds, and one utterance from end to end.
quick: $(VENV)/.dev
	HYPOTHESIS_PROFILE=quick $(BIN)/pytest -q -n 3 -m "not slow and not alone" tests/unit tests/integration/test_tls.py $(ARGS)

# The environments are installed at the same time. The engines' tests run beside the others, on one core; their output
# comes in one piece when they have ended.
test: $(VENV)/.dev
	@$(MAKE) --no-print-directory -j3 engines
	@$(MAKE) --no-print-directory -j2 test-main test-beside

engines: $(FAMILIES:%=$(ENGINES)/.%.test)

# First what may run at the same time, then what measures time and wants the machine for itself.
test-main: $(VENV)/.dev
	$(BIN)/pytest $(PARALLEL) -m "not alone" $(ARGS)
	$(BIN)/pytest -m alone $(ARGS)

# The inner loop on every supported interpreter that is found.
test-pythons:
	for python in 3.11 3.12 3.13; do \
	  command -v python$$python > /dev/null && python$$python -c pass || { echo "no Python $$python here"; continue; }; \
	  $(MAKE) --no-print-directory quick VENV=.venv-$$python PYTHON=python$$python || exit 1; \
	done

test-beside:
	@OMP_NUM_THREADS=1 nice $(MAKE) --no-print-directory test-engines > $(ENGINES)/test.log 2>&1; \
	code=$$?; cat $(ENGINES)/test.log; exit $$code

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

# Pin what the last run with LATEST=1 was on: `make check test LATEST=1 && make pins`.
pins:
	@$(MAKE) --no-print-directory LATEST=1 .venv-latest/.dev
	sed -n '/^#/p' $(PINS) > $(PINS).new
	.venv-latest/bin/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' >> $(PINS).new
	mv $(PINS).new $(PINS)

$(VENV)/.serve: pyproject.toml $(PINS) $(RENEWED)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(PINNED) -e '.[hibari]'
	touch $@

$(VENV)/.dev: pyproject.toml $(PINS) $(RENEWED)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'  # the first that knows dependency groups
	$(PIP) install --quiet $(PINNED) -e '.[piper,hibari,otel]' --group dev
	touch $@

# A family's libraries are pinned by its requirements, and only what runs the tests by ours.
$(ENGINES)/.%.test: ttsw/adapters/requirements/%.txt $(PINS) | $(VENV)/.dev
	$(BIN)/ttsw engines install $*
	grep -E '^(iniconfig|pluggy|pytest|pytest-trio)==' $(PINS) | $(ENGINES)/$*/bin/python -m pip install --quiet \
	  --disable-pip-version-check -c /dev/stdin pytest pytest-trio
	touch $@

clean:
	rm -rf .venv .venv-* $(ENGINES) .mypy_cache .pytest_cache .ruff_cache .hypothesis
