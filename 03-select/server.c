/* 03: one thread, select.
 * Model: one wait for all clients; select says which of them would not block now.
 * Cost:  each turn copies the sets in and out, and looks at every number up to the highest.
 * Limit: the number FD_SETSIZE (1024): a descriptor beyond it has no bit in a set. */
#include "common/connections.h"
#include "common/net.h"
#include "common/workers.h"

#include <sys/select.h>
#include <sys/socket.h>

static fd_set reading, writing;
static int nfds; /* the highest descriptor so far, and one */

static bool watch(int fd, enum want was, enum want want)
{
    (void)was;
    if (fd >= FD_SETSIZE) /* FD_SET would write past the set */
        return false;
    FD_CLR(fd, &reading);
    FD_CLR(fd, &writing);
    if (want == WANT_READ)
        FD_SET(fd, &reading);
    if (want == WANT_WRITE)
        FD_SET(fd, &writing);
    if (fd >= nfds)
        nfds = fd + 1;
    return true;
}

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv, "03-select");

    net_catch_stop(NULL);
    sigset_t unblocked = net_block_stop();
    net_limit_descriptors(FD_SETSIZE); /* accept runs out (EMFILE) before a number gets too high */
    int listener = net_listen(&options, SOCK_NONBLOCK);
    workers_fork(&options, listener);
    connections_start(&options, listener, watch, net_now_ns);

    while (connections_remain()) {
        int wait_ms = connections_wait_ms();
        struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * NET_NS_PER_MS};
        struct timespec *timeout = wait_ms < 0 ? NULL : &wait;
        fd_set readable = reading, writable = writing; /* select overwrites its arguments */
        int ready = pselect(nfds, &readable, &writable, NULL, timeout, &unblocked);

        if (ready < 0)
            net_wait_failed("pselect");
        net_let_stop(&unblocked);
        if (net_stopping)
            connections_drain();
        for (int fd = 0; fd < nfds && ready > 0; fd++)
            if (FD_ISSET(fd, &readable) || FD_ISSET(fd, &writable)) {
                connections_ready(fd);
                ready--;
            }
        connections_expire();
        connections_accept();
    }
    return 0;
}
