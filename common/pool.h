/* A pool of threads beside an event loop: the way out of the trap.
 *
 * A call that blocks, or computes for long, stops a loop. A thread of the pool makes the call
 * instead, while the loop watches one more descriptor, which is readable when there are results.
 * Jobs start in the order in which they were submitted; while all threads are busy, jobs wait in a
 * queue. */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include <stdbool.h>
#include <sys/queue.h>

/* The caller owns a job, but must not touch it from pool_submit until pool_collect returns it. */
struct pool_job {
    void (*run)(struct pool_job *job); /* called by a thread of the pool */
    STAILQ_ENTRY(pool_job) link;       /* the pool's own */
};

/* Start the threads, which end with the process; exit if that fails. Return a descriptor for the
 * loop to watch: it is readable while there are results to collect. */
int pool_start(int threads);

/* Put a job at the end of the queue. */
void pool_submit(struct pool_job *job);

/* Return the job that finished first among those not yet collected, or NULL if there is none. Once
 * the descriptor is readable, call this until it returns NULL. */
struct pool_job *pool_collect(void);

#endif
