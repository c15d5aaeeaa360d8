/* Fuzz the state machine of conversation.c, and connections.c around it. The input is a script for
 * the clients, the clock and the kernel. The kernel is a fake. It records the bytes that each
 * client has sent, and so knows the response that the server owes it. A call that breaks a rule of
 * the kernel, or a rule of connections.h, fails an assertion there and then. */
#include "common/connections.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/pool.h"
#include "common/stop.h"
#include "common/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CLIENTS = 100,
    FDS = CLIENTS + 8,
    LISTENER = 3,
    POOL = FDS - 1,      /* no client gets this number */
    SENT_MAX = 24 << 10, /* bytes that the script sends; a flood may follow them */
    STORE = SENT_MAX + 2 * HTTP_HEAD_MAX,
};

/* The state that a connection must be in, judged by the bytes that went over the wire. */
enum phase { WAITING, IDLING, BEGUN, DELAYED, WORKED, OWED, ANSWERING, ANSWERED, LINGERS, GONE };

struct client {
    enum phase phase; /* WAITING: in the backlog */
    int fd;
    int64_t since_ns; /* in this phase */

    size_t sent, received; /* bytes: by the client, by the server */
    size_t head;           /* offset of the request that is not answered yet */
    size_t recv_limit;     /* bytes that one recv returns; 0: no limit */
    size_t room;           /* bytes that the kernel still takes from the server */
    size_t discarded;      /* bytes, while lingering */

    struct http_request request;  /* as much of it as the server has received */
    struct http_request answered; /* the one before */
    size_t answered_at;           /* offset of its request line */
    size_t size, got;             /* bytes of the response, and how many the client got */

    bool fin, reset, flood; /* how the client's input ends */
    bool close;             /* announced by the response */
    bool told_gone;         /* the server knows that it has lost the connection */
    bool asked;             /* the server has called recv since it was draining */
    struct pool_job *job;   /* WORKED: handed to a thread, and not collected yet */

    char response[HTTP_RESPONSE_MAX];
    char bytes[STORE]; /* sent by the client */
};

static struct client clients[CLIENTS];
static struct options settings;

static struct {
    int64_t now_ns;
    int client_count;
    struct client *owner[FDS]; /* of each open descriptor */
    enum want watched[FDS];
    bool listening;
    int connections; /* open */

    bool stopping; /* the server has been told to stop, and drains from the next turn on */
    bool draining;
    int64_t give_up_ns;         /* when draining: when to stop accepting */
    unsigned long taken_before; /* when draining: clients that had left the backlog before */

    unsigned long calls, accepts; /* all system calls; attempts to accept */
    unsigned long taken;          /* attempts that have taken a client from the backlog */
    unsigned long progress;       /* clients accepted, lost or gone; responses sent */
    int spins;                    /* turns in a row without progress, although no time passes */
    int closes_only;              /* the one descriptor that may be closed now, or -1 */
    int64_t paused_ns;            /* when the listener was last unwatched */
    bool refused;                 /* the kernel lacked something for the client of this turn */
    bool resume_due;              /* a connection has closed while the listener was unwatched */

    /* How often the kernel still refuses something. */
    int accept_error, accept_errors; /* accept_errors -1: until further notice */
    int no_watches, no_memory, no_room, no_shutdowns, no_reserve, interrupts;
} kernel;

static struct {
    const uint8_t *at, *end;
} script;

static unsigned next(void)
{
    return script.at < script.end ? *script.at++ : 0;
}

static bool spend(int *budget)
{
    return *budget > 0 && (*budget)--;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static void become(struct client *c, enum phase phase)
{
    c->phase = phase;
    c->since_ns = kernel.now_ns;
}

/* Judge the bytes that the server has received since the last response. */
static void judge(struct client *c)
{
    enum phase was = c->phase, phase = IDLING;

    c->request = (struct http_request){0};
    if (http_parse(&c->request, c->bytes + c->head, c->received - c->head))
        phase = !http_is_slow(&c->request) ? OWED
                : settings.threads > 0     ? WORKED
                : settings.block           ? OWED
                                           : DELAYED;
    else if (http_begun(&c->request))
        phase = BEGUN;
    if (phase != was)
        become(c, phase);
}

static int64_t limit_ns(const struct client *c)
{
    return c->phase == WORKED    ? INT64_MAX / 2 /* as long as the job takes */
           : c->phase == DELAYED ? settings.delay_ns
           : c->phase == LINGERS ? net_linger_ns(settings.timeout_ns)
                                 : settings.timeout_ns;
}

static bool overdue(const struct client *c)
{
    return kernel.now_ns - c->since_ns >= limit_ns(c);
}

static bool is_connected(const struct client *c)
{
    return c->phase != WAITING && c->phase != GONE;
}

static struct client *client_at(int fd)
{
    kernel.calls++;
    assert(fd > LISTENER && fd < FDS && kernel.owner[fd] != NULL);
    return kernel.owner[fd];
}

static size_t available(const struct client *c)
{
    size_t n = c->flood ? SIZE_MAX : c->sent - c->received;
    return c->recv_limit != 0 && n > c->recv_limit ? c->recv_limit : n;
}

static struct client *first_waiting(void)
{
    for (int i = 0; i < kernel.client_count; i++)
        if (clients[i].phase == WAITING)
            return &clients[i];
    return NULL;
}

/* ---- The kernel's calls */

static void refuse_client(void)
{
    kernel.refused = true;
    kernel.paused_ns = kernel.now_ns;
}

static int fake_accept4(int fd, const void *address, const void *size, int flags)
{
    struct client *c = first_waiting();

    kernel.calls++;
    kernel.accepts++;
    assert(fd == LISTENER && kernel.listening && address == NULL && size == NULL);
    assert(flags == (SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (kernel.accept_errors < 0 || spend(&kernel.accept_errors)) {
        if (net_accept_again(kernel.accept_error))
            kernel.progress++, kernel.taken++;
        else
            refuse_client();
        return fail(kernel.accept_error);
    }
    if (c == NULL)
        return fail(EAGAIN);
    for (fd = LISTENER + 1; kernel.owner[fd] != NULL;)
        fd++;
    assert(fd < FDS && kernel.watched[fd] == WANT_NOTHING);
    kernel.owner[fd] = c;
    c->fd = fd;
    become(c, IDLING);
    kernel.connections++;
    kernel.progress++;
    kernel.taken++;
    return fd;
}

static ssize_t fake_recv(int fd, void *to, size_t size, int flags)
{
    struct client *c = client_at(fd);
    size_t n = available(c);

    assert(size > 0 && flags == 0);
    assert(c->phase == IDLING || c->phase == BEGUN || c->phase == LINGERS);
    c->asked = true;
    if (spend(&kernel.interrupts))
        return fail(EINTR);
    if (n == 0) {
        c->told_gone = c->reset || c->fin;
        return c->reset ? fail(ECONNRESET) : c->fin ? 0 : fail(EAGAIN);
    }
    n = n < size ? n : size;
    if (c->phase == LINGERS) {
        assert(c->discarded < NET_LINGER_BYTES);
        memset(to, 'x', n); /* ASan checks that there is room for n bytes */
        c->discarded += n;
        c->received += c->flood ? 0 : n;
        return (ssize_t)n;
    }
    assert(c->received + n <= sizeof c->bytes);
    memcpy(to, c->bytes + c->received, n);
    c->received += n;
    judge(c);
    return (ssize_t)n;
}

static void begin_response(struct client *c)
{
    char date[HTTP_DATE_SIZE];

    if (c->phase == BEGUN) {
        assert(overdue(c));
        http_time_out(&c->request);
    } else {
        assert(c->phase == OWED || (c->phase == DELAYED && overdue(c)) ||
               (c->phase == WORKED && c->job == NULL));
    }
    if (settings.block && http_is_slow(&c->request))
        assert(kernel.now_ns - c->since_ns >= settings.delay_ns);
    http_date(date, (time_t)(kernel.now_ns / NS_PER_S));
    c->close = kernel.draining || !c->request.keep_alive;
    c->size = http_respond(c->response, &c->request, settings.name, date, !c->close);
    c->got = 0;
    c->answered = c->request;
    c->answered_at = c->head + c->request.start;
    become(c, ANSWERING);
}

static ssize_t fake_send(int fd, const void *from, size_t size, int flags)
{
    struct client *c = client_at(fd);

    assert(flags == MSG_NOSIGNAL);
    if (c->phase != ANSWERING)
        begin_response(c);
    assert(size == c->size - c->got && memcmp(from, c->response + c->got, size) == 0);
    if (spend(&kernel.interrupts))
        return fail(EINTR);
    if (c->reset) {
        c->told_gone = true;
        return fail(EPIPE);
    }
    if (c->room == 0)
        return fail(EAGAIN);
    size = size < c->room ? size : c->room;
    c->room -= size;
    c->got += size;
    if (c->got == c->size) {
        kernel.progress++;
        become(c, ANSWERED);
        if (!c->close) {
            c->head += c->request.length;
            judge(c);
        }
    }
    return (ssize_t)size;
}

static bool fake_linger(int fd, const struct http_request *last, size_t left)
{
    struct client *c = client_at(fd);

    assert(c->phase == ANSWERED && last->status == c->answered.status);
    if (last->status == 200 && !last->has_body && left == 0 && available(c) == 0)
        return false;
    if (spend(&kernel.no_shutdowns)) { /* a reset has arrived after the last send */
        c->reset = c->told_gone = true;
        return false;
    }
    become(c, LINGERS);
    return true;
}

static bool may_close(const struct client *c)
{
    switch (c->phase) {
    case IDLING:
        return overdue(c) || (kernel.draining && (c->asked || available(c) == 0));
    case ANSWERING:
        return overdue(c);
    case ANSWERED:
        return c->close && c->request.status == 200 && !c->request.has_body &&
               c->received == c->head + c->request.length && available(c) == 0;
    case LINGERS:
        return overdue(c) || c->discarded >= NET_LINGER_BYTES;
    default:
        return false;
    }
}

/* A graceful shutdown serves the backlog, unless it meets one of its bounds. */
static bool may_close_listener(void)
{
    return first_waiting() == NULL || (kernel.refused && kernel.connections == 0) ||
           kernel.now_ns >= kernel.give_up_ns || kernel.taken - kernel.taken_before > SOMAXCONN;
}

static int fake_close(int fd)
{
    assert(kernel.watched[fd] == WANT_NOTHING);
    if (fd == LISTENER) {
        kernel.calls++;
        assert(kernel.listening && kernel.draining && may_close_listener());
        kernel.listening = false;
        for (struct client *c; (c = first_waiting()) != NULL;)
            become(c, GONE);
    } else {
        struct client *c = client_at(fd);
        assert(kernel.closes_only == -1 || kernel.closes_only == fd);
        assert(c->told_gone || may_close(c));
        become(c, GONE);
        kernel.owner[fd] = NULL;
        kernel.connections--;
        kernel.progress++;
        if (kernel.listening && kernel.watched[LISTENER] == WANT_NOTHING && !kernel.refused)
            kernel.resume_due = true;
    }
    return 0;
}

static bool fake_watch(int fd, enum want was, enum want want)
{
    bool open = fd == LISTENER ? kernel.listening : fd == POOL || kernel.owner[fd] != NULL;
    bool refused = want != WANT_NOTHING && spend(&kernel.no_watches);

    kernel.calls++;
    assert(fd >= LISTENER && fd < FDS && open);
    assert(was == kernel.watched[fd] && want != was);
    if (fd == LISTENER)
        kernel.resume_due = false;
    if (fd == LISTENER && (refused || want == WANT_NOTHING))
        kernel.paused_ns = kernel.now_ns;
    else if (refused)
        kernel.owner[fd]->told_gone = true;
    if (!refused)
        kernel.watched[fd] = want;
    return !refused;
}

/* Instead of common/clock.c. */

int64_t clock_now_ns(void)
{
    return kernel.now_ns;
}

time_t clock_date(void)
{
    return (time_t)(kernel.now_ns / NS_PER_S);
}

void clock_compute(int64_t duration_ns)
{
    kernel.now_ns += duration_ns;
}

void clock_sleep_until(int64_t moment_ns)
{
    assert(settings.block);
    if (moment_ns > kernel.now_ns)
        kernel.now_ns = moment_ns;
}

static void fake_log_request(int fd, const char *head, size_t length, int status,
                             int64_t duration_ns)
{
    struct client *c = client_at(fd);

    assert(settings.verbose && c->got == c->size && duration_ns >= 0);
    assert(status == c->answered.status);
    assert(length <= c->received - c->answered_at);
    assert(memcmp(head, c->bytes + c->answered_at, length) == 0);
}

/* Called for the next client, before it is accepted. */
static void *fake_malloc(size_t size)
{
    if (!spend(&kernel.no_memory))
        return malloc(size);
    refuse_client();
    kernel.accepts++;
    kernel.calls++;
    return NULL;
}

/* Called for a client that has just been accepted. */
static void *fake_table_grow(void *table, size_t *count, size_t index, size_t size)
{
    if (index < *count || !spend(&kernel.no_room))
        return table_grow(table, count, index, size);
    refuse_client();
    kernel.owner[index]->told_gone = true;
    return NULL;
}

/* Instead of common/pool.c: a thread for each job, which takes as long as the delay. */

static int fake_pool_start(int threads)
{
    assert(threads == settings.threads);
    return POOL;
}

/* Defined below, where they know what the job is a part of. */
static void fake_pool_submit(struct pool_job *job);

static struct client *first_working(void)
{
    struct client *first = NULL;

    for (int i = 0; i < kernel.client_count; i++) {
        struct client *c = &clients[i];
        if (c->job != NULL && (first == NULL || c->since_ns < first->since_ns))
            first = c;
    }
    return first;
}

static struct pool_job *fake_pool_collect(void)
{
    struct client *c = first_working();

    kernel.calls++;
    if (c == NULL || kernel.now_ns - c->since_ns < settings.delay_ns)
        return NULL;
    struct pool_job *job = c->job;
    c->job = NULL;
    return job;
}

/* Both files are included, not linked. So their calls, and not the fuzzer's own, reach the kernel
 * above, and their state can be reset. */
#define accept4(fd, address, size, flags)      fake_accept4(fd, address, size, flags)
#define recv(fd, to, size, flags)              fake_recv(fd, to, size, flags)
#define send(fd, from, size, flags)            fake_send(fd, from, size, flags)
#define close(fd)                              fake_close(fd)
#define malloc(size)                           fake_malloc(size)
#define net_linger(fd, last, left)             fake_linger(fd, last, left)
#define table_grow(table, count, index, size)  fake_table_grow(table, count, index, size)
#define pool_start(threads)                    fake_pool_start(threads)
#define pool_submit(job)                       fake_pool_submit(job)
#define pool_collect()                         fake_pool_collect()
#define log_request(fd, head, length, s, d_ns) fake_log_request(fd, head, length, s, d_ns)
#include "common/connections.c"  /* NOLINT(bugprone-suspicious-include): see above */
#include "common/conversation.c" /* NOLINT(bugprone-suspicious-include): see above */

static void fake_pool_submit(struct pool_job *job)
{
    struct connection *connection =
        (struct connection *)((char *)job - offsetof(struct connection, job));
    struct client *c = client_at(connection->conversation.fd);

    assert(c->phase == WORKED && c->job == NULL && job->run == work);
    c->job = job;
}

static void start(void)
{
    static const int64_t times_ns[] = {NS_PER_S,          NS_PER_MS,      3 * NS_PER_S + 1,
                                       5 * NS_PER_MS / 2, 10 * NS_PER_S,  NS_PER_MS + 1,
                                       NS_PER_S / 3,      1000 * NS_PER_S};
    unsigned flags = next(), durations = next(), delays = durations / 8 % 9;

    memset(&kernel, 0, sizeof kernel);
    kernel.now_ns = kernel.paused_ns = 1000000 * NS_PER_S + 123456789;
    kernel.listening = true;
    kernel.closes_only = -1;
    settings = (struct options){.name = "05-epoll",
                                .timeout_ns = times_ns[durations % 8],
                                .delay_ns = delays == 8 ? 0 : times_ns[delays],
                                .block = flags & 1,
                                .threads = (flags & 5) == 5,
                                .verbose = flags & 2};
    memset(&all, 0, sizeof all);
    stop_requested = false;
    connections_start(&settings, LISTENER, fake_watch);
}

/* Check that nothing is left, and free what a process may keep until it exits. */
static void finish(void)
{
    assert(!kernel.listening && all.open == 0);
    kernel.watched[POOL] = WANT_NOTHING; /* a pool never ends */
    for (int fd = 0; fd < FDS; fd++)
        assert(kernel.owner[fd] == NULL && kernel.watched[fd] == WANT_NOTHING);
    for (int i = 0; i < kernel.client_count; i++)
        assert(clients[i].phase == GONE);
    for (size_t i = 0; i < all.table_size; i++)
        assert(all.table[i] == NULL);
    free(all.table);
    free(all.spare);
}

/* ---- The loop */

/* When the next job is done. */
static int64_t first_job_ns(void)
{
    const struct client *c = first_working();

    return c != NULL ? c->since_ns + settings.delay_ns : INT64_MAX;
}

static bool is_ready(int fd)
{
    const struct client *c = kernel.owner[fd];

    if (kernel.watched[fd] == WANT_NOTHING)
        return false;
    if (fd == LISTENER)
        return first_waiting() != NULL || kernel.accept_errors != 0;
    if (fd == POOL)
        return first_job_ns() <= kernel.now_ns;
    return c->reset || (kernel.watched[fd] == WANT_READ ? available(c) > 0 || c->fin : c->room > 0);
}

/* Report fd to the server. It need not be ready: an event may be stale or spurious. */
static void step(int fd)
{
    bool open = fd == LISTENER ? kernel.listening : fd == POOL || kernel.owner[fd] != NULL;
    bool due = open && is_ready(fd);
    unsigned long before = kernel.calls;

    kernel.closes_only = fd == POOL ? -1 : fd; /* results are for several connections */
    connections_ready(fd);
    kernel.closes_only = -1;
    assert(fd == LISTENER || !due || kernel.calls > before);
}

/* Each connection is in the state that it should be in, and is watched accordingly. */
static void check_connections(bool expired)
{
    for (int i = 0; i < kernel.client_count; i++) {
        const struct client *c = &clients[i];
        if (!is_connected(c))
            continue;
        assert(c->phase != OWED && c->phase != ANSWERED && !c->told_gone);
        assert(!expired || !overdue(c));
        assert(c->phase != WORKED || c->job != NULL);
        bool waits = c->phase == DELAYED || c->phase == WORKED;
        enum want wanted = waits ? WANT_NOTHING : c->phase == ANSWERING ? WANT_WRITE : WANT_READ;
        assert(kernel.watched[c->fd] == wanted);
    }
}

/* The server pauses while it cannot accept, but only until a connection closes. A graceful shutdown
 * keeps its bounds. */
static void check_accepting(void)
{
    if (!kernel.listening)
        return;
    assert(!kernel.refused || kernel.watched[LISTENER] == WANT_NOTHING);
    assert(!kernel.resume_due);
    if (kernel.draining) {
        assert(!kernel.refused || kernel.connections > 0);
        assert(kernel.now_ns < kernel.give_up_ns);
        assert(kernel.taken - kernel.taken_before <= SOMAXCONN);
    }
}

/* When the server has to act even if nothing happens. */
static int64_t nearest_deadline_ns(void)
{
    int64_t nearest_ns = INT64_MAX, resume_ns = kernel.paused_ns + NET_PAUSE_NS;

    for (int i = 0; i < kernel.client_count; i++) {
        const struct client *c = &clients[i];
        if (is_connected(c) && c->phase != WORKED && c->since_ns + limit_ns(c) < nearest_ns)
            nearest_ns = c->since_ns + limit_ns(c);
    }
    if (kernel.draining && resume_ns > kernel.give_up_ns)
        resume_ns = kernel.give_up_ns;
    if (kernel.listening && kernel.watched[LISTENER] == WANT_NOTHING && resume_ns < nearest_ns)
        nearest_ns = resume_ns;
    return nearest_ns;
}

/* Check how long the loop would wait. Return whether it would not wait, although no deadline has
 * passed: the only reason is a client to be accepted. */
static bool check_wait(int wait_ms)
{
    int64_t nearest_ns = nearest_deadline_ns();

    if (wait_ms == 0)
        return nearest_ns > kernel.now_ns;
    if (nearest_ns == INT64_MAX) {
        assert(wait_ms == -1);
        return false;
    }
    int64_t woken_ns = kernel.now_ns + wait_ms * NS_PER_MS;
    assert(wait_ms > 0 && woken_ns >= nearest_ns && woken_ns < nearest_ns + NS_PER_MS);
    return false;
}

static void begin_drain(void)
{
    if (!kernel.draining) {
        kernel.draining = true;
        kernel.give_up_ns = kernel.now_ns + settings.timeout_ns;
        kernel.taken_before = kernel.taken;
        for (int i = 0; i < kernel.client_count; i++)
            clients[i].asked = false;
    }
    stop_requested = true;
    connections_begin_turn();
    for (int i = 0; i < kernel.client_count; i++)
        assert(clients[i].phase != IDLING);
}

/* Nothing is ready: let time pass, to the end of the wait or of a job. */
static void wait_for(int wait_ms)
{
    int64_t end_ns = wait_ms < 0 ? INT64_MAX : kernel.now_ns + wait_ms * NS_PER_MS;
    int64_t job_ns = first_job_ns();

    if (job_ns < end_ns)
        end_ns = job_ns;
    if (end_ns < INT64_MAX)
        kernel.now_ns = end_ns;
}

/* 06 is short of memory, and stops accepting. */
static void pause_for_want_of_memory(void)
{
    kernel.calls++; /* the allocation that has failed */
    if (kernel.listening && (all.acceptable || kernel.watched[LISTENER] != WANT_NOTHING))
        refuse_client();
    connections_pause();
}

/* Take one turn of the loop. Return false if nothing was ready or due. Then time has passed until
 * the loop would wake. */
static bool turn(void)
{
    int ready[FDS], count = 0, wait_ms = connections_wait_ms();
    bool for_accept = check_wait(wait_ms);
    unsigned long accepts = kernel.accepts, calls = kernel.calls, progress = kernel.progress;

    for (int fd = 0; fd < FDS; fd++)
        if (is_ready(fd))
            ready[count++] = fd;
    if (count == 0 && wait_ms != 0)
        wait_for(wait_ms);
    int64_t woken_ns = kernel.now_ns; /* with --block, more time passes */
    kernel.refused = false;

    if (kernel.stopping)
        begin_drain();
    else
        connections_begin_turn();
    for (unsigned from = count > 1 ? next() : 0, i = 0; i < (unsigned)count; i++)
        step(ready[(from + i) % (unsigned)count]);
    connections_expire();
    if (kernel.now_ns == woken_ns)
        check_connections(true);
    if (spend(&kernel.no_reserve))
        pause_for_want_of_memory();
    connections_accept();
    check_connections(false);
    check_accepting();
    assert(kernel.accepts - accepts <= 1);
    assert(!for_accept || kernel.accepts > accepts || kernel.watched[LISTENER] == WANT_NOTHING);

    bool idle = wait_ms == 0 && count == 0 && kernel.now_ns == woken_ns;
    assert(!idle || kernel.calls > calls);
    kernel.spins = idle && kernel.progress == progress ? kernel.spins + 1 : 0;
    assert(kernel.spins < 10);
    return count > 0 || wait_ms == 0;
}

/* ---- The script */

static struct client *arrive(void)
{
    if (kernel.client_count == CLIENTS || !kernel.listening)
        return NULL;
    struct client *c = &clients[kernel.client_count++];
    memset(c, 0, offsetof(struct client, bytes));
    c->room = SIZE_MAX;
    become(c, WAITING);
    return c;
}

static void deliver(struct client *c, const char *bytes, size_t length)
{
    if (c->fin || c->reset || c->flood || length > SENT_MAX - c->sent)
        return;
    memcpy(c->bytes + c->sent, bytes, length);
    c->sent += length;
}

static void deliver_text(struct client *c, unsigned which)
{
    static const char *const texts[] = {
        "GET /fast HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /fast HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /else HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        "GET /fast\r\n",
        "GET /fast HTTP/1.1\r\nX: ",
        "\r\n",
        "\r",
        "\n",
    };
    const char *text = texts[which % (sizeof texts / sizeof texts[0])];

    deliver(c, text, strlen(text));
}

/* Deliver the next bytes of the script, or many bytes that are not in it. */
static void deliver_bytes(struct client *c, unsigned length)
{
    size_t left = (size_t)(script.end - script.at);

    if (length < 64) {
        left = left < length ? left : length;
        deliver(c, (const char *)script.at, left);
        script.at += left;
    } else {
        static char filler[256 * 64];
        memset(filler, 'x', sizeof filler);
        deliver(c, filler, (size_t)(length - 63) * 64);
    }
}

static void leave(struct client *c, unsigned how)
{
    if (c->fin || c->reset || c->flood)
        return;
    c->fin = how % 3 == 0;
    c->reset = how % 3 == 1;
    c->flood = how % 3 == 2;
    if (c->flood)
        memset(c->bytes + c->sent, 'x', sizeof c->bytes - c->sent);
}

static void move_clock(unsigned how)
{
    const int64_t times_ns[] = {1,        NS_PER_MS - 1, NS_PER_MS,           100 * NS_PER_MS,
                                NS_PER_S, 3 * NS_PER_S,  settings.timeout_ns, settings.delay_ns};

    kernel.now_ns += times_ns[how % 8];
    kernel.spins = 0;
}

static void refuse(unsigned what)
{
    static const int errors[] = {EMFILE, ENFILE,       ENOBUFS, ENOMEM,
                                 EPERM,  ECONNABORTED, EINTR,   EPROTO};
    int times = (int)(what >> 4 & 7) + 1;

    switch (what & 15) {
    case 8:
        kernel.no_watches = times;
        break;
    case 9:
        kernel.no_memory = times;
        break;
    case 10:
        kernel.no_room = times;
        break;
    case 11:
        kernel.interrupts = times;
        break;
    case 12:
        kernel.accept_errors = 0;
        break;
    case 13:
        kernel.no_shutdowns = times;
        break;
    case 14:
        kernel.no_reserve = times;
        break;
    default:
        kernel.accept_error = errors[what & 7];
        kernel.accept_errors = what & 128 && !net_accept_again(kernel.accept_error) ? -1 : times;
        break;
    }
}

/* A wait has ended, and is about to report an event. */
static void begin_turn(void)
{
    if (kernel.draining)
        begin_drain();
    else
        connections_begin_turn();
}

/* The kernel stops watching fd, though it was not asked to (06: EV_ERROR). */
static void unwatch(int fd)
{
    bool known = fd == LISTENER || kernel.owner[fd] != NULL;

    if (fd == POOL) /* connections.c does not watch it again */
        return;
    if (known && kernel.watched[fd] == WANT_NOTHING)
        return;
    kernel.watched[fd] = WANT_NOTHING;
    if (fd == LISTENER)
        kernel.paused_ns = kernel.now_ns;
    else if (known)
        kernel.owner[fd]->told_gone = true;
    connections_unwatched(fd);
}

/* The low four bits of a command. The corpus depends on their order. */
enum {
    ARRIVE,
    ARRIVE_MANY,
    DELIVER_TEXT,
    DELIVER_BYTES,
    LEAVE,
    LIMIT_RECV,
    LIMIT_SEND,
    MOVE_CLOCK,
    REFUSE,
    TURN,
    TURN_40_TIMES,
    STOP,
    STEP,
    UNWATCH,
    ARRIVE_WITH_TEXT,
    UNLIMIT_SEND,
};

static void perform(unsigned command, struct client *c)
{
    switch (command) {
    case ARRIVE:
    case ARRIVE_WITH_TEXT:
        c = arrive();
        if (command == ARRIVE_WITH_TEXT && c != NULL)
            deliver_text(c, next());
        break;
    case ARRIVE_MANY:
        for (unsigned n = next() % CLIENTS; n > 0; n--)
            arrive();
        break;
    case DELIVER_TEXT:
        deliver_text(c, next());
        break;
    case DELIVER_BYTES:
        deliver_bytes(c, next());
        break;
    case LEAVE:
        leave(c, next());
        break;
    case LIMIT_RECV:
        c->recv_limit = next();
        break;
    case LIMIT_SEND:
    case UNLIMIT_SEND:
        c->room = command == LIMIT_SEND ? (size_t)next() * 4 : SIZE_MAX;
        break;
    case MOVE_CLOCK:
        move_clock(next());
        break;
    case REFUSE:
        refuse(next());
        break;
    case TURN:
    case TURN_40_TIMES:
        for (int i = command == TURN ? 1 : 40; i > 0 && turn();)
            i--;
        break;
    case STOP:
        kernel.stopping = true;
        break;
    case STEP:
        begin_turn();
        step((int)(next() % FDS));
        break;
    case UNWATCH:
        begin_turn();
        unwatch((int)(next() % FDS));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct client nobody;

    script.at = data;
    script.end = data + size;
    start();
    while (script.at < script.end) {
        unsigned command = next();
        int back = (int)(command >> 4); /* from the client that arrived last */
        bool exists = back < kernel.client_count;
        perform(command & 15, exists ? &clients[kernel.client_count - 1 - back] : &nobody);
    }

    /* Whatever the kernel still refuses, a graceful shutdown ends. */
    for (int i = 0; i < kernel.client_count; i++)
        clients[i].recv_limit = 0;
    kernel.stopping = true;
    for (int turns = 0; connections_remain(); turns++) {
        assert(turns <
               4 * SOMAXCONN); /* each takes a client, or a millisecond of the longest wait */
        if (turn())
            kernel.now_ns += NS_PER_MS;
    }
    finish();
    return 0;
}
