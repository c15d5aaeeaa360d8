#include "common/workers.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/net.h"
#include "common/stop.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct worker {
    pid_t pid; /* 0: not running */
    int64_t started_ns;
    atomic_bool leaving; /* set by the worker: it accepts no client any more */
};

/* In memory that parent and workers share. */
static struct shared {
    atomic_bool stopping;    /* all have been told to stop */
    struct worker workers[]; /* one more than options->workers: for a drain */
} * shared;

/* The parent's. */
static struct {
    size_t count, running;
    int listener, listener_flags;
    int failures; /* workers that were told to stop, but did not exit with 0 */
} parent;

/* A worker's own. */
static struct worker *self; /* NULL: there are no workers */
static pid_t parent_pid;

static void report(pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        log_event("worker %d was killed by signal %d", (int)pid, WTERMSIG(status));
    else
        log_event("worker %d ended with status %d", (int)pid, WEXITSTATUS(status));
}

/* Fork a worker. Return true in the new process. */
static bool start(struct worker *worker, const sigset_t *mask)
{
    parent_pid = getpid();
    /* All processes share the socket's flags, and a worker of 01 or 02 may have changed them. */
    fcntl(parent.listener, F_SETFL, parent.listener_flags);
    worker->started_ns = clock_now_ns();
    worker->leaving = false;
    pid_t pid = fork();
    if (pid < 0) /* try again in a second */
        log_event("fork: %s", strerror(errno));
    if (pid > 0) {
        worker->pid = pid;
        parent.running++;
    }
    if (pid != 0)
        return false;
    self = worker;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a parent, nobody would tell us to stop */
    if (getppid() != parent_pid)
        exit(0);
    (void)setpgid(0, 0);      /* let Ctrl-C reach the parent alone, which passes it on */
    signal(SIGTTOU, SIG_IGN); /* or the terminal may stop us when we write (tcsetattr(3), TOSTOP) */
    if (sigprocmask(SIG_SETMASK, mask, NULL) < 0)
        err(1, "sigprocmask");
    return true;
}

/* Start the workers that are missing, each at most once a second. Return true in a new process. */
static bool start_missing(const sigset_t *mask)
{
    for (struct worker *w = shared->workers; w < shared->workers + parent.count; w++)
        if (w->pid == 0 && (w->started_ns == 0 || clock_now_ns() - w->started_ns >= NET_PAUSE_NS) &&
            start(w, mask))
            return true;
    return false;
}

/* From now on, a worker that is told to stop drains the backlog. If each has been told before, by
 * somebody else, and has left the backlog to the others, start one more that drains it. Either we
 * see that a worker is leaving, or it sees that we are stopping. Return true in a new process. */
static bool stop_all(const sigset_t *mask)
{
    shared->stopping = true;
    for (size_t i = 0; i < parent.count; i++)
        if (shared->workers[i].pid > 0 && !shared->workers[i].leaving)
            return false;
    return start(&shared->workers[parent.count], mask);
}

static bool is_stopped(pid_t pid)
{
    siginfo_t found = {0};

    return waitid(P_PID, (id_t)pid, &found, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
           found.si_pid == pid;
}

/* A stopped worker hears nothing but SIGCONT. No other gets that: it would cancel the SIGSTOP of
 * whoever attaches to a worker that exits, such as LeakSanitizer, which would then wait for ever
 * (ptrace(2), PTRACE_ATTACH). */
static void pass_on(int signal_number)
{
    for (size_t i = 0; i <= parent.count; i++)
        if (shared->workers[i].pid > 0) {
            kill(shared->workers[i].pid, signal_number);
            if (is_stopped(shared->workers[i].pid))
                kill(shared->workers[i].pid, SIGCONT);
        }
}

/* Take the workers that have ended off the table. */
static void bury(void)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (size_t i = 0; i <= parent.count; i++)
            if (shared->workers[i].pid == pid) {
                shared->workers[i].pid = 0;
                parent.running--;
                parent.failures += shared->stopping && status != 0;
                if (!shared->stopping || status != 0)
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
        err(1, "sigprocmask");
    if (stop_requested) /* a signal arrived before we blocked it */
        exit(0);
    signal(SIGCHLD, SIG_DFL); /* if we inherited SIG_IGN, waitpid would find no children */
    return before;
}

static void prepare(const struct options *options, int listener)
{
    parent.count = (size_t)options->workers;
    parent.listener = listener;
    parent.listener_flags = fcntl(listener, F_GETFL);
    shared = mmap(NULL, sizeof *shared + (parent.count + 1) * sizeof *shared->workers,
                  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || parent.listener_flags < 0)
        err(1, "start workers");
}

void workers_fork(const struct options *options, int listener)
{
    sigset_t signals, before;

    if (options->workers == 1)
        return;
    prepare(options, listener);
    before = block_signals(&signals);

    while (!shared->stopping || parent.running > 0) {
        if (!shared->stopping && start_missing(&before))
            return;
        /* While all are running, there is nothing to do until a signal arrives. */
        bool incomplete = parent.running < parent.count && !shared->stopping;
        struct timespec wait = {incomplete ? 0 : 3600, 100 * NS_PER_MS};
        int number = sigtimedwait(&signals, NULL, &wait);
        bury();
        if (number != SIGTERM && number != SIGINT)
            continue;
        if (!shared->stopping) {
            if (stop_all(&before))
                return;
            close(listener); /* the workers have it, too, and close it once it is drained */
        }
        pass_on(number);
    }
    exit(parent.failures == 0 ? 0 : 1);
}

bool workers_leave_backlog(void)
{
    if (self == NULL)
        return false;
    self->leaving = true;
    return !shared->stopping && getppid() == parent_pid;
}
