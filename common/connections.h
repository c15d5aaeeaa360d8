/* The conversations with all clients of a loop: whose descriptor is ready, whose deadline comes
 * next, and the listener. Nothing here waits: an event loop does that, and tells us which
 * descriptors are ready. */
#ifndef COMMON_CONNECTIONS_H
#define COMMON_CONNECTIONS_H

#include "common/conversation.h"
#include "common/options.h"

#include <signal.h>
#include <stdbool.h>

/* Each stage supplies this function, which tells the kernel what to watch: from now on, watch fd
 * for want, and no longer for was (the two differ). Watching is level-triggered: as long as fd is
 * ready, each wait reports it. fd is still open, even if want is WANT_NOTHING because it is about
 * to be closed. Return false if there is no room to watch fd: its connection is then closed. */
typedef bool watch_function(int fd, enum want was, enum want want);

/* Start watching listener, a non-blocking listening socket, which from now on belongs to this
 * module, and start the pool of threads if options->threads > 0: then one more descriptor, which
 * connections_ready recognizes, tells the loop about results. Exit if that fails. A process has one
 * set of connections. options must outlive it. */
void connections_start(const struct options *options, int listener, watch_function *watch);

/* Each turn of the loop calls the next five functions, in this order. The order matters: a new
 * client may get the number of a descriptor that was closed earlier in the same turn, and a stale
 * event may still name that number. connections_accept comes last, so a stale event finds no
 * connection, and never the new client. */

/* Return how long the loop may wait: the milliseconds to the nearest deadline, or -1 if there is
 * none. They are rounded up: otherwise the loop would wake too early and spin. */
int connections_wait_ms(void);

/* The wait is over: read the clock, let in signals that a busy loop would never see, and, once the
 * server has been told to stop, shut down gracefully. That closes idle connections; the others get
 * their response, with Connection: close. connections_accept still accepts clients until the
 * backlog is empty, for at most options->timeout_ns and at most SOMAXCONN + 1 clients, and then
 * closes the listener. It also closes the listener if the process has run out of something while no
 * connection is open, since no connection could then free it. A client that has sent nothing when
 * it is accepted is closed. If other workers go on, the backlog is left to them. */
void connections_begin_turn(void);

/* fd is ready, or has an error or a hang-up. Take its connection as far as it can go without
 * blocking; if fd is the listener, let connections_accept accept a client. */
void connections_ready(int fd);

/* Deal with the connections whose deadline has passed. */
void connections_expire(void);

/* Accept a client, if the listener was ready. One in each turn: otherwise, with --workers, the
 * process that happens to be awake would take all clients, and be busy while the others are idle.
 */
void connections_accept(void);

/* Return false once everything is drained and closed: the loop may end. */
bool connections_remain(void);

/* The process is short of something that accept cannot know of: leave clients in the backlog for
 * now, as if accept had failed for want of it. */
void connections_pause(void);

/* Watching fd has failed after watch returned true: libev tells the kernel later. Close fd if it is
 * a connection; try to watch it again after a pause if it is the listener. */
void connections_unwatched(int fd);

#endif
