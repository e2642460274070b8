# Commands: `make demo`, `make test`, `make bench`. They need git, make and Rust; what else is missing is installed or named.

CARGO ?= cargo
export CARGO

.PHONY: help demo test lint bench needs

help:
	@echo 'make demo   build farend and replay the bundled laptop-farm capture'
	@echo 'make test   run all tests'
	@echo 'make bench  farend against tcpdump on generated captures (Python 3; options: make bench BENCH=--record)'
	@echo 'make lint   formatting, clippy, and a build without libpcap'

demo: needs
	$(CARGO) run --release --locked --package farend -- demo

test: needs
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace; \
	else \
		$(CARGO) test --locked --workspace --lib --bins --tests; \
	fi

# The modules of analyzers/src/proto are found by analyzers/build.rs, where `cargo fmt` does not see them.
lint: needs
	$(CARGO) fmt --all --check
	find analyzers/src/proto analyzers/src/inside_tls -name '*.rs' -print0 | xargs -0 rustfmt --check --config-path .
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) check --locked --package farend --no-default-features

# Benchmarks alone need Python 3.
bench: needs
	python3 benches/run.py $(BENCH)

needs:
	@sh .ci/needs
