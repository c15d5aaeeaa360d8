#include "common/workers.h"

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
    pid_t pid; /* 0: none */
    int64_t started_ns;
};

/* Returns true in the new process. */
static bool start(struct worker *worker, int listener, int listener_flags, const sigset_t *mask)
{
    pid_t parent = getpid();

    fcntl(listener, F_SETFL, listener_flags); /* a worker of 01 or 02 may have changed them */
    worker->started_ns = net_now_ns();
    worker->pid = fork();
    if (worker->pid > 0)
        return false;
    if (worker->pid < 0) {
        worker->pid = 0; /* another try in a second */
        fprintf(stderr, "%s: fork: %s\n", program_invocation_short_name, strerror(errno));
        return false;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* without the parent nobody would tell us to stop */
    if (getppid() != parent)
        exit(0);
    (void)setpgid(0, 0); /* Ctrl-C reaches the parent alone, which passes it on: not twice */
    if (sigprocmask(SIG_SETMASK, mask, NULL) < 0)
        die("sigprocmask:");
    return true;
}

static void say(pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: worker %d was killed by signal %d\n", program_invocation_short_name,
                (int)pid, WTERMSIG(status));
    else
        fprintf(stderr, "%s: worker %d ended with status %d\n", program_invocation_short_name,
                (int)pid, WEXITSTATUS(status));
}

void workers_fork(const struct options *options, int listener)
{
    size_t count = (size_t)options->workers, alive = 0;
    int listener_flags = fcntl(listener, F_GETFL), status, failures = 0;
    bool stopping = false;
    sigset_t signals, before;

    if (count == 1)
        return;
    struct worker *workers = calloc(count, sizeof *workers);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    if (workers == NULL || listener_flags < 0 || sigprocmask(SIG_BLOCK, &signals, &before) < 0)
        die("start workers:");
    if (net_stopping) /* it came before the signals were blocked */
        exit(0);
    signal(SIGCHLD, SIG_DFL); /* who inherits that it is ignored can wait for no child */

    while (!stopping || alive > 0) {
        for (size_t i = 0; i < count && !stopping; i++)
            if (workers[i].pid == 0 && (workers[i].started_ns == 0 ||
                                        net_now_ns() - workers[i].started_ns >= NET_PAUSE_NS)) {
                if (start(&workers[i], listener, listener_flags, &before)) {
                    free(workers);
                    return;
                }
                alive += workers[i].pid > 0;
            }

        /* all alive: until a signal comes; else a little, and see whether it is time */
        struct timespec wait = {alive < count && !stopping ? 0 : 3600, 100 * NET_NS_PER_MS};
        int number = sigtimedwait(&signals, NULL, &wait);
        if (number == SIGTERM || number == SIGINT) {
            if (!stopping)
                close(listener); /* the workers have it too, and close it when they have drained */
            stopping = true;
            for (size_t i = 0; i < count; i++)
                if (workers[i].pid > 0)
                    kill(workers[i].pid, number);
        }
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            for (size_t i = 0; i < count; i++)
                if (workers[i].pid == pid) {
                    workers[i].pid = 0;
                    alive--;
                    failures += stopping && status != 0;
                    if (!stopping || status != 0)
                        say(pid, status);
                }
    }
    free(workers);
    exit(failures == 0 ? 0 : 1);
}
