/* More than one process, as gunicorn and uvicorn have it: a parent forks workers that share the
 * listening socket, and then only supervises.
 *
 * Why one listener for all, and what it costs, measured on two cores:
 * - SO_REUSEPORT (a listener and a queue for each) deals clients out more evenly, but by a hash of
 *   their address: of four /slow --block, two may share a worker while another has none; and when a
 *   worker is killed while it is busy, those in its queue go with it: 9 and 13 of 40, where one
 *   queue for all lost the one that was being served.
 * - EPOLLEXCLUSIVE wakes one worker for a client, not all. It saves time with many workers (16: 24
 *   instead of 80 us for each connection), none worth naming with 2 or 4; and of a burst of clients
 *   the one worker that is awake takes most: 32 connections to 4 workers went to one or two.
 * - To accept one client for each turn of a loop, not all that are there, leaves the others to the
 *   neighbours: those 32 went to all 4. */
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
