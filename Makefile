# Everything here works from a fresh clone: the first use of a target installs what it needs into .venv.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTHON ?=
ARGS ?=
# Files stay together, for tests of one file may share a server.
PYTEST_ARGS ?= -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install serve test check bench docs fuzz browsers lock clean distclean

help:
	@echo "make serve      start the chat daemon on localhost:8080; options in ARGS, as in: make serve ARGS='echo --port 9000'"
	@echo "make install    install the daemon: $(BIN)/xmlsocket"
	@echo "make test       run the tests; options of pytest in PYTEST_ARGS"
	@echo "make check      look at style, types and architecture"
	@echo "make bench      measure, beside other servers; needs a C compiler and Node.js"
	@echo "make fuzz       give the parsers of what strangers send a minute of odd input; FUZZ_SECONDS=600 for longer"
	@echo "make docs       build the documentation: docs/_build/html/index.html"
	@echo "make browsers   install what the tests in real browsers need from npm"
	@echo "make lock       write requirements/*.txt anew; UPGRADE=--upgrade takes newer versions"
	@echo "make clean      remove what was built; make distclean removes $(VENV) too"

# What is installed is noted by an empty file in .venv, which is as old as the installation.

$(VENV)/.made:
	@found=; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "xmlsocket needs Python 3.11 or newer, and $(or $(PYTHON),python3) is not. Install one, and name it if it is not" \
	    "on the PATH: make install PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$found lacks the module venv. Debian and Ubuntu have it in a package of its own: apt install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV)
	@touch $@

$(VENV)/.daemon: requirements/daemon.txt $(VENV)/.made
	@echo "Installing what the daemon needs into $(VENV)"
	@$(PIP) install -r requirements/daemon.txt
	@touch $@

$(VENV)/.package: pyproject.toml $(VENV)/.daemon
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test $(VENV)/.check $(VENV)/.docs $(VENV)/.bench $(VENV)/.fuzz: $(VENV)/.%: requirements/%.txt $(VENV)/.package
	@echo "Installing what make $* needs into $(VENV)"
	@$(PIP) install -r requirements/$*.txt
	@touch $@

install: $(VENV)/.package
	@echo "$(BIN)/xmlsocket is installed"

serve: $(VENV)/.package
	@exec $(BIN)/xmlsocket serve $(ARGS)

# What comes from npm is left out where there is no npm: tests then skip, and benchmarks lack a column, and say so.
NPM := @if command -v npm >/dev/null; then $(MAKE) --no-print-directory --silent browsers; fi

test: $(VENV)/.test
	$(NPM)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.check $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/architecture

bench: $(VENV)/.bench
	$(NPM)
	$(BIN)/python -m benchmarks $(ARGS)

FUZZ_SECONDS ?= 60

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fail-on-warning --nitpicky --quiet docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html"

# No package's install script runs: the tests need files of these packages, and nothing built on this machine.
browsers: tests/npm/node_modules/.made

tests/npm/node_modules/.made: tests/npm/package.json tests/npm/package-lock.json
	@echo "Installing what the tests in browsers need into tests/npm/node_modules"
	@cd tests/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# One resolution for everything, then the part of it that each purpose needs. The files hold versions, and no address.
LOCK := build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --no-header --no-annotate --quiet \
	--no-emit-index-url --no-emit-find-links
UPGRADE ?=

lock: $(VENV)/.made
	@$(BIN)/python -m venv build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(LOCK) $(UPGRADE) --all-extras --group build --group test --group check --group docs --group bench --group fuzz \
	  --output-file requirements/all.txt
	$(LOCK) --constraint requirements/all.txt --extra daemon --group build --output-file requirements/daemon.txt
	$(LOCK) --constraint requirements/all.txt --extra daemon --group test --output-file requirements/test.txt
	$(LOCK) --constraint requirements/all.txt --extra daemon --group check --output-file requirements/check.txt
	$(LOCK) --constraint requirements/all.txt --extra daemon --group docs --output-file requirements/docs.txt
	$(LOCK) --constraint requirements/all.txt --extra daemon --group bench --output-file requirements/bench.txt
	$(LOCK) --constraint requirements/all.txt --extra daemon --group fuzz --output-file requirements/fuzz.txt

clean:
	rm -rf build dist docs/_build benchmarks/build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) tests/npm/node_modules
