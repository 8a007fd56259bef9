# Two commands do everything; each creates the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

INSTAX3D_DATA ?= ../shared/data
SUBJECTS ?= $(INSTAX3D_DATA)/head_scan $(addprefix $(INSTAX3D_DATA)/photos/,bald_man_front.png three_quarter_bangs.jpg woman_dark_hair_front.jpg)

.PHONY: portrait study test test-slow lint clean

portrait: $(INSTALLED)  ## make a portrait of a photo that comes with scikit-image
	$(BIN)/python examples/astronaut_photo.py out/astronaut.png
	$(BIN)/instax3d create out/astronaut.png -o out/astronaut

study: $(INSTALLED)  ## combinations of the parts that need no download, on SUBJECTS; goes on where it was broken off
	$(BIN)/instax3d benchmark default-combos $(SUBJECTS) -o out/default-combos

test: $(INSTALLED)  ## the fast tests
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)  ## the long ones
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)  ## style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=plugins $(BIN)/lint-imports --no-cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "instax3d needs Python 3.11 or newer; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt facenet-pytorch  # MTCNN's weights, for its tests
	touch $@

clean:
	rm -rf $(VENV) build dist
