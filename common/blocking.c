#include "common/blocking.h"

#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/stop.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

/* Make the next recv or send on fd give up at the deadline, with EAGAIN. SO_RCVTIMEO and
 * SO_SNDTIMEO count from the start of each call, so before every call, set them to the time that
 * is left; otherwise each byte that drips in would renew the deadline. Return the flag for that
 * call: 0, or MSG_DONTWAIT once the deadline has passed. While this process was suspended or waited
 * for a processor, the client may have done its part, so look once more before giving up. */
static int limit(int fd, int option, int64_t deadline_ns)
{
    int64_t left_us = (deadline_ns - clock_now_ns() + 999) / 1000; /* up: 0 would mean no limit */
    struct timeval left = {(time_t)(left_us / 1000000), (suseconds_t)(left_us % 1000000)};

    if (left_us > 0 && setsockopt(fd, SOL_SOCKET, option, &left, sizeof left) == 0)
        return 0;
    return MSG_DONTWAIT;
}

/* Return the number of bytes; 0 if the client has closed or reset the connection; -1 if the
 * deadline has passed. */
static ssize_t receive(int fd, char *bytes, size_t room, int64_t deadline_ns)
{
    ssize_t n;

    do
        n = recv(fd, bytes, room, limit(fd, SO_RCVTIMEO, deadline_ns));
    while (n < 0 && errno == EINTR);
    return n < 0 && errno != EAGAIN ? 0 : n;
}

/* Return false if the client has reset the connection, or the deadline has passed. */
static bool send_all(int fd, const char *bytes, size_t length, int64_t deadline_ns)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | limit(fd, SO_SNDTIMEO, deadline_ns));
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    return true;
}

/* close with unread input would reset the connection, and the response might be lost on its way. So
 * end our half only, and give the client some time to close its own (RFC 9112 §9.6). */
static void linger(int fd, const struct options *options)
{
    int64_t deadline_ns = clock_now_ns() + net_linger_ns(options->timeout_ns);
    char discarded[HTTP_HEAD_MAX];

    if (shutdown(fd, SHUT_WR) < 0)
        return;
    for (size_t total = 0; total < NET_LINGER_BYTES;) {
        ssize_t n = receive(fd, discarded, sizeof discarded, deadline_ns);
        if (n <= 0)
            return;
        total += (size_t)n;
    }
}

/* Read until the head is complete or wrong. Return false if there is no request to answer. Set
 * *begun_ns to the time of the first byte: the deadline counts from there, and nothing extends it.
 */
static bool read_head(struct conversation *c, const struct options *options,
                      struct http_request *request, char input[HTTP_HEAD_MAX], size_t *length,
                      int64_t *begun_ns)
{
    int64_t deadline_ns = clock_now_ns() + options->timeout_ns;
    bool begun = false;

    *begun_ns = clock_now_ns();
    while (!http_parse(request, input, *length)) {
        if (!begun && http_begun(request)) {
            begun = true;
            deadline_ns = *begun_ns + options->timeout_ns;
        }
        c->idle = !begun && !stop_requested;
        if (!begun && stop_requested) { /* ask again: the signal may have come in between */
            c->idle = false;
            deadline_ns = *begun_ns; /* take what has arrived, and do not wait */
        }
        ssize_t n = receive(c->fd, input + *length, HTTP_HEAD_MAX - *length, deadline_ns);
        if (n == 0 || (n < 0 && !begun))
            return false;
        if (n < 0) {
            http_time_out(request);
            break;
        }
        *length += (size_t)n;
        if (!begun)
            *begun_ns = clock_now_ns();
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

        if (request.status == 200 && request.route == HTTP_SLOW && options->compute)
            clock_compute(options->delay_ns);
        else if (request.status == 200 && request.route == HTTP_SLOW)
            clock_sleep_until(clock_now_ns() + options->delay_ns);

        more = keep_alive && request.keep_alive && !stop_requested;
        http_date(date, time(NULL));
        size_t size = http_respond(output, &request, options->name, date, more);
        if (!send_all(c->fd, output, size, clock_now_ns() + options->timeout_ns))
            return;
        if (options->verbose)
            log_request(c->fd, input + request.start, length - request.start, request.status,
                        clock_now_ns() - begun_ns);

        length -= request.length; /* what is left belongs to the next request (pipelining) */
        memmove(input, input + request.length, length);
        if (!more && (request.status != 200 || request.has_body || length > 0 || net_unread(c->fd)))
            linger(c->fd, options);
    }
}

void blocking_hang_up(struct conversation *c)
{
    if (c->idle)
        shutdown(c->fd, SHUT_RD); /* recv returns what has arrived already, then 0 */
}
