# The six servers: build them, run the experiment, test them, write one of your own. What proves the servers,
# measures them and keeps the text true is in tests/tests.mk. "make help" lists the commands of both.
#
# Everything is built under build/. Another build, with its own objects, goes elsewhere:
#   make BUILD=build/asan SANITIZE=address,undefined test
# V=1 shows the commands.

CC       = cc
CFLAGS   = -O2 -g
BUILD    = build
SANITIZE =
WERROR   =

FLAGS = -std=gnu11 -D_GNU_SOURCE -I. -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter \
        $(if $(WERROR),-Werror) $(if $(SANITIZE),$(CHECKED),$(HARDENED))
HARDENED := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
CHECKED   = -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK      = $(if $(SANITIZE),,-pie -Wl,-z,relro,-z,now)

STAGES   := 01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev
# Stages that a reader has written, such as 07-mine
MINE     := $(filter-out $(STAGES),$(patsubst %/server.c,%,$(wildcard [0-9][0-9]-*/server.c)))
OBJ       = $(BUILD)/obj
COMMON    = $(patsubst %.c,$(OBJ)/%.o,$(wildcard common/*.c))

$(if $(filter-out 1,$(words $(BUILD))),$(error BUILD=$(BUILD): it has to be the name of one folder, without blanks))
.DELETE_ON_ERROR:
.SECONDARY:

# What the tools in tests/ need: where the programs are, and the root of all imports (python3 -m ROOM.MODULE)
export BUILD
export PYTHONPATH := $(CURDIR)/tests

# A value that a reader gives a command is one word for the shell, or one for each of its words, whatever is in it, and
# not expanded by make.
VALUES = STAGE LIKE NAME PROGRAM SECONDS CASE CASES TESTS SEEDS SEED BUG FUZZ_SECONDS
unexport $(VALUES)
quoted = '$(subst ','\'',$(1))'
value_of = $(if $(value $(1)),$(2) $(call quoted,$(value $(1))))
words_of = $(foreach word,$(value $(1)),$(call quoted,$(word)))

quiet = $(if $(V),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '  %-4s %s\n' $(1);))
need  = echo '\#include <$(1)>' | $(CC) -E -x c - >/dev/null 2>&1 || \
        { echo "$(2) is missing ($(1)). To install it: make deps" >&2; exit 1; }

## build and run

all: $(filter-out 06-libev,$(STAGES)) probe ## build the six servers and the measuring client
	@if echo 'int main(void) { return 0; }' | $(CC) -include ev.h -x c - -lev -o /dev/null 2>/dev/null; \
	then $(MAKE) --no-print-directory 06-libev; \
	else echo "06-libev is not built: libev-dev is missing. To install it: make deps" >&2; fi

05-epoll: ## build one program (any stage, probe, trigger, ...)
$(STAGES) $(MINE) probe: %: $(BUILD)/% ; @: # or a sub-make says that there is nothing to be done

latency: all ## the experiment: which stages keep /fast waiting during /slow? (PREDICT=1 asks you first)
	@tests/latency.py $(if $(PREDICT),--predict)

trace: all ## record with strace where each thread waits; write build/trace.html
	@tests/trace.py --html $(BUILD)/trace.html

play: ## build the page to play with, build/play.html, and what tests/play.py needs (STAGE=07-mine: yours, too)
	@python3 -m simulation.build $(call value_of,STAGE)
	@python3 -m simulation.page

## write a stage of your own

start: ## begin one: make start STAGE=07-mine LIKE=05-epoll
	@tests/judge.py start $(call value_of,STAGE) $(call value_of,LIKE,--like)

judge = tests/judge.py $(1) $(call value_of,$(if $(value NAME),NAME,STAGE)) $(call value_of,LIKE,--like) \
        $(call value_of,PROGRAM,--program)
check: probe ## judge it, rung by rung: STAGE=07-mine (PROGRAM=... judges another program, ALL=1 all rungs)
	@$(call judge,check) $(if $(ALL),--all)

hint: probe ## a hint for the rung that it is at: STAGE=07-mine
	@$(call judge,hint)

exercise: probe ## the exercises of the tutorial: list them, or check one: NAME=medium
	@$(call judge,exercise)

solution: probe ## how the toolkit's own file differs, once you are at the top: STAGE=07-mine
	@$(call judge,solution)

## install and tidy up

deps: ## install the packages that the build and "make test" need
	@tests/deps.sh gcc libc6-dev libev-dev check pkg-config python3

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## list the commands
	@sed -n 's/^## /\n/p; s/^\([0-9a-z-]*\):.*## /  make \1\t/p' Makefile tests/tests.mk | expand -t 23

include tests/tests.mk

# A target with ## is a command, not a file.
.PHONY: $(shell sed -n 's/^\([0-9a-z-]*\):.*## .*/\1/p' Makefile tests/tests.mk) $(STAGES) $(MINE) probe

# ---- how the servers are built

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
.PHONY: force need-ev.h

$(patsubst %,$(BUILD)/%,$(STAGES) $(MINE)): $(BUILD)/%: $(OBJ)/%/server.o
$(BUILD)/probe: $(OBJ)/tests/probe.o
comma := ,
# A stage for the judge, in which tests/judging/turn_order.c watches the order of the calls
TURNS := $(patsubst %,$(BUILD)/turn/%,$(STAGES) $(MINE))
$(TURNS): $(BUILD)/turn/%: $(OBJ)/%/server.o $(OBJ)/tests/judging/turn_order.o | $(BUILD)/turn
# The same for a stage with threads: what it asks of the C library goes through tests/judging/thread_rules.c
CAREFUL := $(patsubst %,$(BUILD)/careful/%,$(STAGES) $(MINE))
careful_calls = malloc calloc free close pthread_create accept accept4
$(CAREFUL): $(BUILD)/careful/%: $(OBJ)/careful/%.o $(OBJ)/tests/judging/thread_rules.o | $(BUILD)/careful
$(OBJ)/careful/%.o: $(OBJ)/%/server.o
	@mkdir -p $(@D)
	@objcopy $(foreach call,$(careful_calls),--redefine-sym $(call)=careful_$(call)) $< $@
$(BUILD)/turn $(BUILD)/careful: ; @mkdir -p $@

LIBEV = $(if $(shell grep -s '<ev.h>' $(@F)/server.c),-lev)
# A stage that defines __wrap_recv gets each call of recv, from whatever object file (ld(1), --wrap).
wraps = $(patsubst __wrap_%,-Wl$(comma)--wrap=%,$(sort $(shell grep -os '__wrap_[a-z0-9_]*' $(1))))
$(patsubst %,$(BUILD)/%,$(STAGES) $(MINE)): LIBRARIES = $(LIBEV) $(call wraps,$(@F)/server.c)
$(TURNS): LIBRARIES = $(LIBEV) \
  $(patsubst %,-Wl$(comma)--wrap=connections_%,start wait_ms begin_turn ready expire accept unwatched) \
  $(patsubst %,-Wl$(comma)--wrap=%,net_wait_failed close epoll_ctl epoll_wait epoll_pwait ppoll \
  epoll_pwait2 __ppoll_chk pselect select poll __poll_chk usleep sleep nanosleep clock_nanosleep)

$(patsubst %,$(BUILD)/%,$(STAGES) $(MINE) probe $(TEST_PROGRAMS)) $(TURNS) $(CAREFUL): $(COMMON)
	$(call quiet,LINK $(@F))$(CC) $(FLAGS) $(CFLAGS) $(LINK) $(filter-out $(OWN),$(filter %.o,$^)) -o $@ -pthread $(LIBRARIES)

$(OBJ)/06-libev/server.o: | need-ev.h
need-ev.h: ; @$(call need,ev.h,libev-dev)

# Install packages before anything is built, even with make -j.
ifneq ($(filter deps,$(MAKECMDGOALS)),)
$(BUILD)/flags need-ev.h need-check.h: | deps
endif

-include $(wildcard $(OBJ)/*/*.d $(OBJ)/*/*/*.d $(OBJ)/*/*/*/*.d)
