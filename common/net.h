/* What every program here needs before its I/O model begins: a listening socket, the clock, the
 * stop signals, and a way to give up. */
#ifndef COMMON_NET_H
#define COMMON_NET_H

#include "common/options.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_NS_PER_MS INT64_C(1000000)
#define NET_NS_PER_S  INT64_C(1000000000)

/* Ends the program with one line on stderr and status 1. A format that ends in a colon gets the
 * text of errno behind it. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Lowers the soft limit RLIMIT_NOFILE to most, if it is higher: no new descriptor gets a number as
 * high as that (getrlimit(2)). */
void net_limit_descriptors(unsigned most);

/* Returns a socket that listens, and says so on stdout; dies if it can't. flags are SOCK_NONBLOCK
 * or 0. What is sent through an accepted socket leaves at once (TCP_NODELAY, inherited). */
int net_listen(const struct options *options, int flags);

/* Whether SIGTERM or SIGINT has come. */
extern atomic_bool net_stopping;

/* Has SIGTERM and SIGINT handled by net_stop, which calls also, unless it is NULL, for the first of
 * them; it must be async-signal-safe. */
void net_catch_stop(void (*also)(void));

/* The handler, for a loop that catches signals itself, too. The first sets net_stopping, and makes
 * the listening socket non-blocking, so that an accept that was about to block returns EAGAIN. The
 * next one ends the process; while both are blocked (net_block_stop), with the next wait. One that
 * comes within NET_ECHO_NS of the first is the same order, said twice: pkill(1), timeout(1) and
 * service managers signal each process of a group, and the parent of workers passes it on. */
#define NET_ECHO_NS (100 * NET_NS_PER_MS)
void net_stop(int number);

/* Blocks both signals, and returns the mask to hand to a wait that may be interrupted by them:
 * pselect, ppoll and epoll_pwait unblock them for the wait alone, so none comes between the look
 * at net_stopping and the wait. */
sigset_t net_block_stop(void);

/* To be called after each wait. One that finds something ready returns without letting a signal in,
 * so a loop that is never idle would never hear of it: lets signals in, now and then. */
void net_let_stop(const sigset_t *unblocked);

/* What to do when accept has failed with this errno: true, nothing is wrong or one client has gone,
 * so accept again; false, the process has run out of something (accept(2): EMFILE, ENFILE,
 * ENOBUFS, ENOMEM; or an error that is not known here), so wait before the next try. Dies if it is
 * not a listening socket. */
bool net_accept_again(int error);

/* How long to wait before accept is tried again, unless a connection closes sooner. */
#define NET_PAUSE_NS NET_NS_PER_S

/* After an error the client may still be sending: how much of that is dropped, and for how long,
 * before the connection is closed. */
#define NET_LINGER_BYTES ((size_t)4 << 20)
int64_t net_linger_ns(const struct options *options);

/* Is there input that nobody has read? To close now would reset the connection. */
bool net_unread(int fd);

/* A wait of the event loop has failed. EINTR is no failure; out of memory it waits a little;
 * anything else ends the program. call names the wait. */
void net_wait_failed(const char *call);

/* CLOCK_MONOTONIC, in nanoseconds. Mostly no system call: the kernel maps this clock into the
 * process (vdso(7)), unless the machine has none that can be read there. */
int64_t net_now_ns(void);

/* Sleeps to a moment of that clock; signals don't cut it short. */
void net_sleep_until(int64_t moment_ns);

/* Makes room for table[index], elements of size bytes: returns the table, moved and zero-filled if
 * it had to grow, with *count its new number of elements; NULL (and the table as it was) if there
 * is no memory. */
void *net_room(void *table, size_t *count, size_t index, size_t size);

/* A line on stderr about an answered request: time, client, the request's first line (head), status
 * and duration. */
void net_log(int fd, const char *head, size_t length, int status, int64_t duration_ns);

#endif
