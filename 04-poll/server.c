/* 04: one thread, poll.
 * Model: one wait for all clients; poll reports the descriptors that would not block now.
 * Cost:  each turn passes the whole array to the kernel; kernel and server look at every element.
 * Limit: that cost, which grows with the number of idle clients. There is no fixed limit. */
#include "common/server.h"
#include "common/connections.h"
#include "common/net.h"
#include "common/table.h"

#include <poll.h>
#include <sys/socket.h>

static struct pollfd *fds; /* indexed by descriptor */
static size_t fds_size;
static int nfds; /* one more than the highest descriptor so far */

static bool watch(int fd, enum want was, enum want want)
{
    struct pollfd *room = table_grow(fds, &fds_size, (size_t)fd, sizeof *fds);
    if (room == NULL)
        return false;
    fds = room;
    while (nfds <= fd)
        fds[nfds++].fd = -1;                     /* poll ignores this element */
    fds[fd].fd = want == WANT_NOTHING ? -1 : fd; /* events = 0 would not silence POLLHUP */
    fds[fd].events = want == WANT_WRITE ? POLLOUT : POLLIN;
    return true;
}

int main(int argc, char **argv)
{
    sigset_t unblocked;
    struct options options = options_parse(argc, argv, "04-poll", WITH_ALL);
    int listener = server_open(&options, SOCK_NONBLOCK, &unblocked);
    connections_start(&options, listener, watch);

    while (connections_remain()) {
        struct timespec wait, *timeout = net_timeout(&wait, connections_wait_ms());
        int ready = ppoll(fds, (nfds_t)nfds, timeout, &unblocked);

        if (ready < 0)
            net_wait_failed("ppoll");
        connections_begin_turn();
        for (int fd = 0; fd < nfds && ready > 0; fd++)
            if (fds[fd].revents != 0) {
                connections_ready(fd);
                ready--;
            }
        connections_expire();
        connections_accept();
    }
    return 0;
}
