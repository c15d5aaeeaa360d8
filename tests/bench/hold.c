/* Hold idle connections open, and measure what a request costs the server meanwhile: its CPU time,
 * as the kernel accounts it, from before the first request until after the last. Neither connecting
 * nor wall-clock time counts. Several servers are measured in turn, round after round, so that a
 * change in the load of the machine hits all of them.
 *
 * hold ROUNDS PORT:PID:IDLE... opens IDLE connections to the server on 127.0.0.1:PORT, which is
 * process PID. On one more connection it asks for /fast, one request after the other, and prints a
 * line for each server and round: the CPU time that a request cost the server. */
#include "common/clock.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    PER_SOURCE = 20000, /* an address has about 28000 ports, if no other program uses them */
    PATIENCE_S = 30,
    REQUESTS = 5000, /* at most in a round */
    ROUND_MS = 300,  /* after which it ends */
    MOST = 1000000,  /* idle connections */
};

struct server {
    long port, pid, count;
    clockid_t clock; /* the CPU time of the process */
    int *idle;
    int busy;
};

static const char body[] = "That was fast!";
static int64_t opened; /* connections to all servers together */

/* Return the number at the start of text, or -1 if it is not one or does not end with stop. Set
 * *rest to the text after stop. */
static long number(const char *text, char stop, const char **rest)
{
    size_t digits = strspn(text, "0123456789");

    if (digits < 1 || digits > 9 || text[digits] != stop)
        return -1;
    *rest = text + digits + (stop != '\0');
    return strtol(text, NULL, 10);
}

static struct server parse_server(const char *argument)
{
    struct server s = {.busy = -1};
    const char *rest = argument;

    s.port = number(rest, ':', &rest);
    s.pid = s.port > 0 && s.port < 65536 ? number(rest, ':', &rest) : -1;
    s.count = s.pid > 0 ? number(rest, '\0', &rest) : -1;
    if (s.count < 0 || s.count > MOST)
        errx(2, "%s: want PORT:PID:IDLE, such as 8000:1234:100", argument);
    int error = clock_getcpuclockid((pid_t)s.pid, &s.clock);
    if (error != 0)
        errx(1, "%s: process %ld: %s", argument, s.pid, strerror(error));
    s.idle = calloc((size_t)s.count + 1, sizeof *s.idle);
    if (s.idle == NULL)
        err(1, "calloc");
    return s;
}

static int64_t cpu_ns(const struct server *s)
{
    struct timespec t;

    if (clock_gettime(s->clock, &t) < 0)
        err(1, "the CPU time of process %ld", s->pid);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Let the client and the servers share one CPU. Waking a process on another CPU costs ten times as
 * much if that CPU has gone to sleep, and whether it has is left to chance. Threads that start
 * later inherit the setting. Where it is not allowed, the figures only become less steady. */
static void share_cpu(const struct server *servers, size_t count)
{
    cpu_set_t one;
    int cpu = sched_getcpu();

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    for (size_t i = 0; i < count; i++)
        (void)sched_setaffinity((pid_t)servers[i].pid, sizeof one, &one);
}

static int dial(const struct server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct timeval patience = {PATIENCE_S, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        err(1, "socket %lld", (long long)opened + 1);
    /* connect chooses the port: it need only be unused towards this destination */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (in_addr_t)(opened / PER_SOURCE));
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connection %lld", (long long)opened + 1);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((in_port_t)s->port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connection %lld to port %ld", (long long)opened + 1, s->port);
    opened++;
    return fd;
}

static void ask(const struct server *s)
{
    static const char request[] = "GET /fast HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char answer[1024];
    size_t length = 0;

    if (send(s->busy, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
        err(1, "send to port %ld", s->port);
    do {
        ssize_t n = recv(s->busy, answer + length, sizeof answer - length, 0);
        if (n < 0)
            err(1, "no answer on port %ld", s->port);
        if (n == 0)
            errx(1, "port %ld closed the connection", s->port);
        length += (size_t)n;
    } while (length < sizeof answer && memmem(answer, length, body, sizeof body - 1) == NULL);
    if (length < 12 || memcmp(answer, "HTTP/1.1 200", 12) != 0)
        errx(1, "port %ld: not the answer to /fast", s->port);
}

/* The backlog keeps its order: when the last connection is served, all before it are accepted. But
 * 02 may still be starting their threads, so wait until it is idle. */
static void open_all(struct server *s)
{
    for (long i = 0; i < s->count; i++)
        s->idle[i] = dial(s);
    s->busy = dial(s);
    for (int i = 0; i < 50; i++)
        ask(s);
    for (int i = 0; i < 100; i++) {
        int64_t before_ns = cpu_ns(s);
        clock_sleep_until(clock_now_ns() + 20 * NS_PER_MS);
        if (cpu_ns(s) - before_ns < NS_PER_MS / 10)
            break;
    }
}

static void measure(const struct server *s, long round)
{
    long asked = 0;

    ask(s); /* fill the caches again */
    int64_t cpu_before_ns = cpu_ns(s), start_ns = clock_now_ns();
    do {
        ask(s);
        asked++;
    } while (asked < REQUESTS && clock_now_ns() - start_ns < ROUND_MS * NS_PER_MS);
    printf("%ld\t%ld\t%.3f\n", round, s->count,
           (double)(cpu_ns(s) - cpu_before_ns) / 1e3 / (double)asked);
    if (fflush(stdout) != 0)
        err(1, "write to stdout");
}

static void check_open(const struct server *s)
{
    char byte;

    for (long i = 0; i < s->count; i++)
        if (recv(s->idle[i], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
            errx(1, "port %ld: idle connection %ld did not stay open (its --timeout?)", s->port,
                 i + 1);
}

static void want_descriptors(long count)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
    if ((rlim_t)count + 8 > limit.rlim_max)
        errx(1, "%ld connections: the hard limit of descriptors (ulimit -Hn) is %lld", count,
             (long long)limit.rlim_max);
}

int main(int argc, char **argv)
{
    const char *rest;
    long rounds = argc > 2 ? number(argv[1], '\0', &rest) : -1, connections = 0;

    if (rounds < 1)
        errx(2, "want ROUNDS PORT:PID:IDLE..., such as 5 8000:1234:100");
    size_t count = (size_t)argc - 2;
    struct server *servers = calloc(count, sizeof *servers);
    if (servers == NULL)
        err(1, "calloc");
    for (size_t i = 0; i < count; i++) {
        servers[i] = parse_server(argv[i + 2]);
        connections += servers[i].count + 1;
    }
    want_descriptors(connections);
    share_cpu(servers, count);
    for (size_t i = 0; i < count; i++)
        open_all(&servers[i]);

    printf("round\tidle\tcpu_us\n");
    for (long round = 1; round <= rounds; round++)
        for (size_t i = 0; i < count; i++)
            measure(&servers[i], round);
    for (size_t i = 0; i < count; i++) {
        check_open(&servers[i]);
        free(servers[i].idle);
    }
    free(servers);
    return 0;
}
