#include "common/pool.h"

#include "common/net.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

STAILQ_HEAD(jobs, pool_job);

static struct {
    pthread_mutex_t lock; /* protects both queues */
    pthread_cond_t submitted;
    struct jobs queue, finished;
    int fd; /* an eventfd (eventfd(2)) */
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .submitted = PTHREAD_COND_INITIALIZER,
    .queue = STAILQ_HEAD_INITIALIZER(pool.queue),
    .finished = STAILQ_HEAD_INITIALIZER(pool.finished),
};

static void wake_loop(void)
{
    const uint64_t one = 1;

    /* EAGAIN: the counter is full, so fd is readable. After any other error, try again: if this
     * wake-up were lost, clients would wait for ever. */
    while (write(pool.fd, &one, sizeof one) < 0 && errno != EAGAIN)
        net_pause();
}

static void *work(void *unused)
{
    (void)unused;
    for (;;) {
        struct pool_job *job;

        pthread_mutex_lock(&pool.lock);
        while ((job = STAILQ_FIRST(&pool.queue)) == NULL)
            pthread_cond_wait(&pool.submitted, &pool.lock);
        STAILQ_REMOVE_HEAD(&pool.queue, link);
        pthread_mutex_unlock(&pool.lock);

        job->run(job);

        pthread_mutex_lock(&pool.lock);
        bool first = STAILQ_EMPTY(&pool.finished);
        STAILQ_INSERT_TAIL(&pool.finished, job, link);
        pthread_mutex_unlock(&pool.lock);
        if (first) /* otherwise the loop has been woken, and has not collected everything yet */
            wake_loop();
    }
    return NULL;
}

/* Return an error number, or 0. */
static int start_threads(int threads)
{
    sigset_t all, unblocked;
    pthread_t thread;
    int error = 0;

    sigfillset(&all); /* for the threads: signals must interrupt the loop's wait instead */
    pthread_sigmask(SIG_SETMASK, &all, &unblocked);
    while (threads-- > 0 && (error = pthread_create(&thread, NULL, work, NULL)) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &unblocked, NULL);
    return error;
}

int pool_start(int threads)
{
    pool.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pool.fd < 0)
        err(1, "eventfd");
    errno = start_threads(threads);
    if (errno != 0)
        err(1, "start %d threads", threads);
    return pool.fd;
}

void pool_submit(struct pool_job *job)
{
    pthread_mutex_lock(&pool.lock);
    STAILQ_INSERT_TAIL(&pool.queue, job, link);
    pthread_cond_signal(&pool.submitted);
    pthread_mutex_unlock(&pool.lock);
}

struct pool_job *pool_collect(void)
{
    pthread_mutex_lock(&pool.lock);
    struct pool_job *job = STAILQ_FIRST(&pool.finished);
    uint64_t wakes;
    if (job != NULL)
        STAILQ_REMOVE_HEAD(&pool.finished, link);
    else /* all wake-ups so far were for jobs that are collected by now */
        (void)!read(pool.fd, &wakes, sizeof wakes); /* if it fails, we are woken once more */
    pthread_mutex_unlock(&pool.lock);
    return job;
}
