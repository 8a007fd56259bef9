# Two commands do everything; each creates the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

INSTAX3D_DATA ?= ../shared/data
SUBJECTS ?= $(INSTAX3D_DATA)/head_scan $(addprefix $(INSTAX3D_DATA)/photos/,bald_man_front.png three_quarter_bangs.jpg woman_dark_hair_front.jpg)

.PHONY: portrait study test test-slow lint check clean

portrait: $(INSTALLED)  ## make a portrait of a photo that comes with scikit-image
	$(BIN)/python examples/astronaut_photo.py out/astronaut.png
	$(BIN)/instax3d create out/astronaut.png -o out/astronaut

study: $(INSTALLED)  ## combinations of the parts that need no download, on SUBJECTS; resumes where it was interrupted
	$(BIN)/instax3d benchmark default-combos $(SUBJECTS) -o out/default-combos

test: $(INSTALLED)  ## the fast tests
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

test-slow: $(INSTALLED)  ## the long ones
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)  ## style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=plugins $(BIN)/lint-imports --no-cache
	$(BIN)/python tools/house.py
	$(BIN)/python tools/shapes.py

# tests/core/fitting for instax3d/fitting, tests/plugins/absgs for plugins/instax3d_plugins/absgs, the contract's for instax3d
ROOM_TESTS = $(if $(filter instax3d,$(ROOM)),$(wildcard tests/core/test_*.py),$(wildcard \
	$(patsubst instax3d/%,tests/core/%,$(filter instax3d/%,$(ROOM))) \
	$(patsubst plugins/instax3d_plugins/%,tests/plugins/%,$(filter plugins/%,$(ROOM)))))

check: $(INSTALLED)  ## one room: make check ROOM=instax3d/fitting, plugins/instax3d_plugins/absgs, or instax3d for the contract
	@test -d "$(ROOM)" || { echo "name a folder: make check ROOM=instax3d/fitting"; exit 2; }
	$(BIN)/ruff check $(ROOM) $(ROOM_TESTS)
	$(BIN)/mypy
	PYTHONPATH=plugins $(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q -m "not slow" $(or $(ROOM_TESTS),tests/core/test_tiers.py)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "instax3d needs Python 3.11 or newer; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt facenet-pytorch  # MTCNN's weights, for its tests
	touch $@

clean:
	rm -rf $(VENV) build dist
