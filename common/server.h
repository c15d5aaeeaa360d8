/* What every stage does before its model begins. */
#ifndef COMMON_SERVER_H
#define COMMON_SERVER_H

#include "common/options.h"

#include <signal.h>

/* Prepare the process, listen, print the URL to stdout, and start options->workers: with more than
 * one, return in each worker, while the parent only supervises. Return the listening socket; exit
 * with a line on stderr if something fails.
 *
 * flags is SOCK_NONBLOCK, or 0 for a listener on which accept blocks. SIGTERM and SIGINT set
 * stop_requested from now on, at any moment if unblocked is NULL. Otherwise they are blocked, and
 * *unblocked is the mask to pass to pselect, ppoll or epoll_pwait: it lets them in for the duration
 * of the wait only. (If a signal could arrive between the check of stop_requested and the wait, the
 * loop would notice it too late.)
 *
 * To prepare the process means: descriptors 0 to 2 are open, or the first socket would get the
 * number of one of them, and then receive what was meant for stderr; and SIGPIPE and SIGXFSZ are
 * ignored, because a line that cannot be written must not end a server. */
int server_open(const struct options *options, int flags, sigset_t *unblocked);

#endif
