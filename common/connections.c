#include "common/connections.h"

#include "common/http.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The state of a connection says what it waits for, and for how long. */
enum state {
    IDLE,      /* for the first byte of a request */
    READING,   /* for the rest of a head */
    SLEEPING,  /* for the end of the delay */
    WRITING,   /* for room to send */
    LINGERING, /* for the client to close, after an error */
};

enum { STATES = LINGERING + 1 };

static const enum want wants[STATES] = {
    [IDLE] = WANT_READ,     [READING] = WANT_READ,   [SLEEPING] = WANT_NOTHING,
    [WRITING] = WANT_WRITE, [LINGERING] = WANT_READ,
};

struct connection {
    TAILQ_ENTRY(connection) link; /* in the queue of its state */
    int fd;
    enum state state;
    enum want watched;
    int64_t deadline_ns;
    int64_t begun_ns; /* first byte of the request */
    struct http_request request;
    size_t length;     /* of the input; when lingering, of what was dropped */
    size_t size, sent; /* of the output */
    bool close;        /* after the output */
    char output[HTTP_RESPONSE_MAX];
    char input[HTTP_HEAD_MAX]; /* last: of its pages only those that are written to are memory */
};

TAILQ_HEAD(queue, connection);

static const struct options *options;
static watch_function *watch;
static int64_t (*clock_ns)(void);

/* All deadlines of one state are equally long, so each queue is in the order of its deadlines. */
static struct queue queues[STATES];
static int64_t lasts_ns[STATES];

static struct connection **table; /* by descriptor; NULL: not ours */
static size_t table_size;
static struct connection *spare; /* memory for the next one */
static size_t open_connections;

static int64_t now_ns; /* read when a turn begins, and again where that is too old */
static bool stale;     /* we have waited since: a turn begins */

static int listener;      /* -1: closed */
static bool acceptable;   /* somebody may wait to be accepted */
static int64_t resume_ns; /* the listener is not watched: when to watch it again; else 0 */
static bool draining;
static int queued; /* draining: how many may still be in the kernel's queue from before */

static void stop_accepting(int64_t until_ns)
{
    if (resume_ns == 0)
        watch(listener, WANT_READ, WANT_NOTHING);
    resume_ns = until_ns;
}

static void resume_accepting(void)
{
    acceptable = watch(listener, WANT_NOTHING, WANT_READ);
    resume_ns = acceptable ? 0 : now_ns + NET_PAUSE_NS;
}

static void enter(struct connection *c, enum state state)
{
    TAILQ_REMOVE(&queues[c->state], c, link);
    c->state = state;
    c->deadline_ns = now_ns + lasts_ns[state];
    TAILQ_INSERT_TAIL(&queues[state], c, link);
}

static void end(struct connection *c)
{
    if (c->watched != WANT_NOTHING)
        watch(c->fd, c->watched, WANT_NOTHING);
    TAILQ_REMOVE(&queues[c->state], c, link);
    table[c->fd] = NULL;
    close(c->fd);
    free(c);
    open_connections--;
    if (resume_ns != 0)
        resume_accepting();
}

/* What a step comes to: another step can follow at once, the connection waits, or it is over. */
enum outcome { GO_ON, WAIT, END };

static enum outcome failed(void)
{
    return errno == EAGAIN || errno == EINTR ? WAIT : END;
}

static enum outcome write_response(struct connection *c)
{
    ssize_t n = send(c->fd, c->output + c->sent, c->size - c->sent, MSG_NOSIGNAL);

    if (n < 0 && failed() == END)
        return END;
    if (n > 0)
        c->sent += (size_t)n;
    if (c->sent < c->size) {
        if (c->state != WRITING)
            enter(c, WRITING);
        return c->deadline_ns <= now_ns ? END : WAIT;
    }
    if (options->verbose)
        net_log(c->fd, c->input + c->request.start, c->length - c->request.start, c->request.status,
                now_ns - c->begun_ns);

    c->length -= c->request.length; /* the rest belongs to the next request (pipelining) */
    memmove(c->input, c->input + c->request.length, c->length);
    if (!c->close) {
        c->request = (struct http_request){0};
        c->begun_ns = now_ns;
        enter(c, IDLE);
        return c->length > 0 || draining ? GO_ON : WAIT;
    }
    /* Closing a socket with unread input resets the connection, and the answer may be lost on the
     * way. So say that no more comes, and let the client finish (RFC 9112 §9.6), within bounds. */
    if (c->request.status == 200 && !c->request.has_body && c->length == 0 && !net_unread(c->fd))
        return END;
    if (shutdown(c->fd, SHUT_WR) < 0)
        return END;
    c->length = 0;
    enter(c, LINGERING);
    return WAIT;
}

static enum outcome respond(struct connection *c)
{
    static char date[HTTP_DATE_SIZE];
    static time_t dated;
    time_t today = time(NULL);

    if (today != dated)
        http_date(date, dated = today);
    c->close = draining || !c->request.keep_alive;
    c->size = http_respond(c->output, &c->request, options->name, date, !c->close);
    c->sent = 0;
    return write_response(c); /* mostly there is room, and nothing to wait for */
}

/* Receives once for each event, and leaves the rest to the next turn: a client that sends without
 * end must not keep us from the others. */
static enum outcome read_head(struct connection *c, bool *readable)
{
    if (c->length > 0 && http_parse(&c->request, c->input, c->length)) {
        if (c->request.status == 200 && c->request.route == HTTP_SLOW) {
            if (options->block)
                net_sleep_until(net_now_ns() + options->delay_ns); /* the trap: everybody waits */
            now_ns = clock_ns(); /* the turn's is too old: a delay counts from what has arrived */
            if (!options->block) {
                enter(c, SLEEPING);
                return WAIT;
            }
        }
        return respond(c);
    }
    if (c->state == IDLE && http_begun(&c->request))
        enter(c, READING);
    if (*readable) {
        *readable = false;
        ssize_t n = recv(c->fd, c->input + c->length, sizeof c->input - c->length, 0);
        if (n > 0) {
            c->length += (size_t)n;
            if (c->state == IDLE)
                c->begun_ns = now_ns;
            return GO_ON;
        }
        if (n == 0 || failed() == END)
            return END;
    }
    if (c->state == IDLE)
        return draining || c->deadline_ns <= now_ns ? END : WAIT;
    if (c->deadline_ns > now_ns)
        return WAIT;
    http_time_out(&c->request);
    return respond(c);
}

static enum outcome drop_input(struct connection *c)
{
    ssize_t n = recv(c->fd, c->input, sizeof c->input, 0);

    if (n == 0 || (n < 0 && failed() == END) || c->deadline_ns <= now_ns)
        return END;
    if (n > 0)
        c->length += (size_t)n;
    return c->length < NET_LINGER_BYTES ? WAIT : END;
}

/* Goes on as far as possible, and only then tells the stage what to watch for, if that has
 * changed: an answer that can be sent at once costs no call to watch. */
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
            outcome = c->deadline_ns <= now_ns ? respond(c) : WAIT;
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
        if (watch(c->fd, c->watched, want))
            c->watched = want;
        else
            outcome = END;
    }
    if (outcome == END)
        end(c);
}

void connections_start(const struct options *o, int fd, watch_function *w, int64_t (*clock)(void))
{
    options = o;
    listener = fd;
    watch = w;
    clock_ns = clock;
    for (int state = 0; state < STATES; state++) {
        TAILQ_INIT(&queues[state]);
        lasts_ns[state] = o->timeout_ns;
    }
    lasts_ns[SLEEPING] = o->delay_ns;
    lasts_ns[LINGERING] = net_linger_ns(o);
    if (!watch(listener, WANT_NOTHING, WANT_READ))
        die("watch the listening socket:");
}

int connections_wait_ms(void)
{
    int64_t nearest_ns = resume_ns != 0 ? resume_ns : INT64_MAX;

    stale = true;
    if (acceptable)
        return 0;
    for (int state = 0; state < STATES; state++) {
        struct connection *first = TAILQ_FIRST(&queues[state]);
        if (first != NULL && first->deadline_ns < nearest_ns)
            nearest_ns = first->deadline_ns;
    }
    if (nearest_ns == INT64_MAX)
        return -1;
    int64_t wait_ns = nearest_ns - clock_ns();
    return wait_ns <= 0 ? 0 : (int)((wait_ns + NET_NS_PER_MS - 1) / NET_NS_PER_MS);
}

void connections_ready(int fd)
{
    if (fd == listener) {
        acceptable = true;
    } else if ((size_t)fd < table_size && table[fd] != NULL) {
        if (stale)
            now_ns = clock_ns();
        stale = false;
        advance(table[fd], true);
    }
}

void connections_expire(void)
{
    now_ns = clock_ns();
    for (int state = 0; state < STATES; state++) {
        struct connection *c;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): does not see that TAILQ_REMOVE removes */
        while ((c = TAILQ_FIRST(&queues[state])) != NULL && c->deadline_ns <= now_ns)
            /* Who kept us waiting may have sent meanwhile: one more look. A sleeper reads in the
             * next turn, or with no delay a client that sends without end would keep us in here. */
            advance(c, c->state != SLEEPING);
    }
    if (resume_ns != 0 && resume_ns <= now_ns)
        resume_accepting();
}

static bool open_connection(int fd)
{
    struct connection **room = net_room(table, &table_size, (size_t)fd, sizeof(*table));
    struct connection *c = spare;

    if (room == NULL) { /* its number is known only now: this one client is lost */
        close(fd);
        return false;
    }
    table = room;
    spare = NULL;
    memset(c, 0, offsetof(struct connection, output));
    c->fd = fd;
    c->deadline_ns = now_ns + lasts_ns[IDLE];
    TAILQ_INSERT_TAIL(&queues[IDLE], c, link);
    table[fd] = c;
    open_connections++;
    advance(c, true); /* its request is often there already */
    return true;
}

static bool accept_one(void)
{
    /* room before the client: who can't be served stays in the kernel's queue */
    if (spare == NULL && (spare = malloc(sizeof *spare)) == NULL)
        return false;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        return open_connection(fd);
    if (errno != EAGAIN) /* a drain tries again without being told to: not at once, then */
        return net_accept_again(errno) && !draining;
    queued = 0; /* nobody is left in there */
    return true;
}

void connections_accept(void)
{
    if (!acceptable)
        return;
    now_ns = clock_ns();
    if (!accept_one()) {
        stop_accepting(now_ns + NET_PAUSE_NS);
    } else if (draining && --queued <= 0) {
        stop_accepting(0);
        close(listener);
        listener = -1;
    }
    /* the next wait says whether more are there; but when it's time to go, see for ourselves */
    acceptable = draining && listener >= 0 && resume_ns == 0;
}

void connections_drain(void)
{
    struct connection *c;

    if (!draining) {
        draining = acceptable = true;
        queued = SOMAXCONN + 1; /* it holds no more, and is first in, first out */
    }
    now_ns = clock_ns();
    /* a request may have come that we were not told of yet: one more look */
    while ((c = TAILQ_FIRST(&queues[IDLE])) != NULL) /* each is closed, or gets another state */
        advance(c, true); /* NOLINT(clang-analyzer-unix.Malloc): as in connections_expire */
}

bool connections_remain(void)
{
    return !draining || listener >= 0 || open_connections > 0;
}

void connections_unwatched(int fd)
{
    now_ns = clock_ns();
    if (fd == listener) {
        resume_ns = now_ns + NET_PAUSE_NS;
    } else if ((size_t)fd < table_size && table[fd] != NULL) {
        table[fd]->watched = WANT_NOTHING;
        end(table[fd]);
    }
}
