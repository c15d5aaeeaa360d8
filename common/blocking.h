/* One conversation with a client in blocking calls: read, wait, write, straight down the page. Its
 * state is its local variables and the place it has come to. (connections.h is the same
 * conversation for those who may not block.) */
#ifndef COMMON_BLOCKING_H
#define COMMON_BLOCKING_H

#include "common/net.h"

#include <stdatomic.h>
#include <stdbool.h>

struct conversation {
    atomic_int fd;
    atomic_bool idle; /* no byte of a request has come: closing loses nothing; false outside */
};

/* Answers the requests of the client at c->fd, a blocking socket that the caller owns and closes:
 * one if !keep_alive, else as long as the client wants and net_stopping is not set. Returns when
 * the conversation is over, for whatever reason. Waits for nothing longer than options->timeout_ns,
 * but for /slow, which takes options->delay_ns. Blocks the calling thread. */
void blocking_converse(struct conversation *c, const struct options *options, bool keep_alive);

/* Ends the conversation if it is idle. Safe in a signal handler, and from another thread as long as
 * the descriptor is open. */
void blocking_hang_up(struct conversation *c);

#endif
