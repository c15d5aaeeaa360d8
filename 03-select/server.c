/* 03: one thread, select.
 * Model: one wait for all clients; select reports the descriptors that would not block now.
 * Cost:  each turn copies the sets in and out, and tests every number up to the highest.
 * Limit: FD_SETSIZE, 1024: a descriptor with that number or a higher one has no bit in a set. */
#include "common/server.h"
#include "common/connections.h"
#include "common/net.h"

#include <sys/select.h>
#include <sys/socket.h>

static fd_set reading, writing;
static int nfds; /* one more than the highest descriptor so far */

static bool watch(int fd, enum want was, enum want want)
{
    if (fd >= FD_SETSIZE) /* FD_SET would write past the end of the set */
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
    sigset_t unblocked;
    struct options options = options_parse(argc, argv, "03-select", WITH_ALL);
    net_limit_descriptors(FD_SETSIZE); /* accept fails (EMFILE) before a number is too high */
    int listener = server_open(&options, SOCK_NONBLOCK, &unblocked);
    connections_start(&options, listener, watch);

    while (connections_remain()) {
        struct timespec wait, *timeout = net_timeout(&wait, connections_wait_ms());
        fd_set readable = reading, writable = writing; /* select overwrites its arguments */
        int ready = pselect(nfds, &readable, &writable, NULL, timeout, &unblocked);

        if (ready < 0)
            net_wait_failed("pselect");
        connections_begin_turn();
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
