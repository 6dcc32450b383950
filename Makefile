# Every target makes the virtual environment it needs. `make` alone lists the targets.

VENV   ?= .venv
PYTHON ?= python3
ARGS   ?=
JOBS   ?= $(if $(ARGS),0,4)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV  := uv==0.13.9 # makes the locks; nothing else needs it

# A PYTHON that was asked for is taken or refused; else the first that fits is taken.
ifeq ($(origin PYTHON),file)
PYTHONS := $(PYTHON) python3.12 python3.11
else
PYTHONS := $(PYTHON)
endif

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test clocks dask mlflow bandits uplift chart docs check bench instructions soak package clients typescript console console-check format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo "Variables: VENV (.venv), PYTHON (python3: 3.11 or 3.12), ARGS (handed to the command)"
	@echo "JOBS (test: how many run side by side; 4, and one after another where ARGS are given)"

demo: $(VENV)/.stamp-package ## start the sample in one command
	@$(BIN)/nextbest demo $(ARGS)

# Side by side, since many tests wait. A worker that has nothing left to do takes from another.
test: $(VENV)/.stamp-dev ## run the tests
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(ARGS)

# At midnight, in quiet hours, as summer time begins, a year ahead: an hour for all of it.
clocks: $(VENV)/.stamp-dev ## run the tests that read a clock at other hours, dates and places
	@$(BIN)/python -m tests.shifted_clock $(ARGS)

# In a folder of its own: where scikit-learn is installed, LightGBM loads it at every start.
dask: $(VENV)/.stamp-dev ## test training on a Dask cluster of two workers
	@[ -d $(VENV)/dask ] || { sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements-dask.lock \
		>$(VENV)/dask-pins.txt && $(PIP) install --target $(VENV)/dask -c $(VENV)/dask-pins.txt \
		'dask[dataframe,distributed]' pandas scikit-learn; }
	@PYTHONPATH=$(VENV)/dask $(BIN)/python -m pytest -q tests/learning/test_train_dask.py $(ARGS)

mlflow: $(VENV)/.stamp-dev ## test logging versions to MLflow
	@[ -d $(VENV)/mlflow ] || $(PIP) install --target $(VENV)/mlflow mlflow-skinny pandas sqlalchemy alembic
	@PYTHONPATH=$(VENV)/mlflow $(BIN)/python -m pytest -q tests/learning/test_tracking.py $(ARGS)

bandits: $(VENV)/.stamp-dev ## learn beside Vowpal Wabbit: regret on five problems
	@[ -d $(VENV)/bandits ] || $(PIP) install --target $(VENV)/bandits vowpalwabbit scikit-learn
	@PYTHONPATH=$(VENV)/bandits $(BIN)/python -m benchmarks.bandits $(ARGS)

uplift: $(VENV)/.stamp-dev ## learn uplift beside scikit-uplift, on Hillstrom's campaign
	@[ -d $(VENV)/uplift ] || $(PIP) install --target $(VENV)/uplift scikit-uplift
	@PYTHONPATH=$(VENV)/uplift $(BIN)/python -W ignore -m benchmarks.hillstrom $(ARGS)

# Helm, by its library, and Kubernetes' schemas: together 350 MB, so in a folder of their own.
CHART := helm-python-sdk==0.2.2 kubernetes-validate==1.37.0
chart: $(VENV)/.stamp-dev ## render the Helm chart, and check it against Kubernetes' schemas
	@[ -d $(VENV)/chart ] || $(PIP) install --target $(VENV)/chart $(CHART)
	@PYTHONPATH=$(VENV)/chart $(BIN)/python -m pytest -q tests/charts $(ARGS)

# Its tools are in a folder of their own, so that tests need none of them.
docs: $(VENV)/.stamp-docs ## build the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=$(VENV)/docs $(BIN)/python -m mkdocs --quiet build $(ARGS)

check: $(VENV)/.stamp-dev ## format, lint, types, architecture, tests: what CI runs
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run 'make format'." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(MAKE) typescript
	@$(MAKE) console-check
	@$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.txt 2>&1 || { cat $(VENV)/lint-imports.txt >&2; exit 1; }
	@$(MAKE) test

# Peers are installed where that is possible; of others it says that they were left out. Feast is
# apart, because it needs other versions than nextbest does.
bench: $(VENV)/.stamp-dev $(VENV)/bench/.stamp ## what a decision costs over HTTP, in 3 minutes; ARGS=--full takes longer
	@$(BIN)/python -m benchmarks.http --peers $(VENV)/bench $(ARGS)

$(VENV)/bench/.stamp: | $(VENV)/.stamp-dev
	@mkdir -p $(VENV)/bench
	@sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements-dev.lock >$(VENV)/bench/pins.txt
	@for each in fastapi vowpalwabbit zen-engine; do \
		$(PIP) install --target $(VENV)/bench/$$each -c $(VENV)/bench/pins.txt $$each || true; done
	@$(PIP) install --target $(VENV)/bench/feast 'feast[redis]>=0.60' || true
	@touch $@

instructions: $(VENV)/.stamp-dev ## count a decision's instructions; ARGS=--update records them
	@$(BIN)/python -m benchmarks.instructions $(ARGS)

soak: $(VENV)/.stamp-dev ## run the long tests, which `make test` leaves out
	@$(BIN)/python -m pytest -q -m soak -o faulthandler_timeout=3600 $(ARGS)

# Dates in both archives are SOURCE_DATE_EPOCH, else a fixed day: the same files give the same bytes.
package: $(VENV)/.stamp-build ## build the sdist and the wheel, in dist/
	@$(BIN)/python -m hatchling build --clean $(ARGS)

clients: $(VENV)/.stamp-dev ## make the clients follow the API (clients/)
	@$(BIN)/python -m clients.generator

# Where there is no npm, its tests are skipped as well.
typescript: ## check the types of the TypeScript client
	@if command -v npm >/dev/null; then $(MAKE) -s clients/typescript/node_modules/.stamp && \
		npm run --silent --prefix clients/typescript check; \
	else echo "There is no npm: the TypeScript client is not checked."; fi

# What is built is committed, so that neither an installation nor a test needs Node.
FRONTEND := decision/console/frontend
console: $(FRONTEND)/node_modules/.stamp ## build the console's scripts and styles
	@npm run --silent --prefix $(FRONTEND) check
	@npm run --silent --prefix $(FRONTEND) build

console-check:
	@if command -v npm >/dev/null; then $(MAKE) -s $(FRONTEND)/node_modules/.stamp && \
		npm run --silent --prefix $(FRONTEND) check && \
		npm run --silent --prefix $(FRONTEND) build -- "$(CURDIR)/build/console" && \
		diff -r build/console decision/console/static || { \
		echo "decision/console/static is not what its sources build: run 'make console'." >&2; exit 1; }; \
	else echo "There is no npm: whether the console's assets match their sources is not checked."; fi

format: $(VENV)/.stamp-dev ## format the code and fix what ruff can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

# Pins stay as they are unless pyproject.toml forbids them; `make lock ARGS=--upgrade` renews them.
# The build tools are held by the runtime pins, the runtime pins by nothing, the rest by both.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-header --no-config $(ARGS)
lock: $(VENV)/bin/python ## resolve pyproject.toml into the seven requirements*.lock
	@$(PIP) install $(UV)
	@$(COMPILE) pyproject.toml -o requirements.lock
	@printf 'hatchling>=1.27\neditables\nsetuptools\nwheel\n' | \
		$(COMPILE) -c requirements.lock - -o requirements-build.lock
	@$(COMPILE) -c requirements.lock --extra archive --extra kafka --no-emit-package nextbest \
		pyproject.toml -o requirements-archive.lock
	@$(COMPILE) -c requirements.lock --extra dev --no-emit-package nextbest pyproject.toml \
		-o requirements-dev.lock
	@$(COMPILE) -c requirements-dev.lock --extra train --no-emit-package nextbest pyproject.toml \
		-o requirements-train.lock
	@$(COMPILE) -c requirements-dev.lock --extra dask --no-emit-package nextbest pyproject.toml \
		-o requirements-dask.lock
	@$(BIN)/python -c 'import tomllib; found = tomllib.load(open("pyproject.toml", "rb")); \
		print(*found["project"]["optional-dependencies"]["docs"], sep="\n")' | \
		$(COMPILE) -c requirements-dev.lock - -o requirements-docs.lock

clean: ## remove the virtual environment, caches and builds
	rm -rf $(VENV) build dist clients/*/dist clients/typescript/node_modules $(FRONTEND)/node_modules .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.*' -prune -exec rm -rf {} +

# ---- the virtual environment: made once, updated when a lock is newer than its stamp

$(VENV)/bin/python:
	@fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))'; \
	python=; for each in $(PYTHONS); do \
		if "$$each" -c "$$fits" >/dev/null 2>&1; then python=$$each; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "nextbest needs CPython 3.11 or 3.12 (the rule engine does not load on 3.13)." >&2; \
		echo "Tried: $(PYTHONS). Say where one is: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV) >/dev/null 2>&1 || { \
		"$$python" -m venv --clear --without-pip $(VENV) && \
		"$$python" -m pip --python $(VENV)/bin/python --quiet install pip; } || { \
		rm -rf $(VENV); echo "Python has neither venv nor pip: apt-get install python3-venv" >&2; exit 1; }

clients/typescript/node_modules/.stamp: clients/typescript/package.json
	@npm install --silent --ignore-scripts --prefix clients/typescript
	@touch $@

$(FRONTEND)/node_modules/.stamp: $(FRONTEND)/package-lock.json
	@npm ci --silent --ignore-scripts --prefix $(FRONTEND)
	@touch $@

$(VENV)/.stamp-build: requirements-build.lock | $(VENV)/bin/python
	@$(PIP) install --require-hashes -r requirements-build.lock
	@touch $@

# The rule engine has no wheels: it is compiled, with the build tools of requirements-build.lock.
$(VENV)/.stamp-runtime: requirements.lock $(VENV)/.stamp-build
	@command -v $${CC:-gcc} >/dev/null || { \
		echo "A C compiler is needed to build durable-rules: apt-get install gcc (or set CC)" >&2; exit 1; }
	@header=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h; \
	[ -f "$$header" ] || { \
		echo "Python's headers are needed to build durable-rules: apt-get install python3-dev" >&2; exit 1; }
	@echo "Installing requirements.lock"
	@$(PIP) install --require-hashes --no-build-isolation -r requirements.lock
	@touch $@

# What `nextbest archive`, `train` and `evaluate` need, and the console's pages on the archive.
$(VENV)/.stamp-package: pyproject.toml requirements-train.lock $(VENV)/.stamp-runtime
	@$(PIP) install --require-hashes --no-build-isolation -r requirements-train.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.stamp-docs: requirements-docs.lock | $(VENV)/bin/python
	@rm -rf $(VENV)/docs
	@$(PIP) install --target $(VENV)/docs --require-hashes -r requirements-docs.lock
	@touch $@

$(VENV)/.stamp-dev: requirements-dev.lock $(VENV)/.stamp-package
	@echo "Installing requirements-dev.lock"
	@$(PIP) install --require-hashes --no-build-isolation -r requirements-dev.lock
	@touch $@
