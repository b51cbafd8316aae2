# The commands of this project. `make demo` and `make test` do all the set-up they need.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
PROGRAM = target/release/layered-template
# Where `lxc-create -t layered-template` looks.
TEMPLATES ?= /usr/share/lxc/templates
# How many random sequences of file operations are tried, as root and as mapped root each.
SEQUENCES ?= 1000
# End-to-end tests wait for containers that start and stop, so that more of them run than there are processors.
E2E_THREADS ?= $(shell echo $$(($$(nproc) * 2)))
# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
# Temporary files of tests are in memory, where there is enough.
MEMORY = sh tests/memory.sh
# What tests could not do on this host, with the reasons.
SKIPPED = target/skipped
export LT_SKIPPED = $(abspath $(SKIPPED))
# Subcommands of cargo that cargo does not bring.
TOOLS = target/tools
SCRIPTS = .ci/run docs/images/draw.sh examples/hello/demo.sh \
    $(wildcard fuzz/*.sh packaging/*.sh tests/*.sh tests/bench/*.sh tests/e2e/lxc_tests/*.sh examples/roles/files/*.sh)

.PHONY: all demo test test-lxc test-network test-slow faults fuzz lint bench install uninstall \
    deb dist clean

# The last line is the test runner's, so that the sum stands before the last tests.
SUM = if [ -s $(SKIPPED) ]; then echo "skipped:"; sort $(SKIPPED) | uniq -c; \
    else echo "nothing was skipped"; fi

all: $(PROGRAM)

$(PROGRAM): $(shell find src layers schema -type f 2>/dev/null) docs/environment.md docs/exit-codes.md Cargo.toml Cargo.lock
	$(CARGO) build --release --locked
	@touch $@

demo: $(PROGRAM)
	@sh tests/requirements.sh demo
	@if [ -w $(TEMPLATES) ]; then $(PROGRAM) install-template; fi
	@sh examples/hello/demo.sh $(abspath $(PROGRAM))

test:
	@sh tests/requirements.sh test
	@rm -f $(SKIPPED)
	$(MAKE) --no-print-directory lint
	LT_SEQUENCES=$(SEQUENCES) $(MEMORY) $(CARGO) test --locked --lib --bins --test architecture
	$(MEMORY) $(CARGO) test --locked --test cli --test docs --test layers
	$(MEMORY) $(CARGO) test --locked --test e2e -- --test-threads=$(E2E_THREADS)
	@$(SUM)
	$(MEMORY) $(CARGO) test --locked --test manifests

# What takes long: whole distributions, the oldest Rust, a static program, the packages, the book, LXC's own tests,
# Incus, a minute of fuzzing for each target, and LXC 6.
test-slow:
	@sh tests/requirements.sh slow
	@CARGO="$(CARGO)" sh tests/slow.sh
	@$(SUM)
	$(CARGO) test --locked --test manifests

# With the LXC of later Debians, each on a root of its own.
SUITES ?= trixie sid
test-lxc:
	@sh tests/requirements.sh slow
	@for suite in $(SUITES); do CARGO="$(CARGO)" sh tests/lxc.sh $$suite || exit; done
	@$(SUM)

# Before a release: `make fuzz FUZZ_SECONDS=3600`.
fuzz:
	@sh tests/requirements.sh slow
	@CARGO="$(CARGO)" sh tests/tools.sh $(TOOLS)
	@PATH="$(abspath $(TOOLS))/bin:$$PATH" CARGO="$(CARGO)" sh fuzz/run.sh $(FUZZ_SECONDS)

# Whole distributions, from the mirror that this host installs its own packages from: minutes.
test-network:
	@sh tests/requirements.sh network
	LT_NETWORK=1 $(CARGO) test --locked --test e2e distributions::

# Faults at every system call, where `make test` samples them: hours. A number for FAULTS tries as many of
# each command and fault.
FAULTS ?= all
faults:
	@sh tests/requirements.sh test
	LT_FAULTS=$(FAULTS) $(CARGO) test --locked --test cli -- faults:: --skip store_faults::

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --quiet --no-deps --lib
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); \
	    else sh tests/skip.sh "shellcheck is not installed: scripts are not checked"; fi
	@if CARGO="$(CARGO)" sh tests/tools.sh $(TOOLS); then export PATH="$(abspath $(TOOLS))/bin:$$PATH"; \
	    typos && $(CARGO) deny --locked check licenses bans sources; \
	    else sh tests/skip.sh "typos and cargo-deny cannot be installed: spelling and licences are not checked"; fi

bench: $(PROGRAM)
	@sh tests/requirements.sh bench
	@sh tests/bench/run.sh $(abspath $(PROGRAM))
	@sh tests/bench/roles.sh $(abspath $(PROGRAM))
	@sh tests/bench/store.sh $(abspath $(PROGRAM))
	@sh tests/bench/fleet.sh $(abspath $(PROGRAM))
	@sh tests/bench/upgrade.sh $(abspath $(PROGRAM))

install: $(PROGRAM)
	install -D -m 0755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/layered-template
	install -D -m 0755 $(PROGRAM) $(DESTDIR)$(TEMPLATES)/lxc-layered-template
	rm -rf target/man
	install -d target/man $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5
	$(PROGRAM) man --output target/man
	install -m 0644 target/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 target/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(PROGRAM) completions bash \
	    >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/layered-template
	$(PROGRAM) completions zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_layered-template
	$(PROGRAM) completions fish \
	    >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/layered-template.fish

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/layered-template \
	    $(DESTDIR)$(TEMPLATES)/lxc-layered-template \
	    $(DESTDIR)$(PREFIX)/share/man/man1/layered-template.1 \
	    $(DESTDIR)$(PREFIX)/share/man/man1/layered-template-*.1 \
	    $(DESTDIR)$(PREFIX)/share/man/man5/layered-template.toml.5 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/layered-template \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_layered-template \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/layered-template.fish

# A package for Debian, below target/debian.
deb: $(PROGRAM)
	@sh tests/requirements.sh deb
	@CARGO="$(CARGO)" MAKE="$(MAKE)" sh packaging/deb.sh $(TOOLS)/deb

# An archive with a program that needs no library, below target/dist. The other program comes back to where
# it was.
dist: $(PROGRAM)
	$(CARGO) rustc --release --locked --bin layered-template -- -C target-feature=+crt-static
	cp $(PROGRAM) target/release/static-program
	$(CARGO) build --release --locked
	@touch $(PROGRAM)
	@sh packaging/dist.sh target/release/static-program

clean:
	$(CARGO) clean
