/* One conversation with a client, in blocking calls: read, wait, write, straight down the page. Its
 * state is in local variables and in the program counter. (conversation.h has the same one for a
 * thread that must never block. Read the two files side by side: their functions have the same
 * names, in the same order.) */
#ifndef COMMON_BLOCKING_H
#define COMMON_BLOCKING_H

#include "common/options.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Answer the requests of the client at fd, a blocking socket that the caller owns and closes: one
 * request if !keep_alive, else all until the client closes or stop_requested is set. Return when
 * the conversation is over, for whatever reason. Until then the calling thread blocks: for at most
 * options->timeout_ns in each wait for the client, and for options->delay_ns in /slow.
 *
 * *idle is fd while the conversation waits for the first byte of a request, and otherwise -1. While
 * it is fd, stop_hang_up may end the conversation, and nothing is lost. (If only a part of a head
 * has arrived, and nobody has read it yet, the client gets no response.) */
void blocking_converse(int fd, const struct options *options, bool keep_alive, atomic_int *idle);

#endif
