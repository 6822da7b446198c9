# Each target makes what it needs, the virtual environment included. Needs Python >= 3.10 and make.
#   make train   train the copy NTM, evaluate it at the paper's lengths, draw it
#   make test    linter, formatter, type checker, tests
#   make bench   what training costs around the model
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/copy-ntm-$(shell date +%Y%m%d-%H%M%S)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test bench seeds clean

train: $(VENV)/installed-train
	$(eval RUN := $(RUN))
	$(BIN)/tapehead train copy --model ntm --out $(RUN)
	$(BIN)/tapehead evaluate $(RUN) --lengths 10 20 30 50 80 120
	$(BIN)/tapehead plot $(RUN)

test: export OMP_NUM_THREADS = 1
test: $(VENV)/installed-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(VENV)/installed-train
	$(BIN)/python benchmarks/training_loop.py

seeds: $(VENV)/installed-train
	$(BIN)/python benchmarks/copy_seeds.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch first and alone: anything that asks for torch by itself may bring another build of it.
$(VENV)/installed-torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	touch $@

$(VENV)/installed-%: $(VENV)/installed-torch pyproject.toml
	$(INSTALL) --editable ".[$(subst train,train$(comma)plots,$*)]"
	touch $@

comma := ,
