/* SIGTERM and SIGINT: a graceful shutdown.
 *
 * The first signal sets stop_requested: the server finishes the requests in flight and exits. A
 * later SIGTERM does not end it sooner, because a worker may get the same one twice: timeout(1),
 * pkill(1) and service managers may signal the parent and its workers alike, and the parent passes
 * the signal on. A later SIGINT ends the server immediately: somebody has pressed Ctrl-C once more.
 */
#ifndef COMMON_STOP_H
#define COMMON_STOP_H

#include <signal.h>
#include <stdatomic.h>

extern atomic_bool stop_requested;

/* Install stop_handler for both signals, and unblock them. The first signal also calls on_stop,
 * unless that is NULL; on_stop must be async-signal-safe (signal-safety(7)). */
void stop_catch(void (*on_stop)(void));

/* The handler itself, for a loop (libev's) that catches signals in its own way. */
void stop_handler(int signal_number);

/* Let each signal make fd non-blocking, so that an accept that is just about to block returns
 * EAGAIN instead. */
void stop_unblocks(int fd);

/* Block both signals. Return the mask to pass to pselect, ppoll or epoll_pwait, which unblocks them
 * for the duration of the wait only. Otherwise a signal could arrive between the check of
 * stop_requested and the wait, and the loop would notice it too late. */
sigset_t stop_block(void);

/* Deliver pending signals, every 50 ms; call this after each wait. A wait that finds something
 * ready returns without delivering signals, so a loop that is never idle would never see one. */
void stop_poll(const sigset_t *unblocked);

#endif
