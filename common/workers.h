/* Several processes, as in gunicorn and uvicorn: a parent forks workers that share the listening
 * socket, and from then on only supervises them. With one shared listener, and one accept in each
 * turn of a loop, the worker that is awake leaves the rest of a burst to the others. */
#ifndef COMMON_WORKERS_H
#define COMMON_WORKERS_H

#include "common/options.h"

#include <stdbool.h>

/* With one worker, return immediately. With options->workers > 1, fork that many, and return in
 * each of them: the caller goes on as if it were alone. After this call, create whatever workers
 * must not share: threads, an epoll instance, a libev loop. The parent does not return. It passes
 * SIGTERM and SIGINT on, replaces a worker that has died (each at most once a second), and exits
 * when all have ended: with status 0 if they were told to stop and exited with 0, else 1.
 *
 * A worker of 01 or 02 that is told to stop makes the listener that all share non-blocking
 * (stop_unblocks). The others then try again every NET_RETRY_NS, until the parent has started
 * another worker, and with it made the listener blocking again. */
void workers_fork(const struct options *options, int listener);

/* This process has been told to stop, and accepts no client any more unless this returns false.
 * Return true if other workers go on: then the clients in the backlog are theirs. Return false if
 * it is alone, or if all have been told to stop. */
bool workers_leave_backlog(void);

#endif
