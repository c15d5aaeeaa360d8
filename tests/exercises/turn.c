/* Does a loop call the functions of common/connections.h in the order that it asks for? With
 * -Wl,--wrap=NAME, the linker lets a call of NAME reach __wrap_NAME, and a call of __real_NAME
 * reach NAME (ld(1)). */
#include "common/connections.h"
#include "common/util.h"

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __real_connections_wait_ms(void);
int __wrap_connections_wait_ms(void);
void __real_connections_ready(int fd);
void __wrap_connections_ready(int fd);
void __real_connections_expire(void);
void __wrap_connections_expire(void);
void __real_connections_accept(void);
void __wrap_connections_accept(void);

static const char *const names[] = {"connections_wait_ms", "connections_ready",
                                    "connections_expire", "connections_accept"};
static int last; /* of these functions in this turn */

static void expect_order(int function)
{
    if (function < last)
        die("%s after %s in the same turn", names[function], names[last]);
    last = function;
}

int __wrap_connections_wait_ms(void)
{
    last = 0; /* a turn begins */
    return __real_connections_wait_ms();
}

void __wrap_connections_ready(int fd)
{
    expect_order(1);
    __real_connections_ready(fd);
}

void __wrap_connections_expire(void)
{
    expect_order(2);
    __real_connections_expire();
}

void __wrap_connections_accept(void)
{
    expect_order(3);
    __real_connections_accept();
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
