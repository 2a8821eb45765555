# make demo: see the main job.  make test: everything that must hold.
# Both make a virtual environment in .venv first; it needs Python 3.10 or newer and nothing else.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench bench-profiles docs results results-sampled clean

demo: .venv/demo
	@echo ">> asking the bundled model, once plainly and twice in a style"
	$(BIN)/langchain-amulet compare "How do I sleep better?" -p "Keep it short." -p "Be uplifting."

test: check
	@echo ">> tests (a few minutes)"
	$(BIN)/python -m pytest

check: .venv/test
	@echo ">> lint, types, layers"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/test
	@echo ">> running the pages' snippets, and showing what they print now"
	$(BIN)/python -m docs.snippets

results: .venv/test build/reward/model.safetensors
	@echo ">> the bundled model by all methods, greedy (about half an hour); again goes on"
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/greedy.json --out build/results/greedy

results-sampled: .venv/test build/reward/model.safetensors
	@echo ">> the same sampled, then style against degeneration over strength"
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/sampled.json --out build/results/sampled
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/strengths.json --out build/results/strengths

build/reward/model.safetensors: | .venv/test
	@echo ">> training PAD's reward model (some minutes; needs Python 3.11)"
	$(BIN)/python -m pocket.training.reward --out build/reward

bench: .venv/demo
	$(BIN)/python -m benchmarks.decode

bench-profiles: .venv/test
	@echo ">> a million users in SQLite and PostgreSQL (some minutes)"
	$(BIN)/python -m benchmarks.profiles

.venv/demo: pyproject.toml constraints.txt
	@echo ">> virtual environment in .venv, then the package with torch and transformers (some minutes)"
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(v < (3, 10) and 'Python 3.10 or newer is needed, this is %d.%d; run make PYTHON=/path/to/python' % v[:2])"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

.venv/test: .venv/demo
	@echo ">> what the tests need"
	$(PIP) --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build dist
