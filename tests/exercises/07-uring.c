/* 07: one thread, io_uring.
 * Model: completion, not readiness: hand in a recv, and be told when it is done.
 * Cost:  one system call for a whole turn; but each connection needs its buffer before bytes come.
 * Limit: that of 05, and the systems that forbid io_uring. */
#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/stop.h"
#include "common/util.h"
#include "common/workers.h"
#include "tests/exercises/ring.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct connection {
    struct operation operation; /* the one that it waits for */
    LIST_ENTRY(connection) link;
    int fd;
    bool close;                        /* after the response */
    int64_t begun_ns;                  /* when the first byte of the request arrived */
    struct __kernel_timespec deadline; /* of the operation */
    struct http_request request;
    size_t length, size, sent; /* of input; of output, or of what is discarded */
    char output[HTTP_RESPONSE_MAX], input[HTTP_HEAD_MAX];
};

static struct options options;
static LIST_HEAD(list, connection) connections;
static int listener;
static struct operation accepting, pausing;
static bool paused = true; /* no accept is in flight */
static bool draining;
static int64_t give_up_ns; /* draining: when to stop accepting */

static void accept_next(struct operation *unused, int result);
static void read_head(struct connection *c);

static struct __kernel_timespec in(int64_t ns)
{
    ns += clock_now_ns();
    return (struct __kernel_timespec){ns / NS_PER_S, ns % NS_PER_S};
}

/* Complete a request for a time-out at a moment of the clock. */
static void set_moment(struct io_uring_sqe *sqe, const struct __kernel_timespec *moment)
{
    sqe->addr = (unsigned long)moment;
    sqe->len = 1;
    sqe->timeout_flags = IORING_TIMEOUT_ABS;
}

/* Hand in a recv or send, linked to a time-out: at the deadline, its result is -ECANCELED. */
static void start(struct connection *c, unsigned char opcode, char *bytes, size_t length,
                  void (*then)(struct operation *, int))
{
    ring_make_room();
    struct io_uring_sqe *sqe = ring_request(opcode, c->fd, &c->operation);
    c->operation.then = then;
    sqe->addr = (unsigned long)bytes;
    sqe->len = (unsigned)length;
    sqe->msg_flags = MSG_NOSIGNAL;
    sqe->flags = IOSQE_IO_LINK;
    set_moment(ring_request(IORING_OP_LINK_TIMEOUT, -1, NULL), &c->deadline);
}

static void start_timer(struct operation *operation, const struct __kernel_timespec *moment,
                        void (*then)(struct operation *, int))
{
    ring_make_room();
    operation->then = then;
    set_moment(ring_request(IORING_OP_TIMEOUT, -1, operation), moment);
}

static void end(struct connection *c)
{
    LIST_REMOVE(c, link);
    close(c->fd);
    free(c);
    accept_next(NULL, 0);
}

static void on_discarded(struct operation *done, int n)
{
    struct connection *c = (struct connection *)done;

    c->sent += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->sent >= NET_LINGER_BYTES)
        end(c);
    else
        start(c, IORING_OP_RECV, c->input, sizeof c->input, on_discarded);
}

/* The response has been sent: go on with the next request, or close. */
static void answered(struct connection *c)
{
    int64_t now_ns = clock_now_ns();

    if (options.verbose)
        log_request(c->fd, c->input + c->request.start, c->length - c->request.start,
                    c->request.status, now_ns - c->begun_ns);
    bool clean = c->request.status == 200 && !c->request.has_body;
    c->length -= c->request.length; /* what is left belongs to the next request */
    memmove(c->input, c->input + c->request.length, c->length);
    if (!c->close) {
        c->request = (struct http_request){0};
        c->begun_ns = now_ns;
        c->deadline = in(options.timeout_ns);
        read_head(c);
    } else if ((clean && c->length == 0 && !net_unread(c->fd)) || shutdown(c->fd, SHUT_WR) < 0) {
        end(c);
    } else { /* linger, or close would reset the connection */
        c->deadline = in(net_linger_ns(options.timeout_ns));
        on_discarded(&c->operation, 1);
    }
}

static void on_sent(struct operation *done, int n)
{
    struct connection *c = (struct connection *)done;

    c->sent += n > 0 ? (size_t)n : 0;
    if (n < 0)
        end(c);
    else if (c->sent < c->size)
        start(c, IORING_OP_SEND, c->output + c->sent, c->size - c->sent, on_sent);
    else
        answered(c);
}

static void respond(struct operation *done, int unused)
{
    struct connection *c = (struct connection *)done;
    char date[HTTP_DATE_SIZE];

    (void)unused;
    http_date(date, time(NULL));
    c->close = draining || !c->request.keep_alive;
    c->size = http_respond(c->output, &c->request, options.name, date, !c->close);
    c->sent = 0;
    c->deadline = in(options.timeout_ns);
    start(c, IORING_OP_SEND, c->output, c->size, on_sent);
}

static void on_received(struct operation *done, int n)
{
    struct connection *c = (struct connection *)done;

    if (n == -ECANCELED) { /* the rest may have arrived since the deadline, so look once more */
        n = (int)recv(c->fd, c->input + c->length, sizeof c->input - c->length, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN && http_begun(&c->request)) {
            http_time_out(&c->request);
            respond(done, 0);
            return;
        }
    }
    if (n <= 0) {
        end(c);
        return;
    }
    if (c->length == 0) { /* later bytes do not move the deadline */
        c->begun_ns = clock_now_ns();
        c->deadline = in(options.timeout_ns);
    }
    c->length += (size_t)n;
    read_head(c);
}

/* Parse what has arrived. Then respond, or begin the delay, or receive more. */
static void read_head(struct connection *c)
{
    if (c->length == 0 || !http_parse(&c->request, c->input, c->length)) {
        if (draining && !http_begun(&c->request))
            shutdown(c->fd, SHUT_RD); /* recv returns what is there already, or 0 */
        start(c, IORING_OP_RECV, c->input + c->length, sizeof c->input - c->length, on_received);
    } else if (c->request.status != 200 || c->request.route != HTTP_SLOW) {
        respond(&c->operation, 0);
    } else if (options.block) { /* the trap */
        clock_sleep_until(clock_now_ns() + options.delay_ns);
        respond(&c->operation, 0);
    } else {
        c->deadline = in(options.delay_ns);
        start_timer(&c->operation, &c->deadline, respond);
    }
}

static void open_connection(int fd)
{
    struct connection *c = calloc(1, sizeof *c);

    if (c == NULL) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->begun_ns = clock_now_ns();
    c->deadline = in(options.timeout_ns);
    LIST_INSERT_HEAD(&connections, c, link);
    read_head(c);
}

static void on_accepted(struct operation *done, int fd)
{
    static int backlog = SOMAXCONN + 1; /* draining: as many may have connected before the signal */
    static struct __kernel_timespec moment;
    bool out = fd < 0 && fd != -ECANCELED && !net_accept_again(-fd);

    (void)done;
    paused = true;
    if (fd >= 0)
        open_connection(fd);
    if (draining && (fd == -ECANCELED || --backlog == 0 || clock_now_ns() >= give_up_ns ||
                     (out && LIST_EMPTY(&connections)))) {
        close(listener);
        listener = -1;
    } else if (out) {
        moment = in(NET_PAUSE_NS);
        start_timer(&pausing, &moment, accept_next);
    } else {
        accept_next(NULL, 0);
    }
}

/* Accept a client. Once told to stop, do not wait for one: the result is -ECANCELED if the backlog
 * is empty. */
static void accept_next(struct operation *unused, int result)
{
    (void)unused, (void)result;
    if (!paused || listener < 0)
        return;
    ring_make_room();
    paused = false;
    accepting.then = on_accepted;
    ring_request(IORING_OP_ACCEPT, listener, &accepting)->accept_flags = SOCK_CLOEXEC;
    if (draining)
        ring_request(IORING_OP_ASYNC_CANCEL, -1, NULL)->addr = (unsigned long)&accepting;
}

static void drain(void)
{
    struct connection *c;

    draining = true;
    give_up_ns = clock_now_ns() + options.timeout_ns;
    LIST_FOREACH (c, &connections, link)
        if (!http_begun(&c->request))
            shutdown(c->fd, SHUT_RD);
    accept_next(NULL, 0);
    ring_make_room();
    ring_request(IORING_OP_ASYNC_CANCEL, -1, NULL)->addr = (unsigned long)&accepting;
}

int main(int argc, char **argv)
{
    options = options_parse(argc, argv, "07-uring");
    if (options.threads > 0 || options.compute)
        die("--threads, --compute: not in this stage");
    stop_catch(NULL);
    sigset_t unblocked = stop_block();
    listener = net_listen(options.name, options.host, options.port, 0);
    stop_unblocks(-1); /* the kernel waits for clients, not we */
    workers_fork(&options, listener);
    ring_start(256);
    accept_next(NULL, 0);

    while (listener >= 0 || !LIST_EMPTY(&connections)) {
        ring_enter(1, &unblocked);
        stop_poll(&unblocked);
        if (stop_requested && !draining)
            drain();
        ring_reap();
    }
    return 0;
}
