# SPDX-License-Identifier: BSD-3-Clause
#
# The short commands, for people; meson does the work. Each first installs what a fresh machine lacks
# for it (tools/packages), which takes no time where nothing does.

BUILD ?= build
PREFIX ?= /usr/local
LAYER ?=
SCENARIOS ?=
OPTIONS ?=
TESTS = disabled
GROUPS = build

export BUILD KEEP

.PHONY: all demo test soak bench bench-quick install asan tsan lint format clean help setup

# Meson and the linter use all processors by themselves.
.NOTPARALLEL:

all: $(BUILD)/build.ninja ## build everything into build/
	@ninja -C $(BUILD)

demo: GROUPS += guest
demo: all ## two Linux guests talk through shuntd; KEEP=1 leaves them running
	@tools/demo

test: GROUPS += test $(if $(LAYER),$(filter guest,$(LAYER)),guest)
test: TESTS = enabled
test: $(BUILD)/tests/unit all ## run all tests; LAYER=unit runs one layer
	@tests/run $(LAYER)

install: all ## install; PREFIX=/usr/local DESTDIR=
	@grep -qx 'prefix=$(PREFIX)' $(BUILD)/meson-private/shunt.pc || meson configure $(BUILD) --prefix=$(PREFIX)
	@DESTDIR=$(abspath $(DESTDIR)) meson install -C $(BUILD)
	@[ -n "$(DESTDIR)" ] || [ $$(id -u) -ne 0 ] || PATH=$$PATH:/sbin ldconfig

soak: GROUPS += guest
soak: all ## what guests must survive, 100 times each: kills, reconnects, migrations (half an hour)
	@tests/guest/run --long

bench: GROUPS += bench
bench: all ## measure against testpmd and Open vSwitch, into build/bench.json; SCENARIOS=names (20 minutes)
	@bench/run $(SCENARIOS)

bench-quick: GROUPS += bench
bench-quick: all ## the same, a short look (3 minutes)
	@bench/run --quick $(SCENARIOS)

asan: ## run all tests with the address and undefined-behaviour sanitizers, in build-asan/
	@$(MAKE) --no-print-directory test BUILD=build-asan OPTIONS='-Db_sanitize=address,undefined -Db_lundef=false'

tsan: ## run all tests with the thread sanitizer, in build-tsan/
	@$(MAKE) --no-print-directory test BUILD=build-tsan OPTIONS='-Db_sanitize=thread -Db_lundef=false'

lint: GROUPS += test lint
lint: setup ## check format and code with all that checks it
	@tools/lint

format: GROUPS = lint
format: setup ## bring the C sources into the format of .clang-format
	@tools/lint --format

clean: ## remove what was built
	@rm -rf $(BUILD) build-asan build-tsan build-lint

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

setup:
	@tools/setup $(GROUPS)

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) --prefix=$(PREFIX) --libdir=lib -Dtests=$(TESTS) $(OPTIONS)

# The unit tests need a package more than the rest: they are left out until they are first asked for.
$(BUILD)/tests/unit: | setup $(BUILD)/build.ninja
	@meson configure $(BUILD) -Dtests=enabled
