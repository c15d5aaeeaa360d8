/* What the kernel says of a descriptor: three small experiments for the tutorial.
 * Level or edge: two bytes come, one is read; is the other reported?
 * A file: can it be waited for?
 * A hang-up: how often is one woken by it who asked for no event? */
#include "common/net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void wait_twice(const char *name, uint32_t events)
{
    int pair[2], epoll = epoll_create1(0), first, second;
    struct epoll_event event = {.events = events};
    char byte;

    if (epoll < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event) < 0 || write(pair[1], "ab", 2) != 2)
        die("set up:");
    first = epoll_wait(epoll, &event, 1, 100);
    if (read(pair[0], &byte, 1) != 1)
        die("read:");
    second = epoll_wait(epoll, &event, 1, 100);
    printf("%s: two bytes came: %s; one was read: %s\n", name, first == 1 ? "ready" : "silent",
           second == 1 ? "ready" : "silent");
    close(pair[0]);
    close(pair[1]);
    close(epoll);
}

static void wait_for_a_file(void)
{
    int file = open("/proc/self/exe", O_RDONLY), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd fd = {.fd = file, .events = POLLIN};

    if (file < 0 || epoll < 0)
        die("set up:");
    const char *said =
        epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event) == 0 ? "watched" : strerror(errno);
    printf("a file: epoll_ctl: %s; poll: %s\n", said, poll(&fd, 1, 0) == 1 ? "ready" : "silent");
    close(file);
    close(epoll);
}

static void leave(void)
{
    int pair[2], wakes = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        die("socketpair:");
    close(pair[1]);
    struct pollfd fd = {.fd = pair[0], .events = 0};
    for (int64_t end = net_now_ns() + 100 * NET_NS_PER_MS; net_now_ns() < end;)
        wakes += poll(&fd, 1, 100) == 1;
    printf("a hang-up, events = 0: woken %d times in a tenth of a second\n", wakes);
    close(pair[0]);
}

int main(void)
{
    wait_twice("level", EPOLLIN);
    wait_twice("edge", EPOLLIN | EPOLLET);
    wait_for_a_file();
    leave();
    return 0;
}
