/* 05: one thread, epoll.
 * Model: one wait for all clients; the kernel remembers what is watched, and reports what is ready.
 * Cost:  a system call for each change of what is watched; a turn costs only what is ready.
 * Limit: one thread. While it computes, every client waits. */
#include "common/server.h"
#include "common/connections.h"
#include "common/net.h"

#include <err.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MAX_EVENTS = 64 };

static int epoll_fd;

static bool watch(int fd, enum want was, enum want want)
{
    int op = was == WANT_NOTHING ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (want == WANT_NOTHING) /* events = 0 would not silence EPOLLHUP */
        op = EPOLL_CTL_DEL;
    struct epoll_event event = {.events = want == WANT_WRITE ? EPOLLOUT : EPOLLIN, .data.fd = fd};

    return epoll_ctl(epoll_fd, op, fd, &event) == 0;
}

int main(int argc, char **argv)
{
    sigset_t unblocked;
    struct options options = options_parse(argc, argv, "05-epoll", WITH_ALL);
    int listener = server_open(&options, SOCK_NONBLOCK, &unblocked);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        err(1, "epoll_create1");
    connections_start(&options, listener, watch);

    while (connections_remain()) {
        struct epoll_event events[MAX_EVENTS];
        int wait_ms = connections_wait_ms();
        int ready = epoll_pwait(epoll_fd, events, MAX_EVENTS, wait_ms, &unblocked);

        if (ready < 0)
            net_wait_failed("epoll_pwait");
        connections_begin_turn();
        for (int i = 0; i < ready; i++)
            connections_ready(events[i].data.fd);
        connections_expire();
        connections_accept();
    }
    return 0;
}
