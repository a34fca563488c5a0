# make lab    opens JupyterLab at your own copies of the lessons, in my-lessons (sets everything up
#             the first time); make lab AGAIN=03 lays that one anew and keeps yours beside it
# make check  lint, types and the tests that are done at once: for daily work
# make test   the same set-up, then everything CI runs
# make book   the lessons as web pages, in book/_build/html; make book-serve shows them
# make readme the README's table of lessons, from the lessons' front matter

PYTHON ?= python3
PORT ?= 8888
BOOK_PORT ?= 8000
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PINS := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: lab check test lint types unit nbval test-lowest test-newest notebooks readme book book-serve clean

lab: $(VENV)/.lab
	@$(BIN)/diffusion-lessons lab --port $(PORT) $(if $(AGAIN),--again $(AGAIN))

test: lint types unit nbval

# No browser, no training, nothing that takes seconds.
check: lint types
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not slow' --ignore=tests/browser

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.test
	$(BIN)/mypy --cache-dir $(VENV)/.mypy_cache

# Each test works on one core, and so each core has tests of its own, file by file: what a file
# shares, a browser or a JupyterLab, is made once. The browser's files, the longest, come first.
unit: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Every cell of every lesson runs, and of the book's first page; outputs may differ, errors may not.
# The longest lessons come first, and trainings of so many seconds get a tenth of them (conftest.py).
nbval: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  --nbval-lax --nbval-cell-timeout=600 -p no:cacheprovider notebooks book/index.ipynb

# The tests with the lowest versions that pyproject.toml allows, and with the newest of today;
# each in a .venv of its own, which takes several gigabytes where PyTorch comes with CUDA.
test-lowest:
	@$(MAKE) --no-print-directory unit VENV=.venv-lowest PINS=.venv-lowest.txt

test-newest:
	@PIP_UPGRADE=1 PIP_UPGRADE_STRATEGY=eager \
	  $(MAKE) --no-print-directory unit VENV=.venv-newest PINS=.venv-newest.txt

.venv-lowest.txt: pyproject.toml
	@grep -oE '"[a-z-]+>=[0-9.]+"' pyproject.toml | tr -d '"' | sed 's/>=/==/' > $@

# Holds to nothing, and is new each time: what is newest changes with no change here.
.PHONY: .venv-newest.txt
.venv-newest.txt:
	@: > $@

# Execute the lessons' .md into the .ipynb that people open: make notebooks LESSONS=02_ddpm
LESSONS ?=
notebooks: $(VENV)/.test
	$(BIN)/python notebooks/execute.py $(LESSONS)

# The README's table of lessons, from what each lesson says of itself in its front matter.
readme: $(VENV)/.test
	$(BIN)/python notebooks/readme.py

# The published book, from what is committed: nothing is executed, nothing is fetched.
book: $(VENV)/.book
	$(BIN)/python book/build.py

book-serve: book
	@echo "The book: http://127.0.0.1:$(BOOK_PORT)  (Ctrl-C ends it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory book/_build/html $(BOOK_PORT)

clean:
	rm -rf $(VENV) .venv-lowest* .venv-newest* runs book/_build

# Why a $(VENV) that is there will not do; nothing if it will. It holds for the folder and the Python
# that it was made with, which it writes down itself.
define WHY_NOT
[ -e '$(VENV)' ] || [ -L '$(VENV)' ] || exit 0; \
noted() { sed -n "s/^$$1 *= *//p" '$(VENV)/pyvenv.cfg' 2>/dev/null; }; \
version='import sys; print("%d.%d" % sys.version_info[:2])'; \
made=$$(noted version); place=$$(noted command | sed 's/.* -m venv //'); \
now=$$('$(VENV)/bin/python' -c "$$version" 2>/dev/null); \
here=$$(cd '$(VENV)' 2>/dev/null && pwd -P); there=$$(cd "$$place" 2>/dev/null && pwd -P); \
asked=$$([ '$(origin PYTHON)' = file ] || $(PYTHON) -c "$$version" 2>/dev/null); \
if [ -z "$$now" ]; then echo "its Python does not run"; \
elif [ -n "$$made" ] && [ "$${made#$$now.}" = "$$made" ]; then \
  echo "it was made with Python $$made, and runs with $$now"; \
elif [ -n "$$place" ] && [ "$$here" != "$$there" ]; then echo "it was made for $$place"; \
elif [ -n "$$asked" ] && [ "$$asked" != "$$now" ]; then \
  echo "it has Python $$now, and $(PYTHON) is $$asked"; fi
endef
ANEW := $(shell $(WHY_NOT))
ifneq ($(ANEW),)
.PHONY: $(VENV)/bin/python $(VENV)/.lab $(VENV)/.test $(VENV)/.book
endif
# What make leaves in a $(VENV) of its own; nothing else is removed.
OURS := $(wildcard $(addprefix $(VENV)/,.made .lab .test .book))

# pip is slow to find out that there is nothing to do: it is asked again only when these change.
$(VENV)/.lab: pyproject.toml $(PINS) | $(VENV)/bin/python
	@echo "Installing what the course needs into $(VENV) (some minutes, once)"
	@$(BIN)/python -m pip install --quiet -c $(PINS) -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(PINS) | $(VENV)/bin/python
	@echo "Installing what the tests need into $(VENV) (some minutes, once)"
	@$(BIN)/python -m pip install --quiet -c $(PINS) -e '.[dev,oracles,browser,book,scale,page]'
	@touch $@ $(VENV)/.lab $(VENV)/.book

$(VENV)/.book: pyproject.toml $(PINS) | $(VENV)/bin/python
	@echo "Installing what the book needs into $(VENV) (some minutes, once)"
	@$(BIN)/python -m pip install --quiet -c $(PINS) -e '.[book]'
	@touch $@ $(VENV)/.lab

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No $(PYTHON) found. Install Python 3.11 or newer, or name yours: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) --version) is too old: 3.11 or newer is needed. Name another: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@if [ -n '$(OURS)' ]; then \
	  echo '$(VENV) will not do: $(ANEW). Setting it up anew'; rm -rf $(VENV); \
	elif [ -e $(VENV) ] || [ -L $(VENV) ]; then \
	  echo '$(VENV) will not do: $(ANEW). As make did not make it, it stays:'; \
	  echo 'remove it, or name another place: make lab VENV=.venv-course'; exit 1; fi
	@folder=$$(dirname '$(VENV)'); [ ! -e "$$folder" ] || [ -w "$$folder" ] || { \
	  echo "This account may not write into $$(cd "$$folder" && pwd). Take a clone of your own,"; \
	  echo 'or name a place of yours: make lab VENV=~/diffusion-lessons-venv'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@touch $(VENV)/.made
