# Everything runs in a virtual environment, made on first use and brought up to date when one of INPUTS changes.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INPUTS = setup.cfg pyproject.toml constraints.txt
# A hash and not the files' times: a fresh checkout of the same content must not install again.
STAMP := $(VENV)/.installed-$(firstword $(shell cat $(INPUTS) | cksum))

.PHONY: compare quick test lint docs reference fidelity plugins fuzz mutations bench clean

compare: $(STAMP)
	$(BIN)/cl-bench run quickstart
	$(BIN)/cl-bench plot quickstart
	$(BIN)/cl-bench report quickstart

# What is done before a commit: no processes, exports or pictures, and of training one tiny stream.
quick: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

# In the order of names: by their number of tests, the files of one test that takes minutes would all come last.
test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# 2,500 cases for each fuzz test; `make test` tries fewer.
fuzz: $(STAMP)
	CL_BENCH_FUZZ=2500 $(BIN)/python -m pytest -q tests/data/test_fuzz_labels.py tests/data/test_fuzz_images.py tests/test_fuzz.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@# import-linter looks at folders alone, and strategies/ and experiments/ lie where setup.cfg maps them from.
	rm -rf .lint && mkdir .lint && cp -r cl_bench .lint/
	cp -r strategies experiments .lint/cl_bench
	cd .lint && PYTHONPATH=. $(abspath $(BIN))/lint-imports ../importlinter.toml

# The documentation site, into site/; a link that leads nowhere fails it.
docs: $(STAMP)
	$(BIN)/mkdocs build --strict

# Writes the pages of docs/reference that are built from the code.
reference: $(STAMP)
	$(BIN)/python -m tools.reference

# Writes the tables of docs/reference/fidelity.md that are built from the tests.
fidelity: $(STAMP)
	$(BIN)/python benchmarks/tables_of_tests.py fidelity

# Writes the table of docs/how-to/avalanche.md: trains each of Avalanche's plug-ins on a tiny stream. A few minutes.
plugins: $(STAMP)
	$(BIN)/python benchmarks/tables_of_tests.py plugins

# Plants faults in a copy of the tree, one at a time; fails where the tests let one pass. About half an hour.
mutations: $(STAMP)
	$(BIN)/python benchmarks/mutations.py --json results/benchmarks/mutations.json

# With nothing else on the machine, which takes about two hours; reading needs the data sets (CL_BENCH_DATA).
bench: $(STAMP)
	$(BIN)/python benchmarks/startup.py --json results/benchmarks/startup.json
	$(BIN)/python benchmarks/coverage.py --json results/benchmarks/coverage.json
	$(BIN)/python benchmarks/steps.py --only training --json results/benchmarks/training.json
	$(BIN)/python benchmarks/steps.py --only evaluation --rounds 15 --json results/benchmarks/evaluation.json
	$(BIN)/python benchmarks/steps.py --only avalanche --images 32 --rounds 2 --json results/benchmarks/avalanche.json
	$(BIN)/python benchmarks/steps.py --only teachers --images 32 --order "cls>det>seg" --json results/benchmarks/teachers_masks_last.json
	$(BIN)/python benchmarks/steps.py --only teachers --images 32 --json results/benchmarks/teachers_labels_last.json
	$(BIN)/python benchmarks/sharing.py quickstart --json results/benchmarks/sharing.json
	$(BIN)/python benchmarks/growth.py --json results/benchmarks/growth.json
	$(BIN)/python benchmarks/scale.py 100 1000 10000 --json results/benchmarks/scale.json
	$(BIN)/python benchmarks/reading.py unified_onehead_best --json results/benchmarks/reading.json
	$(BIN)/python benchmarks/scoring.py voc-coco-imagenette-best --json results/benchmarks/scoring.json

# Keeps the environment and the results, which are dear.
clean:
	rm -rf build dist site *.egg-info .lint .mypy_cache .pytest_cache .ruff_cache
	find cl_bench strategies experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "cl_bench needs Python 3.10 or newer, and $(PYTHON) is %d.%d." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch torchvision
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	rm -f $(VENV)/.installed-*
	touch $@
