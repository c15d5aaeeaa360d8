/* Does a loop call the functions of common/connections.h in each turn, in the order that it asks
 * for? With -Wl,--wrap=NAME, the linker lets a call of NAME reach __wrap_NAME, and a call of
 * __real_NAME reach NAME (ld(1)). */
#include "common/connections.h"

#include <err.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __real_connections_wait_ms(void);
int __wrap_connections_wait_ms(void);
void __real_connections_begin_turn(void);
void __wrap_connections_begin_turn(void);
void __real_connections_ready(int fd);
void __wrap_connections_ready(int fd);
void __real_connections_expire(void);
void __wrap_connections_expire(void);
void __real_connections_accept(void);
void __wrap_connections_accept(void);

enum { BEGIN_TURN, READY, EXPIRE, ACCEPT, FUNCTIONS };
static const char *const names[] = {"connections_begin_turn", "connections_ready",
                                    "connections_expire", "connections_accept"};
static bool called[FUNCTIONS]; /* in this turn */

static void expect_order(int function)
{
    for (int later = function + 1; later < FUNCTIONS; later++)
        if (called[later])
            errx(1, "%s after %s in the same turn", names[function], names[later]);
    called[function] = true;
}

int __wrap_connections_wait_ms(void)
{
    static bool first = true; /* a loop may wait before it does anything else */

    for (int function = 0; function < FUNCTIONS; function++) {
        if (!first && !called[function] && function != READY) /* nothing may be ready */
            errx(1, "a turn without %s", names[function]);
        called[function] = false;
    }
    first = false;
    return __real_connections_wait_ms();
}

void __wrap_connections_begin_turn(void)
{
    expect_order(BEGIN_TURN);
    __real_connections_begin_turn();
}

void __wrap_connections_ready(int fd)
{
    expect_order(READY);
    __real_connections_ready(fd);
}

void __wrap_connections_expire(void)
{
    expect_order(EXPIRE);
    __real_connections_expire();
}

void __wrap_connections_accept(void)
{
    expect_order(ACCEPT);
    __real_connections_accept();
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
