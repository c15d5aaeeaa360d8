#include "common/net.h"

#include "common/clock.h"
#include "common/stop.h"
#include "common/util.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

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

/* --port 0 lets the kernel choose the port, so ask it which one it is. */
static void announce(int fd, const char *name)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
        die("getsockname:");
    int error = getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                            NI_NUMERICHOST | NI_NUMERICSERV);
    if (error != 0)
        die("getnameinfo: %s", gai_strerror(error));
    printf(bound.ss_family == AF_INET6 ? "%s: listening on http://[%s]:%s\n"
                                       : "%s: listening on http://%s:%s\n",
           name, host, port);
    if (fflush(stdout) != 0)
        die("write to stdout:");
}

int net_listen(const char *name, const char *host, const char *port, int flags)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *address;
    int error = getaddrinfo(host, port, &hints, &address);

    if (error != 0)
        die("%s:%s: %s", host, port, gai_strerror(error));
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        die("socket:");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
        die("setsockopt:");
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        die("listen on %s:%s:", host, port);
    freeaddrinfo(address);
    stop_unblocks(fd);
    if (stop_requested) /* the signal came before stop_unblocks, and no client is connected yet */
        exit(0);
    announce(fd, name);
    return fd;
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

int64_t net_linger_ns(int64_t timeout_ns)
{
    return timeout_ns < 2 * NS_PER_S ? timeout_ns : 2 * NS_PER_S;
}

bool net_unread(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void net_wait_failed(const char *call)
{
    if (errno == ENOMEM || errno == EAGAIN)
        clock_sleep_until(clock_now_ns() + NET_RETRY_NS);
    else if (errno != EINTR)
        die("%s: %s", call, strerror(errno));
}
