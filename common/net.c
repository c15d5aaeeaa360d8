#include "common/net.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

atomic_bool net_stopping;
static atomic_int listening = -1;
static void (*_Atomic stop_also)(void);

void die(const char *format, ...)
{
    int error = errno;
    size_t length = strlen(format);
    va_list args;

    flockfile(stderr); /* one line, whatever other threads say */
    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (length > 0 && format[length - 1] == ':')
        fprintf(stderr, " %s", strerror(error));
    fputc('\n', stderr);
    funlockfile(stderr);
    exit(1);
}

void net_limit_descriptors(unsigned most)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit:");
    if (limit.rlim_cur > most)
        limit.rlim_cur = most;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit:");
}

int net_listen(const struct options *o, int flags)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *address;
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    int error = getaddrinfo(o->host, o->port, &hints, &address);

    if (error != 0)
        die("%s:%s: %s", o->host, o->port, gai_strerror(error));
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        die("socket:");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
        die("setsockopt:");
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        die("listen on %s:%s:", o->host, o->port);
    freeaddrinfo(address);
    listening = fd;
    if (net_stopping) /* came before the handler could know the socket */
        exit(0);

    if (getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
        die("getsockname:");
    error = getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV);
    if (error != 0)
        die("getnameinfo: %s", gai_strerror(error));
    printf(bound.ss_family == AF_INET6 ? "%s: listening on http://[%s]:%s\n"
                                       : "%s: listening on http://%s:%s\n",
           o->name, host, port);
    if (fflush(stdout) != 0)
        die("write to stdout:");
    return fd;
}

void net_stop(int number)
{
    static _Atomic int64_t first_ns;
    int error = errno;

    if (!net_stopping) {
        first_ns = net_now_ns();
        net_stopping = true;
        fcntl(listening, F_SETFL, O_NONBLOCK);
        void (*also)(void) = stop_also;
        if (also != NULL)
            also();
    } else if (net_now_ns() - first_ns > NET_ECHO_NS) {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = error;
}

static sigset_t stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void net_catch_stop(void (*also)(void))
{
    /* no SA_RESTART: a blocked accept or recv is to return */
    struct sigaction action = {.sa_handler = net_stop, .sa_mask = stop_signals()};

    stop_also = also;
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
        sigprocmask(SIG_UNBLOCK, &action.sa_mask, NULL) < 0) /* a mask is inherited */
        die("sigaction:");
}

sigset_t net_block_stop(void)
{
    sigset_t set = stop_signals(), unblocked;

    if (sigprocmask(SIG_BLOCK, &set, &unblocked) < 0)
        die("sigprocmask:");
    sigdelset(&unblocked, SIGINT);
    sigdelset(&unblocked, SIGTERM);
    return unblocked;
}

void net_let_stop(const sigset_t *unblocked)
{
    static int64_t last_ns;
    sigset_t blocked;

    if (net_now_ns() - last_ns < 50 * NET_NS_PER_MS)
        return;
    last_ns = net_now_ns();
    if (sigprocmask(SIG_SETMASK, unblocked, &blocked) < 0 ||
        sigprocmask(SIG_SETMASK, &blocked, NULL) < 0)
        die("sigprocmask:");
}

bool net_accept_again(int error)
{
    switch (error) {
    case EBADF:
    case EFAULT:
    case EINVAL:
    case ENOTSOCK:
        die("accept: %s", strerror(error));
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
        return true;
    default:
        return false;
    }
}

int64_t net_linger_ns(const struct options *o)
{
    return o->timeout_ns < 2 * NET_NS_PER_S ? o->timeout_ns : 2 * NET_NS_PER_S;
}

bool net_unread(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void net_wait_failed(const char *call)
{
    if (errno == ENOMEM || errno == EAGAIN)
        net_sleep_until(net_now_ns() + 10 * NET_NS_PER_MS);
    else if (errno != EINTR)
        die("%s: %s", call, strerror(errno));
}

int64_t net_now_ns(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        die("clock_gettime:");
    return now.tv_sec * NET_NS_PER_S + now.tv_nsec;
}

void net_sleep_until(int64_t moment_ns)
{
    struct timespec moment = {moment_ns / NET_NS_PER_S, moment_ns % NET_NS_PER_S};
    int error;

    do /* to a moment, not for a time: what a signal interrupts loses nothing */
        error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
    while (error == EINTR);
    if (error != 0)
        die("clock_nanosleep: %s", strerror(error));
}

void *net_room(void *table, size_t *count, size_t index, size_t size)
{
    if (index < *count)
        return table;
    size_t more = index + index / 2 + 64;
    char *grown = reallocarray(table, more, size);
    if (grown == NULL)
        return NULL;
    memset(grown + *count * size, 0, (more - *count) * size);
    *count = more;
    return grown;
}

void net_log(int fd, const char *head, size_t length, int status, int64_t duration_ns)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    char host[NI_MAXHOST] = "-", port[NI_MAXSERV] = "-", line[80], when[32];
    time_t now = time(NULL);
    struct tm t = {.tm_mday = 1};
    size_t n = 0;

    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
        getnameinfo((struct sockaddr *)&peer, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    for (; n < length && n < sizeof line - 1 && head[n] != '\r' && head[n] != '\n'; n++)
        line[n] = isprint((unsigned char)head[n]) ? head[n] : '?'; /* a terminal may show it */
    line[n] = '\0';
    gmtime_r(&now, &t);
    strftime(when, sizeof when, "%FT%TZ", &t);
    fprintf(stderr, "%s %s:%s \"%s\" %d %.3f ms\n", when, host, port, line, status,
            (double)duration_ns / NET_NS_PER_MS);
}
