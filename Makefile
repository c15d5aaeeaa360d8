# All is built under build/. Another build beside it, its objects not mixed with the plain ones:
#   make BUILD=build/asan SANITIZE=address,undefined test

CC       = cc
CFLAGS   = -O2 -g
BUILD    = build
SANITIZE =
WERROR   =

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
HARDEN   := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
CHECKED  := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
COMPILE   = $(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(WERROR),-Werror) $(CFLAGS) \
            $(if $(SANITIZE),$(CHECKED),$(HARDEN)) -MMD -MP

PIE      := -pie -Wl,-z,relro,-z,now
LINK      = $(if $(SANITIZE),,$(PIE))
SHOW      = $(if $(findstring s,$(firstword -$(MAKEFLAGS))),,set -x;)

STAGES := 01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev
CHECKS := check_http check_connections check_stages
COMMON := $(patsubst common/%.c,$(BUILD)/common/%.o,$(wildcard common/*.c))

# What needs a missing package says so in one line. Plain "make" goes on without it.
NEED = echo '\#include <$(1)>' | $(CC) -E -x c - >/dev/null 2>&1 || { \
       echo "$@ is not built: $(2) is missing. To install it: make deps" >&2; \
       exit $(if $(filter-out all,$(MAKECMDGOALS)),1,0); }

.DELETE_ON_ERROR:

all: $(STAGES:%=$(BUILD)/%) $(BUILD)/probe ## build the six servers and the measuring client

05-epoll: ## build one stage (any of the six)
$(STAGES) probe trigger early: %: $(BUILD)/%

latency: all ## the experiment: which stage lets /fast wait behind /slow?
	@BUILD=$(BUILD) tests/latency.sh

test: all $(CHECKS:%=$(BUILD)/%) ## run all tests
	@tests/run.sh $(CHECKS:%=$(BUILD)/%)

faults: all ## errors from the kernel, injected into every system call with strace
	@BUILD=$(BUILD) tests/faults.sh

bugs: ## plant the bugs of tests/bugs one by one: which test catches each?
	@tests/bugs.sh

soak: all $(BUILD)/hostile ## honest and hostile clients over all six at once, for SECONDS (120)
	@BUILD=$(BUILD) tests/soak.sh $(SECONDS)

scale: all $(BUILD)/hold ## what idle connections and waiting clients cost, and how that grows
	@BUILD=$(BUILD) tests/scale.sh

peers: all $(BUILD)/floor $(BUILD)/cpu ## the same beside gunicorn, uvicorn, Node and nginx
	@BUILD=$(BUILD) tests/peers.sh

figures: ## draw the pictures from tests/results
	@tests/figures.sh

measure: all $(BUILD)/hold $(BUILD)/floor $(BUILD)/cpu ## measure tests/results anew (some ten minutes), and draw
	@BUILD=$(BUILD) tests/figures.sh --measure

tables: ## write the figures of tests/results into the tables of the tutorial
	@tests/tables.sh

tutorial: $(BUILD)/tutorial.html ## the tutorial as one HTML page

tutorial-test: all $(BUILD)/check_stages $(BUILD)/hold $(BUILD)/trigger $(BUILD)/early ## does the tutorial tell the truth?
	@tests/tutorial.sh
	@BUILD=$(BUILD) tests/proxy.sh

deps: ## install the packages that the build needs
	@tests/deps.sh gcc libc6-dev libev-dev check pkg-config

deps-tools: ## install what faults, bugs, fuzz, lint, coverage and memcheck need
	@tests/deps.sh clang libclang-rt-dev clang-format clang-tidy cppcheck shellcheck strace patch gcovr valgrind

deps-peers: ## install what peers compares with
	@tests/deps.sh nginx-light gunicorn python3-flask uvicorn python3-fastapi nodejs wrk

deps-tutorial: ## install what tutorial-test, tutorial and figures need
	@tests/deps.sh clitest curl strace procps python3 iproute2 nginx-light pandoc gnuplot-nox

format: ## lay out the code as .clang-format has it
	clang-format -i common/*.[ch] 0*/*.c tests/*.c

lint: ## clang-format, clang-tidy, gcc -fanalyzer, cppcheck and shellcheck over all
	clang-format --dry-run -Werror common/*.[ch] 0*/*.c tests/*.c
	for file in common/*.c 0*/*.c tests/*.c; do \
	  cppcheck --quiet --std=c11 --enable=warning,style,performance,portability --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=unusedStructMember:tests/check_connections.c \
	    --error-exitcode=1 -D_GNU_SOURCE -I. $$file || exit 1; \
	done
	for file in common/*.c 0*/*.c tests/*.c; do \
	  clang-tidy --quiet $$file -- -std=gnu11 -D_GNU_SOURCE -I. 2>/dev/null || exit 1; \
	  gcc -std=gnu11 -D_GNU_SOURCE -I. -O2 -fanalyzer -Werror -c $$file -o /dev/null || exit 1; \
	done
	shellcheck tests/*.sh .ci/run

memcheck: ## memcheck and helgrind over the tests
	$(MAKE) BUILD=build/valgrind CFLAGS='-O1 -g' all build/valgrind/hostile $(CHECKS:%=build/valgrind/%)
	tests/memcheck.sh build/valgrind

# A thread that is under way when its process ends leaves arcs that don't add up: gcovr skips the line, and says so.
GCOVR := gcovr --root . --filter common/ --gcov-ignore-parse-errors
coverage: ## which lines and branches of common/ do the tests reach?
	$(MAKE) -s BUILD=build/coverage CFLAGS='-O0 -g --coverage -fprofile-update=atomic' all $(CHECKS:%=build/coverage/%)
	find build/coverage -name '*.gcda' -exec rm {} +
	COVERAGE=1 tests/run.sh $(CHECKS:%=build/coverage/%)
	$(GCOVR) --print-summary build/coverage
	$(GCOVR) --branches build/coverage

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## list the targets
	@awk -F ':.*## ' '/^[0-9a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

$(BUILD)/common/%.o: common/%.c
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@

$(STAGES:%=$(BUILD)/%): $(BUILD)/%: %/server.c $(COMMON)
	@$(if $(filter 06%,$*),$(call NEED,ev.h,libev-dev);) \
	$(SHOW) $(COMPILE) $(LINK) $(filter %.c %.o,$^) -o $@ $(if $(filter 02%,$*),-pthread) $(if $(filter 06%,$*),-lev)

# the clients, and the small experiments of the tutorial
CLIENTS := probe hold floor cpu hostile trigger
$(CLIENTS:%=$(BUILD)/%): $(BUILD)/%: tests/%.c $(COMMON)
	$(COMPILE) $(LINK) $(filter %.c %.o,$^) -o $@

$(BUILD)/early: tests/early.c $(COMMON)
	@$(call NEED,ev.h,libev-dev); $(SHOW) $(COMPILE) $(LINK) $(filter %.c %.o,$^) -o $@ -lev

$(BUILD)/tutorial.html: tutorial.md tests/tutorial.css $(wildcard 0*/*.svg tests/*.svg)
	@mkdir -p $(@D)
	@command -v pandoc >/dev/null || { echo "$@ is not built: pandoc is missing. To install it: make deps-tutorial" >&2; exit 1; }
	pandoc --from gfm --to html5 --standalone --self-contained --css tests/tutorial.css \
	  --metadata pagetitle='What happens beneath async/await?' tutorial.md -o $@

$(CHECKS:%=$(BUILD)/%): $(BUILD)/%: tests/%.c $(COMMON)
	@$(call NEED,check.h,check); $(SHOW) \
	$(COMPILE) $(LINK) $(filter %.c %.o,$^) -o $@ $$(pkg-config --libs check 2>/dev/null || echo -lcheck -lsubunit -lm -lrt -pthread)

# Half of the time for each fuzzer. What they find stays under build/, not in tests/corpus.
FUZZ_SECONDS = 60
FUZZERS := $(BUILD)/fuzz/http $(BUILD)/fuzz/connections

fuzz: $(FUZZERS) ## let libFuzzer look for what breaks a rule, FUZZ_SECONDS in all (60)
	@set -e; for fuzzer in $^; do \
	  echo "== $$fuzzer"; mkdir -p $$fuzzer.new; \
	  $$fuzzer -max_total_time=$$(($(FUZZ_SECONDS) / 2)) -dict=tests/http.dict -verbosity=0 \
	    -print_final_stats=1 -artifact_prefix=$$fuzzer- $$fuzzer.new tests/corpus/$${fuzzer##*/} \
	    >$$fuzzer.log 2>&1 || { cat $$fuzzer.log; exit 1; }; grep -a number_of_executed $$fuzzer.log; \
	done

$(FUZZERS): $(BUILD)/fuzz/%: tests/fuzz_%.c $(wildcard common/*.[ch])
	@mkdir -p $(@D)
	@echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
	  clang -fsanitize=fuzzer,address -x c - -o $@ >/dev/null 2>&1 || { \
	  echo "$@ is not built: clang or its runtime is missing. To install them: make deps-tools" >&2; exit 1; }
	clang -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(WERROR),-Werror) -O1 -g \
	  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	  $< common/http.c common/net.c -o $@

# Packages first, when both are asked for.
ifneq ($(filter deps,$(MAKECMDGOALS)),)
$(COMMON): | deps
endif

-include $(wildcard $(BUILD)/*.d $(BUILD)/common/*.d)

.PHONY: all $(STAGES) probe trigger early latency test soak scale peers figures measure tables tutorial tutorial-test deps \
		deps-tools deps-peers deps-tutorial faults bugs fuzz format lint memcheck coverage clean help
