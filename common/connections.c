#include "common/connections.h"

#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/pool.h"
#include "common/util.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The state of a connection says what it waits for, and limits_ns says how long it may wait. */
enum state {
    IDLE,      /* for the first byte of a request */
    READING,   /* for the rest of its head */
    SLEEPING,  /* for the end of the delay */
    WORKING,   /* for a thread of the pool */
    WRITING,   /* for room to send */
    LINGERING, /* for the client to close, after the last answer */
};

enum { STATES = LINGERING + 1 };

static const enum want wants[STATES] = {
    [IDLE] = WANT_READ,       [READING] = WANT_READ,  [SLEEPING] = WANT_NOTHING,
    [WORKING] = WANT_NOTHING, [WRITING] = WANT_WRITE, [LINGERING] = WANT_READ,
};

struct connection {
    TAILQ_ENTRY(connection) link; /* in the queue of its state */
    int fd;
    enum state state;
    enum want watched;
    int64_t deadline_ns;
    int64_t begun_ns; /* when the first byte of the request arrived */
    struct http_request request;
    struct pool_job job;
    size_t length;     /* of input; when lingering, of what has been discarded */
    size_t size, sent; /* of output */
    bool close;        /* after the output is sent */
    char output[HTTP_RESPONSE_MAX];
    char input[HTTP_HEAD_MAX]; /* last, so that the pages that are never written cost no memory */
};

TAILQ_HEAD(queue, connection);

#define NEVER INT64_MAX

/* The one set of connections of this process. */
static struct {
    const struct options *options;
    watch_function *watch;
    int64_t (*clock_ns)(void);

    /* A queue for each state. All connections in one state may wait equally long, so a queue is in
     * the order of its deadlines without ever being sorted. */
    struct queue queues[STATES];
    int64_t limits_ns[STATES];

    struct connection **table; /* by descriptor; NULL: not a connection */
    size_t table_size;
    struct connection *spare; /* memory for the next client, allocated before it is accepted */
    size_t open;              /* connections */

    int64_t now_ns; /* read once a turn, and again where that is too old; 0: not read yet */

    int listener;      /* -1: closed */
    bool acceptable;   /* clients may be waiting in the backlog */
    int64_t resume_ns; /* when to watch the listener again; NEVER: it is being watched */

    void (*wake)(void); /* for pool_start */
    int pool_fd;        /* readable when jobs are finished; -1: there is none */

    bool draining;
    int64_t give_up_ns; /* draining: when to stop accepting */
    int backlog;        /* draining: how many clients from before the signal may be left in it */
} all;

/* After a step: take the next one immediately, wait for the kernel or the clock, or close. */
enum outcome { GO_ON, WAIT, END };

/* Move a connection to another state, at the end of its queue: the new deadline counts from now. */
static void enter(struct connection *c, enum state state)
{
    TAILQ_REMOVE(&all.queues[c->state], c, link);
    c->state = state;
    c->deadline_ns = all.now_ns + all.limits_ns[state];
    TAILQ_INSERT_TAIL(&all.queues[state], c, link);
}

static bool is_overdue(const struct connection *c)
{
    return c->deadline_ns <= all.now_ns;
}

/* The process has run out of something: leave the clients in the backlog until a connection closes,
 * or for a while. If we still watched the listener, each wait would report it, and the loop would
 * spin. */
static void pause_accepting(void)
{
    if (all.resume_ns == NEVER)
        all.watch(all.listener, WANT_READ, WANT_NOTHING);
    all.acceptable = false;
    all.resume_ns = all.now_ns + NET_PAUSE_NS;
    if (all.draining && all.resume_ns > all.give_up_ns)
        all.resume_ns = all.give_up_ns;
}

static void resume_accepting(void)
{
    bool watched = all.watch(all.listener, WANT_NOTHING, WANT_READ);

    all.resume_ns = watched ? NEVER : all.now_ns + NET_PAUSE_NS;
    all.acceptable = watched || all.draining; /* a drain accepts without waiting for an event */
}

static void stop_accepting(void)
{
    if (all.resume_ns == NEVER)
        all.watch(all.listener, WANT_READ, WANT_NOTHING);
    close(all.listener);
    all.listener = -1;
    all.acceptable = false;
    all.resume_ns = NEVER;
}

/* Close a connection and forget it. If accept had no descriptor left, it has one now. */
static void end(struct connection *c)
{
    if (c->watched != WANT_NOTHING)
        all.watch(c->fd, c->watched, WANT_NOTHING);
    TAILQ_REMOVE(&all.queues[c->state], c, link);
    all.table[c->fd] = NULL;
    close(c->fd);
    free(c);
    all.open--;
    if (all.resume_ns != NEVER)
        resume_accepting();
}

/* Return true if recv or send has failed for good. EAGAIN means "not now", EINTR "ask again". */
static bool is_fatal(int error)
{
    return error != EAGAIN && error != EINTR;
}

/* The response has been sent: go on with the next request, or close. */
static enum outcome answered(struct connection *c)
{
    if (all.options->verbose)
        log_request(c->fd, c->input + c->request.start, c->length - c->request.start,
                    c->request.status, all.now_ns - c->begun_ns);

    c->length -= c->request.length; /* what is left belongs to the next request (pipelining) */
    memmove(c->input, c->input + c->request.length, c->length);
    if (!c->close) {
        c->request = (struct http_request){0};
        c->begun_ns = all.now_ns;
        enter(c, IDLE);
        return c->length > 0 || all.draining ? GO_ON : WAIT;
    }
    if (c->request.status == 200 && !c->request.has_body && c->length == 0 && !net_unread(c->fd))
        return END;
    /* close with unread input would reset the connection, and the response might be lost on its
     * way. So end our half only, and give the client some time to close its own (RFC 9112 §9.6). */
    if (shutdown(c->fd, SHUT_WR) < 0)
        return END;
    c->length = 0;
    enter(c, LINGERING);
    return WAIT;
}

static enum outcome write_response(struct connection *c)
{
    ssize_t n = send(c->fd, c->output + c->sent, c->size - c->sent, MSG_NOSIGNAL);

    if (n < 0 && is_fatal(errno))
        return END;
    if (n > 0)
        c->sent += (size_t)n;
    if (c->sent == c->size)
        return answered(c);
    if (c->state != WRITING)
        enter(c, WRITING);
    return is_overdue(c) ? END : WAIT;
}

static enum outcome respond(struct connection *c)
{
    static char date[HTTP_DATE_SIZE];
    static time_t dated;
    time_t now = time(NULL);

    if (now != dated) { /* at most once a second */
        http_date(date, now);
        dated = now;
    }
    c->close = all.draining || !c->request.keep_alive;
    c->size = http_respond(c->output, &c->request, all.options->name, date, !c->close);
    c->sent = 0;
    return write_response(c); /* usually the kernel has room for all of it */
}

/* In the loop, this is the trap: all clients wait. In a thread of the pool, it is the way out. */
static void block(struct pool_job *unused)
{
    (void)unused;
    if (all.options->compute)
        clock_compute(all.options->delay_ns);
    else
        clock_sleep_until(clock_now_ns() + all.options->delay_ns);
}

/* The head is complete: respond, or begin the delay. */
static enum outcome answer(struct connection *c)
{
    if (c->request.status != 200 || c->request.route != HTTP_SLOW)
        return respond(c);
    if (all.options->threads > 0) {
        enter(c, WORKING);
        c->deadline_ns = NEVER;
        c->job.run = block;
        pool_submit(&c->job); /* the connection stays open until the job is done */
        return WAIT;
    }
    if (all.options->block || all.options->compute) {
        block(NULL);
        all.now_ns = all.clock_ns();
        return respond(c);
    }
    all.now_ns = all.clock_ns(); /* the turn's time is too old: the delay counts from here */
    enter(c, SLEEPING);
    return WAIT;
}

static enum outcome receive(struct connection *c)
{
    ssize_t n = recv(c->fd, c->input + c->length, sizeof c->input - c->length, 0);

    if (n == 0 || (n < 0 && is_fatal(errno)))
        return END;
    if (n > 0) {
        c->length += (size_t)n;
        if (c->state == IDLE)
            c->begun_ns = all.now_ns;
    }
    return GO_ON;
}

/* Parse what has arrived, then receive more, but only once for each event: a client that never
 * stops sending must not keep us from the others. */
static enum outcome read_head(struct connection *c, bool *readable)
{
    if (c->length > 0 && http_parse(&c->request, c->input, c->length))
        return answer(c);
    if (c->state == IDLE && http_begun(&c->request))
        enter(c, READING);
    if (*readable) {
        *readable = false;
        return receive(c);
    }
    if (c->state == IDLE)
        return all.draining || is_overdue(c) ? END : WAIT;
    if (!is_overdue(c))
        return WAIT;
    http_time_out(&c->request);
    return respond(c);
}

static enum outcome drop_input(struct connection *c)
{
    ssize_t n = recv(c->fd, c->input, sizeof c->input, 0);

    if (n == 0 || (n < 0 && is_fatal(errno)) || is_overdue(c))
        return END;
    if (n > 0)
        c->length += (size_t)n;
    return c->length < NET_LINGER_BYTES ? WAIT : END;
}

/* Take a connection as far as it can go without waiting. Only then tell the stage what to watch
 * for, and only if that has changed: a request that is answered immediately costs no call. */
static void advance(struct connection *c, bool readable)
{
    enum outcome outcome = GO_ON;

    while (outcome == GO_ON)
        switch (c->state) {
        case IDLE:
        case READING:
            outcome = read_head(c, &readable);
            break;
        case SLEEPING:
        case WORKING:
            outcome = is_overdue(c) ? respond(c) : WAIT;
            break;
        case WRITING:
            outcome = write_response(c);
            break;
        case LINGERING:
            outcome = drop_input(c);
            break;
        }

    enum want want = wants[c->state];
    if (outcome == WAIT && want != c->watched) {
        if (all.watch(c->fd, c->watched, want))
            c->watched = want;
        else if (c->state != WORKING) /* a thread still has the job, which is part of c */
            outcome = END;
    }
    if (outcome == END)
        end(c);
}

void connections_start(const struct options *options, int listener, watch_function *watch,
                       int64_t (*clock_ns)(void))
{
    all.options = options;
    all.watch = watch;
    all.clock_ns = clock_ns;
    all.listener = listener;
    all.resume_ns = NEVER;
    for (int state = 0; state < STATES; state++) {
        TAILQ_INIT(&all.queues[state]);
        all.limits_ns[state] = options->timeout_ns;
    }
    all.limits_ns[SLEEPING] = options->delay_ns;
    all.limits_ns[LINGERING] = net_linger_ns(options->timeout_ns);
    if (!watch(listener, WANT_NOTHING, WANT_READ))
        die("watch the listening socket:");
    all.pool_fd = options->threads > 0 ? pool_start(options->threads, all.wake) : -1;
    if (all.pool_fd >= 0 && !watch(all.pool_fd, WANT_NOTHING, WANT_READ))
        die("watch the pool:");
}

void connections_wake_with(void (*wake)(void))
{
    all.wake = wake;
}

int connections_wait_ms(void)
{
    int64_t nearest_ns = all.resume_ns;

    all.now_ns = 0;
    if (all.acceptable)
        return 0;
    for (int state = 0; state < STATES; state++) {
        struct connection *first = TAILQ_FIRST(&all.queues[state]);
        if (first != NULL && first->deadline_ns < nearest_ns)
            nearest_ns = first->deadline_ns;
    }
    if (nearest_ns == NEVER)
        return -1;
    int64_t wait_ns = nearest_ns - all.clock_ns();
    return wait_ns <= 0 ? 0 : (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static struct connection *find(int fd)
{
    return (size_t)fd < all.table_size ? all.table[fd] : NULL;
}

void connections_ready(int fd)
{
    struct connection *c = find(fd);

    if (fd == all.listener)
        all.acceptable = true;
    if (fd == all.pool_fd)
        connections_collect();
    if (c == NULL)
        return;
    if (all.now_ns == 0)
        all.now_ns = all.clock_ns();
    advance(c, true);
}

void connections_collect(void)
{
    all.now_ns = all.clock_ns();
    for (struct pool_job *job; (job = pool_collect()) != NULL;) {
        struct connection *c =
            (struct connection *)((char *)job - offsetof(struct connection, job));
        c->deadline_ns = all.now_ns;
        advance(c, false);
    }
}

void connections_expire(void)
{
    all.now_ns = all.clock_ns();
    for (int state = 0; state < STATES; state++) {
        struct connection *c;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that TAILQ_REMOVE removes */
        while ((c = TAILQ_FIRST(&all.queues[state])) != NULL && is_overdue(c))
            /* The rest of the request may have arrived while we were busy, so look once more. But
             * not after a delay: with --delay 0, a client that never stops sending would keep us
             * in this loop. We read its next request in the next turn. */
            advance(c, c->state != SLEEPING);
    }
    if (all.resume_ns <= all.now_ns)
        resume_accepting();
}

/* Return false, after closing fd, if there is no memory to keep track of it. */
static bool open_connection(int fd)
{
    struct connection **table = grow(all.table, &all.table_size, (size_t)fd, sizeof(*table));
    struct connection *c = all.spare;

    if (table == NULL) { /* accept had to tell us the number first, so this one client is lost */
        close(fd);
        return false;
    }
    all.table = table;
    all.spare = NULL;
    memset(c, 0, offsetof(struct connection, output));
    c->fd = fd;
    c->deadline_ns = all.now_ns + all.limits_ns[IDLE];
    TAILQ_INSERT_TAIL(&all.queues[IDLE], c, link);
    all.table[fd] = c;
    all.open++;
    advance(c, true); /* its request has often arrived already */
    return true;
}

/* Return false if the process has run out of something. */
static bool accept_one(void)
{
    /* Memory first: if there is none, the client is better off in the backlog. */
    if (all.spare == NULL && (all.spare = malloc(sizeof *all.spare)) == NULL)
        return false;
    int fd = accept4(all.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        return open_connection(fd);
    if (errno == EAGAIN)
        all.backlog = 0; /* it is empty */
    return errno == EAGAIN || net_accept_again(errno);
}

void connections_accept(void)
{
    if (!all.acceptable)
        return;
    all.now_ns = all.clock_ns();
    bool out_of_something = !accept_one();

    if (all.draining && !out_of_something) /* otherwise the client is still in the backlog */
        all.backlog--;
    if (all.draining && (all.backlog <= 0 || all.now_ns >= all.give_up_ns ||
                         (out_of_something && all.open == 0))) /* nothing will be freed */
        stop_accepting();
    else if (out_of_something)
        pause_accepting();
    else
        all.acceptable = all.draining; /* else the next wait says whether there are more */
}

void connections_drain(void)
{
    struct connection *c;

    all.now_ns = all.clock_ns();
    if (!all.draining) {
        all.draining = all.acceptable = true;
        all.give_up_ns = all.now_ns + all.options->timeout_ns;
        all.backlog = SOMAXCONN + 1; /* it holds no more, and is first in, first out */
    }
    /* A request may have arrived that no event has reported yet, so look once more. */
    while ((c = TAILQ_FIRST(&all.queues[IDLE])) != NULL) /* each is closed, or leaves the queue */
        advance(c, true); /* NOLINT(clang-analyzer-unix.Malloc): as in connections_expire */
}

bool connections_remain(void)
{
    return !all.draining || all.listener >= 0 || all.open > 0;
}

void connections_unwatched(int fd)
{
    struct connection *c = find(fd);

    all.now_ns = all.clock_ns();
    if (fd == all.listener) {
        all.resume_ns = all.now_ns + NET_PAUSE_NS;
    } else if (c != NULL) {
        c->watched = WANT_NOTHING;
        end(c);
    }
}
