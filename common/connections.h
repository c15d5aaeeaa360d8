/* The conversation of blocking.h, cut wherever it would block. The blocking version keeps its state
 * in local variables and in the program counter; here, each connection has a struct for it. Nothing
 * here waits: an event loop does that, and tells us which descriptors are ready. */
#ifndef COMMON_CONNECTIONS_H
#define COMMON_CONNECTIONS_H

#include "common/options.h"

#include <stdbool.h>
#include <stdint.h>

/* What we are waiting for on a descriptor: one thing at a time. */
enum want { WANT_NOTHING, WANT_READ, WANT_WRITE };

/* Each stage supplies this function, which tells the kernel what to watch: from now on, watch fd
 * for want, and no longer for was (the two differ). Watching is level-triggered: as long as fd is
 * ready, each wait reports it. fd is still open, even if want is WANT_NOTHING because it is about
 * to be closed. Return false if there is no room to watch fd: its connection is then closed. */
typedef bool watch_function(int fd, enum want was, enum want want);

/* Start watching listener, a non-blocking listening socket, which from now on belongs to this
 * module, and start the pool of threads if there is one; die if that fails. A process has one set
 * of connections. options must outlive it, and the clock must never go back. */
void connections_start(const struct options *options, int listener, watch_function *watch,
                       int64_t (*clock_ns)(void));

/* Each turn of the loop calls the next four functions, in this order. The order matters: a new
 * client may get the number of a descriptor that was closed earlier in the same turn, and a stale
 * event may still name that number. connections_accept comes last, so a stale event finds no
 * connection, and never the new client. */

/* Return how long the loop may wait: the milliseconds to the nearest deadline, or -1 if there is
 * none. They are rounded up: otherwise the loop would wake too early and spin. Call it before each
 * wait: what happens after the wait then reads the clock again. */
int connections_wait_ms(void);

/* fd is ready, or has an error or a hang-up. Take its connection as far as it can go without
 * blocking; if fd is the listener, let connections_accept accept a client. */
void connections_ready(int fd);

/* Deal with the connections whose deadline has passed. */
void connections_expire(void);

/* Accept a client, if the listener was ready. One in each turn: otherwise, with --workers, the
 * process that happens to be awake would take all clients, and be busy while the others are idle.
 */
void connections_accept(void);

/* Shut down gracefully. Once the server has been told to stop, call this after each wait and before
 * connections_ready. It closes idle connections; the others get their response, with Connection:
 * close. connections_accept still accepts clients until the backlog is empty, for at most
 * options->timeout_ns and at most SOMAXCONN + 1 clients, and then closes the listener. It also
 * closes the listener if the process has run out of something while no connection is open, since no
 * connection could then free it. A client that has sent nothing when it is accepted is closed. */
void connections_drain(void);

/* Return false once everything is drained and closed: the loop may end. */
bool connections_remain(void);

/* With options->threads > 0, /slow runs in a pool of threads, and one more descriptor, which
 * connections_ready recognizes, tells the loop about results. A library may have a way of its own
 * to wake its loop (libev's ev_async): before connections_start, pass a function that does so, and
 * that any thread may call. Once woken, the loop calls connections_collect. */
void connections_wake_with(void (*wake)(void));
void connections_collect(void);

/* Watching fd has failed after watch returned true: libev tells the kernel later. Close fd if it is
 * a connection; try to watch it again after a pause if it is the listener. */
void connections_unwatched(int fd);

#endif
