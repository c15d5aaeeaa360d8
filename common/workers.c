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

struct worker {
    pid_t pid; /* 0: not running */
    int64_t started_ns;
};

static struct {
    struct worker *workers;
    size_t count, running;
    int listener, listener_flags;
    bool stopping;
    int failures; /* workers that were told to stop, but did not exit with 0 */
} parent;

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
    pid_t parent_pid = getpid();

    /* All processes share the socket's flags, and a worker of 01 or 02 may have changed them. */
    fcntl(parent.listener, F_SETFL, parent.listener_flags);
    worker->started_ns = clock_now_ns();
    worker->pid = fork();
    if (worker->pid > 0) {
        parent.running++;
        return false;
    }
    if (worker->pid < 0) {
        worker->pid = 0; /* try again in a second */
        fprintf(stderr, "%s: fork: %s\n", program_invocation_short_name, strerror(errno));
        return false;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a parent, nobody would tell us to stop */
    if (getppid() != parent_pid)
        exit(0);
    (void)setpgid(0, 0); /* let Ctrl-C reach the parent alone, which passes it on */
    if (sigprocmask(SIG_SETMASK, mask, NULL) < 0)
        die("sigprocmask:");
    return true;
}

/* Start the workers that are missing, each at most once a second. Return true in a new process. */
static bool start_missing(const sigset_t *mask)
{
    for (struct worker *w = parent.workers; w < parent.workers + parent.count; w++)
        if (w->pid == 0 && (w->started_ns == 0 || clock_now_ns() - w->started_ns >= NET_PAUSE_NS) &&
            start(w, mask))
            return true;
    return false;
}

static void pass_on(int signal_number)
{
    if (!parent.stopping)
        close(parent.listener); /* the workers have it, too, and close it once it is drained */
    parent.stopping = true;
    for (size_t i = 0; i < parent.count; i++)
        if (parent.workers[i].pid > 0)
            kill(parent.workers[i].pid, signal_number);
}

/* A worker has ended. */
static void bury(pid_t pid, int status)
{
    for (size_t i = 0; i < parent.count; i++)
        if (parent.workers[i].pid == pid) {
            parent.workers[i].pid = 0;
            parent.running--;
            parent.failures += parent.stopping && status != 0;
            if (!parent.stopping || status != 0)
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
    parent.count = (size_t)options->workers;
    parent.workers = calloc(parent.count, sizeof *parent.workers);
    parent.listener = listener;
    parent.listener_flags = fcntl(listener, F_GETFL);
    if (parent.workers == NULL || parent.listener_flags < 0)
        die("start workers:");
    before = block_signals(&signals);

    while (!parent.stopping || parent.running > 0) {
        if (!parent.stopping && start_missing(&before)) {
            free(parent.workers);
            return;
        }
        /* While all are running, there is nothing to do until a signal arrives. */
        bool incomplete = parent.running < parent.count && !parent.stopping;
        struct timespec wait = {incomplete ? 0 : 3600, 100 * NS_PER_MS};
        int number = sigtimedwait(&signals, NULL, &wait), status;
        if (number == SIGTERM || number == SIGINT)
            pass_on(number);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            bury(pid, status);
    }
    free(parent.workers);
    exit(parent.failures == 0 ? 0 : 1);
}
