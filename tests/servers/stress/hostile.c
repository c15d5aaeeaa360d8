/* The hostile client. It keeps many connections open, and on each it plays a role against the
 * server: it is silent, sends byte by byte, breaks off, floods, smuggles, speaks another protocol,
 * or asks and does not read. Each answer must be well-formed and fit the request, and no answer
 * that the client is entitled to may be missing. The seed and the number of a connection determine
 * its role. One thread and one epoll loop serve all connections. */
#include "common/clock.h"
#include "common/net.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 64,
    CONNECTIONS_MAX = 1000, /* simultaneous connections */
    TEXT_MAX = 32768,       /* bytes of requests */
    ASKED_MAX = 512,        /* requests on a connection */
    ANSWER_MAX = 2048,      /* bytes; a whole answer takes a quarter of that */
    LIFE_MS = 4000,         /* of a connection, at most */
    LATE_MS = 400,          /* if we are delayed for so long, the server may time out */
    SHOWN = 10,             /* wrong answers that are printed */
};

/* A letter for the answer that a request is entitled to. */
enum {
    FAST = 'f',
    SLOW = 's',
    HEAD_FAST = 'F',
    HEAD_SLOW = 'S',
    TIMED_OUT = 't',
    REFUSED = 'e',  /* any error that suits garbage */
    WHATEVER = '?', /* any well-formed answer */
};

static const struct answer {
    char letter;
    int status;
    const char *text; /* in the status line, and at the start of an error's body */
} known[] = {
    {FAST, 200, "200 OK"},
    {'b', 400, "400 Bad Request"},
    {'n', 404, "404 Not Found"},
    {'m', 405, "405 Method Not Allowed"},
    {TIMED_OUT, 408, "408 Request Timeout"},
    {'u', 414, "414 URI Too Long"},
    {'h', 431, "431 Request Header Fields Too Large"},
    {'i', 501, "501 Not Implemented"},
    {'v', 505, "505 HTTP Version Not Supported"},
};
enum { KNOWN = sizeof known / sizeof *known };

struct piece {
    const char *text;
    size_t length;
    char letter;
};

#define PIECE(text, letter)                                                                        \
    {                                                                                              \
        text, sizeof(text) - 1, letter                                                             \
    }
#define HOST "Host: localhost\r\n"

/* Requests that leave the connection open. The first GETS of them are not HEAD. */
static const struct piece good[] = {
    PIECE("GET /fast HTTP/1.1\r\n" HOST "\r\n", FAST),
    PIECE("GET /slow HTTP/1.1\r\n" HOST "\r\n", SLOW),
    PIECE("GET /fast?/slow HTTP/1.9\r\nhost:[::1]:80\t\r\nX: a\x80\t\r\n\r\n", FAST),
    PIECE("GET HTTP://example.org:80/fast HTTP/1.1\r\n" HOST "\r\n", FAST),
    PIECE("GET /fast HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", FAST),
    PIECE("\r\n\r\nGET /fast HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", FAST),
    PIECE("GET /fast/../slow HTTP/1.1\r\n" HOST "\r\n", 'n'),
    PIECE("DELETE /fast HTTP/1.1\r\n" HOST "\r\n", 'm'),
    PIECE("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 'n'),
    PIECE("CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\r\n", 'n'),
    PIECE("get /fast HTTP/1.1\r\n" HOST "\r\n", 'i'),
    PIECE("HEAD /fast HTTP/1.1\r\n" HOST "\r\n", HEAD_FAST),
    PIECE("HEAD /slow HTTP/1.1\r\n" HOST "\r\n", HEAD_SLOW),
};
enum { GOOD = sizeof good / sizeof *good, GETS = GOOD - 2 };

/* Requests that end the connection: the server must not parse what follows. */
static const struct piece last[] = {
    PIECE("GET /fast HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", FAST),
    PIECE("GET /slow HTTP/1.0\r\n\r\n", SLOW),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "Content-Length: 37\r\n\r\n", FAST),
    PIECE("GET /slow HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", SLOW),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Content-Length: 37\r\n\r\n", 'm'),
    PIECE("PUT /slow HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", 'm'),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n", 'm'),
    PIECE("POST /no HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 'n'),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 'i'),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 'b'),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n", 'b'),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
          'b'),
    PIECE("POST /fast HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\n" HOST "\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "X: a\rGET /fast HTTP/1.1\r\n\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST HOST "\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "Content-Length : 0\r\n\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n", 'b'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "X: \0\r\n\r\n", 'b'),
    PIECE("GET /fast\r\n\r\n", 'b'),
    PIECE("\r\n\r\n\r\n\r\n\r\nGET /fast HTTP/1.1\r\n" HOST "\r\n", 'b'),
    PIECE("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS hello", 'b'),
    PIECE("SSH-2.0-OpenSSH_9.2\r\n", 'b'),
    PIECE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 'v'),
    PIECE("GET /fast HTTP/3.0\r\n\r\n", 'v'),
};
enum { LAST = sizeof last / sizeof *last };

/* Requests to be followed by up to 1 MiB of the letter a. */
static const struct piece floods[] = {
    PIECE("GET /", 'u'),
    PIECE("GET /fast HTTP/1.1\r\n" HOST "X: ", 'h'),
    PIECE("POST /fast HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n", 'm'),
    PIECE("GET /slow HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\n", SLOW),
};
enum { FLOODS = sizeof floods / sizeof *floods };

enum leave { STAY, HALF_CLOSE, CLOSE, RESET };

struct peer {
    long number;
    uint64_t random;
    int fd;                  /* -1: not connected at the moment */
    bool readable, writable; /* until the kernel returns EAGAIN */
    bool dawdles;            /* so slow that 408 is a right answer to all requests */
    bool ignores_close;      /* goes on sending after the server has closed its half */
    bool firehose;           /* sends requests without end, and does not read */
    bool late;               /* we were delayed, so 408 is a right answer */
    bool closed;             /* the last answer says that the server closes */
    enum leave leave;        /* what to do when everything is sent */
    int64_t leave_ns;        /* and how much later */
    size_t length, sent, flood;
    size_t bite, sip; /* most bytes for a send and for a recv; sip 0: do not read */
    int64_t bite_ns, sip_ns;
    size_t asked, answered, held;
    size_t owed; /* how many answers the server must give, whatever happens */
    int64_t send_at_ns, read_at_ns, end_at_ns;
    char expected[ASKED_MAX];
    char text[TEXT_MAX];
    char answer[ANSWER_MAX];
};

static int epoll;
static struct sockaddr_in server = {.sin_family = AF_INET};
static uint64_t seed = 1;
static long connections, answers[KNOWN], left, cut, wrongs;

static unsigned random_below(struct peer *p, unsigned n) /* splitmix64 */
{
    uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z >> 33) % n);
}

static int64_t random_ms(struct peer *p, unsigned n)
{
    return (int64_t)random_below(p, n) * NS_PER_MS;
}

/* ---- requests */

static void add_text(struct peer *p, const char *bytes, size_t length)
{
    if (length > sizeof p->text - p->length)
        length = sizeof p->text - p->length;
    memcpy(p->text + p->length, bytes, length);
    p->length += length;
}

static void expect(struct peer *p, char letter)
{
    p->expected[p->asked++] = letter;
}

static void add_request(struct peer *p, const struct piece *piece)
{
    add_text(p, piece->text, piece->length);
    expect(p, piece->letter);
}

/* Cut off the last request, which starts at from, somewhere in the middle. */
static void break_off(struct peer *p, size_t from)
{
    p->length = from + random_below(p, (unsigned)(p->length - from));
    p->owed = p->asked - 1;
    p->dawdles = true;
    if (strchr("fsnmi", p->expected[p->owed]) != NULL)
        p->expected[p->owed] = TIMED_OUT;
}

/* Whether a 408 answers a HEAD, and so has no body, depends on how much of the request has arrived.
 * So send HEAD only if prompt. */
static void ask_a_few(struct peer *p, bool prompt, bool whole)
{
    bool final = random_below(p, 3) > 0;
    size_t from = 0;

    for (unsigned n = random_below(p, 4) + !final; n > 0; n--) {
        from = p->length;
        add_request(p, &good[random_below(p, prompt ? GOOD : GETS)]);
    }
    if (final) {
        from = p->length;
        add_request(p, &last[random_below(p, LAST)]);
    }
    p->owed = p->asked;
    if (!whole) {
        break_off(p, from);
    } else if (final) { /* smuggle requests, which the server must neither answer nor choke on */
        for (unsigned n = random_below(p, 5); n > 0; n--)
            add_text(p, good[n].text, good[n].length);
        p->flood = random_below(p, 3) == 0 ? random_below(p, 300000) : 0;
    }
}

static void ask_garbage(struct peer *p)
{
    for (size_t n = 1 + random_below(p, 5000); n > 0; n--)
        add_text(p, &(char){(char)random_below(p, 256)}, 1);
    expect(p, REFUSED);
}

static void ask_hundreds(struct peer *p)
{
    while (p->asked < 100 || (p->asked < 400 && random_below(p, 200) > 0))
        add_request(p, &good[0]);
    p->owed = p->asked;
    if (random_below(p, 2) == 0) {
        p->sip = random_below(p, 2) == 0 ? 0 : 1 + random_below(p, 500);
        p->sip_ns = random_ms(p, 30);
        p->owed = 0;
        p->firehose = p->sip == 0;
        p->flood = p->firehose ? 2 << 20 : 0; /* until the server cannot send its answers */
    }
}

static void ask_and_flood(struct peer *p)
{
    add_request(p, &floods[random_below(p, FLOODS)]);
    p->flood = 1 << 20;
    p->dawdles = true;
}

/* Change, remove or insert a byte: any answer is right. */
static void garble(struct peer *p)
{
    for (unsigned n = 1 + random_below(p, 3); n > 0; n--)
        add_text(p, good[n - 1].text, good[n - 1].length);
    char *at = p->text + random_below(p, (unsigned)p->length);
    size_t rest = (size_t)(p->text + p->length - at);

    switch (random_below(p, 3)) {
    case 0:
        *at = (char)random_below(p, 256);
        break;
    case 1:
        memmove(at, at + 1, rest - 1);
        p->length--;
        break;
    default:
        memmove(at + 1, at, rest);
        p->length++;
        break;
    }
    for (int i = 0; i < 4; i++)
        expect(p, WHATEVER);
}

static void choose_role(struct peer *p)
{
    bool prompt = random_below(p, 4) > 0, whole = random_below(p, 4) > 0;

    p->bite = p->sip = SIZE_MAX;
    if (!prompt) {
        p->bite = random_below(p, 2) == 0 ? 1 : 1 + random_below(p, 100);
        p->bite_ns = p->bite == 1 ? 5 * NS_PER_MS + random_ms(p, 100) : random_ms(p, 10);
        p->dawdles = true;
    }
    if (random_below(p, 3) == 0) {
        p->leave = HALF_CLOSE + random_below(p, 3);
        p->leave_ns = p->leave == HALF_CLOSE ? 0 : random_below(p, 2) * random_ms(p, 800);
    }
    p->ignores_close = random_below(p, 4) == 0;

    switch (random_below(p, 16)) {
    case 0: /* silent */
        break;
    case 1:
        ask_garbage(p);
        break;
    case 2:
        ask_hundreds(p);
        break;
    case 3:
        ask_and_flood(p);
        break;
    case 4:
    case 5:
        garble(p);
        break;
    default:
        ask_a_few(p, prompt && whole, whole);
        break;
    }
}

/* ---- answers */

static void hang_up(struct peer *p)
{
    close(p->fd);
    p->fd = -1;
    p->send_at_ns = clock_now_ns() + random_ms(p, 100); /* connect again */
}

static void print_bytes(const char *name, const char *bytes, size_t length)
{
    fprintf(stderr, "  %s: ", name);
    for (size_t i = 0; i < length && i < 400; i++)
        if (bytes[i] < ' ' || bytes[i] > '~' || bytes[i] == '\\')
            fprintf(stderr, "\\x%02x", (unsigned)bytes[i] & 0xff);
        else
            fputc(bytes[i], stderr);
    fprintf(stderr, "%s\n", length > 400 ? " ..." : "");
}

static void report_wrong(struct peer *p, const char *what)
{
    if (++wrongs <= SHOWN) {
        fprintf(stderr, "%s: connection %ld of seed %llu, answer %zu of %zu (%.*s): %s\n",
                program_invocation_short_name, p->number, (unsigned long long)seed, p->answered + 1,
                p->asked, (int)(p->asked < 20 ? p->asked : 20), p->expected, what);
        print_bytes("sent", p->text, p->sent < p->length ? p->sent : p->length);
        print_bytes("received", p->answer, p->held);
    }
    hang_up(p);
}

/* Return whether a part of a request is sent. A client that has sent only empty lines is idle. */
static bool has_begun(const struct peer *p)
{
    for (size_t i = 0; i < p->sent && i < p->length; i++)
        if (p->text[i] != '\r' && p->text[i] != '\n')
            return true;
    return false;
}

/* The server has closed or reset the connection. */
static void server_closed(struct peer *p)
{
    if (p->answered < p->owed && !p->closed && !p->late && (has_begun(p) || !p->dawdles)) {
        report_wrong(p, "the server closed the connection instead");
        return;
    }
    cut += p->answered < p->asked;
    hang_up(p);
}

static bool fits(const struct peer *p, const struct answer *a)
{
    char letter = p->expected[p->answered];

    if (letter == WHATEVER || (a->letter == TIMED_OUT && (p->dawdles || p->late)))
        return true;
    if (letter == REFUSED)
        return a->status == 400 || a->status == 408 || a->status == 414 || a->status == 431;
    if (strchr("sFS", letter) != NULL)
        return a->status == 200;
    return letter == a->letter;
}

static bool is_body(const struct answer *a, char letter, const char *body, size_t length)
{
    bool fast = length == 14 && memcmp(body, "That was fast!", 14) == 0;
    bool slow = length == 14 && memcmp(body, "That was slow!", 14) == 0;
    size_t text = strlen(a->text);

    if (a->status == 200)
        return letter == FAST ? fast : letter == SLOW ? slow : fast || slow;
    return length > text + 2 && memcmp(body, a->text, text) == 0 && body[text] == ':' &&
           memchr(body, '\n', length) == body + length - 1;
}

/* Return the value of a field, or NULL. */
static const char *field(const char *head, const char *name)
{
    const char *at = strstr(head, name);

    return at == NULL ? NULL : at + strlen(name);
}

static const struct answer *find_known(const char *head)
{
    for (size_t i = 0; i < KNOWN; i++) {
        size_t length = strlen(known[i].text);
        if (strncmp(head, "HTTP/1.1 ", 9) == 0 && strncmp(head + 9, known[i].text, length) == 0 &&
            strncmp(head + 9 + length, "\r\n", 2) == 0)
            return &known[i];
    }
    return NULL;
}

/* Remove the first answer from the input, if it is complete, and set *taken. Return what is wrong
 * with it, or NULL. */
static const char *take_answer(struct peer *p, bool *taken)
{
    char head[512 + 1] = "", letter = p->expected[p->answered];
    const char *end = memmem(p->answer, p->held, "\r\n\r\n", 4);
    size_t length = end == NULL ? p->held : (size_t)(end + 4 - p->answer);

    *taken = false;
    if (p->closed || p->answered == p->asked)
        return p->closed ? "follows the last one" : "answers no request";
    if (length > 512)
        return "has a head without an end";
    if (end == NULL)
        return NULL;
    memcpy(head, p->answer, length);

    const struct answer *a = find_known(head);
    const char *size = field(head, "\r\nContent-Length: "), *date = field(head, "\r\nDate: ");
    if (a == NULL)
        return "has an unknown status";
    if (!fits(p, a))
        return "does not fit the request";
    if (size == NULL || strspn(size, "0123456789") == 0 || strspn(size, "0123456789") > 2)
        return "has no valid Content-Length";
    if (date == NULL || strcspn(date, "\r") != 29 || field(head, "\r\nServer: ") == NULL ||
        field(head, "\r\nContent-Type: text/plain; charset=utf-8\r\n") == NULL)
        return "lacks a header field";
    if ((a->status == 405) != (field(head, "\r\nAllow: GET, HEAD\r\n") != NULL))
        return "has Allow without status 405, or the reverse";

    size_t body = 0;
    if (letter != HEAD_FAST && letter != HEAD_SLOW) {
        body = strtoul(size, NULL, 10);
        if (p->held < length + body)
            return NULL;
        if (!is_body(a, letter, p->answer + length, body))
            return "has a wrong body";
    }
    p->closed = field(head, "\r\nConnection: close\r\n") != NULL;
    if (!p->closed && strchr("btuhv", a->letter) != NULL)
        return "lacks Connection: close";
    answers[a - known]++;
    p->answered++;
    p->held -= length + body;
    memmove(p->answer, p->answer + length + body, p->held);
    *taken = true;
    return NULL;
}

static void receive(struct peer *p, int64_t now_ns)
{
    size_t room = sizeof p->answer - p->held;
    ssize_t n = recv(p->fd, p->answer + p->held, p->sip < room ? p->sip : room, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        p->readable = errno == EINTR;
        return;
    }
    if (n < 0 && errno == ECONNREFUSED)
        err(1, "connect to port %d", ntohs(server.sin_port));
    if (n == 0 && p->ignores_close && p->end_at_ns > now_ns && p->answered >= p->owed) {
        p->sip = 0;
        return;
    }
    if (n <= 0) {
        server_closed(p);
        return;
    }
    p->held += (size_t)n;
    p->read_at_ns = now_ns + p->sip_ns;
    for (bool more = true; more && p->held > 0;) {
        const char *complaint = take_answer(p, &more);
        if (complaint != NULL) {
            report_wrong(p, complaint);
            return;
        }
    }
    if (p->answered == p->asked && !p->closed && p->length + p->flood == p->sent &&
        random_below(p, 2) == 0 && p->end_at_ns > now_ns + 300 * NS_PER_MS)
        p->end_at_ns = now_ns + 300 * NS_PER_MS; /* enough for an unexpected answer to arrive */
}

/* ---- time */

static void dial(struct peer *p, int64_t now_ns)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p};
    struct sockaddr_in source = {.sin_family = AF_INET};

    memset(p, 0, offsetof(struct peer, expected));
    p->number = ++connections;
    p->random = seed << 32 ^ (uint64_t)p->number;
    choose_role(p);
    p->send_at_ns = p->read_at_ns = now_ns;
    p->end_at_ns = now_ns + LIFE_MS * NS_PER_MS;

    /* An address has about 28000 ports, and each is unusable for a minute after its use. */
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (in_addr_t)(p->number % 250));
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        err(1, "socket");
    if (setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)) < 0 ||
        bind(p->fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        (p->sip < SIZE_MAX &&
         setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int)) < 0) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &event) < 0 ||
        (connect(p->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS))
        err(1, "connection %ld to port %d", p->number, ntohs(server.sin_port));
}

static void all_is_sent(struct peer *p, int64_t now_ns)
{
    if (p->leave == HALF_CLOSE)
        shutdown(p->fd, SHUT_WR);
    else if (p->leave != STAY && p->end_at_ns > now_ns + p->leave_ns)
        p->end_at_ns = now_ns + p->leave_ns;
}

static void send_some(struct peer *p, int64_t now_ns)
{
    static char filler[65536], requests[65536];
    const char *from = filler;
    size_t n = sizeof filler - good[0].length;

    if (filler[0] == '\0') {
        memset(filler, 'a', sizeof filler);
        for (size_t i = 0; i < sizeof requests; i++)
            requests[i] = good[0].text[i % good[0].length];
    }
    if (p->sent < p->length) {
        from = p->text + p->sent;
        n = p->length - p->sent;
    } else {
        if (p->firehose)
            from = requests + (p->sent - p->length) % good[0].length;
        if (n > p->length + p->flood - p->sent)
            n = p->length + p->flood - p->sent;
    }
    ssize_t sent = n == 0 ? 0 : send(p->fd, from, n < p->bite ? n : p->bite, MSG_NOSIGNAL);
    if (sent >= 0) {
        p->sent += (size_t)sent;
        p->send_at_ns = now_ns + p->bite_ns;
        if (p->sent < p->length + p->flood)
            return;
        p->send_at_ns = INT64_MAX;
        all_is_sent(p, now_ns);
    } else if (errno == EAGAIN || errno == EINTR) {
        p->writable = errno == EINTR;
    } else {
        p->send_at_ns = INT64_MAX; /* earlier answers may still be there to read */
    }
}

static void leave_server(struct peer *p)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (p->leave == RESET)
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    left++;
    hang_up(p);
}

/* Do what is due. Return the time at which more is due, unless an event comes first. */
static int64_t act(struct peer *p, int64_t now_ns)
{
    if (p->fd < 0 && p->send_at_ns <= now_ns)
        dial(p, now_ns);
    if (p->fd >= 0 && p->writable && p->send_at_ns <= now_ns)
        send_some(p, now_ns);
    if (p->fd >= 0 && p->readable && p->sip > 0 && p->read_at_ns <= now_ns)
        receive(p, now_ns);
    if (p->fd >= 0 && p->end_at_ns <= now_ns)
        leave_server(p);

    int64_t next_ns = p->fd < 0 ? p->send_at_ns : p->end_at_ns;
    if (p->fd >= 0 && p->writable && p->send_at_ns < next_ns)
        next_ns = p->send_at_ns;
    if (p->fd >= 0 && p->readable && p->sip > 0 && p->read_at_ns < next_ns)
        next_ns = p->read_at_ns;
    return next_ns;
}

static void run(struct peer *peers, long count, int64_t until_ns)
{
    struct epoll_event events[BATCH];

    for (int64_t now_ns = clock_now_ns(), last_ns = now_ns; now_ns < until_ns;
         now_ns = clock_now_ns()) {
        bool late = now_ns - last_ns > LATE_MS * NS_PER_MS;
        int64_t next_ns = until_ns;
        last_ns = now_ns;
        for (struct peer *p = peers; p < peers + count; p++) {
            p->late |= late;
            int64_t at_ns = act(p, now_ns);
            if (at_ns < next_ns)
                next_ns = at_ns;
        }
        int64_t wait_ms = (next_ns - clock_now_ns() + NS_PER_MS - 1) / NS_PER_MS;
        if (wait_ms > 100)
            wait_ms = 100; /* or a long wait would count as a delay */
        int n = epoll_wait(epoll, events, BATCH, wait_ms < 0 ? 0 : (int)wait_ms);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            p->readable |= (events[i].events & ~(unsigned)EPOLLOUT) != 0;
            p->writable |= (events[i].events & ~(unsigned)EPOLLIN) != 0;
        }
    }
    for (struct peer *p = peers; p < peers + count; p++)
        if (p->fd >= 0) {
            p->leave = RESET; /* whatever the server is doing */
            leave_server(p);
        }
}

static long number(const char *option, const char *value, long most)
{
    size_t length = strlen(value);
    long n = strtol(value, NULL, 10);

    if (length < 1 || length > 9 || strspn(value, "0123456789") < length || n < 1 || n > most) {
        fprintf(stderr, "%s: %s %s: want a number from 1 to %ld\n", program_invocation_short_name,
                option, value, most);
        exit(2);
    }
    return n;
}

static void parse_url(const char *url)
{
    char host[16] = "";
    size_t length = strncmp(url, "http://", 7) == 0 ? strcspn(url + 7, ":") : 0;

    if (length < sizeof host)
        memcpy(host, url + 7, length);
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1 || url[7 + length] != ':' ||
        ntohl(server.sin_addr.s_addr) >> 24 != 127)
        errx(2, "%s: want http://127.0.0.1:PORT, a server on this machine", url);
    server.sin_port = htons((in_port_t)number("port", url + 8 + length, 65535));
}

static const char usage[] =
    "usage: %s [OPTION]... URL\n"
    "Abuse the server at URL, http://127.0.0.1:PORT, whose --timeout must be 1 s or more. Print\n"
    "how many connections there were, and how many answers had each status. left: connections\n"
    "that the client ended before the server did; cut: connections that the server ended, for a\n"
    "good reason, before it had answered everything; wrong: answers that are wrong or missing.\n\n"
    "  --seed N         seed that determines what the connections do (1)\n"
    "  --seconds S      how long to go on (10)\n"
    "  --connections K  how many connections to keep open (100)\n"
    "  --help           print this text\n\n"
    "Exit status: 0 if no answer was wrong or missing, 1 if one was, 2 for a bad command line.\n";

int main(int argc, char **argv)
{
    enum { SEED, SECONDS, CONNECTIONS, HELP };
    static const struct option options[] = {
        {"seed", required_argument, NULL, SEED},
        {"seconds", required_argument, NULL, SECONDS},
        {"connections", required_argument, NULL, CONNECTIONS},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    long seconds = 10, count = 100;
    struct rlimit limit;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case SEED:
            seed = (uint64_t)number("--seed", optarg, 999999999);
            break;
        case SECONDS:
            seconds = number("--seconds", optarg, 86400);
            break;
        case CONNECTIONS:
            count = number("--connections", optarg, CONNECTIONS_MAX);
            break;
        case HELP:
            printf(usage, program_invocation_short_name);
            exit(fflush(stdout) == 0 ? 0 : 1);
        default: /* getopt_long has printed a message */
            exit(2);
        }
    if (argc - optind != 1)
        errx(2, "no server: want a URL; see --help");
    parse_url(argv[optind]);

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
    struct peer *peers = calloc((size_t)count, sizeof *peers);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (peers == NULL || epoll < 0)
        err(1, "set up");
    for (long i = 0; i < count; i++)
        peers[i].fd = -1;
    run(peers, count, clock_now_ns() + seconds * NS_PER_S);

    printf("connections");
    for (int i = 0; i < KNOWN; i++)
        printf("\t%d", known[i].status);
    printf("\tleft\tcut\twrong\n%ld", connections);
    for (int i = 0; i < KNOWN; i++)
        printf("\t%ld", answers[i]);
    printf("\t%ld\t%ld\t%ld\n", left, cut, wrongs);
    free(peers);
    if (fflush(stdout) != 0)
        err(1, "write to stdout");
    return wrongs == 0 ? 0 : 1;
}
