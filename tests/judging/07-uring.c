/* 07: one thread, io_uring.
 * Model: completion, not readiness: hand in a recv, and be told when it is done.
 * Cost:  one system call for a whole turn; but each connection needs its buffer before bytes come.
 * Limit: that of 05, and the systems that forbid io_uring. */
#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/server.h"
#include "common/stop.h"
#include "common/workers.h"
#include "tests/judging/ring.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct connection {
    struct operation operation; /* there is always one in flight */
    LIST_ENTRY(connection) link;
    int fd;
    bool close;       /* after the response */
    int64_t begun_ns; /* when the first byte of the request arrived */
    struct http_request request;
    size_t length, size, sent; /* of input; of output */
    char output[HTTP_RESPONSE_MAX], input[HTTP_HEAD_MAX];
};

static struct options options;
static LIST_HEAD(list, connection) connections;
static struct connection listener; /* close: as soon as the backlog is empty */
static bool draining;
static int64_t give_up_ns; /* draining: when to stop accepting */

static void read_head(struct connection *c);

static void end(struct connection *c)
{
    LIST_REMOVE(c, link);
    close(c->fd);
    free(c);
}

static void discard(struct connection *c, int n)
{
    c->length += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->length >= NET_LINGER_BYTES)
        end(c);
    else
        ring_transfer(&c->operation, IORING_OP_RECV, c->fd, c->input, sizeof c->input, discard);
}

/* The response has been sent: go on with the next request, or close. */
static void answered(struct connection *c)
{
    if (options.verbose)
        log_request(c->fd, c->input + c->request.start, c->length - c->request.start,
                    c->request.status, clock_now_ns() - c->begun_ns);
    c->length -= c->request.length; /* what is left belongs to the next request */
    if (c->close && !net_linger(c->fd, &c->request, c->length)) {
        end(c);
        return;
    }
    if (c->close) {
        c->length = 0;
        ring_set_deadline(&c->operation, net_linger_ns(options.timeout_ns));
        discard(c, 1);
        return;
    }
    memmove(c->input, c->input + c->request.length, c->length);
    c->request = (struct http_request){0};
    c->begun_ns = clock_now_ns();
    ring_set_deadline(&c->operation, options.timeout_ns);
    read_head(c);
}

static void on_sent(struct connection *c, int n)
{
    c->sent += n > 0 ? (size_t)n : 0;
    if (n < 0)
        end(c);
    else if (c->sent == c->size)
        answered(c);
    else
        ring_transfer(&c->operation, IORING_OP_SEND, c->fd, c->output + c->sent, c->size - c->sent,
                      on_sent);
}

static void respond(struct connection *c, int unused)
{
    char date[HTTP_DATE_SIZE];

    (void)unused;
    http_date(date, clock_date());
    c->close = draining || !c->request.keep_alive;
    c->size = http_respond(c->output, &c->request, options.name, date, !c->close);
    c->sent = 0;
    ring_set_deadline(&c->operation, options.timeout_ns);
    on_sent(c, 0);
}

static void on_received(struct connection *c, int n)
{
    if (n == -ECANCELED) /* the rest may have arrived since the deadline, so look once more */
        n = (int)recv(c->fd, c->input + c->length, sizeof c->input - c->length, MSG_DONTWAIT);
    if (n > 0) {
        if (!http_begun(&c->request))
            c->begun_ns = clock_now_ns();
        c->length += (size_t)n;
        read_head(c);
    } else if (n < 0 && http_begun(&c->request)) {
        http_time_out(&c->request);
        respond(c, 0);
    } else {
        end(c);
    }
}

/* Parse what has arrived. Then receive more, or begin the delay, or respond. */
static void read_head(struct connection *c)
{
    bool begun = http_begun(&c->request);

    if (c->length == 0 || !http_parse(&c->request, c->input, c->length)) {
        if (!begun && http_begun(&c->request)) /* later bytes do not move the deadline */
            ring_set_deadline(&c->operation, options.timeout_ns);
        else if (!begun && draining) /* take what has arrived, and do not wait */
            ring_set_deadline(&c->operation, 0);
        ring_transfer(&c->operation, IORING_OP_RECV, c->fd, c->input + c->length,
                      sizeof c->input - c->length, on_received);
    } else if (!http_is_slow(&c->request)) {
        respond(c, 0);
    } else if (options.block) { /* the trap: all clients wait, but a signal need not */
        stop_let_in();
        clock_sleep_until(clock_now_ns() + options.delay_ns);
        stop_keep_out();
        respond(c, 0);
    } else {
        ring_sleep(&c->operation, options.delay_ns, respond);
    }
}

/* fd is a new client, or -errno: if this accept was not to wait, -ECANCELED says that the backlog
 * is empty. Hand in the next accept. */
static void accept_next(struct connection *l, int fd)
{
    struct connection *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;
    bool out = fd < 0 && fd != -ECANCELED && fd != -ETIME && !net_accept_again(-fd);

    if (c != NULL) {
        c->fd = fd;
        ring_set_deadline(&c->operation, options.timeout_ns);
        LIST_INSERT_HEAD(&connections, c, link);
        read_head(c);
    } else if (fd >= 0) {
        close(fd);
    }
    if ((l->close && (fd == -ECANCELED || (out && LIST_EMPTY(&connections)))) ||
        (draining && clock_now_ns() >= give_up_ns)) {
        close(l->fd);
        l->fd = -1;
    } else if (out) {
        ring_sleep(&l->operation, NET_RETRY_NS, accept_next);
    } else {
        l->operation.then = accept_next;
        ring_request(IORING_OP_ACCEPT, l->fd, NULL, 0, &l->operation)->accept_flags = SOCK_CLOEXEC;
        l->close = draining;
        if (draining) /* do not wait: a client that is in the backlog has been accepted by now */
            ring_request(IORING_OP_ASYNC_CANCEL, -1, &l->operation, 0, NULL);
    }
}

static void drain(void)
{
    struct connection *c;

    draining = true;
    give_up_ns = workers_leave_backlog() ? 0 : clock_now_ns() + options.timeout_ns;
    LIST_FOREACH (c, &connections, link)
        if (!http_begun(&c->request))
            shutdown(c->fd, SHUT_RD);
    ring_request(IORING_OP_ASYNC_CANCEL, -1, &listener.operation, 0, NULL);
}

int main(int argc, char **argv)
{
    sigset_t unblocked;

    options = options_parse(argc, argv, "07-uring", WITH_BLOCK);
    listener.fd = server_open(&options, 0, &unblocked);
    stop_unblocks(-1); /* the kernel waits for clients, not we */
    ring_start();
    accept_next(&listener, -ETIME); /* as after a pause */

    while (listener.fd >= 0 || !LIST_EMPTY(&connections)) {
        ring_enter(&unblocked);
        stop_poll(clock_now_ns());
        if (stop_requested && !draining)
            drain();
        ring_reap();
    }
    return 0;
}
