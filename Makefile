# Everything is installed below $(VENV), from the locks in requirements/, and nothing outside of the clone is touched.
# Needs Python 3.11 or newer with venv, make and git.

PYTHON ?= python3
VENV ?= .venv
#: Further arguments for the tests: make test ARGS="tests/unit -k walk"
ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps
LOCK := $(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --upgrade

#: `make install` installs below these; a package is built with DESTDIR.
PREFIX ?= /usr/local
DESTDIR ?=

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' tuned/__init__.py)
DEB := build/deb/tuned-hpo_$(VERSION)_$(shell dpkg --print-architecture 2>/dev/null).deb
RPM := build/rpm/tuned-hpo-$(VERSION)-1.$(shell uname -m).rpm
#: The packages are made of these files.
SOURCES := $(shell find tuned packaging systemd docs examples requirements -type f ! -path '*/__pycache__/*') \
	pyproject.toml README.md CHANGELOG.md LICENSE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test coverage chaos bench bench-quick test-system test-web check docs pictures format schema reference lock \
	clean install deb rpm

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.demo  ## a real experiment through the real daemon, in under a minute
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python examples/demo.py

test: $(VENV)/.dev  ## all tests but those that boot systemd hosts
	$(BIN)/python -m pytest $(ARGS)

chaos: $(VENV)/.dev  ## a fleet under faults for CHAOS_SECONDS (600), the same again with CHAOS_SEED
	@$(BIN)/python -m tests.fleet.chaos

bench: $(VENV)/.dev  ## measure against plain Optuna, a few minutes; make bench ARGS="central growth" for some of it
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.dev  ## only count statements, transactions and duplicates, in under a minute
	@$(BIN)/python -m benchmarks --quick $(ARGS)

test-system: $(VENV)/.dev deb rpm  ## tests that boot systemd hosts (root, systemd-nspawn)
	TUNED_TEST_DEB="$(abspath $(DEB))" TUNED_TEST_RPM="$(abspath $(RPM))" \
		$(BIN)/python -m pytest -n 2 --dist loadfile --timeout 600 tests/system $(ARGS)

test-web: $(VENV)/.dev  ## tests of the dashboard in a real browser (Chromium, at CHROMIUM)
	$(BIN)/python -m pytest -n 2 --timeout 300 tests/web $(ARGS)

check: $(VENV)/.dev  ## format, lint, types, imports, dead code, schema, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/ansible-lint --offline --profile production -q packaging/ansible/roles/tuned examples/fleet/site.yml
	$(BIN)/python -m pytest -n 0 -q tests/unit/test_project.py tests/unit/test_house.py

coverage: $(VENV)/.dev  ## run the tests and measure what of tuned/ they run, in daemons and trials too (slow)
	rm -rf build/coverage
	mkdir -p -m 1777 build/coverage
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: $(VENV)/.dev  ## build the documentation as a site in build/site
	$(BIN)/mkdocs build --quiet --strict

pictures: $(VENV)/.dev  ## make the pictures in docs/images anew (Chromium, at CHROMIUM)
	$(BIN)/python examples/pictures.py

format: $(VENV)/.dev  ## format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(VENV)/.dev  ## write the JSON Schema of the experiment file anew
	$(BIN)/python -c 'import json; from tuned.experiment import json_schema; \
		print(json.dumps(json_schema.json_schema(), indent=2))' > tuned/experiment/schema.json

reference: $(VENV)/.dev schema  ## write the generated parts of the reference and of the manual pages anew
	$(BIN)/python -m tuned.experiment.reference
	$(BIN)/python -m tuned.manual

lock: $(VENV)/.dev  ## choose the newest versions of all dependencies and lock them
	$(LOCK) pyproject.toml requirements/run.in --output-file requirements/run.txt
	$(LOCK) pyproject.toml requirements/demo.in --constraints requirements/run.txt --output-file requirements/demo.txt
	$(LOCK) pyproject.toml requirements/dev.in --constraints requirements/demo.txt --output-file requirements/dev.txt

install:  ## install below $(DESTDIR)$(PREFIX), /usr/local if not said; see docs/how-to/install.md
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" PYTHON="$(PYTHON)" packaging/install

deb: $(DEB)  ## build the Debian package below build/deb/ (needs debhelper and python3-venv)

$(DEB): $(SOURCES)
	rm -rf build/deb
	mkdir -p build/deb/tree
	cp -r --parents $(SOURCES) build/deb/tree
	cp -r packaging/debian build/deb/tree/debian
	printf 'tuned-hpo (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- The tuned authors <tuned@localhost>  %s\n' \
		"$(VERSION)" "$$(date -R -u -r CHANGELOG.md)" > build/deb/tree/debian/changelog
	cd build/deb/tree && dpkg-buildpackage --build=binary --no-sign > ../build.log 2>&1 || { tail -n 50 ../build.log >&2; exit 1; }

rpm: $(RPM)  ## build the package for Fedora and its kin below build/rpm/ (needs rpmbuild and python3-venv)

$(RPM): $(SOURCES)
	rm -rf build/rpm
	mkdir -p build/rpm/BUILD
	cp -r --parents $(SOURCES) build/rpm/BUILD
	rpmbuild -bb --quiet --nodeps --define "_topdir $(abspath build/rpm)" --define "tuned_version $(VERSION)" \
		packaging/tuned-hpo.spec > build/rpm/build.log 2>&1 || { tail -n 50 build/rpm/build.log >&2; exit 1; }
	mv build/rpm/RPMS/*/*.rpm build/rpm/

clean:  ## delete all that was made here
	rm -rf $(VENV) .ansible .chaos .demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "cannot go on: $(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python 3.11 or newer." \
			"Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { \
		echo "cannot make $(VENV): $(PYTHON) has no venv module (on Debian: apt-get install python3-venv)" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The project itself comes last and without build isolation, so that nothing is fetched that is not locked.
$(VENV)/.%: requirements/%.txt pyproject.toml $(VENV)/.made
	$(INSTALL) --require-hashes --requirement $<
	$(INSTALL) --no-build-isolation --editable .
	@touch $@
