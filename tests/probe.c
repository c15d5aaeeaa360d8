/* The measuring client: sends requests at given moments, each on a connection of its own, and tells
 * what became of each, and when. One thread and one epoll loop for all; a request is a small struct
 * and a descriptor, so tens of thousands may be under way at once. */
#include "common/clock.h"
#include "common/util.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 64,       /* events, and starts, in a turn of the loop: neither may starve the other */
    MOST = 1000000,   /* requests */
    BODY_KEPT = 40,   /* bytes of the body that are shown */
    HEAD_MAX = 65536, /* a longer head is none */
};

/* What stands in error besides 0 and the values of errno. */
enum { NO_ANSWER = -1, NOT_HTTP = -2, CLOSED_EARLY = -3 };

enum state {
    CONNECTING,
    SENDING,
    STATUS_LINE,
    FIELDS,
    BODY,         /* as long as Content-Length says */
    BODY_TO_END,  /* as long as the server sends */
    CHUNK_SIZE,   /* its digits */
    CHUNK_LINE,   /* what follows the digits, up to the line's end */
    CHUNK,        /* its bytes */
    CHUNK_END,    /* the line end behind them */
    TRAILER_LINE, /* behind the last chunk: a line, at its start */
    TRAILER,      /* and inside */
    OVER,
};

/* An argument of the command line: count requests of the same text at the same moment. */
struct shot {
    const char *path;
    char *text;
    size_t length;
    long count;
    int64_t moment_ns;
};

struct request {
    const struct shot *shot;
    const struct addrinfo *address;                             /* the one that is tried */
    int64_t start_ns, connected_ns, sent_ns, first_ns, done_ns; /* 0: did not happen */
    int64_t left; /* of the body or chunk; -1: unknown */
    size_t sent;
    int fd;
    int error;
    unsigned head;  /* bytes of it */
    in_port_t port; /* the local one; 0 unless with_ports */
    short status;
    unsigned char state;
    bool chunked;
    unsigned char line, body; /* bytes of it in text */
    char text[64]; /* the line of the head that is under way; then the start of the body */
};

static int epoll;
static int64_t timeout_ns = 30 * NS_PER_S;
static unsigned sources, next_source;
static bool with_ports;
static long over;

static _Noreturn void refuse(const char *what, const char *value, const char *wanted)
{
    fprintf(stderr, "%s: %s%s: %s\n", program_invocation_short_name, what, value, wanted);
    exit(2);
}

/* A number with nothing before or behind it, or -1. */
static double number(const char *text)
{
    char *end = NULL;
    double value = strspn(text, "0123456789.") == strlen(text) ? strtod(text, &end) : -1;

    return end == NULL || end == text || *end != '\0' ? -1 : value;
}

static void finish(struct request *r, int error)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->state = OVER;
    r->error = error;
    over++;
}

/* Returns 0 when the connection is under way, or the errno of what failed. */
static int dial(struct request *r)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = r};

    r->fd = socket(r->address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0)
        return errno;
    if (sources > 0) {
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + next_source++ % sources);
        /* the port is chosen at connect, when it need be free for this destination alone */
        if (setsockopt(r->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)) < 0 ||
            bind(r->fd, (struct sockaddr *)&source, sizeof source) < 0)
            return errno;
    }
    if (connect(r->fd, r->address->ai_addr, r->address->ai_addrlen) < 0 && errno != EINPROGRESS)
        return errno;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, r->fd, &event) < 0 ? errno : 0;
}

static in_port_t local_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } local = {0};

    if (getsockname(fd, &local.any, &(socklen_t){sizeof local}) < 0)
        return 0;
    return ntohs(local.any.sa_family == AF_INET6 ? local.in6.sin6_port : local.in.sin_port);
}

/* A name may have several addresses (localhost: ::1 and 127.0.0.1), with a server on one. */
static void connect_to(struct request *r, const struct addrinfo *address)
{
    int error;

    for (r->address = address; (error = dial(r)) != 0; r->address = r->address->ai_next) {
        if (r->address->ai_next == NULL) {
            finish(r, error);
            return;
        }
        if (r->fd >= 0)
            close(r->fd);
    }
    if (with_ports)
        r->port = local_port(r->fd);
}

static void send_text(struct request *r)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = r};
    const struct shot *shot = r->shot;
    ssize_t n = send(r->fd, shot->text + r->sent, shot->length - r->sent, MSG_NOSIGNAL);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            finish(r, errno);
        return;
    }
    r->sent += (size_t)n;
    if (r->sent < shot->length)
        return;
    r->sent_ns = clock_now_ns();
    r->state = STATUS_LINE;
    r->left = -1;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, r->fd, &event) < 0)
        finish(r, errno);
}

enum outcome { MORE, DONE, BAD };

static enum outcome status_line(struct request *r)
{
    const char *line = r->text, *status = line + strlen("HTTP/1.1 ");

    if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ' ||
        strspn(status, "0123456789") != 3 || (status[3] != '\0' && status[3] != ' '))
        return BAD;
    r->status = (short)strtol(status, NULL, 10);
    r->state = FIELDS;
    return MORE;
}

static enum outcome field(struct request *r)
{
    char *value = strchr(r->text, ':');
    size_t length = strlen(r->text);

    if (value == NULL)
        return MORE;
    while (r->text[length - 1] == ' ' || r->text[length - 1] == '\t')
        r->text[--length] = '\0';
    value++;
    value += strspn(value, " \t");
    length = strlen(value);
    if (strncasecmp(r->text, "Content-Length:", 15) == 0) {
        int64_t left = strtoll(value, NULL, 10);
        if (length < 1 || length > 18 || strspn(value, "0123456789") < length ||
            (r->left >= 0 && r->left != left))
            return BAD;
        r->left = left;
    } else if (strncasecmp(r->text, "Transfer-Encoding:", 18) == 0) {
        r->chunked = length >= 7 && strcasecmp(value + length - 7, "chunked") == 0;
    }
    return MORE;
}

static enum outcome end_of_head(struct request *r)
{
    int64_t left = r->left;

    if (r->status < 200) { /* 100, 103: the answer is still to come */
        r->state = STATUS_LINE;
        r->left = -1;
        r->chunked = false;
        return MORE;
    }
    r->state = r->chunked ? CHUNK_SIZE : left >= 0 ? BODY : BODY_TO_END;
    if (r->state == CHUNK_SIZE)
        r->left = -1;
    else if (r->state == BODY_TO_END)
        r->left = INT64_MAX;
    return r->status == 204 || r->status == 304 || (r->state == BODY && left == 0) ? DONE : MORE;
}

static enum outcome head_byte(struct request *r, char byte)
{
    if (++r->head > HEAD_MAX)
        return BAD;
    if (byte != '\n') {
        /* garbage need not have a line end to wait for */
        if (r->state == STATUS_LINE && r->line < 5 && byte != "HTTP/"[r->line])
            return BAD;
        if (r->line < sizeof r->text - 1) /* no line that matters is longer */
            r->text[r->line++] = byte;
        return MORE;
    }
    if (r->line > 0 && r->text[r->line - 1] == '\r')
        r->line--;
    r->text[r->line] = '\0';
    bool empty = r->line == 0;
    r->line = 0;
    return r->state == STATUS_LINE ? status_line(r) : empty ? end_of_head(r) : field(r);
}

static int hex_digit(char byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, tolower((unsigned char)byte), 16);

    return at == NULL ? -1 : (int)(at - digits);
}

/* A byte of a chunked body, but not of its chunks. */
static enum outcome chunk_byte(struct request *r, char byte)
{
    int digit = hex_digit(byte);

    switch (r->state) {
    case CHUNK_SIZE:
        if (digit >= 0 && r->left < INT64_C(1) << 56) {
            r->left = r->left < 0 ? digit : r->left * 16 + digit;
            return MORE;
        }
        if (r->left < 0 || digit >= 0 || memchr("\r\n; \t", byte, 5) == NULL)
            return BAD;
        r->state = CHUNK_LINE;
        /* fall through */
    case CHUNK_LINE:
        if (byte == '\n')
            r->state = r->left > 0 ? CHUNK : TRAILER_LINE;
        return MORE;
    case CHUNK_END:
        if (byte == '\n') {
            r->state = CHUNK_SIZE;
            r->left = -1;
        }
        return byte == '\n' || byte == '\r' ? MORE : BAD;
    default:
        if (byte == '\n' && r->state == TRAILER_LINE)
            return DONE;
        if (byte != '\r')
            r->state = byte == '\n' ? TRAILER_LINE : TRAILER;
        return MORE;
    }
}

/* Takes up to n bytes of a body or chunk; returns how many. */
static size_t take(struct request *r, const char *bytes, size_t n)
{
    if ((int64_t)n > r->left)
        n = (size_t)r->left;
    for (size_t i = 0; i < n && r->body < BODY_KEPT; i++)
        r->text[r->body++] = isprint((unsigned char)bytes[i]) ? bytes[i] : '?';
    r->left -= (int64_t)n;
    return n;
}

static enum outcome parse(struct request *r, const char *bytes, size_t length)
{
    enum outcome outcome = MORE;

    for (size_t i = 0; i < length && outcome == MORE;)
        switch (r->state) {
        case STATUS_LINE:
        case FIELDS:
            outcome = head_byte(r, bytes[i++]);
            break;
        case BODY:
        case BODY_TO_END:
            i += take(r, bytes + i, length - i);
            outcome = r->left == 0 ? DONE : MORE;
            break;
        case CHUNK:
            i += take(r, bytes + i, length - i);
            if (r->left == 0)
                r->state = CHUNK_END;
            break;
        default:
            outcome = chunk_byte(r, bytes[i++]);
            break;
        }
    return outcome;
}

static void receive(struct request *r)
{
    static char bytes[65536]; /* of all requests: what matters of them is kept in the request */
    ssize_t n = recv(r->fd, bytes, sizeof bytes, 0);
    int64_t now_ns = clock_now_ns();

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            finish(r, errno);
        return;
    }
    if (n > 0 && r->first_ns == 0)
        r->first_ns = now_ns;
    enum outcome outcome = n > 0                     ? parse(r, bytes, (size_t)n)
                           : r->state == BODY_TO_END ? DONE
                                                     : MORE;
    if (outcome == DONE) {
        r->done_ns = now_ns;
        finish(r, 0);
    } else if (outcome == BAD) {
        finish(r, NOT_HTTP);
    } else if (n == 0) {
        finish(r, CLOSED_EARLY);
    }
}

static void ready(struct request *r)
{
    if (r->state == CONNECTING) {
        int error = 0;
        if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}) < 0)
            error = errno;
        if (error != 0) {
            if (r->address->ai_next == NULL) {
                finish(r, error);
            } else {
                close(r->fd);
                connect_to(r, r->address->ai_next);
            }
            return;
        }
        r->connected_ns = clock_now_ns();
        r->state = SENDING;
    }
    if (r->state == SENDING)
        send_text(r);
    else
        receive(r);
}

static int wait_ms(int64_t until_ns)
{
    int64_t left_ns = until_ns - clock_now_ns();

    return left_ns <= 0 ? 0 : (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* Runs all requests, given in the order of their moments. All may take equally long, so they time
 * out in the order of their starts. */
static void run(struct request **requests, long count, const struct addrinfo *address,
                int64_t zero_ns)
{
    struct epoll_event events[BATCH];
    long started = 0, oldest = 0;

    while (over < count) {
        for (int i = 0; i < BATCH && started < count; i++, started++) {
            struct request *r = requests[started];
            if (zero_ns + r->shot->moment_ns > clock_now_ns())
                break;
            r->start_ns = clock_now_ns();
            connect_to(r, address);
        }
        int64_t now_ns = clock_now_ns();
        for (; oldest < started && (requests[oldest]->state == OVER ||
                                    requests[oldest]->start_ns + timeout_ns <= now_ns);
             oldest++)
            if (requests[oldest]->state != OVER)
                finish(requests[oldest], NO_ANSWER);

        int64_t until_ns = now_ns; /* unless something is still to come */
        if (oldest < started)
            until_ns = requests[oldest]->start_ns + timeout_ns;
        if (started < count &&
            (oldest == started || zero_ns + requests[started]->shot->moment_ns < until_ns))
            until_ns = zero_ns + requests[started]->shot->moment_ns;
        int n = epoll_wait(epoll, events, BATCH, wait_ms(until_ns));
        if (n < 0 && errno != EINTR)
            die("epoll_wait:");
        for (int i = 0; i < n; i++)
            ready(events[i].data.ptr);
    }
}

static const char *result(int error, int status)
{
    static char text[64];

    switch (error) {
    case 0:
        snprintf(text, sizeof text, "%d", status);
        return text;
    case NO_ANSWER:
        snprintf(text, sizeof text, "no answer in %g s", (double)timeout_ns / NS_PER_S);
        return text;
    case NOT_HTTP:
        return "not HTTP";
    case CLOSED_EARLY:
        return "closed early";
    case ECONNREFUSED:
        return "refused";
    case ECONNRESET:
    case EPIPE:
        return "reset";
    default:
        return strerror(error);
    }
}

static double to_ms(int64_t ns)
{
    return (double)ns / NS_PER_MS;
}

static void print_moment(int64_t moment_ns, int64_t zero_ns)
{
    if (moment_ns == 0)
        printf("-\t");
    else
        printf("%.3f\t", to_ms(moment_ns - zero_ns));
}

/* Seconds since 1970, as strace -ttt prints them. */
static void print_epoch(int64_t moment_ns)
{
    struct timespec real;

    clock_gettime(CLOCK_REALTIME, &real);
    int64_t ns = real.tv_sec * NS_PER_S + real.tv_nsec - clock_now_ns() + moment_ns;
    printf("\t%lld.%06d", (long long)(ns / NS_PER_S), (int)(ns % NS_PER_S / 1000));
}

static void print_all(const struct request *requests, long count, int64_t zero_ns)
{
    printf("request\tpath\tstart_ms\tconnected_ms\tsent_ms\tfirst_ms\tdone_ms\tstatus\tbody%s\n",
           with_ports ? "\tport\tepoch" : "");
    for (long i = 0; i < count; i++) {
        const struct request *r = &requests[i];
        printf("%ld\t%s\t", i + 1, r->shot->path);
        print_moment(r->start_ns, zero_ns);
        print_moment(r->connected_ns, zero_ns);
        print_moment(r->sent_ns, zero_ns);
        print_moment(r->first_ns, zero_ns);
        print_moment(r->done_ns, zero_ns);
        printf("%s\t%.*s", result(r->error, r->status), r->body > 0 ? r->body : 1,
               r->body > 0 ? r->text : "-");
        if (with_ports) {
            printf("\t%d", r->port);
            print_epoch(r->start_ns);
        }
        printf("\n");
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Times of those with status 200 alone: a refusal is quick, but no answer. */
static void print_summary(const struct request *requests, long count, long ok)
{
    int64_t *took_ns = calloc((size_t)count, sizeof *took_ns);
    const struct request *first = NULL, *last = NULL;
    long n = 0;

    if (took_ns == NULL)
        die("calloc:");
    for (const struct request *r = requests; r < requests + count; r++) {
        if (r->error != 0 || r->status != 200)
            continue;
        took_ns[n++] = r->done_ns - r->start_ns;
        if (first == NULL || r->done_ns < first->done_ns)
            first = r;
        if (last == NULL || r->done_ns > last->done_ns)
            last = r;
    }
    printf("count\tok\tfailed\tfirst_done_ms\tmedian_ms\tlast_ms\tp99_ms\tmax_ms\n");
    printf("%ld\t%ld\t%ld\t", count, ok, count - ok);
    if (first == NULL) {
        printf("-\t-\t-\t-\t-\n");
    } else {
        qsort(took_ns, (size_t)n, sizeof *took_ns, by_value);
        printf("%.3f\t%.3f\t%.3f\t%.3f\t%.3f\n", to_ms(first->done_ns - first->start_ns),
               to_ms(took_ns[(n - 1) / 2]), to_ms(last->done_ns - last->start_ns),
               to_ms(took_ns[(n * 99 + 99) / 100 - 1]), to_ms(took_ns[n - 1]));
    }

    n = 0; /* and why the others failed, each reason once */
    for (const struct request *r = requests; r < requests + count; r++)
        if (r->error != 0 || r->status != 200)
            took_ns[n++] = r->error != 0 ? (int64_t)r->error * 1000 : r->status;
    qsort(took_ns, (size_t)n, sizeof *took_ns, by_value);
    for (long i = 0, next; i < n; i = next) {
        for (next = i; next < n && took_ns[next] == took_ns[i];)
            next++;
        fprintf(stderr, "%s: %ld of %ld: %s\n", program_invocation_short_name, next - i, count,
                result((int)(took_ns[i] / 1000), (int)(took_ns[i] % 1000)));
    }
    free(took_ns);
}

/* http://HOST[:PORT] -> what to connect to, and *host: what the Host line says. */
static struct addrinfo *parse_url(const char *url, char **host)
{
    static const char wanted[] = "want http://HOST[:PORT], without a path";
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *addresses;

    if (strncasecmp(url, "http://", 7) != 0)
        refuse("", url, wanted);
    const char *authority = url + 7;
    size_t length = strcspn(authority, "/");
    if (strcmp(authority + length, "") != 0 && strcmp(authority + length, "/") != 0)
        refuse("", url, wanted);
    char *copy = strndup(authority, length);
    *host = strndup(authority, length);
    if (copy == NULL || *host == NULL)
        die("strndup:");

    char *name = copy, *port = copy + strspn(copy, letters);
    if (*copy == '[') {
        name = copy + 1;
        port = name + strcspn(name, "]");
        if (*port == '\0')
            refuse("", url, wanted);
        *port++ = '\0';
        hints.ai_family = AF_INET6;
        hints.ai_flags |= AI_NUMERICHOST;
    }
    if (port == name || (*port != '\0' && *port != ':'))
        refuse("", url, wanted);
    if (*port == ':') {
        *port++ = '\0';
        double value = strchr(port, '.') == NULL ? number(port) : -1;
        if (value < 1 || value > 65535)
            refuse("", url, "want a port from 1 to 65535 behind the colon");
    } else {
        port = "80";
    }
    if (sources > 0)
        hints.ai_family = AF_INET;
    int error = getaddrinfo(name, port, &hints, &addresses);
    if (error != 0) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, url, gai_strerror(error));
        exit(name != copy ? 2 : 1); /* numbers are wrong by themselves, a name may be right later */
    }
    free(copy);
    return addresses;
}

static struct shot parse_shot(const char *argument, const char *host)
{
    char *copy = strdup(argument);
    struct shot shot = {.count = 1};

    if (copy == NULL)
        die("strdup:");
    char *moment = copy, *colon = strchr(copy, ':');
    if (colon == NULL)
        refuse("", argument, "want [COUNTx]MS:PATH, such as 0:/slow or 5x100:/fast");
    *colon = '\0';
    char *times = strchr(copy, 'x');
    if (times != NULL) {
        *times = '\0';
        moment = times + 1;
        double count = strchr(copy, '.') == NULL ? number(copy) : -1;
        if (count < 1 || count > MOST)
            refuse("", argument, "want a COUNT from 1 to 1000000 before the x");
        shot.count = (long)count;
    }
    double moment_ms = number(moment);
    if (moment_ms < 0 || moment_ms > 86400e3)
        refuse("", argument, "want a moment in milliseconds, from 0 to 86400000, before the colon");
    shot.moment_ns = (int64_t)(moment_ms * NS_PER_MS);

    shot.path = argument + (colon + 1 - copy);
    free(copy);
    if (shot.path[0] != '/')
        refuse("", argument, "want a path that begins with / behind the colon");
    for (const char *c = shot.path; *c != '\0'; c++)
        if (!isgraph((unsigned char)*c))
            refuse("", argument, "want a path without blanks, controls and bytes above 0x7E");
    int length = asprintf(&shot.text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                          shot.path, host);
    if (length < 0)
        die("asprintf:");
    shot.length = (size_t)length;
    return shot;
}

static int by_moment(const void *a, const void *b)
{
    const struct request *x = *(struct request *const *)a, *y = *(struct request *const *)b;

    if (x->shot->moment_ns != y->shot->moment_ns)
        return x->shot->moment_ns < y->shot->moment_ns ? -1 : 1;
    return x < y ? -1 : 1;
}

static void want_descriptors(long count)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit:");
    if (limit.rlim_cur >= (rlim_t)count + 8)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit:");
}

static const char usage[] =
    "usage: %s [OPTION]... URL [COUNTx]MS:PATH...\n"
    "Sends GET requests, each at its moment and on a connection of its own, and prints\n"
    "what became of each: a line of tab-separated values, times in ms since moment 0.\n"
    "URL is http://HOST[:PORT]; 5x100:/fast asks for /fast five times at 100 ms.\n\n"
    "  --timeout SECONDS  how long a request may take, fractions allowed (30)\n"
    "  --sources N        connect from 127.0.0.1 to 127.0.0.N in turn, since an address\n"
    "                     has about 28000 ports; for a URL in 127.0.0.0/8\n"
    "  --tsv              tab-separated values, for programs\n"
    "  --ports            with --tsv: also each request's local port, and the time when\n"
    "                     it started, in seconds since 1970\n"
    "  --summary          one line for all; its times count from each request's start\n"
    "  --help\n\n"
    "Exit status: 0 if every answer had status 200, 1 if not, 2 for a bad command line.\n";

int main(int argc, char **argv)
{
    enum { TIMEOUT, SOURCES, SUMMARY, TSV, PORTS, HELP };
    static const struct option known[] = {
        {"timeout", required_argument, NULL, TIMEOUT},
        {"sources", required_argument, NULL, SOURCES},
        {"summary", no_argument, NULL, SUMMARY},
        {"tsv", no_argument, NULL, TSV},
        {"ports", no_argument, NULL, PORTS},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    bool summary = false;
    double value;
    char *host;

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case TIMEOUT:
            value = number(optarg);
            if (value < 0.001 || value > 86400)
                refuse("--timeout ", optarg, "want seconds, from 0.001 to 86400");
            timeout_ns = (int64_t)(value * NS_PER_S);
            break;
        case SOURCES:
            value = strchr(optarg, '.') == NULL ? number(optarg) : -1;
            if (value < 1 || value > 254)
                refuse("--sources ", optarg, "want a number of addresses, from 1 to 254");
            sources = (unsigned)value;
            break;
        case SUMMARY:
            summary = true;
            break;
        case TSV:
            break;
        case PORTS:
            with_ports = true;
            break;
        case HELP:
            printf(usage, program_invocation_short_name);
            exit(fflush(stdout) == 0 ? 0 : 1);
        default: /* getopt_long has named it */
            exit(2);
        }
    if (argc - optind < 2) {
        fprintf(stderr, "%s: want a URL and at least one MS:PATH; see --help\n",
                program_invocation_short_name);
        exit(2);
    }
    const char *url = argv[optind++];
    struct addrinfo *addresses = parse_url(url, &host);
    const struct sockaddr_in *target = (const struct sockaddr_in *)(void *)addresses->ai_addr;
    if (sources > 0 && ntohl(target->sin_addr.s_addr) >> 24 != 127)
        refuse("", url, "--sources wants a destination in 127.0.0.0/8");

    struct shot *shots = calloc((size_t)(argc - optind), sizeof *shots);
    long count = 0;
    if (shots == NULL)
        die("calloc:");
    for (int i = 0; i < argc - optind; i++) {
        shots[i] = parse_shot(argv[optind + i], host);
        count += shots[i].count;
        if (count > MOST)
            refuse("", argv[optind + i], "more than 1000000 requests in all");
    }

    if (count == 0)
        refuse("", url, "nothing to ask for; see --help");
    struct request *requests = calloc((size_t)count, sizeof *requests);
    struct request **order = calloc((size_t)count, sizeof(*order));
    if (requests == NULL || order == NULL)
        die("calloc:");
    for (long i = 0, shot = 0, of_shot = 0; i < count; i++, of_shot++) {
        if (of_shot == shots[shot].count) {
            shot++;
            of_shot = 0;
        }
        requests[i].shot = &shots[shot];
        requests[i].fd = -1;
        order[i] = &requests[i];
    }
    qsort(order, (size_t)count, sizeof(*order), by_moment);

    want_descriptors(count);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1:");
    int64_t zero_ns = clock_now_ns();
    run(order, count, addresses, zero_ns);

    long ok = 0;
    for (long i = 0; i < count; i++)
        ok += requests[i].error == 0 && requests[i].status == 200;
    if (summary)
        print_summary(requests, count, ok);
    else
        print_all(requests, count, zero_ns);
    if (fflush(stdout) != 0 || ferror(stdout))
        die("write to stdout:");

    for (int i = 0; i < argc - optind; i++)
        free(shots[i].text);
    free(shots);
    free(requests);
    free(order);
    free(host);
    freeaddrinfo(addresses);
    return ok == count ? 0 : 1;
}
