/* The conversation of blocking.h, cut wherever it would block. What the blocking one keeps in its
 * local variables, and in the place that it has come to, stands here in a struct for each
 * connection. Nothing in here waits: an event loop does, and tells us what has happened. */
#ifndef COMMON_CONNECTIONS_H
#define COMMON_CONNECTIONS_H

#include "common/net.h"

#include <stdbool.h>
#include <stdint.h>

/* What a descriptor is waited for. A connection waits for one thing at a time. */
enum want { WANT_NOTHING, WANT_READ, WANT_WRITE };

/* The stage's own: has the kernel watch fd, a connection's or the listener, for want and no longer
 * for was (they differ), level-triggered: as long as fd is ready, each wait says so. fd is open,
 * also when want is WANT_NOTHING just before its close. Returns false if the kernel has no room. */
typedef bool watch_function(int fd, enum want was, enum want want);

/* Begins to watch the listener, a non-blocking socket, which from now on belongs to connections;
 * dies if that fails. One set of connections for each process; the options must outlive it. The
 * clock never goes back. */
void connections_start(const struct options *options, int listener, watch_function *watch,
                       int64_t (*clock_ns)(void));

/* A turn of the loop calls these, in this order. A step closes no descriptor but its own, and
 * accept, which may get the number of one that was just closed, comes last: so an event that is
 * stale (its descriptor was closed earlier in this turn) finds nobody, never somebody else. */

/* How long the loop may wait: milliseconds to the nearest deadline, rounded up (down would wake
 * too early, and spin); -1 if there is none. */
int connections_wait_ms(void);

/* fd is ready, for what it was watched or by a hang-up or an error: goes on as far as it can
 * without blocking. */
void connections_ready(int fd);

/* Goes on with the connections whose deadline has passed. */
void connections_expire(void);

/* Accepts a client, if the listener was ready. One for each turn: with more, the worker that is
 * awake would take them all (--workers), and be busy while its neighbours are not. */
void connections_accept(void);

/* Told to stop (after the wait, before what was ready): serves who is in the kernel's queue by now,
 * then closes the listener; closes idle connections; the others get their answer, with Connection:
 * close. May be called again. */
void connections_drain(void);

/* False when all is drained and closed: the loop may end. */
bool connections_remain(void);

/* The kernel no longer watches fd, though nobody asked for that: closes the connection; the
 * listener is tried again in a second. */
void connections_unwatched(int fd);

#endif
