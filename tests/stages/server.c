#include "tests/stages/server.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *const stages[] = {"01-blocking", "02-threaded", "03-select",
                              "04-poll",     "05-epoll",    "06-libev"};

const char *stage;

struct server server;

double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void pause_s(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

/* What the server has written so far. Valid until the next call. */
const char *written(int file)
{
    static char text[65536];
    ssize_t n = pread(file, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

const char *obituary(void)
{
    static char text[4096];
    int status, length = 0;

    text[0] = '\0';
    if (server.pid > 0 && waitpid(server.pid, &status, WNOHANG) == server.pid) {
        server.pid = 0;
        length = snprintf(text, sizeof text, "; the server has ended with %s %d",
                          WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    if (server.log > 0 && *written(server.log) != '\0')
        snprintf(text + length, sizeof text - (size_t)length, "; its stderr: %.3000s",
                 written(server.log));
    for (char *c = text; *c != '\0'; c++)
        if ((*c < ' ' && *c != '\n') || *c > '~')
            *c = '?';
    return text;
}

/* Starts the stage's server, which ends when this process does. */
void spawn(int index, char *const options[])
{
    char path[PATH_MAX] = "", *argv[24] = {path};
    pid_t parent = getpid();

    stage = stages[index];
    EXPECT(readlink("/proc/self/exe", path, sizeof path - 32) > 0, "/proc/self/exe: %m");
    char *name = strrchr(path, '/') + 1;
    snprintf(name, sizeof path - (size_t)(name - path), "%s", stage);
    for (int i = 0; options[i] != NULL; i++)
        argv[i + 1] = options[i];
    EXPECT(access(path, X_OK) == 0, "%s is not built", path);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no Check, no test; no test, no server */
    server.out = memfd_create("stdout", MFD_CLOEXEC);
    server.log = memfd_create("stderr", MFD_CLOEXEC);
    server.pid = fork();
    EXPECT(server.out > 0 && server.log > 0 && server.pid >= 0, "memfd_create or fork: %m");
    if (server.pid > 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        dup2(server.out, STDOUT_FILENO) > 0 && dup2(server.log, STDERR_FILENO) > 0)
        execv(path, argv);
    _exit(127);
}

/* Waits for the line that says where the server listens; host as it stands in an URL. */
void expect_listening(const char *host)
{
    char wanted[128], *end;
    int length = snprintf(wanted, sizeof wanted, "%s: listening on http://%s:", stage, host);

    WAIT_UNTIL(strchr(written(server.out), '\n') != NULL || waitpid(server.pid, NULL, WNOHANG) != 0,
               "says nothing");
    const char *line = written(server.out);
    EXPECT(strncmp(line, wanted, (size_t)length) == 0, "says \"%s\"", line);
    server.port = (int)strtol(line + length, &end, 10);
    EXPECT(strcmp(end, "\n") == 0 && server.port > 0, "says \"%s\"", line);
}

void start(int index, char *const options[])
{
    spawn(index, options);
    expect_listening("127.0.0.1");
}

/* Waits for the end of the server, and returns its status, as waitpid gives it. */
int end_of_server(void)
{
    int status = 0;

    WAIT_UNTIL(waitpid(server.pid, &status, WNOHANG) != 0, "the server does not end");
    server.pid = 0;
    return status;
}

void expect_exit(int wanted)
{
    int status = end_of_server();

    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == wanted,
           "wait status %#x instead of exit status %d", (unsigned)status, wanted);
}

/* Another signal ends a server that was told to stop, unless it follows so quickly upon the first
 * that it is no new order. */
void expect_killed_by_another(void)
{
    double until = now() + PATIENCE_S;
    int status;

    do {
        EXPECT(now() < until, "another signal does not end it");
        pause_s(0.2);
        kill(server.pid, SIGTERM);
    } while (waitpid(server.pid, &status, WNOHANG) == 0);
    server.pid = 0;
    EXPECT(WIFSIGNALED(status), "wait status %#x instead of the signal", (unsigned)status);
}

/* Releases what a test has started. Check calls it after a test that has not failed; else the
 * server goes with the process of the test. */
void teardown(void)
{
    if (server.pid > 0) {
        EXPECT(waitpid(server.pid, NULL, WNOHANG) == 0, "the server has ended by itself");
        bool ended = false;
        if (getenv("COVERAGE") != NULL) { /* who is killed does not write what it has reached */
            kill(server.pid, SIGTERM);
            for (int i = 0; i < 50 && !ended; i++) {
                pause_s(0.02);
                ended = waitpid(server.pid, NULL, WNOHANG) != 0;
            }
        }
        if (!ended) {
            kill(server.pid, SIGKILL);
            waitpid(server.pid, NULL, 0);
        }
    }
    if (server.log > 0) {
        close(server.out);
        close(server.log);
    }
    memset(&server, 0, sizeof server);
}

/* Has the running server run out of something soon. */
void limit(int resource, rlim_t most)
{
    EXPECT(prlimit(server.pid, (enum __rlimit_resource)resource, &(struct rlimit){most, most},
                   NULL) == 0,
           "prlimit: %m");
}

/* Leaves room for a dozen stacks. */
void limit_threads(void)
{
    if (kib("VmSize:") < 1 << 30) /* else a sanitizer, which needs terabytes */
        limit(RLIMIT_AS, (rlim_t)(kib("VmSize:") + (100 << 10)) << 10);
}

/* What the server's /proc/PID/status says behind the name. Valid until the next call. */
const char *status_of(const char *name)
{
    static char line[256];
    const char *found = NULL;

    snprintf(line, sizeof line, "/proc/%d/status", server.pid);
    FILE *file = fopen(line, "r");
    if (file == NULL)
        ck_abort_msg("%s: %s: %m", stage, line);
    while (found == NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            found = line + strlen(name);
    fclose(file);
    return found != NULL ? found : "";
}

long kib(const char *name)
{
    return strtol(status_of(name), NULL, 10);
}

/* Processor time that the server has used, in seconds. */
double cpu_s(void)
{
    char line[1024];
    double ticks = 0;

    snprintf(line, sizeof line, "/proc/%d/stat", server.pid);
    FILE *file = fopen(line, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        ck_abort_msg("%s: %s: %m", stage, line);
    fclose(file);
    char *rest = strrchr(line, ')'), *field;
    for (int i = 2; (field = strsep(&rest, " ")) != NULL; i++) /* as proc(5) numbers them */
        if (i == 14 || i == 15)                                /* in user mode, and in the kernel */
            ticks += strtod(field, NULL);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* A server that has nothing to do uses next to nothing, as soon as it has done what there was; one
 * that spins uses all that it can get. */
void expect_no_spin(double seconds)
{
    double used = seconds;

    for (int again = 0; again < 10 && used > seconds / 5; again++) {
        double before = cpu_s();
        pause_s(seconds);
        used = cpu_s() - before;
    }
    EXPECT(used <= seconds / 5, "spins: %.2f s of processor time in %.2f s", used, seconds);
}

int descriptors(void)
{
    char name[64];
    int count = 0;

    snprintf(name, sizeof name, "/proc/%d/fd", server.pid);
    DIR *directory = opendir(name);
    EXPECT(directory != NULL, "%s: %m", name);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

void expect_descriptors(int wanted)
{
    int count;

    WAIT_UNTIL((count = descriptors()) == wanted, "%d descriptors instead of %d", count, wanted);
}

/* The processes that the server has started, up to most; returns their number. */
int workers(pid_t *pids, int most)
{
    char path[64];
    int n = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", server.pid, server.pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        ck_abort_msg("%s: %s: %m", stage, path);
    while (n < most && fscanf(file, "%d", &pids[n]) == 1) /* NOLINT(cert-err34-c): the kernel's */
        n++;
    fclose(file);
    return n;
}
