# Everything is built under build/. Another build, with its own objects, goes elsewhere:
#   make BUILD=build/asan SANITIZE=address,undefined test
# V=1 shows the commands.

CC       = cc
CFLAGS   = -O2 -g
BUILD    = build
SANITIZE =
WERROR   =

FLAGS = -std=gnu11 -D_GNU_SOURCE -I. -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        $(if $(WERROR),-Werror) $(if $(SANITIZE),$(CHECKED),$(HARDENED))
HARDENED := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
CHECKED   = -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK      = $(if $(SANITIZE),,-pie -Wl,-z,relro,-z,now)

STAGES   := 01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev
# Stages that a reader has written, such as 07-mine
MINE     := $(filter-out $(STAGES),$(patsubst %/server.c,%,$(wildcard [0-9][0-9]-*/server.c)))
CHECKS   := check_http check_connections check_pool check_stages
PROGRAMS := $(STAGES) $(CHECKS) probe hold floor hostile trigger early
OBJ       = $(BUILD)/obj
COMMON    = $(patsubst %.c,$(OBJ)/%.o,$(wildcard common/*.c))
C_FILES   = $(wildcard common/*.c $(STAGES:%=%/*.c) tests/*.c tests/*/*.c tests/*/*/*.c)
H_FILES   = $(wildcard common/*.h tests/*/*.h tests/*/*/*.h)
PY_FILES  = $(wildcard tests/*.py tests/*/*.py tests/*/*/*.py)

export PYTHONPATH := $(CURDIR)/tests# the root of all imports: python3 -m ROOM.MODULE

$(if $(filter-out 1,$(words $(BUILD))),$(error BUILD=$(BUILD): it has to be the name of one folder, without blanks))
.DELETE_ON_ERROR:
.SECONDARY:

quiet = $(if $(V),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '  %-4s %s\n' $(1);))
need  = echo '\#include <$(1)>' | $(CC) -E -x c - >/dev/null 2>&1 || \
        { echo "$(2) is missing ($(1)). To install it: make deps" >&2; exit 1; }

all: $(filter-out 06-libev,$(STAGES)) probe ## run: build the six servers and the measuring client
	@if echo 'int main(void) { return 0; }' | $(CC) -include ev.h -x c - -lev -o /dev/null 2>/dev/null; \
	then $(MAKE) --no-print-directory 06-libev; \
	else echo "06-libev is not built: libev-dev is missing. To install it: make deps" >&2; fi

programs: $(PROGRAMS) ## run: build these and all test programs

05-epoll: ## run: build one program (any stage, probe, trigger, ...)
$(PROGRAMS) $(MINE): %: $(BUILD)/%

start: ## write: begin a stage of your own: make start STAGE=07-mine LIKE=05-epoll
	@tests/judge.py start $(STAGE) $(if $(LIKE),--like $(LIKE))

judge = BUILD=$(BUILD) tests/judge.py $(1) $(or $(NAME),$(STAGE)) $(if $(LIKE),--like $(LIKE)) $(if $(PROGRAM),--program "$$PROGRAM")
check: probe ## write: judge it, rung by rung: STAGE=07-mine (PROGRAM=... judges another program, ALL=1 all rungs)
	@$(call judge,check) $(if $(ALL),--all)

hint: probe ## write: a hint for the rung that it is at: STAGE=07-mine
	@$(call judge,hint)

exercise: probe ## write: the exercises of the tutorial: list them, or check one: NAME=medium
	@$(call judge,exercise)

solution: probe ## write: how the toolkit's own file differs, once you are at the top: STAGE=07-mine
	@$(call judge,solution)

latency: all ## run: the experiment: which stages keep /fast waiting during /slow?
	@BUILD=$(BUILD) tests/latency.py

trace: all ## run: record with strace where each thread waits; write build/trace.html
	@BUILD=$(BUILD) tests/trace.py --html $(BUILD)/trace.html

test: all $(CHECKS) ## prove: run all tests
	@BUILD=$(BUILD) python3 -m kit.test_tool
	@BUILD=$(BUILD) python3 -m recorder.test_latency
	@python3 -m servers.bugs.test_bug
	@python3 -m kit.check_programs $(CHECKS:%=$(BUILD)/%)

judge-test: all ## prove: test the judge, and the solutions of the exercises
	@BUILD=$(BUILD) python3 -m judging.test_judge

trace-test: all ## prove: test the recorder, its page in a browser, and tests/where.py
	@BUILD=$(BUILD) python3 -m recorder.test_trace
	@BUILD=$(BUILD) python3 -m recorder.test_recorder
	@python3 -m recorder.test_page

faults: all ## prove: inject errors of the kernel into every system call, with strace
	@BUILD=$(BUILD) python3 -m servers.stress.faults

bugs: ## prove: plant each bug of tests/servers/bugs, or NAME: do the tests that it names catch it?
	@python3 -m servers.bugs.bugs $(NAME)

bug: ## prove: show a bug of the gallery as a diff: NAME=... (patch -p1 plants it, patch -R -p1 removes it)
	@python3 -m servers.bugs.bugs --diff $(NAME)

soak: all hostile ## prove: run honest and hostile clients against all six servers, for SECONDS (120)
	@BUILD=$(BUILD) python3 -m servers.stress.soak $(SECONDS)

scale: all hold ## understand: measure what idle connections and waiting clients cost, and how that grows
	@BUILD=$(BUILD) python3 -m bench.scale

peers: all floor ## understand: compare the stages with gunicorn, uvicorn, Node and nginx
	@BUILD=$(BUILD) python3 -m bench.peers

pictures: all ## understand: record the servers again with strace, and draw where each thread waits
	@BUILD=$(BUILD) python3 -m tutorial.pictures

wayout: all ## understand: a pool of threads: in the stages, FastAPI and Flask; its queue, and what a hand-over costs
	@BUILD=$(BUILD) python3 -m bench.wayout

proxy: all ## understand: put nginx in front of two stages
	@BUILD=$(BUILD) python3 -m tutorial.check_proxy

figures: ## understand: draw the plots from tests/bench/results
	@python3 -m bench.figures

measure: all hold floor ## understand: measure tests/bench/results again (about ten minutes), and draw the pictures
	@BUILD=$(BUILD) python3 -m bench.figures --measure

tables: ## understand: write the numbers of tests/bench/results into the tables of the tutorial
	@python3 -m bench.tables

tutorial: ## understand: turn the tutorial into one HTML page, in which its recordings can be played
	@BUILD=$(BUILD) python3 -m tutorial.page

tutorial-test: all check_stages hold trigger early ## prove: check that the tutorial tells the truth
	@python3 -m tutorial.check_tutorial
	@BUILD=$(BUILD) python3 -m tutorial.test_page

deps: ## install the packages that the build needs
	@tests/deps.sh gcc libc6-dev libev-dev check pkg-config python3

deps-tools: ## install the packages that faults, bugs, fuzz, lint, coverage and memcheck need
	@tests/deps.sh clang 'libclang-rt-dev?' clang-format clang-tidy cppcheck shellcheck pyflakes3 strace patch gcovr valgrind \
	  chromium

deps-peers: ## install the servers that peers compares the stages with
	@tests/deps.sh nginx-light gunicorn python3-flask uvicorn python3-fastapi nodejs wrk

deps-tutorial: ## install the packages that tutorial, figures and (with deps-tools) tutorial-test need
	@tests/deps.sh curl strace procps iproute2 util-linux patch nginx-light uvicorn python3-fastapi pandoc gnuplot-nox

format: ## format the code as .clang-format says
	clang-format -i $(C_FILES) $(H_FILES)

LINT_FLAGS := -std=gnu11 -D_GNU_SOURCE -I.
lint: $(C_FILES:%=lint/%) ## prove: run clang-format, clang-tidy, gcc -fanalyzer, cppcheck, shellcheck and pyflakes
	clang-format --dry-run -Werror $(C_FILES) $(H_FILES)
	shellcheck $(wildcard tests/*.sh tests/*/*.sh) .ci/run
	$(if $(PY_FILES),pyflakes3 $(PY_FILES))

lint/%: lint-tools
	@echo "  LINT $*"
	@cppcheck --quiet --std=c11 --enable=warning,style,performance,portability --inline-suppr \
	  --suppress=missingIncludeSystem '--suppress=unusedStructMember:tests/servers/unit/*.c' \
	  --error-exitcode=1 -D_GNU_SOURCE -I. $*
	@clang-tidy --quiet $* -- $(LINT_FLAGS) 2>/dev/null
	@gcc $(LINT_FLAGS) -O2 -fanalyzer -Werror -c $* -o /dev/null

lint-tools:
	@grep -qs '^VERSION_ID="12"' /etc/os-release || \
	echo "Each version of these tools finds other things: the code is clean for those of Debian 12" >&2

memcheck: ## prove: run the tests under memcheck and helgrind
	$(MAKE) BUILD=build/valgrind CFLAGS='-O1 -g' programs
	BUILD=build/valgrind python3 -m servers.stress.memcheck

# Threads that still run while their process exits leave counters that do not add up: gcovr skips such a line, and says so.
GCOVR := gcovr --root . --filter common/ --gcov-ignore-parse-errors
coverage: ## prove: list the lines and branches of common/ that the tests reach
	$(MAKE) -s BUILD=build/coverage CFLAGS='-O0 -g --coverage -fprofile-update=atomic' all $(CHECKS)
	find build/coverage -name '*.gcda' -exec rm {} +
	COVERAGE=1 python3 -m kit.check_programs $(CHECKS:%=build/coverage/%)
	$(GCOVR) --print-summary build/coverage
	$(GCOVR) --branches build/coverage

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## list the targets
	@awk -F ':.*## ' 'BEGIN { n = split("run understand write prove other", groups, " "); \
	  split("run;understand;write your own;prove;install and tidy up", titles, ";") } \
	  /^[0-9a-z-]+:.*## / { group = "other"; text = $$2; \
	  if (match(text, /^[a-z]+: /)) { group = substr(text, 1, RLENGTH - 2); text = substr(text, RLENGTH + 1) } \
	  lines[group] = lines[group] sprintf("  make %-14s %s\n", $$1, text) } \
	  END { for (i = 1; i <= n; i++) print (i > 1 ? "\n" : "") titles[i] "\n" substr(lines[groups[i]], 1, \
	  length(lines[groups[i]]) - 1) }' Makefile

# ---- how things are built

$(OBJ)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC $*.o)$(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# When the compiler or a flag changes, build everything again.
built_with = { $(CC) --version | head -n 1; echo '$(CC) $(FLAGS) $(CFLAGS) $(LINK)'; }
$(BUILD)/flags: force
	@command -v $(firstword $(CC)) >/dev/null || \
	{ echo "$(firstword $(CC)) is missing. To install it: make deps" >&2; exit 1; }
	@mkdir -p $(BUILD)
	@$(built_with) | cmp -s - $@ || $(built_with) >$@

$(patsubst %,$(BUILD)/%,$(STAGES) $(MINE)): $(BUILD)/%: $(OBJ)/%/server.o
# A stage for the judge, in which tests/judging/turn.c watches the order of the calls
TURNS := $(patsubst %,$(BUILD)/turn/%,$(STAGES) $(MINE))
$(TURNS): $(BUILD)/turn/%: $(OBJ)/%/server.o $(OBJ)/tests/judging/turn.o | $(BUILD)/turn
$(BUILD)/turn: ; @mkdir -p $@
$(BUILD)/probe: $(OBJ)/tests/probe.o
$(BUILD)/hold $(BUILD)/floor: $(BUILD)/%: $(OBJ)/tests/bench/%.o
$(BUILD)/hostile: $(OBJ)/tests/servers/stress/hostile.o
$(BUILD)/trigger $(BUILD)/early: $(BUILD)/%: $(OBJ)/tests/tutorial/%.o
$(BUILD)/check_http: $(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/servers/unit/*http*.c))
$(BUILD)/check_connections: $(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/servers/unit/*connections*.c) tests/servers/unit/world.c)
$(BUILD)/check_pool: $(OBJ)/tests/servers/unit/check_pool.o
$(BUILD)/check_stages: $(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/stages/*.c))

$(BUILD)/early: LIBRARIES = -lev
LIBEV = $(if $(shell grep -s '<ev.h>' $(@F)/server.c),-lev)
$(patsubst %,$(BUILD)/%,$(STAGES) $(MINE)): LIBRARIES = $(LIBEV)
$(TURNS): LIBRARIES = $(LIBEV) \
  -Wl,--wrap=connections_wait_ms,--wrap=connections_ready,--wrap=connections_expire,--wrap=connections_accept
$(CHECKS:%=$(BUILD)/%): LIBRARIES = $$(pkg-config --libs check 2>/dev/null || echo -lcheck -lsubunit -lm -lrt -pthread)

$(patsubst %,$(BUILD)/%,$(PROGRAMS) $(MINE)) $(TURNS): $(COMMON)
	$(call quiet,LINK $(@F))$(CC) $(FLAGS) $(CFLAGS) $(LINK) $(filter %.o,$^) -o $@ -pthread $(LIBRARIES)

$(OBJ)/06-libev/server.o $(OBJ)/tests/tutorial/early.o: | need-ev.h
$(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/servers/unit/*.c tests/stages/*.c)): | need-check.h
need-ev.h: ; @$(call need,ev.h,libev-dev)
need-check.h: ; @$(call need,check.h,check)

FUZZ_SECONDS = 60
FUZZERS      = $(BUILD)/fuzz/http $(BUILD)/fuzz/connections

fuzz: $(FUZZERS) ## prove: let libFuzzer look for inputs that break a rule, for FUZZ_SECONDS (60)
	@python3 -m servers.fuzz.fuzz $(FUZZ_SECONDS) $^

# The fuzzer of connections includes common/connections.c over a fake kernel.
$(FUZZERS): $(BUILD)/fuzz/%: tests/servers/fuzz/%.c $(wildcard common/*.[ch])
	@mkdir -p $(@D)
	@echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
	  clang -fsanitize=fuzzer,address -x c - -o $@ >/dev/null 2>&1 || { \
	  echo "$@ is not built: clang or its runtime is missing. To install them: make deps-tools" >&2; exit 1; }
	$(call quiet,LINK $@)clang $(filter-out $(HARDENED),$(FLAGS)) -O1 -g -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all $< $(filter-out common/connections.c,$(wildcard common/*.c)) -o $@

# Install packages before anything is built, even with make -j.
ifneq ($(filter deps,$(MAKECMDGOALS)),)
$(BUILD)/flags need-ev.h need-check.h: | deps
endif

-include $(wildcard $(OBJ)/*/*.d $(OBJ)/*/*/*.d $(OBJ)/*/*/*/*.d)

.PHONY: all programs $(PROGRAMS) latency trace trace-test test faults bugs bug soak scale peers proxy wayout pictures figures measure tables tutorial tutorial-test \
        deps deps-tools deps-peers deps-tutorial format lint memcheck coverage clean help fuzz force need-ev.h need-check.h
.PHONY: $(MINE) start check hint solution exercise judge-test lint-tools
