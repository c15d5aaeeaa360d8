#include "common/connections.h"

#include "common/clock.h"
#include "common/net.h"
#include "common/pool.h"
#include "common/stop.h"
#include "common/table.h"
#include "common/workers.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    TAILQ_ENTRY(connection) link; /* in the queue of its state */
    enum state queue;
    enum want watched;
    int64_t deadline_ns;
    struct pool_job job;
    struct conversation conversation;
};

TAILQ_HEAD(queue, connection);

#define NEVER INT64_MAX

/* The one set of connections of this process. */
static struct {
    const struct options *options;
    watch_function *watch;

    /* A queue for each state. All connections in one state may wait equally long, so a queue is in
     * the order of its deadlines without ever being sorted. */
    struct queue queues[STATES];
    int64_t limits_ns[STATES];

    struct connection **table; /* by descriptor; NULL: not a connection */
    size_t table_size;
    struct connection *spare; /* memory for the next client, allocated before it is accepted */
    size_t open;              /* connections */

    struct turn turn; /* its time is read once, and again where that is too old */

    int listener;      /* -1: closed */
    bool acceptable;   /* clients may be waiting in the backlog */
    int64_t resume_ns; /* when to watch the listener again; NEVER: it is being watched */

    int pool_fd; /* readable when jobs are finished; -1: there is none */

    int64_t give_up_ns; /* draining: when to stop accepting */
    int backlog;        /* draining: how many clients from before the signal may be left in it */
} all;

static void read_clock(void)
{
    all.turn.now_ns = clock_now_ns();
}

static bool is_overdue(const struct connection *c)
{
    return c->deadline_ns <= all.turn.now_ns;
}

/* The process has run out of something: leave the clients in the backlog until a connection closes,
 * or for a while. If we still watched the listener, each wait would report it, and the loop would
 * spin. */
static void pause_accepting(void)
{
    if (all.resume_ns == NEVER)
        all.watch(all.listener, WANT_READ, WANT_NOTHING);
    all.acceptable = false;
    all.resume_ns = all.turn.now_ns + NET_PAUSE_NS;
    if (all.turn.draining && all.resume_ns > all.give_up_ns)
        all.resume_ns = all.give_up_ns;
}

static void resume_accepting(void)
{
    bool watched = all.watch(all.listener, WANT_NOTHING, WANT_READ);

    all.resume_ns = watched ? NEVER : all.turn.now_ns + NET_PAUSE_NS;
    all.acceptable = watched || all.turn.draining; /* a drain accepts without an event */
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
    int fd = c->conversation.fd;

    if (c->watched != WANT_NOTHING)
        all.watch(fd, c->watched, WANT_NOTHING);
    TAILQ_REMOVE(&all.queues[c->queue], c, link);
    all.table[fd] = NULL;
    close(fd);
    free(c);
    all.open--;
    if (all.resume_ns != NEVER)
        resume_accepting();
}

/* What /slow does in the state WORKING, as the job of a thread, or in the loop. */
static void work(struct pool_job *unused)
{
    (void)unused;
    if (all.options->compute)
        clock_compute(all.options->delay_ns);
    else
        clock_sleep_until(clock_now_ns() + all.options->delay_ns);
}

/* The trap: the loop itself works, and all clients wait. A signal need not. */
static void work_in_the_loop(void)
{
    stop_let_in();
    work(NULL);
    stop_keep_out();
    read_clock();
    all.turn.date = clock_date();
}

/* A conversation has entered a state: put it at the end of the queue, as its deadline counts from
 * now. */
static void enqueue(struct connection *c, enum state state)
{
    if (state == SLEEPING)
        read_clock(); /* the turn's time is too old: the delay counts from here */
    TAILQ_REMOVE(&all.queues[c->queue], c, link);
    c->queue = state;
    c->deadline_ns = state == WORKING ? NEVER : all.turn.now_ns + all.limits_ns[state];
    TAILQ_INSERT_TAIL(&all.queues[state], c, link);
    c->conversation.entered = false;
    if (state == WORKING) {
        c->job.run = work;
        pool_submit(&c->job); /* the connection stays open until the job is done */
    }
}

/* Take a conversation as far as it can go. Only then tell the stage what to watch for, and only if
 * that has changed: a request that is answered immediately costs no call. */
static void advance(struct connection *c, bool readable, bool overdue)
{
    struct conversation *conversation = &c->conversation;
    bool open = conversation_advance(conversation, readable, overdue, &all.turn);

    while (open && conversation->state == WORKING && all.pool_fd < 0) {
        work_in_the_loop();
        open = conversation_advance(conversation, false, true, &all.turn);
    }
    if (open && conversation->entered)
        enqueue(c, conversation->state);

    enum want want = conversation_wants[conversation->state];
    if (open && want != c->watched) {
        if (all.watch(conversation->fd, c->watched, want))
            c->watched = want;
        else if (conversation->state != WORKING) /* a thread still has the job, a part of c */
            open = false;
    }
    if (!open)
        end(c);
}

void connections_start(const struct options *options, int listener, watch_function *watch)
{
    all.options = options;
    all.watch = watch;
    all.listener = listener;
    all.resume_ns = NEVER;
    for (int state = 0; state < STATES; state++) {
        TAILQ_INIT(&all.queues[state]);
        all.limits_ns[state] = options->timeout_ns;
    }
    all.limits_ns[SLEEPING] = options->delay_ns;
    all.limits_ns[LINGERING] = net_linger_ns(options->timeout_ns);
    if (!watch(listener, WANT_NOTHING, WANT_READ))
        err(1, "watch the listening socket");
    all.pool_fd = options->threads > 0 ? pool_start(options->threads) : -1;
    if (all.pool_fd >= 0 && !watch(all.pool_fd, WANT_NOTHING, WANT_READ))
        err(1, "watch the pool");
}

int connections_wait_ms(void)
{
    int64_t nearest_ns = all.resume_ns;

    if (all.acceptable ||
        (stop_requested && !all.turn.draining)) /* told while at work or logging */
        return 0;
    for (int state = 0; state < STATES; state++) {
        struct connection *first = TAILQ_FIRST(&all.queues[state]);
        if (first != NULL && first->deadline_ns < nearest_ns)
            nearest_ns = first->deadline_ns;
    }
    if (nearest_ns == NEVER)
        return -1;
    int64_t wait_ns = nearest_ns - clock_now_ns();
    return wait_ns <= 0 ? 0 : (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* A request may have arrived that no event has reported yet, so look once more. */
static void drain(void)
{
    struct connection *c;

    if (!all.turn.draining) {
        all.turn.draining = true;
        if (workers_leave_backlog()) {
            stop_accepting();
        } else {
            all.acceptable = true;
            all.give_up_ns = all.turn.now_ns + all.options->timeout_ns;
            all.backlog = SOMAXCONN + 1; /* it holds no more, and is first in, first out */
        }
    }
    while ((c = TAILQ_FIRST(&all.queues[IDLE])) != NULL) /* each is closed, or leaves the queue */
        advance(c, true, is_overdue(c)); /* NOLINT(clang-analyzer-unix.Malloc): as below */
}

void connections_begin_turn(void)
{
    read_clock();
    all.turn.date = clock_date();
    stop_poll(all.turn.now_ns);
    if (stop_requested)
        drain();
}

static struct connection *find(int fd)
{
    return (size_t)fd < all.table_size ? all.table[fd] : NULL;
}

static void collect(void)
{
    for (struct pool_job *job; (job = pool_collect()) != NULL;)
        advance((struct connection *)((char *)job - offsetof(struct connection, job)), false, true);
}

void connections_ready(int fd)
{
    struct connection *c = find(fd);

    if (fd == all.listener)
        all.acceptable = true;
    if (fd == all.pool_fd)
        collect();
    if (c != NULL)
        advance(c, true, is_overdue(c));
}

void connections_expire(void)
{
    read_clock();
    for (int state = 0; state < STATES; state++) {
        struct connection *c;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that TAILQ_REMOVE removes */
        while ((c = TAILQ_FIRST(&all.queues[state])) != NULL && is_overdue(c))
            /* The rest of the request may have arrived while we were busy, so look once more. But
             * not after a delay: with --delay 0, a client that never stops sending would keep us
             * in this loop. We read its next request in the next turn. */
            advance(c, state != SLEEPING, true);
    }
    if (all.resume_ns <= all.turn.now_ns)
        resume_accepting();
}

/* Return false, after closing fd, if there is no memory to keep track of it. */
static bool open_connection(int fd)
{
    struct connection **table = table_grow(all.table, &all.table_size, (size_t)fd, sizeof(*table));
    struct connection *c = all.spare;

    if (table == NULL) { /* accept had to tell us the number first, so this one client is lost */
        close(fd);
        return false;
    }
    all.table = table;
    all.spare = NULL;
    c->watched = WANT_NOTHING;
    c->queue = IDLE;
    c->deadline_ns = all.turn.now_ns + all.limits_ns[IDLE];
    TAILQ_INSERT_TAIL(&all.queues[IDLE], c, link);
    conversation_begin(&c->conversation, fd, all.options, &all.turn);
    all.table[fd] = c;
    all.open++;
    advance(c, true, false); /* its request has often arrived already */
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

/* A drain ends when all of the backlog is served or its time is up, or when nothing will be freed
 * that accept lacks. */
static void after_accept(bool out_of_something)
{
    bool over = all.backlog <= 0 || all.turn.now_ns >= all.give_up_ns;

    if (all.turn.draining && (over || (out_of_something && all.open == 0)))
        stop_accepting();
    else if (out_of_something)
        pause_accepting();
    else
        all.acceptable = all.turn.draining; /* else the next wait says whether there are more */
}

void connections_accept(void)
{
    if (!all.acceptable)
        return;
    read_clock();
    bool out_of_something = !accept_one();
    if (all.turn.draining && !out_of_something) /* otherwise the client is still in the backlog */
        all.backlog--;
    after_accept(out_of_something);
}

void connections_pause(void)
{
    if (all.listener >= 0 && (all.acceptable || all.resume_ns == NEVER))
        after_accept(true);
}

bool connections_remain(void)
{
    return !all.turn.draining || all.listener >= 0 || all.open > 0;
}

void connections_unwatched(int fd)
{
    struct connection *c = find(fd);

    if (fd == all.listener) {
        all.resume_ns = all.turn.now_ns + NET_PAUSE_NS;
    } else if (c != NULL) {
        c->watched = WANT_NOTHING;
        end(c);
    }
}
