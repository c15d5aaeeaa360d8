/* The conversation of blocking.h, cut at every place where it would block. What the blocking
 * version keeps in local variables and in the program counter is kept here in a struct for each
 * connection. Nothing in here waits: an event loop does that, and tells us what has happened. */
#ifndef COMMON_CONNECTIONS_H
#define COMMON_CONNECTIONS_H

#include "common/options.h"

#include <stdbool.h>
#include <stdint.h>

/* What we are waiting for on a descriptor: one thing at a time. */
enum want { WANT_NOTHING, WANT_READ, WANT_WRITE };

/* Each stage supplies this function: how it tells the kernel what to watch. Stop watching fd for
 * was, and watch it for want instead (the two differ). Level-triggered: as long as fd is ready,
 * each wait reports it. fd is still open, even if want is WANT_NOTHING because it is about to be
 * closed. Return false if the kernel has no room for another watch. */
typedef bool watch_function(int fd, enum want was, enum want want);

/* Start watching listener, a non-blocking listening socket, which from now on belongs to this
 * module; die if it cannot be watched. There is one set of connections in a process. options must
 * outlive it, and the clock must never go back. */
void connections_start(const struct options *options, int listener, watch_function *watch,
                       int64_t (*clock_ns)(void));

/* Each turn of the loop calls these, in this order. The order matters: no step closes a descriptor
 * other than its own, and accept, which may be given the number of a descriptor that was just
 * closed, comes last. So a stale event (its descriptor was closed earlier in the same turn) finds
 * nobody, and never a stranger. */

/* How long the loop may wait: milliseconds to the nearest deadline, or -1 if there is none. Rounded
 * up: rounded down, the loop would wake too early and spin. */
int connections_wait_ms(void);

/* fd is ready for what it was watched for, or has an error or a hang-up: take its connection as far
 * as it can go without blocking. */
void connections_ready(int fd);

/* With options->threads > 0, /slow runs in a pool of threads, and connections_ready is told of the
 * results through one more descriptor. A loop that has a way of its own to be woken from another
 * thread (libev's ev_async) passes a function for that, before connections_start; it must be safe
 * to call from any thread. Once woken, the loop calls connections_collect. */
void connections_wake_with(void (*wake)(void));
void connections_collect(void);

/* Deal with the connections whose deadline has passed. */
void connections_expire(void);

/* Accept a client, if the listener was ready. One in each turn: otherwise, with --workers, the
 * process that happens to be awake would take them all, and be busy while the others are idle. */
void connections_accept(void);

/* Graceful shutdown. Once the server has been told to stop, call this after each wait and before
 * connections_ready. It closes idle connections; the others get their response, with Connection:
 * close. The clients that are in the backlog by now are still accepted, for options->timeout_ns at
 * most; then the listener is closed. So it is when accept fails while no connection is open, since
 * nothing would then free what accept lacks. */
void connections_drain(void);

/* False once everything is drained and closed, and the loop may end. */
bool connections_remain(void);

/* The kernel has stopped watching fd, though nobody asked it to. Close it if it is a connection;
 * try to watch it again after a pause if it is the listener. */
void connections_unwatched(int fd);

#endif
