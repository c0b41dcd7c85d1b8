# Targets of daily use. Each installs what the machine lacks (see .ci/setup) and then does its whole job.

# A fresh rustup is not in the PATH of the shell that called make.
CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(CARGO_HOME)/bin:$(PATH)

# The user's own file for `make demo`: an h5ad, its obs column of batches and, for the scores, of cell types.
DATA ?=
BATCH ?= batch
LABEL ?= cell_type

# For `make bench-paper`: how many seeds, and Pythons that have other tools, as METHOD=PYTHON.
SEEDS ?= 2
PEERS ?=

# All targets select the same packages and the dev profile, so that no dependency is compiled twice. The dev profile is optimised.
.PHONY: help demo test test-r test-notebooks docs lint bench bench-paper setup setup-r setup-notebook
.DEFAULT_GOAL := help

help: ## this list
	@echo 'make demo                    integrate a small generated data set and print scores before and after'
	@echo 'make demo DATA=f.h5ad BATCH=tech LABEL=cell_type   the same on your own file'
	@echo 'make test                    all tests, those of the R package and of the notebooks too'
	@echo 'make test-r                  the R package alone: source package, installation without a network, R CMD check'
	@echo 'make test-notebooks          the notebook kernel: its tests, all notebooks executed, JupyterLab in a browser'
	@echo 'make docs                    pages of all notebooks and R vignettes; the first is target/docs/index.html'
	@echo 'make lint                    format, clippy and documentation, warnings are errors'
	@echo 'make bench                   times of the hot paths; other tools: see benches/README.md'
	@echo 'make bench-paper             the comparisons of the CONCORD paper in small; other tools: PEERS="harmony=/path/to/python ..."'
	@echo 'make setup                   only install what is missing'

setup:
	@./.ci/setup

setup-r:
	@./.ci/setup r

setup-notebook:
	@./.ci/setup notebook

demo: setup
ifeq ($(strip $(DATA)),)
	cargo run --bin tutti -- demo
else
	cargo run --bin tutti -- demo --data '$(DATA)' --batch '$(BATCH)' --label '$(LABEL)'
endif

test: setup-r
	cargo test
	for example in $(notdir $(basename $(wildcard core/tutti/examples/*.rs))); do cargo run --quiet --example $$example || exit 1; done
	$(MAKE) test-r
	$(MAKE) test-notebooks

test-r: setup-r
	./.ci/check-r
	cargo build --bin tutti
	R_LIBS=target/r/library Rscript tests/r/equals_the_command_line.R target/debug/tutti

test-notebooks: setup-notebook
	./.ci/check-notebooks

docs: setup-r setup-notebook
	./.ci/check-notebooks docs
	TUTTI_CARGO_PROFILE=dev R CMD INSTALL --no-docs --no-lock --library=$$(mkdir -p target/docs/.library && echo target/docs/.library) r-package
	for page in r-package/vignettes/*.Rmd; do \
		R_LIBS=target/docs/.library Rscript -e 'rmarkdown::render("'$$page'", output_dir = "target/docs/r", quiet = TRUE)' || exit 1; \
	done
	target/notebook/venv/bin/python jupyter/tests/index.py target/docs
	@echo 'open target/docs/index.html'

lint: setup
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	if command -v Rscript >/dev/null; then cargo clippy --package tutti-r -- -D warnings; fi
	cargo clippy --package tutti-jupyter --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

bench: setup
	cargo bench --bench '*' --profile dev
	@echo
	@echo 'Against other tools, in pairs (installs them in their own Python environment):'
	@echo '  python3 benches/peers/run.py train      speed and memory beside concord-sc'
	@echo '  python3 benches/peers/run.py quality    integration scores beside concord-sc and PCA'

bench-paper: setup
	cargo run --example paper -- benches/results/paper $(SEEDS) $(PEERS)
