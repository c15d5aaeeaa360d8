/* What the kernel reports about a descriptor: small experiments for the tutorial.
 * Level or edge: two bytes arrive and one is read. Is the other one reported?
 * A file: can a loop wait for it?
 * A peer that leaves: what does each wait report of it, and how often, to a loop that has asked for
 * no event? */
#include "common/clock.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static void wait_twice(const char *name, uint32_t events)
{
    int pair[2], epoll = epoll_create1(0), first, second;
    struct epoll_event event = {.events = events};
    char byte;

    if (epoll < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event) < 0 || write(pair[1], "ab", 2) != 2)
        err(1, "set up");
    first = epoll_wait(epoll, &event, 1, 100);
    if (read(pair[0], &byte, 1) != 1)
        err(1, "read");
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
        err(1, "set up");
    const char *said =
        epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event) == 0 ? "watched" : strerror(errno);
    printf("a file: epoll_ctl: %s; poll: %s\n", said, poll(&fd, 1, 0) == 1 ? "ready" : "silent");
    close(file);
    close(epoll);
}

/* A connection over TCP, since a pair of Unix sockets hangs up as soon as one of them is closed. */
static void connect_pair(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *any = (struct sockaddr *)&address;
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || pair[1] < 0 || bind(listener, any, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, any, &size) < 0 || connect(pair[1], any, size) < 0 ||
        (pair[0] = accept(listener, NULL, NULL)) < 0)
        err(1, "connect");
    close(listener);
}

enum how { CLOSED_ITS_HALF, CLOSED, RESET };

static const char *const ways[] = {"closed its half", "closed", "reset"};

static const char *told(uint32_t events)
{
    if (events == 0)
        return "nothing";
    return events == (EPOLLHUP | EPOLLERR) ? "hang-up and error" : "something else";
}

static void report(enum how how, int fd)
{
    int epoll = epoll_create1(0);
    struct epoll_event nothing = {.events = 0}, event = nothing;
    struct pollfd polled = {.fd = fd, .events = 0};
    struct timeval patience = {.tv_sec = 1};
    fd_set readable;
    char byte;

    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &nothing) < 0 ||
        select(fd + 1, &readable, NULL, NULL, &patience) < 0 || poll(&polled, 1, 0) < 0 ||
        epoll_wait(epoll, &event, 1, 0) < 0)
        err(1, "wait");
    printf("a peer has %s: select: %s; poll, events = 0: %s; epoll, events = 0: %s", ways[how],
           FD_ISSET(fd, &readable) ? "readable" : "silent",
           told((uint32_t)polled.revents), /* POLLHUP and EPOLLHUP are the same number, and so on */
           told(event.events));
    printf("; recv: %s\n", recv(fd, &byte, 1, MSG_DONTWAIT) == 0 ? "0 bytes" : strerror(errno));
    close(epoll);
}

static void count(enum how how, int fd)
{
    struct pollfd polled = {.fd = fd, .events = 0};
    int wakes = 0;

    for (int64_t end = clock_now_ns() + 100 * NS_PER_MS; clock_now_ns() < end;)
        wakes += poll(&polled, 1, 100) == 1;
    printf("a peer has %s, events = 0: woken %d times in a tenth of a second\n", ways[how], wakes);
}

/* Let a peer leave, and look at our end of the connection. */
static void leave(enum how how, void (*look)(enum how how, int fd))
{
    struct linger no_time = {.l_onoff = 1}; /* then close resets the connection */
    int pair[2];

    connect_pair(pair);
    if (how == RESET && setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &no_time, sizeof no_time) < 0)
        err(1, "setsockopt");
    if ((how == CLOSED_ITS_HALF ? shutdown(pair[1], SHUT_WR) : close(pair[1])) < 0)
        err(1, "leave");
    look(how, pair[0]);
    close(pair[0]);
    if (how == CLOSED_ITS_HALF)
        close(pair[1]);
}

int main(void)
{
    wait_twice("level", EPOLLIN);
    wait_twice("edge", EPOLLIN | EPOLLET);
    wait_for_a_file();
    leave(CLOSED, count);
    leave(RESET, count);
    leave(CLOSED_ITS_HALF, report);
    leave(CLOSED, report);
    leave(RESET, report);
    return 0;
}
