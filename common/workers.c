#include "common/workers.h"

#include "common/clock.h"
#include "common/net.h"
#include "common/stop.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the parent supervises. */
static struct {
    struct worker {
        pid_t pid; /* 0: not running */
        int64_t started_ns;
    } * workers;
    size_t count, running;
    int listener, listener_flags;
    bool stopping;
    int failures; /* workers that were told to stop, but did not exit with 0 */
} pool;

static void report(pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: worker %d was killed by signal %d\n", program_invocation_short_name,
                (int)pid, WTERMSIG(status));
    else
        fprintf(stderr, "%s: worker %d ended with status %d\n", program_invocation_short_name,
                (int)pid, WEXITSTATUS(status));
}

/* Fork a worker. Return true in the new process. */
static bool start(struct worker *worker, const sigset_t *mask)
{
    pid_t parent = getpid();

    /* All processes share the socket's flags, and a worker of 01 or 02 may have changed them. */
    fcntl(pool.listener, F_SETFL, pool.listener_flags);
    worker->started_ns = clock_now_ns();
    worker->pid = fork();
    if (worker->pid > 0) {
        pool.running++;
        return false;
    }
    if (worker->pid < 0) {
        worker->pid = 0; /* try again in a second */
        fprintf(stderr, "%s: fork: %s\n", program_invocation_short_name, strerror(errno));
        return false;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a parent, nobody would tell us to stop */
    if (getppid() != parent)
        exit(0);
    (void)setpgid(0, 0); /* let Ctrl-C reach the parent alone, which passes it on */
    if (sigprocmask(SIG_SETMASK, mask, NULL) < 0)
        die("sigprocmask:");
    return true;
}

/* Start the workers that are missing, each at most once a second. Return true in a new process. */
static bool start_missing(const sigset_t *mask)
{
    for (struct worker *w = pool.workers; w < pool.workers + pool.count; w++)
        if (w->pid == 0 && (w->started_ns == 0 || clock_now_ns() - w->started_ns >= NET_PAUSE_NS) &&
            start(w, mask))
            return true;
    return false;
}

static void pass_on(int signal_number)
{
    if (!pool.stopping)
        close(pool.listener); /* the workers have it too, and close it when they have drained it */
    pool.stopping = true;
    for (size_t i = 0; i < pool.count; i++)
        if (pool.workers[i].pid > 0)
            kill(pool.workers[i].pid, signal_number);
}

/* A worker has ended. */
static void bury(pid_t pid, int status)
{
    for (size_t i = 0; i < pool.count; i++)
        if (pool.workers[i].pid == pid) {
            pool.workers[i].pid = 0;
            pool.running--;
            pool.failures += pool.stopping && status != 0;
            if (!pool.stopping || status != 0)
                report(pid, status);
        }
}

/* Block the signals that the parent waits for. Return the mask as it was, for the workers. */
static sigset_t block_signals(sigset_t *signals)
{
    sigset_t before;

    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, signals, &before) < 0)
        die("sigprocmask:");
    if (stop_requested) /* a signal arrived before we blocked it */
        exit(0);
    signal(SIGCHLD, SIG_DFL); /* if we inherited SIG_IGN, waitpid would find no children */
    return before;
}

void workers_fork(const struct options *options, int listener)
{
    sigset_t signals, before;

    if (options->workers == 1)
        return;
    pool.count = (size_t)options->workers;
    pool.workers = calloc(pool.count, sizeof *pool.workers);
    pool.listener = listener;
    pool.listener_flags = fcntl(listener, F_GETFL);
    if (pool.workers == NULL || pool.listener_flags < 0)
        die("start workers:");
    before = block_signals(&signals);

    while (!pool.stopping || pool.running > 0) {
        if (!pool.stopping && start_missing(&before)) {
            free(pool.workers);
            return;
        }
        /* While all are running, there is nothing to do until a signal arrives. */
        bool incomplete = pool.running < pool.count && !pool.stopping;
        struct timespec wait = {incomplete ? 0 : 3600, 100 * NS_PER_MS};
        int number = sigtimedwait(&signals, NULL, &wait), status;
        if (number == SIGTERM || number == SIGINT)
            pass_on(number);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            bury(pid, status);
    }
    free(pool.workers);
    exit(pool.failures == 0 ? 0 : 1);
}
