/* More than one process, as gunicorn and uvicorn have it: a parent forks workers that share the
 * listening socket, and then only supervises. */
#ifndef COMMON_WORKERS_H
#define COMMON_WORKERS_H

#include "common/net.h"

/* With options->workers > 1: forks that many, and returns in each of them; the caller goes on there
 * as if it were alone, with what belongs to one process alone (threads, an epoll instance, a libev
 * loop) still to be made. The parent does not return. It passes SIGTERM and SIGINT on, replaces a
 * worker that died (not more often than once a second for each), and exits when all have ended: 0
 * if they were told to and ended well, else 1. With one worker, returns at once.
 * A worker of 01 or 02 that is told to stop by itself takes the others along, since what stops it
 * (net_catch_stop) stands on the listener that they share; the parent starts them anew. */
void workers_fork(const struct options *options, int listener);

#endif
