# `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)/molecule:$(CURDIR)/files/batch_job:$(CURDIR)/files/dashboards
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Outside the tree: containers and nodes mount parts of it.
export PYTHONPYCACHEPREFIX := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/batch-job-lab/bytecode
unexport PYTHONDONTWRITEBYTECODE
# Neither demos nor tests are rollouts of somebody.
unexport ANSIBLE_CALLBACKS_ENABLED

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-down compose-up compose-down compose-clean test lint lint-python lint-yaml lint-shell unit molecule bench docs dashboards pictures lab lab-clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: preflight-demo .venv/ready-dev ## Roll the site out to nodes on this machine and catch a missing backup
	@python -m lab.demo

demo-down: .venv/ready-dev ## Remove everything the demo started
	@python -m lab down demo

compose-up: preflight-compose .venv/ready-dev ## Start everything in containers, with jobs that fail, hang and never run
	@python -m lab.compose up

compose-down: .venv/ready-dev ## Stop the containers; what they know is kept
	@python -m lab.compose down

compose-clean: .venv/ready-dev ## Remove the containers and all they know
	@python -m lab.compose clean

venv: .venv/ready ## Install Ansible into .venv for rollouts of your own

test: ## Run everything, and print how long each part took
	@times=; for part in lint unit molecule; do \
		started=$$(date +%s); $(MAKE) --no-print-directory --jobs=2 $$part || exit 1; \
		times="$$times$$(printf '%-8s %5d s' $$part $$(($$(date +%s) - started)))\n"; \
	done; printf "\n$$times"

lint: lint-python lint-yaml lint-shell ## Check style, types and Ansible's production profile

lint-python: .venv/ready-dev
	ruff check .
	ruff format --check .
	mypy

lint-yaml: .venv/ready-dev
	yamllint --strict .
	ansible-lint --offline

lint-shell:
	for script in files/reporters/*.sh files/reporters/ci/*.sh compose/jobs/*.sh; do sh -n "$$script" || exit 1; done

unit: preflight .venv/ready-dev ## Run the tests that need no node; some: TESTS=files/batch_job
	@python -m lab versions
	pytest --numprocesses=auto --dist=loadfile $(or $(TESTS),molecule/unit files)

molecule: preflight .venv/ready-dev ## Run the scenarios on systemd nodes; one, on nodes that stay: SCENARIO=jobs TESTS='-k owner'
	@python -m lab.scenarios $(SCENARIO) --tests="$(TESTS)"

bench: preflight .venv/ready-dev ## Measure what rollouts, reports, rules, notifications and the page cost; one: BENCH=rules
	@python -m bench $(BENCH)

docs: .venv/ready-dev ## Write the tables of variables into the roles' READMEs
	@python roles/role_readme.py

dashboards: .venv/ready-dev ## Write the dashboards' JSON, and the states that the page shows
	@python -m dashboards

pictures: preflight .venv/ready-dev ## Draw the previews of the dashboards and the page for the READMEs, with Chromium
	@python -m lab versions
	@python -m preview

lab: preflight .venv/ready-dev ## Build what the lab needs (images, release mirror, Compose), start nothing
	@python -m lab cache

lab-clean: .venv/ready-dev ## Remove the lab's cache and images
	@python -m lab forget

.PHONY: preflight preflight-demo preflight-compose
preflight:
	@$(PYTHON) molecule/lab/preflight.py engine

preflight-demo:
	@$(PYTHON) molecule/lab/preflight.py demo

preflight-compose:
	@$(PYTHON) molecule/lab/preflight.py compose

# Complete or absent: an interrupted installation leaves neither marker.
define install
@$(PYTHON) molecule/lab/preflight.py
@echo "==> Installing the pinned Python packages of $(1) into .venv ($(2), once) ..."
@rm -f .venv/ready .venv/ready-dev
@$(PYTHON) -m venv .venv
@env -u PYTHONPYCACHEPREFIX $(BIN)/pip install --quiet --disable-pip-version-check --requirement $(1) \
	--constraint constraints.txt || { \
	echo "ERROR: pip could not install $(1); it needs the Python package index" \
	"(PIP_INDEX_URL for a mirror of your own)" >&2; exit 1; }
endef

.venv/ready: requirements.txt constraints.txt
	$(call install,requirements.txt,half a minute)
	@touch $@

.venv/ready-dev: requirements-dev.txt requirements.txt constraints.txt
	$(call install,requirements-dev.txt,a minute or two)
	@touch .venv/ready $@
