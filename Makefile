# make demo   the whole way, from portraits to edited portraits, into demo-output/
# make test   the tests
# Both make the virtual environment .venv, or use the one that is there. Nothing else is touched.

VENV   ?= .venv
OUT    ?= demo-output
ARCHIVE ?= dist/cycle-encoding.zip
COMFYUI_PYTHON ?= python3
TEST_WORKERS ?= 2
PYTHON ?= # the first of python3.11, 3.12, 3.13, 3.10 and python3 that is new enough

PEOPLE         ?= runs/people
PEOPLE_VENV    ?= .venv-people
PEOPLE_COUNT   ?= 20000
PEOPLE_SIZE    ?= 256
PEOPLE_WORKERS ?= 2
SCENES         ?= runs/scenes
SCENES_COUNT   ?= 4000
SETS           ?= runs/sets
SPLIT          ?= test
SETS_OPTIONS   ?= # such as --inside 300

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

# on a busy machine torch's threads lose minutes by spinning while they wait for each other
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check compare benchmark pictures thumbnails screenshots archive people scenes sets clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.has-demo  ## run the main job: align, encode, refine, tune, edit, paste
	$(BIN)/cycle-core demo --out $(OUT)

test: $(VENV)/.has-test  ## run the tests, in TEST_WORKERS processes
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -rs --durations=15

check: $(VENV)/.has-dev  ## lint and type check
	$(BIN)/ruff check .
	$(BIN)/pyright

compare: $(VENV)/.has-test  ## compare the methods of inversion on a few portraits, in minutes
	$(BIN)/cycle-core bench --quick --device cpu --out bench-output

benchmark: $(VENV)/.has-test  ## print the table of times and memory
	$(BIN)/python benchmarks/speed.py

pictures: demo  ## renew the README's pictures, from the demo
	$(BIN)/python -c 'from PIL import Image; \
		Image.open("$(OUT)/sheet.png").save("docs/images/sheet.jpg", quality=85)'

thumbnails:  ## draw workflows/*.jpg in the ComfyUI of COMFYUI_DIR, by COMFYUI_PYTHON
	$(COMFYUI_PYTHON) tests/comfy_real.py

screenshots:  ## renew the README's pictures of the Latent Editor, there and in Chromium
	$(COMFYUI_PYTHON) tests/comfy_pictures.py

figures: pictures thumbnails screenshots  ## renew all of these at once

archive:  ## write ARCHIVE, which the registry hands out: the last commit but for .comfyignore's lines
	@mkdir -p $(dir $(ARCHIVE))
	@git archive --format=zip -o $(ARCHIVE) HEAD . $$(sed -n 's,^/\(.*[^/]\)/*$$,:(exclude)\1,p' .comfyignore)
	@du --apparent-size -B 100KB $(ARCHIVE) | awk '{ print $$2 ": " $$1 / 10 " MB" }'

people: $(PEOPLE_VENV)/.ready  ## render PEOPLE_COUNT people into PEOPLE; needs libegl1, libgl1-mesa-dri
	LP_NUM_THREADS=0 $(PEOPLE_VENV)/bin/python -m people.dataset $(PEOPLE) --count $(PEOPLE_COUNT) \
		--resolution $(PEOPLE_SIZE) --workers $(PEOPLE_WORKERS)

scenes: $(PEOPLE_VENV)/.ready  ## render SCENES_COUNT scenes of people into SCENES, for the landmark network
	LP_NUM_THREADS=0 $(PEOPLE_VENV)/bin/python -m people.scenes $(SCENES) --count $(SCENES_COUNT) \
		--workers $(PEOPLE_WORKERS)

sets: $(PEOPLE_VENV)/.ready  ## render the people that methods are compared on into SETS
	LP_NUM_THREADS=0 $(PEOPLE_VENV)/bin/python -m people.sets $(SETS) --split $(SPLIT) $(SETS_OPTIONS)

$(PEOPLE_VENV)/.ready: people/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv $(PEOPLE_VENV)
	$(PEOPLE_VENV)/bin/python -m pip install --disable-pip-version-check -r people/requirements.txt
	@touch $@

clean:  ## remove the demo's output and caches; the environment stays
	rm -rf $(OUT) bench-output .pytest_cache .ruff_cache

# One stamp per extra of pyproject.toml: installed again only when a version has changed.
$(VENV)/.has-%: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c '$(IN_RANGE)' || { echo "$(VENV) holds a Python that is not 3.10 to 3.13:" \
		"remove the folder $(VENV) and try again." >&2; exit 1; }
	@echo "Installing into $(VENV); the first time takes a few minutes."
	$(INSTALL) --editable ".[$*]"
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON) $(if $(PYTHON),,python3.11 python3.12 python3.13 python3.10 python3); do \
		if "$$python" -c '$(IN_RANGE)' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Python 3.10 to 3.13 is needed and $(if $(PYTHON),$(PYTHON) is none of them,none was found):" \
			"install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	had=$$([ -e "$(VENV)" ] && echo yes); \
	"$$found" -m venv "$(VENV)" || { [ "$$had" ] || rm -rf "$(VENV)"; \
		echo "$$found could not make $(VENV): it needs its venv module" \
			"(on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
