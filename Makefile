# Needs python3 (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OLDEST := $(VENV)-oldest
NEWEST := $(VENV)-newest

# The tests start hundreds of processes; without this each would compile every module anew where the variable is set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all test-oldest test-newest wheel course bench site clean

demo: $(VENV)/.run
	$(BIN)/accelsim run alexnet --arch eyeriss --dataflow ws,os,rs --check --plot reports/demo

test: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal --durations=10

test-all: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal --durations=10 -m "slow or not slow"

# The lower bounds of pyproject.toml, exactly, in an environment of their own: what they promise is tested.
# Kernels are kept there too, since those beside the sources are of the numba of $(VENV).
test-oldest:
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) tests/bounds.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[dev]' --constraint $(OLDEST)/oldest.txt
	NUMBA_CACHE_DIR=$(CURDIR)/$(OLDEST)/kernels $(OLDEST)/bin/pytest -n 2 --dist worksteal -p no:cacheprovider

# The newest of everything on the newest Python there is: make test-newest PYTHON=python3.14
test-newest:
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	NUMBA_CACHE_DIR=$(CURDIR)/$(NEWEST)/kernels $(NEWEST)/bin/pytest -n 2 --dist worksteal -p no:cacheprovider

# dist/accelsim-*.whl, which a class installs with pip; presets, dataflows and workloads are inside.
wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel
	@echo "hand out: $$(ls -t dist/accelsim-*.whl | head -1)"
	@echo "it is installed with: pip install FILE   (or, with the explorer: pip install 'FILE[explorer]')"

# What is handed out to students, and what their teacher keeps: key, grading, slides (docs/course/teacher.md).
course: $(VENV)/.run
	$(BIN)/python docs/course/course.py build dist/course

# site/index.html: the documentation, which a browser opens from the file and which loads nothing from outside.
site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

bench: $(VENV)/.dev
	$(BIN)/pytest benchmarks -m "slow or not slow"
	$(BIN)/python benchmarks/mappings_per_second.py
	$(BIN)/python benchmarks/time_by_size.py
	$(BIN)/python benchmarks/sweep_points_per_second.py --scalesim
	$(BIN)/python benchmarks/whole_networks.py
	$(BIN)/python benchmarks/scalesim_speed.py

clean:
	rm -rf $(VENV) $(OLDEST) $(NEWEST) build dist site reports/demo .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps, made anew when the dependencies change.
$(VENV)/.run: pyproject.toml hatch_build.py | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml hatch_build.py | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.run

# Where ensurepip is missing, venv leaves a directory without pip behind; hence pip is the target.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "accelsim needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment. On Debian or Ubuntu, as root: apt-get install python3-venv" >&2; exit 1; }
