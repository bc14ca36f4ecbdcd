# What there is to do here; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help install run test test-brokers test-modular test-containers check bench faults catalogue coverage conformance clean

PYTHON := .venv/bin/python
BROKER := rabbitmq
JAVA := $(shell command -v java)
NO_JAVA = echo "NOT RUN ON BROKER-J: there is no Java here (make test-brokers installs it)" >&2

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

install: ## the virtual environment in .venv, and what it needs
	@scripts/install agent

run: ## the whole job, live: a broker, an agent, and what comes over the bus (URI=qemu:///system for a real host)
	@[ -n "$$LIBVIRT_AMQP_BROKER_URL" ] || broker=broker; scripts/install agent $$broker
	@exec $(PYTHON) scripts/demo.py $(URI)

test: ## all tests, on RabbitMQ and, where Java is, those with a broker on Broker-J too (BROKER=, BROKER_URL=, PYTEST=)
	@scripts/install agent broker qemu proton $(if $(BROKER_URL),,$(if $(JAVA),brokerj))
	@$(PYTHON) -m pytest --broker $(BROKER) $(or $(PYTEST),$(if $(BROKER_URL),tests/broker))
	@$(if $(PYTEST)$(BROKER_URL),,$(if $(JAVA),$(PYTHON) -m pytest --broker brokerj tests/broker,$(NO_JAVA)))

test-brokers: ## the tests with a broker on RabbitMQ 3, RabbitMQ 4 and Broker-J
	@scripts/install agent broker proton brokerj rabbitmq4
	@failed=; for kind in rabbitmq rabbitmq4 brokerj; do \
	    $(PYTHON) -m pytest --broker $$kind tests/broker || failed="$$failed $$kind"; done; \
	    [ -z "$$failed" ] || { echo "FAILED on:$$failed"; exit 1; }

test-modular: ## the tests beside libvirt's modular daemons, which Debian 12 has only as source (the first time: 6 minutes)
	@scripts/install agent broker qemu modular
	@$(PYTHON) -m pytest tests/modular

test-containers: ## the image and every profile of compose.yaml, run in containers (starts an engine if none runs: as root)
	@scripts/test_containers $(PYTEST)

check: ## format, lint and types
	@scripts/install agent
	@$(PYTHON) -m ruff format --check . && $(PYTHON) -m ruff check . && $(PYTHON) -m mypy && $(PYTHON) -m mypy scripts

bench: ## what things cost, beside bare programs in the same run
	@scripts/install agent broker qemu
	@for program in bench/bench_*.py; do $(PYTHON) $$program; done

faults: ## put faults into a running system and count what became of the events (half an hour; WRITE=yes: docs/faults.md)
	@scripts/install agent broker qemu
	@$(PYTHON) bench/faults $(if $(WRITE),--write)

catalogue: ## extract libvirt's API anew from the installed libvirt-dev, and write docs/api from it
	@scripts/install agent
	@$(PYTHON) scripts/extract_catalogue.py
	@$(PYTHON) scripts/extract_typed_params.py
	@$(PYTHON) scripts/extract_descriptions.py
	@$(PYTHON) scripts/make_api_pages.py

coverage: ## call every function and provoke every event, and write what came of it to docs/coverage.md and docs/events.md
	@scripts/install agent broker qemu
	@WRITE_COVERAGE=yes $(PYTHON) -m pytest tests/sweep/test_every_function.py tests/qemu/test_every_event.py

conformance: ## run the tests of features on all three brokers, and write docs/conformance.md from what came out
	@scripts/install agent broker proton brokerj rabbitmq4
	@$(PYTHON) scripts/make_conformance.py

clean: ## remove what `make install` made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
