#include "common/net.h"

#include "common/clock.h"
#include "common/http.h"

#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

void net_limit_descriptors(unsigned most)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "getrlimit");
    if (limit.rlim_cur > most)
        limit.rlim_cur = most;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
}

int net_listen(const char *host, const char *port, int flags)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *address;
    int error = getaddrinfo(host, port, &hints, &address);

    if (error != 0)
        errx(1, "%s:%s: %s", host, port, gai_strerror(error));
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        err(1, "socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
        err(1, "setsockopt");
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        err(1, "listen on %s:%s", host, port);
    freeaddrinfo(address);
    return fd;
}

bool net_announce(int listener, const char *name)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(listener, (struct sockaddr *)&bound, &size) < 0)
        err(1, "getsockname");
    int error = getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                            NI_NUMERICHOST | NI_NUMERICSERV);
    if (error != 0)
        errx(1, "getnameinfo: %s", gai_strerror(error));
    const char *format = bound.ss_family == AF_INET6 ? "%s: listening on http://[%s]:%s\n"
                                                     : "%s: listening on http://%s:%s\n";
    return printf(format, name, host, port) >= 0 && fflush(stdout) == 0;
}

bool net_accept_again(int error)
{
    switch (error) {
    case EBADF:
    case EFAULT:
    case EINVAL:
    case ENOTSOCK:
        errno = error;
        err(1, "accept");
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
        return true;
    default:
        return false;
    }
}

void net_pause(void)
{
    clock_sleep_until(clock_now_ns() + NET_RETRY_NS);
}

int64_t net_linger_ns(int64_t timeout_ns)
{
    return timeout_ns < 2 * NS_PER_S ? timeout_ns : 2 * NS_PER_S;
}

bool net_linger(int fd, const struct http_request *last, size_t left)
{
    char byte;

    if (last->status == 200 && !last->has_body && left == 0 &&
        recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        return false;
    return shutdown(fd, SHUT_WR) == 0;
}

struct timespec *net_timeout(struct timespec *wait, int ms)
{
    *wait = (struct timespec){ms / 1000, ms % 1000 * NS_PER_MS};
    return ms < 0 ? NULL : wait;
}

void net_wait_failed(const char *call)
{
    if (errno == ENOMEM || errno == EAGAIN)
        net_pause();
    else if (errno != EINTR)
        err(1, "%s", call);
}
