# Everything is built under build/. Another build beside it, its objects not mixed with the plain
# ones:  make BUILD=build/asan SANITIZE=address,undefined test

CC      = cc
CFLAGS  = -O2 -g
BUILD   = build
SANITIZE =
WERROR  =

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
HARDEN   := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
              -fno-omit-frame-pointer,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 \
              -fstack-protector-strong -fPIE -pie -Wl,-z,relro,-z,now)
COMPILE   = $(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) $(if $(WERROR),-Werror) $(CFLAGS) \
              $(HARDEN) -MMD -MP

STAGES := 01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev
CHECKS := check_http check_connections check_stages
COMMON := $(patsubst common/%.c,$(BUILD)/common/%.o,$(wildcard common/*.c))

# A package that is missing stops what needs it, with one line; "make" builds the rest.
NEED = echo '\#include <$(1)>' | $(CC) -E -x c - >/dev/null 2>&1 || { \
         echo "$@ is not built: $(2) is missing. To install it: make deps" >&2; \
         exit $(if $(filter-out all,$(or $(MAKECMDGOALS),all)),1,0); }

all: $(STAGES:%=$(BUILD)/%) $(BUILD)/probe ## build the six servers and the measuring client

$(STAGES) probe: %: $(BUILD)/% ## build one of them

latency: all ## the experiment: which stage keeps /fast waiting behind /slow?
	BUILD=$(BUILD) tests/latency.sh

test: all $(CHECKS:%=$(BUILD)/%) ## all tests
	tests/run.sh $(CHECKS:%=$(BUILD)/%)

deps: ## install the packages that the build needs
	@tests/deps.sh gcc libc6-dev libev-dev check pkg-config

format: ## lay the code out as .clang-format says
	clang-format -i common/*.[ch] 0*/*.c tests/*.c

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z$$][^=]*:.*## / { sub(/\$$\(STAGES\) probe: %/, "05-epoll, probe ..."); \
	  printf "make %-22s %s\n", $$1, $$2 }' Makefile

$(BUILD)/common/%.o: common/%.c
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@

$(BUILD)/%: %/server.c $(COMMON)
	@$(if $(filter 06%,$*),$(call NEED,ev.h,libev-dev))
	$(COMPILE) $(filter-out %.h,$^) -o $@ $(if $(filter 02%,$*),-pthread) $(if $(filter 06%,$*),-lev)

-include $(wildcard $(BUILD)/*.d $(BUILD)/common/*.d)

.PHONY: all $(STAGES) probe latency test deps format clean help
