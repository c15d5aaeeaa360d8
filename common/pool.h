/* A pool of threads beside an event loop: the way out of the trap.
 *
 * A call that blocks, or computes for long, stops a loop. A thread of the pool makes it instead,
 * while the loop waits for one more descriptor, which says that results are there. Jobs start in
 * the order in which they were submitted; when all threads are busy, the others wait in the queue.
 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include <stdbool.h>
#include <sys/queue.h>

/* The caller owns a job, and must leave it alone from pool_submit until pool_collect returns it. */
struct pool_job {
    void (*run)(struct pool_job *job); /* called by a thread of the pool */
    STAILQ_ENTRY(pool_job) link;       /* the pool's own */
};

/* Start the threads, which end with the process; die if that fails. Return a descriptor for the
 * loop to watch: it is readable while there are results to collect. With wake, return -1; a thread
 * then calls wake instead, which must be safe to call from any thread. */
int pool_start(int threads, void (*wake)(void));

/* Put a job at the end of the queue. */
void pool_submit(struct pool_job *job);

/* Return the next job that is finished, in the order in which they finished; NULL if there is none.
 * Once woken, call it until it returns NULL. */
struct pool_job *pool_collect(void);

#endif
