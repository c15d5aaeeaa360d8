/* One conversation with a client, in blocking calls: read, wait, write, straight down the page. Its
 * state is in local variables and in the program counter. (connections.h has the same conversation
 * for a thread that must never block.) */
#ifndef COMMON_BLOCKING_H
#define COMMON_BLOCKING_H

#include "common/options.h"

#include <stdatomic.h>
#include <stdbool.h>

struct conversation {
    atomic_int fd;
    atomic_bool idle; /* between requests: closing now loses nothing */
};

/* Answer the requests of the client at c->fd, a blocking socket that the caller owns and closes:
 * one request if !keep_alive, else all until the client closes or stop_requested is set. Return
 * when the conversation is over, for whatever reason. Until then the calling thread blocks: for at
 * most options->timeout_ns in each wait for the client, and for options->delay_ns in /slow. */
void blocking_converse(struct conversation *c, const struct options *options, bool keep_alive);

/* End the conversation if it is idle. This is async-signal-safe, and another thread may call it
 * while c->fd is open. If only a part of a head has arrived, and nobody has read it yet, the client
 * gets no response. */
void blocking_hang_up(struct conversation *c);

#endif
