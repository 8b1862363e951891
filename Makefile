# What one does with this repository. `make` alone lists it. Each target installs what it needs through scripts/.

# One thing at a time: cargo uses all cores by itself, and its builds would wait for each other's locks anyway.
.NOTPARALLEL:
.DEFAULT_GOAL := help

CARGO ?= cargo
# More arguments for the program that a target runs: `make test ARGS='-p tidings-meta'`, `make demo ARGS=--help`.
ARGS ?=
# In CI a Cargo.lock that does not fit the manifests is a failure, not something to mend in silence.
LOCKED := $(if $(CI),--locked)
STEP := scripts/step

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-24s %s\n", $$1, $$2 }'

.PHONY: demo
demo: ## the hub and a simulated Meta on this machine, with customers writing: prints the addresses to open
	$(CARGO) run $(LOCKED) --profile demo -p tidings --bin tidings -- demo $(ARGS)

.PHONY: test
test: test-rust $(if $(ARGS),,test-browser test-clients) ## all tests, on SQLite and on a Postgres made for this run

.PHONY: test-rust
test-rust: install-postgres ## those that cargo runs (a part of `make test`; alone where there are ARGS)
	@$(STEP) "tests" scripts/with-postgres --fast $(CARGO) test $(LOCKED) --no-fail-fast $(or $(ARGS),--workspace)

.PHONY: test-browser
test-browser: install-postgres ## phone page, reels, and every kind of message from hub to phone and back, in a real Chromium (a part of `make test`)
	@$(CARGO) build $(LOCKED) --quiet -p tidings-sandbox --example serve
	@CHROMIUM=$$(scripts/install-browser) $(STEP) "phone page" node --test crates/sandbox/browser
	@$(STEP) "hub in a browser" scripts/with-postgres --fast scripts/in-browser

.PHONY: test-clients
test-clients: ## the sandbox with WhatsApp and Instagram clients that others wrote for Meta (a part of `make test`)
	@$(CARGO) build $(LOCKED) --quiet -p tidings-sandbox --example serve
	@PYTHON=$$(scripts/install-clients) && \
		cd crates/sandbox/clients/python && $(CURDIR)/$(STEP) "clients in Python" $$PYTHON -B -m unittest
	@$(STEP) "clients in Node.js" node --test crates/sandbox/clients/node

.PHONY: screenshots
screenshots: ## the pictures of docs/images that are taken by a browser
	PICTURES=$(CURDIR)/docs/images scripts/in-browser --test-name-pattern='its picture' --test-name-pattern='the guide to sending'

.PHONY: bench
bench: install-postgres ## measure the hub against reference servers, on SQLite and on a Postgres made for this run
	$(CARGO) build $(LOCKED) --release -p tidings -p tidings-bench
	scripts/with-postgres $(CARGO) run $(LOCKED) --release -p tidings-bench -- run $(ARGS)
	$(if $(ARGS),,$(CARGO) run $(LOCKED) --release -p tidings-bench -- feed)

.PHONY: ci
ci: lint test ## everything that must pass before a change is merged

.PHONY: lint
lint: fmt deny clippy doc ## everything of ci but the tests

.PHONY: fmt
fmt: install-rust-components ## the code is formatted
	@$(STEP) "formatting" $(CARGO) fmt --all -- --check

.PHONY: clippy
clippy: install-rust-components ## no warning of the compiler or of clippy
	@$(STEP) "clippy" $(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## no warning of rustdoc
	@RUSTDOCFLAGS="-D warnings" $(STEP) "documentation" $(CARGO) doc $(LOCKED) --workspace --no-deps --document-private-items

.PHONY: deny
deny: install-cargo-deny ## only allowed crates, licences and sources (deny.toml)
	@$(STEP) "dependencies" $(CARGO) deny check --hide-inclusion-graph bans licenses sources

.PHONY: install-postgres
install-postgres: ## Postgres's server programs, for the tests and the bench
	@scripts/install-postgres

.PHONY: install-browser
install-browser: ## Chromium and what drives it, for the tests in a browser
	@scripts/install-browser >/dev/null

.PHONY: install-clients
install-clients: ## the clients that the sandbox is tested with
	@scripts/install-clients >/dev/null

.PHONY: install-cargo-deny
install-cargo-deny: ## the tool behind `make deny`
	@scripts/install-cargo-deny

.PHONY: install-rust-components
install-rust-components: ## rustfmt and clippy
	@scripts/install-rust-components
