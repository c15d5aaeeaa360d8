#include "tests/stages/server.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *stages[] = {"01-blocking", "02-threaded", "03-select",
                        "04-poll",     "05-epoll",    "06-libev"};
const char *stage, *program;
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

/* Say which test runs, so that no run is silent for long. */
static void announce(void)
{
    static bool done; /* a test may start several servers */

    if (!done)
        dprintf(STDOUT_FILENO, "%s: %s\n", stage, tcase_name());
    done = true;
}

/* Write the path of the server to path, an array of PATH_MAX bytes. */
static void find_program(char *path)
{
    if (program != NULL) {
        snprintf(path, PATH_MAX, "%s", program);
        return;
    }
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 32);
    EXPECT(length > 0, "/proc/self/exe: %m");
    path[length] = '\0';
    char *name = strrchr(path, '/') + 1;
    snprintf(name, (size_t)(path + PATH_MAX - name), "%s", stage);
}

void spawn(int index, char *const options[])
{
    char path[PATH_MAX], *argv[24] = {path};
    pid_t parent = getpid();

    stage = stages[index];
    announce();
    find_program(path);
    for (int i = 0; options[i] != NULL; i++)
        argv[i + 1] = options[i];
    EXPECT(access(path, X_OK) == 0, "%s is not built", path);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the test ends with Check, and the server with the test */
    server.out = memfd_create("stdout", MFD_CLOEXEC);
    server.log = memfd_create("stderr", MFD_CLOEXEC);
    server.pid = fork();
    EXPECT(server.out > 0 && server.log > 0 && server.pid >= 0, "memfd_create or fork: %m");
    if (server.pid > 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        dup2(server.out, STDOUT_FILENO) < 0 ||
        dup2(server.stderr_to > 0 ? server.stderr_to : server.log, STDERR_FILENO) < 0)
        _exit(127);
    for (int fd = 0; fd < 3; fd++)
        if (server.closed[fd])
            close(fd);
    struct rlimit memory = {(rlim_t)server.address_space << 10, (rlim_t)server.address_space << 10};
    if (server.address_space == 0 || setrlimit(RLIMIT_AS, &memory) == 0)
        execv(path, argv);
    _exit(127);
}

int stderr_that_is_full(void)
{
    static const char byte = '\0';
    int ends[2];

    EXPECT(pipe2(ends, O_CLOEXEC) == 0, "pipe: %m");
    int flags = fcntl(ends[1], F_GETFL);
    fcntl(ends[1], F_SETFL, flags | O_NONBLOCK);
    while (write(ends[1], &byte, 1) == 1)
        ;
    fcntl(ends[1], F_SETFL, flags);
    server.stderr_to = ends[1];
    return ends[0];
}

void expect_listening(const char *host)
{
    char wanted[128], *end;
    int length = snprintf(wanted, sizeof wanted, "%s: listening on http://%s:", stage, host);

    WAIT_UNTIL(strchr(written(server.out), '\n') != NULL || has_ended(),
               "does not say where it listens");
    const char *line = written(server.out);
    EXPECT(strncmp(line, wanted, (size_t)length) == 0, "prints \"%s\"", line);
    server.port = (int)strtol(line + length, &end, 10);
    EXPECT(strcmp(end, "\n") == 0 && server.port > 0, "prints \"%s\"", line);
}

void start(int index, char *const options[])
{
    spawn(index, options);
    expect_listening("127.0.0.1");
}

void send_signal(int number)
{
    EXPECT(server.pid > 0 && kill(server.pid, number) == 0, "signal %d cannot be sent", number);
}

void suspend(void)
{
    send_signal(SIGSTOP);
    WAIT_UNTIL(strstr(status_of(server.pid, "State:"), "stopped") != NULL, "does not stop");
}

bool has_ended(void)
{
    if (server.pid > 0 && waitpid(server.pid, &server.status, WNOHANG) == server.pid) {
        server.pid = 0;
        server.ended = true;
    }
    return server.ended;
}

void wait_for_end(void)
{
    WAIT_UNTIL(has_ended(), "does not end");
}

void expect_exit(int status)
{
    wait_for_end();
    EXPECT(WIFEXITED(server.status) && WEXITSTATUS(server.status) == status,
           "does not exit with status %d", status);
}

void expect_killed_by(int number)
{
    wait_for_end();
    EXPECT(WIFSIGNALED(server.status) && WTERMSIG(server.status) == number,
           "is not killed by signal %d", number);
}

/* Give the server the opportunity to write its coverage: a killed process writes none. */
static void stop_gracefully(void)
{
    kill(server.pid, SIGTERM);
    for (int i = 0; i < 50 && !has_ended(); i++)
        pause_s(0.02);
}

void teardown(void)
{
    if (server.pid > 0) {
        EXPECT(!has_ended(), "has ended, though nothing told it to");
        if (getenv("COVERAGE") != NULL)
            stop_gracefully();
        if (!has_ended()) {
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
    int length = 0;

    text[0] = '\0';
    if (has_ended())
        length = snprintf(text, sizeof text, "; the server has ended: %s %d",
                          WIFSIGNALED(server.status) ? "signal" : "exit status",
                          WIFSIGNALED(server.status) ? WTERMSIG(server.status)
                                                     : WEXITSTATUS(server.status));
    if (server.log > 0 && *written(server.log) != '\0')
        snprintf(text + length, sizeof text - (size_t)length, "; its stderr: %.3000s",
                 written(server.log));
    for (char *c = text; *c != '\0'; c++)
        if ((*c < ' ' && *c != '\n') || *c > '~')
            *c = '?';
    return text;
}

/* Open a file of /proc/PID. */
static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        ck_abort_msg("%s: %s: %m%s", stage, path, obituary());
    return file;
}

const char *status_of(pid_t pid, const char *name)
{
    static char line[256];
    const char *found = NULL;
    FILE *file = open_proc(pid, "status");

    while (found == NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            found = line + strlen(name);
    fclose(file);
    return found != NULL ? found : "";
}

long kib(const char *name)
{
    return strtol(status_of(server.pid, name), NULL, 10);
}

void expect_asleep(void)
{
    WAIT_UNTIL(strstr(status_of(server.pid, "State:"), "sleeping") != NULL,
               "still has something to do");
}

void expect_delivered(pid_t pid)
{
    WAIT_UNTIL(strtoull(status_of(pid, "ShdPnd:"), NULL, 16) == 0, "a signal is still pending");
}

double cpu_s(void)
{
    char line[1024] = "";
    double ticks = 0;
    FILE *file = open_proc(server.pid, "stat");
    bool read = fgets(line, sizeof line, file) != NULL;

    fclose(file);
    EXPECT(read, "/proc/PID/stat: %m");
    char *rest = strrchr(line, ')'), *field;
    for (int i = 2; (field = strsep(&rest, " ")) != NULL; i++) /* as proc(5) numbers them */
        if (i == 14 || i == 15)                                /* in user mode, in the kernel */
            ticks += strtod(field, NULL);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Return for how long the threads of the server have run or waited for a processor, in seconds. On
 * a busy machine, a busy loop gets little processor time, but it always wants more. (The kernel
 * adds the time of a wait when it is over.) */
static double wanted_s(void)
{
    char pattern[64];
    unsigned long long ran, waited;
    double wanted = 0;
    glob_t found;

    snprintf(pattern, sizeof pattern, "/proc/%d/task/*/schedstat", server.pid);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0; /* a kernel without CONFIG_SCHED_INFO */
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r");
        if (file == NULL) /* the thread has ended */
            continue;
        if (fscanf(file, "%llu %llu", &ran, &waited) == 2) /* NOLINT(cert-err34-c): the kernel's */
            wanted += (double)(ran + waited) / 1e9;
        fclose(file);
    }
    globfree(&found);
    return wanted;
}

/* It may still be finishing something, so look several times. A busy loop never ends. */
void expect_no_busy_loop(double seconds)
{
    double used = 0, wanted = 0;

    for (int again = 0; again < 10; again++) {
        double used_before = cpu_s(), wanted_before = wanted_s();
        pause_s(seconds);
        used = cpu_s() - used_before;
        wanted = wanted_s() - wanted_before;
        if (used <= seconds / 5 && wanted <= seconds / 5 &&
            strstr(status_of(server.pid, "State:"), "running") == NULL)
            return;
    }
    EXPECT(false, "busy loop: in %.2f s, it ran for %.2f s, and ran or waited to run for %.2f s",
           seconds, used, wanted);
}

int descriptors_of(pid_t pid)
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *directory = opendir(path);
    EXPECT(directory != NULL, "%s: %m", path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += isdigit((unsigned char)entry->d_name[0]) != 0;
    closedir(directory);
    return count;
}

int descriptors(void)
{
    return descriptors_of(server.pid);
}

void expect_descriptors(int wanted)
{
    int count;

    WAIT_UNTIL((count = descriptors()) == wanted, "%d descriptors instead of %d", count, wanted);
}

void limit_descriptors_of(pid_t pid, int most)
{
    struct rlimit files;

    EXPECT(prlimit(pid, RLIMIT_NOFILE, NULL, &files) == 0, "prlimit: %m");
    files.rlim_cur = (rlim_t)most; /* the hard limit stays: a test may raise this one again */
    EXPECT(prlimit(pid, RLIMIT_NOFILE, &files, NULL) == 0, "prlimit: %m");
}

void limit_descriptors(int most)
{
    limit_descriptors_of(server.pid, most);
}

int lowest_free_descriptor_of(pid_t pid)
{
    char path[64];
    struct stat unused;
    int fd = -1;

    do
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, ++fd);
    while (lstat(path, &unused) == 0);
    return fd;
}

int lowest_free_descriptor(void)
{
    return lowest_free_descriptor_of(server.pid);
}

void limit_threads(void)
{
    rlim_t bytes = (rlim_t)(kib("VmSize:") + (100 << 10)) << 10;
    struct rlimit memory = {bytes, bytes};

    if (kib("VmSize:") < 1 << 30) /* a sanitizer needs terabytes, and gets no limit */
        EXPECT(prlimit(server.pid, RLIMIT_AS, &memory, NULL) == 0, "prlimit: %m");
}

int children_of(pid_t parent, pid_t *pids, int most)
{
    char name[64];
    int n = 0;

    snprintf(name, sizeof name, "task/%d/children", parent);
    FILE *file = open_proc(parent, name);
    while (n < most && fscanf(file, "%d", &pids[n]) == 1) /* NOLINT(cert-err34-c): the kernel's */
        n++;
    fclose(file);
    return n;
}
