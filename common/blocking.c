#include "common/blocking.h"

#include "common/http.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

/* Has the next recv or send on fd fail with EAGAIN at the deadline. Each of the two takes a time of
 * its own, so it is set to what is left before every call: else each dripped byte would renew it.
 * Returns false if the deadline has passed. */
static bool limit(int fd, int option, int64_t deadline_ns)
{
    int64_t left_us = (deadline_ns - net_now_ns() + 999) / 1000; /* up: 0 would mean for ever */
    struct timeval left = {left_us / 1000000, left_us % 1000000};

    return left_us > 0 && setsockopt(fd, SOL_SOCKET, option, &left, sizeof left) == 0;
}

/* Returns the number of bytes, 0 when no more come, and -1 if the deadline passes first. */
static ssize_t receive(int fd, char *bytes, size_t room, int64_t deadline_ns)
{
    ssize_t n;

    do {
        if (!limit(fd, SO_RCVTIMEO, deadline_ns))
            return -1;
        n = recv(fd, bytes, room, 0);
    } while (n < 0 && errno == EINTR);
    return n < 0 && errno != EAGAIN ? 0 : n; /* a reset is an end, too */
}

static bool send_all(int fd, const char *bytes, size_t length, int64_t deadline_ns)
{
    while (length > 0) {
        if (!limit(fd, SO_SNDTIMEO, deadline_ns))
            return false;
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    return true;
}

/* Closing a socket with unread input resets the connection, and the answer may be lost on the way.
 * So say that no more comes, and let the client finish (RFC 9112 §9.6), within bounds. */
static void linger(int fd, const struct options *options)
{
    int64_t deadline_ns = net_now_ns() + net_linger_ns(options);
    char dropped[HTTP_HEAD_MAX];
    ssize_t n = shutdown(fd, SHUT_WR) == 0;

    for (size_t all = 0; n > 0 && all < NET_LINGER_BYTES; all += (size_t)n)
        n = receive(fd, dropped, sizeof dropped, deadline_ns);
}

/* Reads up to the end of a head. Returns false if none is to be answered. *begun_ns becomes the
 * time of its first byte, from which on the deadline is counted and never extended. */
static bool read_head(struct conversation *c, const struct options *options,
                      struct http_request *request, char input[HTTP_HEAD_MAX], size_t *length,
                      int64_t *begun_ns)
{
    int64_t deadline_ns = net_now_ns() + options->timeout_ns;

    *begun_ns = net_now_ns();
    while (!http_parse(request, input, *length)) {
        if (c->idle && http_begun(request))
            deadline_ns = *begun_ns + options->timeout_ns;
        c->idle = !http_begun(request);
        if (c->idle && net_stopping)
            blocking_hang_up(c);
        ssize_t n = receive(c->fd, input + *length, HTTP_HEAD_MAX - *length, deadline_ns);
        if (n == 0 || (n < 0 && c->idle))
            return false;
        if (n < 0) {
            http_time_out(request);
            break;
        }
        *length += (size_t)n;
        if (c->idle)
            *begun_ns = net_now_ns();
    }
    c->idle = false;
    return true;
}

void blocking_converse(struct conversation *c, const struct options *options, bool keep_alive)
{
    char input[HTTP_HEAD_MAX], output[HTTP_RESPONSE_MAX], date[HTTP_DATE_SIZE];
    size_t length = 0;

    for (bool more = true; more;) {
        struct http_request request = {0};
        int64_t begun_ns;

        if (!read_head(c, options, &request, input, &length, &begun_ns))
            return;

        if (request.status == 200 && request.route == HTTP_SLOW)
            net_sleep_until(net_now_ns() + options->delay_ns);

        more = keep_alive && request.keep_alive && !net_stopping;
        http_date(date, time(NULL));
        size_t size = http_respond(output, &request, options->name, date, more);
        if (!send_all(c->fd, output, size, net_now_ns() + options->timeout_ns))
            return;
        if (options->verbose)
            net_log(c->fd, input + request.start, length - request.start, request.status,
                    net_now_ns() - begun_ns);

        length -= request.length; /* the rest belongs to the next request (pipelining) */
        memmove(input, input + request.length, length);
        if (!more && (request.status != 200 || request.has_body || length > 0 || net_unread(c->fd)))
            linger(c->fd, options);
    }
}

void blocking_hang_up(struct conversation *c)
{
    if (c->idle)
        shutdown(c->fd, SHUT_RD); /* wakes its recv, and any later one, with an end of input */
}
