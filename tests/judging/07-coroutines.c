/* 07: one thread, epoll, and a stack for each client.
 * Model: common/blocking.c as it is. Each call in which it would block is wrapped (ld --wrap): it
 *        tells epoll what it waits for, and switches to the loop. The stack keeps all the rest.
 * Cost:  a stack for each client, even an idle one: 64 KiB of addresses, about 8 KiB of memory.
 * Limit: one thread, as in 05; and a call that blocks and is not wrapped stops every client. */
#include "common/blocking.h"
#include "common/clock.h"
#include "common/net.h"
#include "common/server.h"
#include "common/stop.h"
#include "common/workers.h"
#include "tests/judging/stack.h"
#include "tests/judging/timers.h"
#include "tests/judging/wrapped.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { MAX_EVENTS = 64, STACK_SIZE = 64 << 10, SPARE_MOST = 64 };
#define NEVER INT64_MAX

/* A function that can stop in the middle, and what it waits for meanwhile. */
struct coroutine {
    struct timer timer; /* the first member: a timer that is due leads to its coroutine */
    struct stack stack;
    LIST_ENTRY(coroutine) link;
    void (*function)(void); /* NULL: it is over */
    int fd;                 /* of its client, or the listener */
    atomic_int idle;        /* fd or -1: see blocking_converse */
    bool fresh;             /* nothing has been received since its last event */
    bool woken_by_event;    /* and not by its timer */
    uint32_t wants;         /* what it waits for: EPOLLIN, EPOLLOUT, or 0 */
    uint32_t watched;       /* what epoll reports of the one descriptor that is watched */
    int64_t limit_ns[2][2]; /* see limit */
};

static LIST_HEAD(list, coroutine) coroutines, spare;
static struct stack loop;         /* of main */
static struct coroutine *running; /* NULL: the loop runs */
static size_t count, spare_count;
static int epoll_fd, listener;
static int64_t give_up_ns = NEVER; /* of a drain: when to stop accepting */
static struct options options;

/* ---- to wait is to switch to the loop */

/* Tell epoll what to report of fd: EPOLLIN, EPOLLOUT, or 0 for nothing. */
static bool watch(struct coroutine *c, int fd, uint32_t events)
{
    int op = c->watched == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (c->watched == events)
        return true;
    if (epoll_ctl(epoll_fd, op, fd, &event) < 0)
        return false;
    c->watched = events;
    return true;
}

/* Let others run until fd is ready for events, or the deadline has passed. Return whether it is
 * ready. With events 0, only time passes. If epoll has no room for fd, a short time passes.
 *
 * Its client stays watched after a wait. Another descriptor does not, such as that of an upstream:
 * it may soon be closed, and its number be another coroutine's. */
static bool wait_for(int fd, uint32_t events, int64_t deadline_ns)
{
    struct coroutine *me = running;
    bool other = events != 0 && fd != me->fd;

    if (other)
        watch(me, me->fd, 0);
    if (events != 0 && !watch(me, fd, events))
        events = 0, deadline_ns = clock_now_ns() + NET_RETRY_NS;
    if (deadline_ns != NEVER)
        timer_set(&me->timer, deadline_ns);
    me->wants = events;
    stack_switch(&me->stack, &loop);
    if (other)
        watch(me, fd, 0);
    return me->woken_by_event;
}

/* Let a coroutine run, up to its next wait or to its end. Only the loop may call this. */
static void resume(struct coroutine *c, bool by_event)
{
    timer_clear(&c->timer);
    c->wants = 0;
    c->fresh = true;
    c->woken_by_event = by_event;
    running = c;
    stack_switch(&loop, &c->stack);
    running = NULL;
    if (c->function != NULL)
        return;
    LIST_REMOVE(c, link);
    count--;
    LIST_INSERT_HEAD(&spare, c, link);
    spare_count++;
}

/* ---- the calls that would block */

/* SO_RCVTIMEO or SO_SNDTIMEO, which the kernel does not learn; 0: none. A coroutine has those of
 * its client, and those of a descriptor that it has opened itself. */
static int64_t *limit(int fd, int option)
{
    return &running->limit_ns[fd != running->fd][option == SO_SNDTIMEO];
}

static int64_t deadline(int fd, int option)
{
    int64_t limit_ns = *limit(fd, option);

    return limit_ns == 0 ? NEVER : clock_now_ns() + limit_ns;
}

/* One recv for each event: a client that never stops sending must not keep the thread. Usually, a
 * second recv would only find out that there is nothing. */
ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags)
{
    if (running == NULL || flags & MSG_DONTWAIT)
        return __real_recv(fd, bytes, room, flags);
    int64_t until_ns = deadline(fd, SO_RCVTIMEO);
    do {
        if (running->fresh) {
            running->fresh = false;
            ssize_t n = __real_recv(fd, bytes, room, flags);
            if (n >= 0 || errno != EAGAIN)
                return n;
        }
    } while (wait_for(fd, EPOLLIN, until_ns));
    return __real_recv(fd, bytes, room, flags); /* late: but look once more, for we may be, too */
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
    ssize_t n = __real_send(fd, bytes, length, flags);

    if (running == NULL || flags & MSG_DONTWAIT)
        return n;
    int64_t until_ns = deadline(fd, SO_SNDTIMEO);
    for (bool in_time = true; n < 0 && errno == EAGAIN && in_time;) {
        in_time = wait_for(fd, EPOLLOUT, until_ns);
        n = __real_send(fd, bytes, length, flags);
    }
    return n;
}

/* Nothing in common/ connects; a handler that asks another server does. Like the kernel, give up
 * after SO_SNDTIMEO with EINPROGRESS (socket(7)). */
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int error = 0;

    if (running != NULL && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -1;
    int result = __real_connect(fd, address, length);
    if (running == NULL || result == 0 || errno != EINPROGRESS)
        return result;
    bool ready = wait_for(fd, EPOLLOUT, deadline(fd, SO_SNDTIMEO));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}) < 0)
        return -1;
    errno = ready || error != 0 ? error : EINPROGRESS;
    return errno == 0 ? 0 : -1;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    const struct timeval *time = value;

    if (running == NULL || level != SOL_SOCKET || (name != SO_RCVTIMEO && name != SO_SNDTIMEO))
        return __real_setsockopt(fd, level, name, value, length);
    *limit(fd, name) = time->tv_sec * NS_PER_S + time->tv_usec * 1000;
    return 0;
}

/* clock.c sleeps to an absolute moment. The trap (--block) is still a trap. */
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *moment,
                           struct timespec *left)
{
    if (running == NULL)
        return __real_clock_nanosleep(clock, flags, moment, left);
    if (options.block) {
        stop_let_in(); /* a second Ctrl-C ends even this */
        int error = __real_clock_nanosleep(clock, flags, moment, left);
        stop_keep_out();
        return error;
    }
    int64_t until_ns = moment->tv_sec * NS_PER_S + moment->tv_nsec;
    while (clock_now_ns() < until_ns)
        wait_for(-1, 0, until_ns);
    return 0;
}

void __wrap_clock_compute(int64_t duration_ns)
{
    stop_let_in();
    __real_clock_compute(duration_ns);
    stop_keep_out();
}

/* ---- coroutines: one for each client, and one that accepts them */

/* The function at the bottom of each stack. A stack that has served one client serves another. */
static void bottom(void)
{
    stack_begin(&loop);
    for (struct coroutine *me = running;;) {
        me->function();
        me->function = NULL;
        stack_switch(&me->stack, &loop);
    }
}

/* Make sure that there is room for one more coroutine. Return false, with errno set, if not. */
static bool reserve_coroutine(void)
{
    struct coroutine *c;

    if (!timers_reserve(count + 1))
        return false;
    if (!LIST_EMPTY(&spare))
        return true;
    if ((c = calloc(1, sizeof *c)) == NULL || !stack_new(&c->stack, STACK_SIZE, bottom)) {
        free(c);
        return false;
    }
    LIST_INSERT_HEAD(&spare, c, link);
    spare_count++;
    return true;
}

/* Prepare a coroutine for fd, which the loop begins in this turn. Its room has been reserved. */
static void new_coroutine(void (*function)(void), int fd)
{
    struct coroutine *c = LIST_FIRST(&spare);

    LIST_REMOVE(c, link);
    spare_count--;
    *c = (struct coroutine){.stack = c->stack, .function = function, .fd = fd, .idle = -1};
    LIST_INSERT_HEAD(&coroutines, c, link);
    count++;
    timer_set(&c->timer, 0); /* long due */
}

static void converse(void)
{
    blocking_converse(running->fd, &options, true, &running->idle);
    close(running->fd); /* which also takes it out of epoll */
}

/* The loop of 02, on a stack of its own. It accepts one client in a turn of the loop, so that other
 * workers get some, too. Once told to stop, it takes what is in the backlog, and ends. */
static void accept_clients(void)
{
    int backlog = SOMAXCONN + 1;

    while (!stop_requested ||
           (backlog-- > 0 && !workers_leave_backlog() && clock_now_ns() < give_up_ns)) {
        /* Memory first: if there is none (ENOMEM), the client is better off in the backlog. */
        int fd = -1;
        if (reserve_coroutine())
            fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        bool empty = fd < 0 && errno == EAGAIN;
        bool out_of_something = fd < 0 && !empty && !net_accept_again(errno);
        if (fd >= 0)
            new_coroutine(converse, fd);
        /* A drain ends when the backlog is empty, or when no client is left to free anything. */
        if (stop_requested && (empty || (out_of_something && count == 1)))
            break;
        if (out_of_something || stop_requested)
            wait_for(-1, 0, out_of_something ? clock_now_ns() + NET_RETRY_NS : 0);
        else
            wait_for(listener, EPOLLIN, NEVER);
    }
    close(listener);
}

/* ---- the loop */

/* Give a stack back that nobody stands on, but only one in a turn: munmap takes so long that after
 * a burst of 10,000 clients it would delay all others. */
static void tidy(void)
{
    struct coroutine *c = LIST_FIRST(&spare);

    if (spare_count <= SPARE_MOST)
        return;
    LIST_REMOVE(c, link);
    spare_count--;
    stack_free(&c->stack);
    free(c);
}

/* End what waits for a client, once. */
static void drain(void)
{
    if (give_up_ns != NEVER)
        return;
    give_up_ns = clock_now_ns() + options.timeout_ns;
    for (struct coroutine *c = LIST_FIRST(&coroutines); c != NULL; c = LIST_NEXT(c, link)) {
        stop_hang_up(&c->idle);
        if (c->fd == listener)
            timer_set(&c->timer, 0);
    }
}

/* Return how long to wait, in ms: rounded up, or we would wake too early, and never less than 0,
 * for -1 means for ever. */
static int wait_ms(void)
{
    const struct timer *first = timers_first();

    if (first == NULL)
        return -1;
    int64_t left_ns = first->due_ns - clock_now_ns();
    return left_ns > 0 ? (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

int main(int argc, char **argv)
{
    sigset_t unblocked;

    options = options_parse(argc, argv, "07-coroutines", WITH_BLOCK | WITH_COMPUTE);
    listener = server_open(&options, SOCK_NONBLOCK, &unblocked);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || !reserve_coroutine())
        err(1, "cannot begin");
    new_coroutine(accept_clients, listener);

    while (!LIST_EMPTY(&coroutines)) {
        struct epoll_event events[MAX_EVENTS];

        if (stop_requested)
            drain();
        int ready = epoll_pwait(epoll_fd, events, MAX_EVENTS, wait_ms(), &unblocked);
        if (ready < 0)
            net_wait_failed("epoll_pwait");
        stop_poll(clock_now_ns());
        for (int i = 0; i < ready; i++) {
            struct coroutine *c = events[i].data.ptr;
            if (c->wants != 0)
                resume(c, true);
            else /* it sleeps, and its client sends or leaves: no news until it asks again */
                watch(c, c->fd, 0);
        }
        int64_t now_ns = clock_now_ns();
        while (timers_first() != NULL && timers_first()->due_ns <= now_ns)
            resume((struct coroutine *)timers_first(), false);
        tidy();
    }
    return 0;
}
