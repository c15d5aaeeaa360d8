#include "common/blocking.h"

#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/stop.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* A local variable of blocking_converse. */
struct conversation {
    int fd;
    const struct options *options;
    bool keep_alive;
    atomic_int *idle;
    int64_t receive_us, send_us; /* what SO_RCVTIMEO and SO_SNDTIMEO say; 0: no limit yet */
    int64_t begun_ns;            /* when the first byte of the request arrived */
    struct http_request request;
    bool close;    /* after the response */
    size_t length; /* of input */
    char *input;
};

/* Let the next recv or send on c->fd give up at the deadline, with EAGAIN. SO_RCVTIMEO and
 * SO_SNDTIMEO count from the start of each call, so they have to say the time that is left:
 * otherwise each byte that drips in would renew the deadline. Most often they do already, as the
 * usual request has the whole time-out left, so set them only if they are wrong by more than a
 * millisecond, too much or too little. Return the flag for that call: 0, or MSG_DONTWAIT once the
 * deadline has passed. While this process was suspended or waited for a processor, the client may
 * have done its part, so look once more before giving up. */
static int limit(struct conversation *c, int option, int64_t deadline_ns)
{
    int64_t left_us = (deadline_ns - clock_now_ns() + 999) / 1000; /* up: 0 would mean no limit */
    int64_t *set_us = option == SO_RCVTIMEO ? &c->receive_us : &c->send_us;
    struct timeval left = {(time_t)(left_us / 1000000), (suseconds_t)(left_us % 1000000)};

    if (left_us <= 0)
        return MSG_DONTWAIT;
    if (*set_us > 0 && left_us - *set_us <= 1000 && *set_us - left_us <= 1000)
        return 0;
    if (setsockopt(c->fd, SOL_SOCKET, option, &left, sizeof left) < 0)
        return MSG_DONTWAIT;
    *set_us = left_us;
    return 0;
}

/* Return true if recv or send has failed, but has to be called again: a signal came in between, or
 * the time-out was a little too short. */
static bool again(ssize_t n, int flags)
{
    return n < 0 && (errno == EINTR || (errno == EAGAIN && !(flags & MSG_DONTWAIT)));
}

/* Return the number of bytes; 0 if the client has closed or reset the connection; -1 if the
 * deadline has passed. */
static ssize_t receive(struct conversation *c, int64_t deadline_ns)
{
    ssize_t n;
    int flags;

    do {
        flags = limit(c, SO_RCVTIMEO, deadline_ns);
        n = recv(c->fd, c->input + c->length, HTTP_HEAD_MAX - c->length, flags);
    } while (again(n, flags));
    return n < 0 && errno != EAGAIN ? 0 : n;
}

/* Read until the head is complete or wrong. Return false if there is no request to answer. The
 * deadline counts from the first byte, and nothing extends it. */
static bool read_head(struct conversation *c)
{
    int64_t timeout_ns = c->options->timeout_ns;
    bool begun = false;

    c->request = (struct http_request){0};
    c->begun_ns = clock_now_ns();
    for (int64_t deadline_ns = c->begun_ns + timeout_ns;
         !http_parse(&c->request, c->input, c->length);) {
        if (!begun && http_begun(&c->request)) {
            begun = true;
            deadline_ns = c->begun_ns + timeout_ns;
        }
        *c->idle = begun || stop_requested ? -1 : c->fd;
        if (!begun && stop_requested) { /* ask again: the signal may have come in between */
            *c->idle = -1;
            deadline_ns = c->begun_ns; /* take what has arrived, and do not wait */
        }
        ssize_t n = receive(c, deadline_ns);
        if (n == 0 || (n < 0 && !begun))
            return false;
        if (n < 0) {
            http_time_out(&c->request);
            break;
        }
        c->length += (size_t)n;
        if (!begun)
            c->begun_ns = clock_now_ns();
    }
    *c->idle = -1;
    return true;
}

/* /slow. This is where other clients wait, unless they have threads of their own. */
static void delay(const struct conversation *c)
{
    if (c->options->compute)
        clock_compute(c->options->delay_ns);
    else
        clock_sleep_until(clock_now_ns() + c->options->delay_ns);
}

/* Return false if the client has reset the connection, or does not read the response in time. */
static bool write_response(struct conversation *c, const char *bytes, size_t length)
{
    int64_t deadline_ns = clock_now_ns() + c->options->timeout_ns;

    while (length > 0) {
        int flags = MSG_NOSIGNAL | limit(c, SO_SNDTIMEO, deadline_ns);
        ssize_t n = send(c->fd, bytes, length, flags);
        if (n < 0 && !again(n, flags))
            return false;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    return true;
}

static bool respond(struct conversation *c)
{
    char output[HTTP_RESPONSE_MAX], date[HTTP_DATE_SIZE];

    http_date(date, clock_date());
    c->close = !c->keep_alive || stop_requested || !c->request.keep_alive;
    size_t size = http_respond(output, &c->request, c->options->name, date, !c->close);
    return write_response(c, output, size);
}

/* Give the client some time to close its half of the connection. */
static void discard_input(struct conversation *c)
{
    int64_t deadline_ns = clock_now_ns() + net_linger_ns(c->options->timeout_ns);
    ssize_t n = 0;

    c->length = 0;
    for (size_t total = 0; total < NET_LINGER_BYTES; total += (size_t)n)
        if ((n = receive(c, deadline_ns)) <= 0)
            return;
}

/* The response has been sent: return true to go on with the next request. */
static bool answered(struct conversation *c)
{
    if (c->options->verbose)
        log_request(c->fd, c->input + c->request.start, c->length - c->request.start,
                    c->request.status, clock_now_ns() - c->begun_ns);

    c->length -= c->request.length; /* what is left belongs to the next request (pipelining) */
    memmove(c->input, c->input + c->request.length, c->length);
    if (c->close && net_linger(c->fd, &c->request, c->length))
        discard_input(c);
    return !c->close;
}

void blocking_converse(int fd, const struct options *options, bool keep_alive, atomic_int *idle)
{
    char input[HTTP_HEAD_MAX];
    struct conversation c = {
        .fd = fd, .options = options, .keep_alive = keep_alive, .idle = idle, .input = input};

    while (read_head(&c)) {
        if (http_is_slow(&c.request))
            delay(&c);
        if (!respond(&c) || !answered(&c))
            break;
    }
    *idle = -1;
}
