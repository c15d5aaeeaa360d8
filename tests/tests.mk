# Commands that prove the servers, measure them, and keep the text true. The Makefile of the product includes this file.

CHECKS        := check_http check_connections check_pool
TEST_PROGRAMS := $(CHECKS) hold floor switch switch-ucontext hostile trigger early states
COROUTINES    := $(BUILD)/assembly/07-coroutines $(BUILD)/ucontext/07-coroutines
C_FILES        = $(wildcard common/*.c $(STAGES:%=%/*.c) tests/*.c tests/*/*.c tests/*/*/*.c)
# No program of this system: the C library of the simulation
NOT_NATIVE     = tests/simulation/libc.c
H_FILES        = $(wildcard common/*.h tests/*/*.h tests/*/*/*.h)
PY_FILES       = $(wildcard tests/*.py tests/*/*.py tests/*/*/*.py)
JS_FILES       = $(wildcard tests/*/*.mjs tests/*/*.js tests/*/*/*.js)
SH_FILES       = $(wildcard tests/*.sh tests/*/*.sh) .ci/run

## prove

test: all $(CHECKS) ## run all tests of the servers, and those of the tools that a reader's first commands need
	@python3 -m kit.test_tool
	@python3 -m kit.test_commands
	@python3 -m kit.test_proc
	@python3 -m kit.test_report
	@python3 -m kit.test_urls
	@python3 -m recorder.test_latency
	@python3 -m servers.bugs.test_bug
	@python3 -m suite.test_client
	@python3 -m suite.test_talk
	@python3 -m suite.test_run
	@python3 -m kit.check_programs $(CHECKS:%=$(BUILD)/%)
	@python3 -m suite.run

server-test: all $(CHECKS) ## run those of the servers alone, such as for a build with sanitizers
	@python3 -m kit.check_programs $(CHECKS:%=$(BUILD)/%)
	@python3 -m suite.run

case: all ## run some black-box cases: CASE=fast_overtakes_slow, or a subject, CASE=signals; STAGE=05-epoll for one stage
	@python3 -m suite.run $(call value_of,STAGE,--stage) $(call value_of,PROGRAM,--program) $(call value_of,CASE)

judge-test: all $(COROUTINES) ## test the judge, and the solutions of the exercises: TESTS="Hints Liars.test_..." for some
	@python3 -m judging.test_judge $(call words_of,TESTS)
	@$(if $(value TESTS),,python3 -m judging.test_mistakes)
	@$(if $(value TESTS),,python3 -m judging.test_grade)
	@$(if $(value TESTS),,python3 -m judging.test_program)
	@$(if $(value TESTS),,python3 -m judging.test_coroutines)
	@$(if $(value TESTS),,python3 -m judging.test_upstream)

mistakes: all ## plant each mistake of tests/judging/mistakes.txt, or NAME=...: where does the judge stop it, what does it hint?
	@python3 -m judging.test_mistakes $(if $(value NAME),$(call words_of,NAME),--all)

hints-test: all ## plant each bug of the gallery in a stage of a reader: does a hint name it?
	@python3 -m judging.test_judge --gallery Hints.test_planted_bug_is_named

cases: all ## test what is said of servers of many kinds, of those that are installed: CASES="asyncio-lock c-mutex"
	@python3 -m recorder.test_cases $(call words_of,CASES)

trace-test: all ## test the recorder, its page in a browser, and tests/where.py
	@python3 -m recorder.test_account
	@python3 -m recorder.test_trace
	@python3 -m recorder.test_recorder
	@python3 -m recorder.test_where
	@python3 -m recorder.test_page

play-test: simulation-test page-test ## run simulation-test and page-test

simulation-test: all play ## test the simulation, and hold its kernel against Linux (ALL=1: each script on each stage)
	@python3 -m simulation.test_simulation
	@python3 -m simulation.test_seeds
	@python3 -m simulation.test_linux $(if $(ALL),--all)

page-test: all play ## test the page to play with, in a browser
	@python3 -m simulation.test_page

seeds: ## let numbers choose clients, signals and errors, and hold the runs against rules: SEEDS=1000 (STAGE=07-mine; BUG=all: which bugs of the gallery do they find?)
	@python3 -m simulation.build --quiet $(call value_of,STAGE)
	@tests/play.py --seeds $(call value_of,SEEDS) $(call value_of,BUG,--bug) $(call value_of,STAGE)

tutorial-test: all hold trigger early states ## check that the tutorial tells the truth
	@python3 -m tutorial.check_tutorial
	@python3 -m tutorial.test_page
	@python3 -m tutorial.loop.test_loop

faults: all ## inject errors of the kernel into every system call, with strace
	@python3 -m servers.stress.test_faults
	@python3 -m servers.stress.faults

bugs: ## plant the bugs of tests/servers/bugs, or NAME=...: do the tests that each names catch it?
	@python3 -m servers.bugs.bugs $(call words_of,NAME)

bug: ## list the bugs of the gallery, or show one as a diff: NAME=... (patch -p1 plants it, patch -R -p1 removes it)
	@python3 -m servers.bugs.bugs --diff $(call value_of,NAME)

SEEDS        = 1000
FUZZ_SECONDS = 60
FUZZERS      = $(BUILD)/fuzz/http $(BUILD)/fuzz/connections
fuzz: $(FUZZERS) ## let libFuzzer look for inputs that break a rule, for FUZZ_SECONDS (60), from SEED
	@python3 -m servers.fuzz.fuzz $(call value_of,SEED,--seed) $(call value_of,FUZZ_SECONDS) $^

soak: all hostile ## run honest and hostile clients against all six servers, for SECONDS (120)
	@python3 -m servers.stress.soak $(call value_of,SECONDS)

# ThreadSanitizer has a thread of its own, which wakes up ten times a second.
WAKES := "idle_server_sleeps client_that_does_not_read_costs_little"
tsan: ## run what has threads under ThreadSanitizer
	$(MAKE) -s BUILD=build/tsan SANITIZE=thread all check_pool
	setarch $$(uname -m) -R python3 -m kit.check_programs build/tsan/check_pool
	BUILD=build/tsan setarch $$(uname -m) -R python3 -m suite.run --stage 02-threaded --without $(WAKES)
	BUILD=build/tsan setarch $$(uname -m) -R python3 -m suite.run threads

musl: ## build 01 to 05 with musl instead of glibc, and test them
	@tests/servers/musl.sh

s390x: ## build for a big-endian processor, and test that in an emulator
	@tests/servers/s390x.sh

container: ## build the container for readers without Linux, and run the experiment in it (as root)
	@tests/deps.sh buildah mmdebstrap
	@tests/devcontainer.sh

memcheck: ## run the tests under memcheck and helgrind
	$(MAKE) BUILD=build/valgrind CFLAGS='-O1 -g' programs
	BUILD=build/valgrind python3 -m servers.stress.memcheck

# Threads that still run while their process exits leave counters that do not add up: gcovr skips such a line, and says so.
GCOVR := gcovr --root . --filter common/ --gcov-ignore-parse-errors
coverage: ## which lines and branches of common/ do the tests reach? At least 94 and 90 of 100
	$(MAKE) -s BUILD=build/coverage CFLAGS='-O0 -g --coverage -fprofile-update=atomic' all $(CHECKS)
	find build/coverage -name '*.gcda' -exec rm {} +
	COVERAGE=1 python3 -m kit.check_programs $(CHECKS:%=build/coverage/%)
	COVERAGE=1 BUILD=build/coverage python3 -m suite.run
	$(GCOVR) --branches build/coverage
	$(GCOVR) --print-summary --fail-under-line 94 --fail-under-branch 90 build/coverage

LINT_FLAGS := -std=gnu11 -D_GNU_SOURCE -I.
lint: $(patsubst %,lint/%,$(filter-out $(NOT_NATIVE),$(C_FILES))) ## run clang-format, clang-tidy, gcc -fanalyzer, cppcheck, shellcheck and pyflakes
	clang-format --dry-run -Werror $(C_FILES) $(H_FILES)
	shellcheck $(SH_FILES)
	pyflakes3 $(PY_FILES)
	! LC_ALL=C.UTF-8 grep -nE '.{121}' $(PY_FILES) $(JS_FILES) $(SH_FILES) # .editorconfig has the same limit

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

format: ## format the code in C as .clang-format says
	clang-format -i $(C_FILES) $(H_FILES)

programs: all $(TEST_PROGRAMS) ## build the servers and all test programs

## measure

scale: all hold ## what idle connections and waiting clients cost, and how that grows; QUICK=1: in short
	@python3 -m bench.scale $(if $(QUICK),--quick)

per-request: all $(COROUTINES) ## count the instructions and system calls of one request
	@python3 -m bench.per_request

peers: all floor ## compare the stages with gunicorn, uvicorn, Node and nginx
	@python3 -m bench.peers

wayout: all ## a pool of threads: in the stages, FastAPI and Flask; its queue, and what a hand-over costs
	@python3 -m bench.wayout

switches: all switch-ucontext $(COROUTINES) ## what a switch costs: between stacks, coroutines, tasks, threads
	@python3 -m bench.switches

upstream: all ## build the servers with the route /upstream in build/upstream/build, and count what it takes in each
	@python3 -m judging.upstream

leaving: all ## a client leaves during /slow: who notices, and does the work go on? (with deps-peers)
	@python3 -m bench.leaving

measure: all hold floor switch-ucontext $(COROUTINES) ## measure tests/bench/results again (about ten minutes), and draw the plots
	@python3 -m bench.figures --measure

## the text

figures: ## draw the plots from tests/bench/results
	@python3 -m bench.figures

tables: ## write the numbers of tests/bench/results into the tables of the tutorial
	@python3 -m bench.tables

pictures: all ## record the servers again with strace, and draw where each thread waits
	@python3 -m tutorial.pictures

tutorial: ## turn the tutorial into one HTML page, in which its recordings can be played
	@python3 -m tutorial.page

site: play ## put the site together in build/site: the page to play with, the tutorial, the recordings
	@python3 -m simulation.site

preview: play ## take the picture that a link to the site shows
	@python3 -m simulation.preview

proxy: all ## what the tutorial says of nginx in front of two stages
	@python3 -m tutorial.check_proxy

## packages for these commands

deps-tools: ## those that faults, bugs, fuzz, lint, coverage, memcheck and trace-test need
	@tests/deps.sh clang 'libclang-rt-dev?' clang-format clang-tidy cppcheck shellcheck pyflakes3 strace patch gcovr valgrind \
	  chromium

deps-play: ## those that play and play-test need
	@tests/deps.sh clang lld binaryen llvm nodejs libc6-dev python3

deps-peers: ## the servers that peers and wayout compare the stages with
	@tests/deps.sh nginx-light gunicorn python3-flask uvicorn python3-fastapi nodejs wrk

deps-cases: ## the runtimes whose servers "make cases" records; without one of them, its cases are skipped
	@tests/deps.sh default-jdk-headless golang-go erlang-base ruby php-cli tcl apache2-bin perl nginx-light gunicorn \
	  python3-flask uvicorn python3-fastapi python3-httpx python3-requests nodejs

deps-tutorial: ## those that tutorial, proxy and (with deps-tools) tutorial-test need
	@tests/deps.sh curl strace procps iproute2 util-linux patch nginx-light uvicorn python3-fastapi pandoc

# ---- how the test programs are built

.PHONY: $(TEST_PROGRAMS) need-check.h lint-tools
$(TEST_PROGRAMS): %: $(BUILD)/%

unit = $(patsubst %.c,$(OBJ)/%.o,$(wildcard $(1:%=tests/servers/unit/%)))
$(BUILD)/check_http: $(call unit,*http*.c)
$(BUILD)/check_connections: $(call unit,*connections*.c world.c)
$(BUILD)/check_pool: $(call unit,check_pool.c)
$(BUILD)/hold $(BUILD)/floor $(BUILD)/switch: $(BUILD)/%: $(OBJ)/tests/bench/%.o
$(BUILD)/hostile: $(OBJ)/tests/servers/stress/hostile.o
$(BUILD)/trigger $(BUILD)/early $(BUILD)/states: $(BUILD)/%: $(OBJ)/tests/tutorial/%.o

$(BUILD)/check_connections: OWN = $(OBJ)/common/clock.o# tests/servers/unit/world.c has a clock of its own
# The solution of 07-coroutines, and the measurement of a switch, in both ways
$(OBJ)/tests/%-ucontext.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC tests/$*-ucontext.o)$(CC) $(FLAGS) $(CFLAGS) -DUCONTEXT -MMD -MP -c $< -o $@
$(BUILD)/switch-ucontext: $(OBJ)/tests/bench/switch-ucontext.o | $(BUILD)/switch
$(BUILD)/assembly/07-coroutines: $(OBJ)/tests/judging/07-coroutines.o
$(BUILD)/ucontext/07-coroutines: $(OBJ)/tests/judging/07-coroutines-ucontext.o
$(COROUTINES): $(COMMON)
	@mkdir -p $(@D)
	$(call quiet,LINK $@)$(CC) $(FLAGS) $(CFLAGS) $(LINK) $(filter %.o,$^) -o $@ -pthread \
	  $(call wraps,tests/judging/07-coroutines.c)

$(BUILD)/early: LIBRARIES = -lev
$(CHECKS:%=$(BUILD)/%): LIBRARIES = $$(pkg-config --libs check 2>/dev/null || echo -lcheck -lsubunit -lm -lrt -pthread)

$(OBJ)/tests/tutorial/early.o: | need-ev.h
$(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/servers/unit/*.c)): | need-check.h
need-check.h: ; @$(call need,check.h,check)

# The fuzzer of connections includes both files over a fake kernel, which has a clock of its own.
$(BUILD)/fuzz/connections: OWN = common/connections.c common/conversation.c common/clock.c
$(FUZZERS): $(BUILD)/fuzz/%: tests/servers/fuzz/%.c $(wildcard common/*.[ch])
	@mkdir -p $(@D)
	@echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
	  clang -fsanitize=fuzzer,address -x c - -o $@ >/dev/null 2>&1 || { \
	  echo "$@ is not built: clang or its runtime is missing. To install them: make deps-tools" >&2; exit 1; }
	$(call quiet,LINK $@)clang $(filter-out $(HARDENED),$(FLAGS)) -O1 -g -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all $< $(filter-out $(OWN),$(wildcard common/*.c)) -o $@
