/* Several processes, as in gunicorn and uvicorn: a parent forks workers that share the listening
 * socket, and from then on only supervises them.
 *
 * There are three ways to distribute clients over workers. We measured them once, in variants of 05
 * that are not kept here, on two cores with 2, 4 and 16 workers:
 * - SO_REUSEPORT gives each worker a listener and a backlog of its own. It spreads clients more
 *   evenly, but by a hash of their address: of four /slow --block, two may share a worker while
 *   another has none. When a busy worker is killed, its whole backlog is lost with it: 9 and 13 of
 *   40 clients. With one backlog for all workers, only the client that was being served was lost.
 * - EPOLLEXCLUSIVE wakes one worker for a new client instead of all of them. With 16 workers that
 *   saves 56 us a connection (24 instead of 80); with 2 or 4, next to nothing. But the worker that
 *   is awake takes most of a burst: of 4 workers, one or two got all 32 connections.
 * - One shared listener, and one accept in each turn of the loop, leave the rest of a burst to the
 *   other workers: all 4 workers got some of the 32 connections. This is how we do it. */
#ifndef COMMON_WORKERS_H
#define COMMON_WORKERS_H

#include "common/options.h"

/* With one worker, return immediately. With options->workers > 1, fork that many, and return in
 * each of them: the caller goes on as if it were alone. After this call, create whatever workers
 * must not share: threads, an epoll instance, a libev loop. The parent does not return. It passes
 * SIGTERM and SIGINT on, replaces a worker that has died (each at most once a second), and exits
 * when all have ended: with status 0 if they were told to stop and exited with 0, else 1.
 *
 * A worker of 01 or 02 that is told to stop takes the others with it, because stop_unblocks changes
 * the listener that they share; the parent then starts new ones, and changes it back. A worker of
 * 02 that is still draining its backlog by then may wait in accept until the next client or signal.
 */
void workers_fork(const struct options *options, int listener);

#endif
