/* SIGTERM and SIGINT: a graceful shutdown.
 *
 * The first signal sets stop_requested: the server finishes the requests in flight and exits. A
 * later SIGTERM does not end it sooner, because a worker may get the same one twice: timeout(1),
 * pkill(1) and service managers may signal the parent and its workers alike, and the parent passes
 * the signal on. A later SIGINT ends the server immediately: somebody has pressed Ctrl-C once more.
 * For that, both signals must be let in while the server waits or computes for long. */
#ifndef COMMON_STOP_H
#define COMMON_STOP_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

extern atomic_bool stop_requested;

/* Install the handler for both signals, and unblock them. The first signal also calls on_stop,
 * unless that is NULL; on_stop must be async-signal-safe (signal-safety(7)). May be called again,
 * with another on_stop. */
void stop_catch(void (*on_stop)(void));

/* Let each signal make fd non-blocking, so that an accept that is just about to block returns
 * EAGAIN instead. -1: none. */
void stop_unblocks(int fd);

/* A descriptor on which the main thread waits for a client that is idle, or -1. The first signal
 * hangs up on it, so that a recv that is just about to block returns 0 instead. */
extern atomic_int stop_idle;

/* If *idle is a descriptor, end its client's input: recv returns what has arrived already, and then
 * 0. This is async-signal-safe, and any thread may call it while the descriptor is open. */
void stop_hang_up(const atomic_int *idle);

/* Block both signals. Return the mask for the wait of a loop, which has them unblocked. */
sigset_t stop_block(void);

/* Let the signals in while the loop is going to be busy for long, and then block them again. In a
 * server that has not called stop_block, these two do nothing. */
void stop_let_in(void);
void stop_keep_out(void);

/* Deliver pending signals, every 50 ms; call this after each wait. A wait that finds something
 * ready returns without delivering signals, so a loop that is never idle would never see one. */
void stop_poll(int64_t now_ns);

#endif
