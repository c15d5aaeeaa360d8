/* Does a loop keep the rules of common/connections.h? It calls these functions in each turn, in the
 * order that the header asks for, connections_ready for each descriptor that the wait has reported;
 * it waits once in a turn, for as long as the header says, and lets SIGTERM in meanwhile alone; it
 * closes no connection itself; it sleeps in its wait alone; and its watch notices that epoll_ctl
 * has failed. With -Wl,--wrap=NAME, the linker lets a call of NAME reach __wrap_NAME, and a call of
 * __real_NAME reach NAME (ld(1)). */
#include "common/clock.h"
#include "common/connections.h"
#include "common/net.h"
#include "common/stop.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)
WRAP(void, connections_start, const struct options *options, int listener, watch_function *watch);
WRAP(void, connections_unwatched, int fd);
WRAP(void, net_wait_failed, const char *call);
WRAP(int, close, int fd);
WRAP(int, epoll_ctl, int epoll, int op, int fd, struct epoll_event *event);
WRAP(int, epoll_wait, int epoll, struct epoll_event *events, int most, int wait_ms);
WRAP(int, epoll_pwait, int epoll, struct epoll_event *events, int most, int wait_ms,
     const sigset_t *mask);
WRAP(int, ppoll, struct pollfd *fds, nfds_t count, const struct timespec *timeout,
     const sigset_t *mask);
WRAP(int, pselect, int count, fd_set *reading, fd_set *writing, fd_set *other,
     const struct timespec *timeout, const sigset_t *mask);
WRAP(int, usleep, useconds_t us);
WRAP(unsigned, sleep, unsigned seconds);
WRAP(int, nanosleep, const struct timespec *time, struct timespec *left);
WRAP(int, clock_nanosleep, clockid_t clock, int flags, const struct timespec *time,
     struct timespec *left);
WRAP(int, poll, struct pollfd *fds, nfds_t count, int wait_ms);
WRAP(int, select, int count, fd_set *reading, fd_set *writing, fd_set *other,
     struct timeval *timeout);
/* What not every C library has: the last two are what a fortified build calls. */
WRAP(int, epoll_pwait2, int epoll, struct epoll_event *events, int most,
     const struct timespec *timeout, const sigset_t *mask);
WRAP(int, __ppoll_chk, struct pollfd *fds, nfds_t count, const struct timespec *timeout,
     const sigset_t *mask, size_t size);
WRAP(int, __poll_chk, struct pollfd *fds, nfds_t count, int wait_ms, size_t size);
#pragma weak __real_epoll_pwait2
#pragma weak __real___ppoll_chk
#pragma weak __real___poll_chk
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
static int reported, handled;  /* descriptors, in this turn */
static int turn;               /* its number */
static int allowed_ms;         /* what connections_wait_ms has said for this turn */
static bool waited;       /* in this turn: a library of the stage waits without our knowledge */
static bool failed;       /* that wait */
static const char *model; /* by which it waits */
static bool closed; /* by connections_begin_turn, in this turn: perhaps what the wait reported */

#pragma weak ev_io_start /* not NULL: the stage uses libev */
void ev_io_start(void);

static watch_function *stage_watch;
static int common;  /* how many functions of common/ we are in; 0: in the stage itself */
static int failing; /* the error of the last epoll_ctl of watch, or 0; -1: the next is to fail */
static bool watched[1 << 16];
static int lost_fd = -1; /* of a client that libev will not be able to watch */
static int lost_turn;    /* since when */

/* The client that epoll_ctl has no memory for: it comes after the crowd (ladder.py). Before it, the
 * listener, one client, twice, and the crowd. */
enum { FAILING_ADD = 1 + 2 + 70 + 1 };

enum { HASTE = 16 }; /* of so many waits, one must not wait */

/* A wait may be wrong by so much; and one that lasts so long costs nothing. */
enum { EARLY_MS = 10, LATE_MS = 2, SELDOM_MS = 10000 };

/* In so many turns, the loop may sleep beside its wait: a signal to stop looks like a sleep. */
enum { MOST_SLEEPS = 8 };
static long sleeps = -1; /* of this thread, when the wait was over; -1: that is not known */

static volatile sig_atomic_t asked; /* by SIGUSR1: to raise SIGTERM at its worst moment */
static int64_t told_ns;             /* when that moment came */
static bool heard, heard_late;      /* the wait after it is over; it lasted */

/* Is this a call of the stage itself, in its loop? */
static bool is_of_the_loop(void)
{
    return stage_watch != NULL && common == 0 && gettid() == getpid();
}

static void expect_order(int function)
{
    for (int later = function + 1; later < FUNCTIONS; later++)
        if (called[later])
            errx(1, "%s after %s in the same turn", names[function], names[later]);
    called[function] = true;
}

static long count_sleeps(void)
{
    struct rusage used;

    return getrusage(RUSAGE_THREAD, &used) == 0 ? used.ru_nvcsw : -1;
}

/* Has it slept since its wait was over, in whatever call? */
static void expect_awake(void)
{
    static int turns;

    if (sleeps >= 0 && count_sleeps() > sleeps && ++turns > MOST_SLEEPS)
        errx(1, "the loop sleeps beside its wait, in %d turns", turns);
    sleeps = -1;
}

int __wrap_connections_wait_ms(void)
{
    static bool first = true; /* a loop may wait before it does anything else */

    if (waited && !closed && called[BEGIN_TURN] && reported != handled)
        errx(1, "calls of connections_ready in a turn: %d; descriptors that its wait reported: %d",
             handled, reported);
    if (!waited) /* a library waits */
        expect_awake();
    reported = handled = 0;
    turn++;
    waited = failed = closed = false;

    for (int function = 0; function < FUNCTIONS; function++) {
        if (!first && !called[function] && function != READY) /* nothing may be ready */
            errx(1, "a turn without %s", names[function]);
        called[function] = false;
    }
    first = false;
    common++;
    allowed_ms = __real_connections_wait_ms();
    common--;
    if (lost_fd >= 0 && turn >= lost_turn + 2 && watched[lost_fd])
        errx(1, "libev could not watch a client, and the loop keeps it");
    if (turn % HASTE == 0)
        allowed_ms = 0; /* it may always say so */
    if (asked && told_ns == 0) {
        told_ns = clock_now_ns();
        raise(SIGTERM); /* just before the wait */
    }
    return allowed_ms;
}

void __wrap_connections_begin_turn(void)
{
    expect_order(BEGIN_TURN);
    if (told_ns != 0 && !heard) {
        heard = true;
        heard_late = clock_now_ns() - told_ns > 50 * NS_PER_MS;
    }
    if (!waited)
        sleeps = count_sleeps();
    common++;
    __real_connections_begin_turn();
    common--;
}

void __wrap_connections_ready(int fd)
{
    static int last[1 << 16]; /* the turn of the last call for this descriptor */

    expect_order(READY);
    if (failed)
        errx(1, "connections_ready is called, though the wait has failed");
    if (fd >= 0 && fd < (int)(sizeof last / sizeof *last)) {
        if (turn > 0 && last[fd] == turn)
            errx(1, "calls of connections_ready in a turn: two for one descriptor");
        last[fd] = turn;
    }
    handled++;
    common++;
    __real_connections_ready(fd);
    common--;
}

void __wrap_connections_expire(void)
{
    expect_order(EXPIRE);
    common++;
    __real_connections_expire();
    common--;
}

void __wrap_connections_accept(void)
{
    expect_order(ACCEPT);
    common++;
    __real_connections_accept();
    common--;
}

/* libev asks the kernel after watch has returned, and is not linked with __wrap_epoll_ctl: this is
 * what it calls, and __real_epoll_ctl, too. (ld exports what a library asks for.) */
__attribute__((weak)) int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    if (fd == lost_fd && op == EPOLL_CTL_ADD && watched[fd]) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
}

/* Watch fd for a stage: a part of the stage that common/ calls. */
static bool watch(int fd, enum want was, enum want want)
{
    static int adds;
    int before = common;

    common = 0;
    failing = was == WANT_NOTHING && ++adds == FAILING_ADD ? -1 : 0;
    bool result = stage_watch(fd, was, want);
    if (result && failing < 0 && ev_io_start != NULL) {
        lost_fd = fd;
        lost_turn = turn;
    }
    if (result && failing > 0) {
        errno = failing;
        failing = 0;
        err(1, "watch returns true, though epoll_ctl has failed");
    }
    failing = 0;
    common = before;
    if (want == WANT_NOTHING && !called[READY] && !called[EXPIRE] && !called[ACCEPT])
        closed = true;
    if (fd < (int)(sizeof watched / sizeof *watched))
        watched[fd] = true;
    return result;
}

/* The stage must survive that epoll_ctl refuses a client. If it ends instead, however quietly, say
 * of what. */
static void tell_refusal(void)
{
    static const char text[] = "epoll_ctl: has refused a client, and watch has not returned\n";

    if (failing > 0 && write(STDERR_FILENO, text, sizeof text - 1) < 0)
        failing = 0;
}

static void on_asked(int number)
{
    (void)number;
    asked = true;
}

/* At the end. A stage that merely contains the calls of its model is found out here. */
static void tell_model(void)
{
    if (stop_requested)
        printf("turns: %d, by %s%s\n", turn, model == NULL ? "a library" : model,
               heard_late ? ", SIGTERM heard late" : "");
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction action = {.sa_handler = on_asked};

    if (sigaction(SIGUSR1, &action, NULL) < 0 || atexit(tell_model) != 0)
        err(1, "prepare to tell the model");
}

static void on_abort(int number)
{
    (void)number;
    tell_refusal();
}

void __wrap_connections_start(const struct options *options, int listener, watch_function *function)
{
    stage_watch = function;
    if (atexit(tell_refusal) != 0 || signal(SIGABRT, on_abort) == SIG_ERR)
        err(1, "prepare to tell a refusal");
    common++;
    __real_connections_start(options, listener, watch);
    common--;
}

void __wrap_connections_unwatched(int fd)
{
    common++;
    __real_connections_unwatched(fd);
    common--;
}

void __wrap_net_wait_failed(const char *call)
{
    common++;
    __real_net_wait_failed(call);
    common--;
}

int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    bool refused = failing < 0 && op == EPOLL_CTL_ADD;
    int result = refused ? -1 : __real_epoll_ctl(epoll, op, fd, event);

    if (refused)
        errno = ENOMEM;
    if (failing >= 0 || op == EPOLL_CTL_ADD)
        failing = result < 0 ? errno : 0;
    return result;
}

int __wrap_close(int fd)
{
    bool known = fd >= 0 && fd < (int)(sizeof watched / sizeof *watched) && watched[fd];

    if (is_of_the_loop() && known)
        errx(1, "close of a descriptor that belongs to common/connections.c");
    if (known)
        watched[fd] = false;
    if (fd == lost_fd) /* another client may get the number */
        lost_fd = -1;
    int result = __real_close(fd);
    if (result < 0 && errno == EBADF && stage_watch != NULL)
        errx(1, "close of a descriptor that is not open");
    return result;
}

/* ---- calls that wait */

/* A wait that is over before there is anything to do costs a turn, and one that lasts longer makes
 * clients wait. A signal that is let in before the wait, and not by it, may come just before it,
 * and is then lost. wait_ms: -1 for no limit */
static void expect_right_wait(int64_t wait_ms)
{
    bool seldom = wait_ms < 0 || wait_ms >= SELDOM_MS;
    bool early = !seldom && (allowed_ms < 0 || wait_ms < allowed_ms - EARLY_MS);
    bool late = allowed_ms >= 0 && (wait_ms < 0 || wait_ms > allowed_ms + LATE_MS);
    sigset_t mask;

    if (!is_of_the_loop())
        return;
    expect_awake();
    if (early || late)
        errx(1, "its wait lasts too %s: %d ms, where connections_wait_ms has said %d",
             early ? "short" : "long", (int)wait_ms, allowed_ms);
    if (waited)
        errx(1, "a second wait in the same turn");
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (sigismember(&mask, SIGTERM) == 0)
        errx(1, "SIGTERM is let in outside the wait");
}

static void expect_right_timeout(const struct timespec *timeout)
{
    expect_right_wait(timeout == NULL ? -1 : timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000);
}

static const char SELECT[] = "select", POLL[] = "poll", EPOLL[] = "epoll";

static int wait_of_the_loop(const char *call, int ready)
{
    if (is_of_the_loop()) {
        if (model != NULL && model != call)
            errx(1, "its loop waits by %s, and by %s", model, call);
        model = call;
        waited = true;
        failed = ready < 0;
        sleeps = count_sleeps();
        reported += ready > 0 ? ready : 0;
    }
    return ready;
}

static void expect_no_sleep(const char *call)
{
    if (is_of_the_loop())
        errx(1, "%s in the loop, beside its wait", call);
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int wait_ms)
{
    expect_right_wait(wait_ms);
    return wait_of_the_loop(EPOLL, __real_epoll_wait(epoll, events, most, wait_ms));
}

int __wrap_epoll_pwait(int epoll, struct epoll_event *events, int most, int wait_ms,
                       const sigset_t *mask)
{
    expect_right_wait(wait_ms);
    return wait_of_the_loop(EPOLL, __real_epoll_pwait(epoll, events, most, wait_ms, mask));
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                 const sigset_t *mask)
{
    expect_right_timeout(timeout);
    return wait_of_the_loop(POLL, __real_ppoll(fds, count, timeout, mask));
}

int __wrap___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                       const sigset_t *mask, size_t size)
{
    expect_right_timeout(timeout);
    return wait_of_the_loop(POLL, __real___ppoll_chk(fds, count, timeout, mask, size));
}

int __wrap_pselect(int count, fd_set *reading, fd_set *writing, fd_set *other,
                   const struct timespec *timeout, const sigset_t *mask)
{
    expect_right_timeout(timeout);
    return wait_of_the_loop(SELECT, __real_pselect(count, reading, writing, other, timeout, mask));
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int wait_ms)
{
    if (count == 0)
        expect_no_sleep("poll");
    expect_right_wait(wait_ms);
    return wait_of_the_loop(POLL, __real_poll(fds, count, wait_ms));
}

int __wrap___poll_chk(struct pollfd *fds, nfds_t count, int wait_ms, size_t size)
{
    if (count == 0)
        expect_no_sleep("poll");
    expect_right_wait(wait_ms);
    return wait_of_the_loop(POLL, __real___poll_chk(fds, count, wait_ms, size));
}

int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask)
{
    expect_right_timeout(timeout);
    return wait_of_the_loop(EPOLL, __real_epoll_pwait2(epoll, events, most, timeout, mask));
}

int __wrap_select(int count, fd_set *reading, fd_set *writing, fd_set *other,
                  struct timeval *timeout)
{
    if (count == 0)
        expect_no_sleep("select");
    expect_right_wait(timeout == NULL ? -1 : timeout->tv_sec * 1000 + timeout->tv_usec / 1000);
    return wait_of_the_loop(SELECT, __real_select(count, reading, writing, other, timeout));
}

int __wrap_usleep(useconds_t us)
{
    expect_no_sleep("usleep");
    return __real_usleep(us);
}

unsigned __wrap_sleep(unsigned seconds)
{
    expect_no_sleep("sleep");
    return __real_sleep(seconds);
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    expect_no_sleep("nanosleep");
    return __real_nanosleep(time, left);
}

int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                           struct timespec *left)
{
    expect_no_sleep("clock_nanosleep");
    return __real_clock_nanosleep(clock, flags, time, left);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
