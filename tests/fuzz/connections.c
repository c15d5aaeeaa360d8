/* Fuzzes the state machine: the input is a script of what clients, the clock and the kernel do. The
 * kernel is a fake, which knows what each client has sent, and so what it is owed: whoever breaks a
 * rule of the kernel, or of the design's table of states, is caught at the call that does it. */
#include "common/clock.h"
#include "common/connections.h"
#include "common/http.h"
#include "common/log.h"
#include "common/net.h"
#include "common/util.h"

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
    CLIENTS = 100, /* more than anybody would take at once */
    FDS = CLIENTS + 8,
    LISTENER = 3,
    SENT_MAX = 24 << 10, /* bytes by script; behind them comes a flood, if any */
    STORE = SENT_MAX + 2 * HTTP_HEAD_MAX,
};

/* What a connection must be in, judged by what went over the wire. */
enum phase { QUEUED, IDLING, BEGUN, DELAYED, OWED, ANSWERING, ANSWERED, LINGERS, GONE };

struct client {
    enum phase phase;
    int fd;
    int64_t since_ns; /* in this phase */

    size_t sent, taken, head; /* offsets in bytes */
    size_t gulp;              /* most bytes for one recv: 0, no limit */
    size_t room;              /* for bytes to it */
    size_t dropped;

    struct http_request request;  /* what has arrived since the last answer */
    struct http_request answered; /* the last one that was */
    size_t answered_at;           /* offset of its request line */
    size_t size, got;             /* of the answer */

    bool fin, reset, flood; /* the client's last word */
    bool close;             /* announced by the answer */
    bool told_gone;         /* recv or send has said so, or the watch has failed */
    bool asked;             /* recv was called since the drain began */

    char answer[HTTP_RESPONSE_MAX];
    char bytes[STORE]; /* that it sends */
};

static struct client clients[CLIENTS];
static int client_count;
static struct client *owner[FDS]; /* of an open descriptor */
static enum want watched[FDS];
static bool listening, stopping;

static struct options settings;
static int64_t clock_now_ns;
static unsigned long calls, accepts; /* of the kernel */
static unsigned long progress;       /* clients accepted or gone, answers sent */
static int only_closes;              /* the one descriptor that may be closed now; else -1 */
static int64_t paused_ns;            /* the last time that accepting was given up */
static bool refused;                 /* an accept in this turn */

/* What the kernel refuses next. */
static int accept_error, accept_errors; /* errors left; -1: until further notice */
static int no_watches, no_memory, no_room, no_shutdowns, interrupts;

static const uint8_t *script, *script_end;

static unsigned next(void)
{
    return script < script_end ? *script++ : 0;
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
    c->since_ns = clock_now_ns;
}

/* What the bytes since the last answer amount to. */
static void look(struct client *c)
{
    enum phase was = c->phase, phase = IDLING;

    c->request = (struct http_request){0};
    if (http_parse(&c->request, c->bytes + c->head, c->taken - c->head))
        phase = c->request.status == 200 && c->request.route == HTTP_SLOW && !settings.block
                    ? DELAYED
                    : OWED;
    else if (http_begun(&c->request))
        phase = BEGUN;
    if (phase != was)
        become(c, phase);
}

static int64_t limit_ns(const struct client *c)
{
    return c->phase == DELAYED   ? settings.delay_ns
           : c->phase == LINGERS ? net_linger_ns(&settings)
                                 : settings.timeout_ns;
}

static bool overdue(const struct client *c)
{
    return clock_now_ns - c->since_ns >= limit_ns(c);
}

static struct client *find(int fd)
{
    calls++;
    assert(fd > LISTENER && fd < FDS && owner[fd] != NULL);
    return owner[fd];
}

static size_t available(const struct client *c)
{
    size_t n = c->flood ? SIZE_MAX : c->sent - c->taken;
    return c->gulp != 0 && n > c->gulp ? c->gulp : n;
}

static struct client *first_queued(void)
{
    for (int i = 0; i < client_count; i++)
        if (clients[i].phase == QUEUED)
            return &clients[i];
    return NULL;
}

/* The kernel */

static int fake_accept4(int fd, const void *address, const void *size, int flags)
{
    struct client *c = first_queued();

    calls++;
    accepts++;
    assert(fd == LISTENER && listening && address == NULL && size == NULL);
    assert(flags == (SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accept_errors < 0 || spend(&accept_errors)) {
        if (!net_accept_again(accept_error)) {
            paused_ns = clock_now_ns;
            refused = true;
        }
        return fail(accept_error);
    }
    if (c == NULL)
        return fail(EAGAIN);
    for (fd = LISTENER + 1; owner[fd] != NULL;)
        fd++;
    assert(fd < FDS && watched[fd] == WANT_NOTHING);
    owner[fd] = c;
    c->fd = fd;
    become(c, IDLING);
    refused = false;
    progress++;
    return fd;
}

static ssize_t fake_recv(int fd, void *to, size_t size, int flags)
{
    struct client *c = find(fd);
    size_t n = available(c);

    assert(size > 0 && flags == 0);
    assert(c->phase == IDLING || c->phase == BEGUN || c->phase == LINGERS);
    c->asked = true;
    if (spend(&interrupts))
        return fail(EINTR);
    if (n == 0) {
        c->told_gone = c->reset || c->fin;
        return c->reset ? fail(ECONNRESET) : c->fin ? 0 : fail(EAGAIN);
    }
    n = n < size ? n : size;
    if (c->phase == LINGERS) {
        assert(c->dropped < NET_LINGER_BYTES);
        memset(to, 'x', n); /* whether to is as large as they say */
        c->dropped += n;
        c->taken += c->flood ? 0 : n;
        return (ssize_t)n;
    }
    assert(c->taken + n <= sizeof c->bytes);
    memcpy(to, c->bytes + c->taken, n);
    c->taken += n;
    look(c);
    return (ssize_t)n;
}

static void begin_answer(struct client *c)
{
    char date[HTTP_DATE_SIZE];

    if (c->phase == BEGUN) {
        assert(overdue(c));
        http_time_out(&c->request);
    } else {
        assert(c->phase == OWED || (c->phase == DELAYED && overdue(c)));
    }
    if (settings.block && c->request.status == 200 && c->request.route == HTTP_SLOW)
        assert(clock_now_ns - c->since_ns >= settings.delay_ns);
    http_date(date, (time_t)(clock_now_ns / NS_PER_S));
    c->close = stopping || !c->request.keep_alive;
    c->size = http_respond(c->answer, &c->request, settings.name, date, !c->close);
    c->got = 0;
    c->answered = c->request;
    c->answered_at = c->head + c->request.start;
    become(c, ANSWERING);
}

static ssize_t fake_send(int fd, const void *from, size_t size, int flags)
{
    struct client *c = find(fd);

    assert(flags == MSG_NOSIGNAL);
    if (c->phase != ANSWERING)
        begin_answer(c);
    assert(size == c->size - c->got && memcmp(from, c->answer + c->got, size) == 0);
    if (spend(&interrupts))
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
        progress++;
        become(c, ANSWERED);
        if (!c->close) {
            c->head += c->request.length;
            look(c);
        }
    }
    return (ssize_t)size;
}

static bool fake_unread(int fd)
{
    return available(find(fd)) > 0;
}

static int fake_shutdown(int fd, int how)
{
    struct client *c = find(fd);

    assert(how == SHUT_WR && c->phase == ANSWERED);
    if (spend(&no_shutdowns)) { /* a reset has come after the last send */
        c->reset = c->told_gone = true;
        return fail(ENOTCONN);
    }
    become(c, LINGERS);
    return 0;
}

static bool may_close(const struct client *c)
{
    switch (c->phase) {
    case IDLING:
        return overdue(c) || (stopping && (c->asked || available(c) == 0));
    case ANSWERING:
        return overdue(c);
    case ANSWERED:
        return c->close && c->request.status == 200 && !c->request.has_body &&
               c->taken == c->head + c->request.length && available(c) == 0;
    case LINGERS:
        return overdue(c) || c->dropped >= NET_LINGER_BYTES;
    default:
        return false;
    }
}

static int fake_close(int fd)
{
    if (fd == LISTENER) {
        calls++;
        assert(listening && stopping && first_queued() == NULL);
        listening = false;
    } else {
        struct client *c = find(fd);
        assert(only_closes == -1 || only_closes == fd);
        assert(c->told_gone || may_close(c));
        become(c, GONE);
        owner[fd] = NULL;
        progress++;
    }
    assert(watched[fd] == WANT_NOTHING);
    return 0;
}

static bool fake_watch(int fd, enum want was, enum want want)
{
    calls++;
    assert(fd >= LISTENER && fd < FDS && (fd == LISTENER ? listening : owner[fd] != NULL));
    assert(was == watched[fd] && want != was);
    if (want != WANT_NOTHING && spend(&no_watches)) {
        if (fd == LISTENER)
            paused_ns = clock_now_ns;
        else
            owner[fd]->told_gone = true;
        return false;
    }
    if (fd == LISTENER && want == WANT_NOTHING)
        paused_ns = clock_now_ns;
    watched[fd] = want;
    return true;
}

static int64_t fake_now_ns(void)
{
    return clock_now_ns;
}

static void fake_sleep_until(int64_t moment_ns)
{
    assert(settings.block);
    if (moment_ns > clock_now_ns)
        clock_now_ns = moment_ns;
}

static time_t fake_time(void)
{
    return (time_t)(clock_now_ns / NS_PER_S);
}

static void fake_log(int fd, const char *head, size_t length, int status, int64_t duration_ns)
{
    struct client *c = find(fd);
    assert(settings.verbose && c->got == c->size && duration_ns >= 0);
    assert(status == c->answered.status);
    assert(length <= c->taken - c->answered_at);
    assert(memcmp(head, c->bytes + c->answered_at, length) == 0);
}

static void *fake_malloc(size_t size)
{
    if (spend(&no_memory)) {
        paused_ns = clock_now_ns;
        accepts++;
        calls++;
        return NULL;
    }
    return malloc(size);
}

static void *fake_room(void *room, size_t *count, size_t index, size_t size)
{
    if (index >= *count && spend(&no_room)) {
        owner[index]->told_gone = true;
        paused_ns = clock_now_ns;
        refused = true;
        return NULL;
    }
    return grow(room, count, index, size);
}

/* Compiled in, not linked: its calls come to the kernel above, not the fuzzer's own, and its state
 * is at hand to be reset. */
#define accept4(fd, address, size, flags) fake_accept4(fd, address, size, flags)
#define recv(fd, to, size, flags)         fake_recv(fd, to, size, flags)
#define send(fd, from, size, flags)       fake_send(fd, from, size, flags)
#define shutdown(fd, how)                 fake_shutdown(fd, how)
#define close(fd)                         fake_close(fd)
#define malloc(size)                      fake_malloc(size)
#define time(unused)                      fake_time()
#define clock_now_ns()                      fake_now_ns()
#define clock_sleep_until(moment_ns)        fake_sleep_until(moment_ns)
#define log_request(fd, head, length, s, ns)  fake_log(fd, head, length, s, ns)
#define net_unread(fd)                    fake_unread(fd)
#define grow(room, count, index, n)   fake_room(room, count, index, n)
#include "common/connections.c" /* NOLINT(bugprone-suspicious-include): see above */

static void start(void)
{
    static const int64_t times[] = {
        NS_PER_S,      NS_PER_MS,     3 * NS_PER_S + 1, 5 * NS_PER_MS / 2,
        10 * NS_PER_S, NS_PER_MS + 1, NS_PER_S / 3,     86400 * NS_PER_S};
    unsigned flags = next(), durations = next();

    draining = acceptable = false; /* what connections_start leaves alone */
    now_ns = 0;
    assert(resume_ns == 0 && open_connections == 0);

    clock_now_ns = 1000000 * NS_PER_S + 123456789;
    settings = (struct options){.name = "05-epoll",
                                .timeout_ns = times[durations % 8],
                                .delay_ns = durations / 8 % 9 == 8 ? 0 : times[durations / 8 % 9],
                                .block = flags & 1,
                                .verbose = flags & 2};
    client_count = accept_errors = no_watches = no_memory = no_room = no_shutdowns = interrupts = 0;
    listening = true;
    stopping = refused = false;
    only_closes = -1;
    paused_ns = clock_now_ns;
    connections_start(&settings, LISTENER, fake_watch, fake_now_ns);
}

static void finish(void)
{
    for (int fd = 0; fd < FDS; fd++)
        assert(owner[fd] == NULL && watched[fd] == WANT_NOTHING);
    for (int i = 0; i < client_count; i++)
        assert(clients[i].phase == GONE);
    for (size_t i = 0; i < table_size; i++)
        assert(table[i] == NULL);
    assert(!listening);
    free(table);
    free(spare);
    table = NULL;
    table_size = 0;
    spare = NULL;
}

/* The loop */

static bool is_ready(int fd)
{
    const struct client *c = owner[fd];

    if (watched[fd] == WANT_NOTHING)
        return false;
    if (fd == LISTENER)
        return first_queued() != NULL || accept_errors != 0;
    return c->reset || (watched[fd] == WANT_READ ? available(c) > 0 || c->fin : c->room > 0);
}

/* To be called for what is not ready, too: an event may be stale or spurious. */
static void step(int fd)
{
    bool open = fd == LISTENER ? listening : owner[fd] != NULL;
    bool due = open && is_ready(fd);
    unsigned long before = calls;

    only_closes = fd;
    connections_ready(fd);
    only_closes = -1;
    assert(fd == LISTENER || !due || calls > before);
}

static void check_settled(bool expired)
{
    for (int i = 0; i < client_count; i++) {
        const struct client *c = &clients[i];
        assert(c->phase != OWED && c->phase != ANSWERED);
        assert(c->phase == QUEUED || c->phase == GONE || !c->told_gone);
        assert(c->phase == QUEUED || c->phase == GONE || !expired || !overdue(c));
        if (c->phase == GONE || c->phase == QUEUED)
            continue;
        enum want wanted = c->phase == DELAYED     ? WANT_NOTHING
                           : c->phase == ANSWERING ? WANT_WRITE
                                                   : WANT_READ;
        assert(watched[c->fd] == wanted);
    }
}

/* Checks how long the loop would wait. Returns whether it would not, though no deadline has come:
 * only for a client to be accepted. */
static bool check_wait(int wait_ms)
{
    int64_t nearest_ns = INT64_MAX;

    for (int i = 0; i < client_count; i++) {
        const struct client *c = &clients[i];
        if (c->phase != QUEUED && c->phase != GONE && c->since_ns + limit_ns(c) < nearest_ns)
            nearest_ns = c->since_ns + limit_ns(c);
    }
    if (listening && watched[LISTENER] == WANT_NOTHING && paused_ns + NET_PAUSE_NS < nearest_ns)
        nearest_ns = paused_ns + NET_PAUSE_NS;
    if (nearest_ns == INT64_MAX) {
        assert(wait_ms <= 0);
        return wait_ms == 0;
    }
    if (wait_ms == 0)
        return nearest_ns > clock_now_ns;
    assert(wait_ms > 0);
    int64_t woken_ns = clock_now_ns + wait_ms * NS_PER_MS;
    assert(woken_ns >= nearest_ns && woken_ns < nearest_ns + NS_PER_MS);
    return false;
}

/* A turn of the loop. Returns false if there was nothing to do: then the clock is moved on to when
 * the loop would wake. */
static bool turn(void)
{
    static int spins;
    int ready[FDS], count = 0;
    int wait_ms = connections_wait_ms();
    bool for_accept = check_wait(wait_ms), busy;
    unsigned long accepts_before = accepts, calls_before = calls, progress_before = progress;

    for (int fd = 0; fd < FDS; fd++)
        if (is_ready(fd))
            ready[count++] = fd;
    busy = count > 0 || wait_ms == 0;
    if (!busy && wait_ms > 0)
        clock_now_ns += wait_ms * NS_PER_MS;
    int64_t before_ns = clock_now_ns; /* --block moves it on, too */
    refused = false;

    if (stopping) {
        connections_drain();
        for (int i = 0; i < client_count; i++)
            assert(clients[i].phase != IDLING);
    }
    for (unsigned from = count > 1 ? next() : 0, i = 0; i < (unsigned)count; i++)
        step(ready[(from + i) % (unsigned)count]);
    connections_expire();
    if (clock_now_ns == before_ns)
        check_settled(true);
    connections_accept();
    check_settled(false);
    assert(!refused || watched[LISTENER] == WANT_NOTHING);
    assert(!for_accept || accepts > accepts_before);
    if (wait_ms == 0 && count == 0 && clock_now_ns == before_ns && progress == progress_before) {
        assert(calls > calls_before);
        spins++;
        assert(spins < 10);
    } else {
        spins = 0;
    }
    return busy;
}

/* The script */

static struct client *arrive(void)
{
    if (client_count == CLIENTS || !listening)
        return NULL;
    struct client *c = &clients[client_count++];
    memset(c, 0, offsetof(struct client, bytes));
    c->room = SIZE_MAX;
    become(c, QUEUED);
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

static void deliver_more(struct client *c, unsigned length)
{
    size_t from_script = (size_t)(script_end - script);

    if (length < 64) {
        from_script = from_script < length ? from_script : length;
        deliver(c, (const char *)script, from_script);
        script += from_script;
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
    const int64_t times[] = {1,
                             NS_PER_MS - 1,
                             NS_PER_MS,
                             100 * NS_PER_MS,
                             NS_PER_S,
                             3 * NS_PER_S,
                             settings.timeout_ns,
                             settings.delay_ns};

    clock_now_ns += times[how % 8];
}

static void refuse(unsigned what)
{
    static const int errors[] = {EMFILE, ENFILE,       ENOBUFS, ENOMEM,
                                 EPERM,  ECONNABORTED, EINTR,   EPROTO};
    int times = (int)(what >> 4 & 7) + 1;

    switch (what & 15) {
    case 8:
        no_watches = times;
        break;
    case 9:
        no_memory = times;
        break;
    case 10:
        no_room = times;
        break;
    case 11:
        interrupts = times;
        break;
    case 12:
        accept_errors = 0;
        break;
    case 13:
        no_shutdowns = times;
        break;
    default:
        accept_error = errors[what & 7];
        accept_errors = what & 128 && !net_accept_again(accept_error) ? -1 : times;
        break;
    }
}

static void stop(void)
{
    stopping = true;
    for (int i = 0; i < client_count; i++)
        clients[i].asked = false;
}

/* The kernel gives up to watch what it was told to (06: EV_ERROR). */
static void forget(int fd)
{
    if (owner[fd] != NULL && watched[fd] == WANT_NOTHING)
        return;
    if (fd == LISTENER && !listening)
        return;
    if (owner[fd] != NULL)
        owner[fd]->told_gone = true;
    watched[fd] = WANT_NOTHING;
    if (fd == LISTENER)
        paused_ns = clock_now_ns;
    connections_unwatched(fd);
}

static void perform(unsigned op, struct client *c)
{
    switch (op) {
    case 0:
        arrive();
        break;
    case 1:
        for (unsigned n = next() % CLIENTS; n > 0; n--)
            arrive();
        break;
    case 2:
        deliver_text(c, next());
        break;
    case 3:
        deliver_more(c, next());
        break;
    case 4:
        leave(c, next());
        break;
    case 5:
        c->gulp = next();
        break;
    case 6:
        c->room = (size_t)next() * 4;
        break;
    case 7:
        move_clock(next());
        break;
    case 8:
        refuse(next());
        break;
    case 9:
        turn();
        break;
    case 10:
        for (int i = 0; i < 40 && turn(); i++)
            ;
        break;
    case 11:
        stop();
        break;
    case 12:
        step((int)(next() % FDS));
        break;
    case 13:
        forget((int)(next() % FDS));
        break;
    case 14:
        if ((c = arrive()) != NULL)
            deliver_text(c, next());
        break;
    default:
        c->room = SIZE_MAX;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct client nobody;

    script = data;
    script_end = data + size;
    start();
    while (script < script_end) {
        unsigned op = next();
        int back = (int)(op >> 4); /* from the latest client */
        perform(op & 15, back < client_count ? &clients[client_count - 1 - back] : &nobody);
    }

    accept_errors = 0;
    for (int i = 0; i < client_count; i++)
        clients[i].gulp = 0;
    if (!stopping)
        stop();
    for (int turns = 0; connections_remain(); turns++) {
        assert(turns < 5000);
        if (turn())
            clock_now_ns += NS_PER_MS;
    }
    finish();
    return 0;
}
