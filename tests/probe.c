/* The measuring client: it sends requests at given moments, each on a connection of its own, and
 * reports how each one ended, and when. One thread with one epoll loop sends them all; a request is
 * a small struct and a descriptor, so tens of thousands may be under way simultaneously. */
#include "common/clock.h"

#include <assert.h>
#include <ctype.h>
#include <err.h>
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
    HEAD_MAX = 65536, /* a server that sends a longer head does not speak HTTP */
};

/* Values of request.error besides 0 and those of errno. */
enum { NO_ANSWER = -1, NOT_HTTP = -2, CLOSED_EARLY = -3 };

enum state {
    CONNECTING,
    SENDING,
    STATUS_LINE,
    FIELDS,
    BODY,         /* its length is known from Content-Length */
    BODY_TO_END,  /* it ends when the server closes */
    CHUNK_SIZE,   /* the digits */
    CHUNK_LINE,   /* the rest of the line with the digits */
    CHUNK,        /* the bytes */
    CHUNK_END,    /* the line end after the bytes */
    TRAILER_LINE, /* after the last chunk, at the start of a line */
    TRAILER,      /* after the last chunk, inside a line */
    OVER,
};

/* An argument of the command line: count requests with the same text, at the same moment. */
struct shot {
    const char *path;
    char *text;
    size_t length;
    long count;
    int64_t moment_ns;
};

struct request {
    const struct shot *shot;
    const struct addrinfo *address;                             /* the one being tried */
    int64_t start_ns, connected_ns, sent_ns, first_ns, done_ns; /* 0: did not happen */
    int64_t left; /* bytes of the body or chunk still to come; -1: unknown */
    size_t sent;
    int fd;
    int error;
    unsigned head;  /* bytes received of it */
    in_port_t port; /* the local port; 0 unless --ports asks for it */
    short status;
    unsigned char state;
    bool chunked;
    unsigned char line, body; /* bytes in text */
    char text[64];            /* the current line of the head; later, the start of the body */
};

static struct {
    int64_t timeout_ns;
    unsigned sources; /* 0: the kernel chooses the address to connect from */
    bool tsv, ports, summary;
    char *headers;    /* field lines for each request */
    const char *data; /* the body of requests that may have one */
} options = {.timeout_ns = 30 * NS_PER_S, .headers = "", .data = ""};

static int epoll;
static unsigned next_source;
static long over; /* requests that have ended */

/* Return the number that the whole text stands for, or -1. */
static double number(const char *text)
{
    char *end = NULL;
    double value = strspn(text, "0123456789.") == strlen(text) ? strtod(text, &end) : -1;

    return end == NULL || end == text || *end != '\0' ? -1 : value;
}

/* Return the number in the text if it is a whole one from least to most, or -1. */
static long whole_number(const char *text, long least, long most)
{
    double value = strchr(text, '.') == NULL ? number(text) : -1;

    return value < (double)least || value > (double)most ? -1 : (long)value;
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

/* Start to connect. Return 0, or the errno of the call that failed. */
static int dial(struct request *r)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = r};

    r->fd = socket(r->address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0)
        return errno;
    if (options.sources > 0) {
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + next_source++ % options.sources);
        /* connect chooses the port: it need only be unused towards this destination */
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

/* Connect to address, or to one that follows it: a name may have several (localhost: ::1 and
 * 127.0.0.1), and the server may listen on just one of them. */
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
    if (options.ports)
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

    if (r->status < 200) { /* 100, 103: the final response is still to come */
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
    bool bodiless = r->status == 204 || r->status == 304 ||
                    strncmp(r->shot->text, "HEAD ", 5) == 0; /* whatever the fields say */
    return bodiless || (r->state == BODY && left == 0) ? DONE : MORE;
}

static enum outcome head_byte(struct request *r, char byte)
{
    if (++r->head > HEAD_MAX)
        return BAD;
    if (byte != '\n') {
        /* do not wait for a line end: garbage may have none */
        if (r->state == STATUS_LINE && r->line < 5 && byte != "HTTP/"[r->line])
            return BAD;
        if (r->line < sizeof r->text - 1) /* the lines that matter are shorter */
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

/* Parse a byte between the chunks of a body. */
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

/* Take up to n bytes of a body or chunk. Return how many were taken. */
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
    static char bytes[65536]; /* shared by all requests: each keeps no more than its text */
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

/* Run all requests, given in the order of their moments. They all have the same time-out, so they
 * also time out in this order. */
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
                                    requests[oldest]->start_ns + options.timeout_ns <= now_ns);
             oldest++)
            if (requests[oldest]->state != OVER)
                finish(requests[oldest], NO_ANSWER);

        int64_t until_ns = now_ns; /* do not wait if nothing is still to come */
        if (oldest < started)
            until_ns = requests[oldest]->start_ns + options.timeout_ns;
        if (started < count &&
            (oldest == started || zero_ns + requests[started]->shot->moment_ns < until_ns))
            until_ns = zero_ns + requests[started]->shot->moment_ns;
        int n = epoll_wait(epoll, events, BATCH, wait_ms(until_ns));
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++)
            ready(events[i].data.ptr);
    }
}

/* Return in words how a request ended, or its status. */
static const char *result(int error, int status)
{
    static char text[64];

    switch (error) {
    case 0:
        snprintf(text, sizeof text, "%d", status);
        return text;
    case NO_ANSWER:
        snprintf(text, sizeof text, "no answer in %g s", (double)options.timeout_ns / NS_PER_S);
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

static bool succeeded(const struct request *r)
{
    return r->error == 0 && r->status == 200;
}

static double to_ms(int64_t ns)
{
    return (double)ns / NS_PER_MS;
}

/* How long requests took, counted from the start of each. */
struct summary {
    long count, ok;
    int64_t shortest_ns, median_ns, p99_ns, longest_ns;
};

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Sum up the requests for path, or all if it is NULL. Only those with status 200 count for the
 * times: a refusal comes quickly, but it is no answer. */
static struct summary sum_up(const struct request *requests, long count, const char *path)
{
    struct summary sum = {0};
    int64_t *took_ns = calloc((size_t)count, sizeof *took_ns);

    if (took_ns == NULL)
        err(1, "calloc");
    for (const struct request *r = requests; r < requests + count; r++) {
        if (path != NULL && strcmp(r->shot->path, path) != 0)
            continue;
        sum.count++;
        if (succeeded(r))
            took_ns[sum.ok++] = r->done_ns - r->start_ns;
    }
    if (sum.ok > 0) {
        qsort(took_ns, (size_t)sum.ok, sizeof *took_ns, by_value);
        sum.shortest_ns = took_ns[0];
        sum.median_ns = took_ns[(sum.ok - 1) / 2];
        sum.p99_ns = took_ns[(sum.ok * 99 + 99) / 100 - 1];
        sum.longest_ns = took_ns[sum.ok - 1];
    }
    free(took_ns);
    return sum;
}

/* Print to stderr why requests failed, each reason once. */
static void print_reasons(const struct request *requests, long count)
{
    int64_t *reasons = calloc((size_t)count, sizeof *reasons);
    long n = 0;

    if (reasons == NULL)
        err(1, "calloc");
    for (const struct request *r = requests; r < requests + count; r++)
        if (!succeeded(r))
            reasons[n++] = r->error != 0 ? (int64_t)r->error * 1000 : r->status;
    qsort(reasons, (size_t)n, sizeof *reasons, by_value);
    for (long i = 0, next; i < n; i = next) {
        for (next = i; next < n && reasons[next] == reasons[i];)
            next++;
        fprintf(stderr, "%s: %ld of %ld: %s\n", program_invocation_short_name, next - i, count,
                result((int)(reasons[i] / 1000), (int)(reasons[i] % 1000)));
    }
    free(reasons);
}

/* ---- for programs: tab-separated values */

static void print_moment(int64_t moment_ns, int64_t zero_ns)
{
    if (moment_ns == 0)
        printf("-\t");
    else
        printf("%.3f\t", to_ms(moment_ns - zero_ns));
}

/* epoch_ns is the time at moment zero_ns, in nanoseconds since 1970. */
static void print_tsv(const struct request *requests, long count, int64_t zero_ns, int64_t epoch_ns)
{
    printf("request\tpath\tstart_ms\tconnected_ms\tsent_ms\tfirst_ms\tdone_ms\tstatus\tbody%s\n",
           options.ports ? "\tport\tepoch" : "");
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
        if (options.ports) {
            int64_t us = (epoch_ns + r->start_ns - zero_ns) / 1000;
            printf("\t%d\t%lld.%06d", r->port, (long long)(us / 1000000), (int)(us % 1000000));
        }
        printf("\n");
    }
}

static void print_tsv_summary(const struct request *requests, long count)
{
    struct summary sum = sum_up(requests, count, NULL);

    printf("count\tok\tfailed\tmin_ms\tmedian_ms\tp99_ms\tmax_ms\n");
    printf("%ld\t%ld\t%ld\t", count, sum.ok, count - sum.ok);
    if (sum.ok == 0)
        printf("-\t-\t-\t-\n");
    else
        printf("%.3f\t%.3f\t%.3f\t%.3f\n", to_ms(sum.shortest_ns), to_ms(sum.median_ns),
               to_ms(sum.p99_ns), to_ms(sum.longest_ns));
}

/* ---- for people: aligned tables */

enum { COLUMNS = 8, CELL = 24 };

struct table {
    const char *titles[COLUMNS];
    bool to_the_right[COLUMNS];
    int widths[COLUMNS];
    bool measuring; /* the widths are not known yet */
};

/* Make the columns wide enough for a row while measuring; after that, print it. */
static void table_row(struct table *table, const char *const *cells)
{
    for (int i = 0; i < COLUMNS && table->titles[i] != NULL; i++) {
        bool last = i + 1 == COLUMNS || table->titles[i + 1] == NULL;
        int width = table->widths[i], length = (int)strlen(cells[i]);
        if (table->measuring)
            table->widths[i] = length > width ? length : width;
        else if (table->to_the_right[i])
            printf("%*s%s", width, cells[i], last ? "\n" : "  ");
        else
            printf("%-*s%s", last ? 0 : width, cells[i], last ? "\n" : "  ");
    }
}

/* Write a time in text as a person reads it: 0.3 ms, 1.002 s, or - if it is not known. */
static const char *span(int64_t ns, bool known, char text[CELL])
{
    if (!known)
        return "-";
    if (ns < 100 * NS_PER_MS)
        snprintf(text, CELL, "%.1f ms", to_ms(ns));
    else
        snprintf(text, CELL, "%.*f s", ns < 10 * NS_PER_S ? 3 : 2, (double)ns / NS_PER_S);
    return text;
}

static void request_row(struct table *table, const struct request *r, int64_t zero_ns)
{
    char started[CELL], connected[CELL], first[CELL], done[CELL], took[CELL], body[BODY_KEPT + 1];
    const char *cells[COLUMNS] = {
        r->shot->path,
        span(r->start_ns - zero_ns, true, started),
        span(r->connected_ns - zero_ns, r->connected_ns != 0, connected),
        span(r->first_ns - zero_ns, r->first_ns != 0, first),
        span(r->done_ns - zero_ns, r->done_ns != 0, done),
        span(r->done_ns - r->start_ns, r->done_ns != 0, took),
        result(r->error, r->status),
        r->body > 0 ? body : "-",
    };

    snprintf(body, sizeof body, "%.*s", r->body, r->text);
    table_row(table, cells);
}

static void print_table(const struct request *requests, long count, int64_t zero_ns)
{
    struct table table = {
        {"path", "started", "connected", "first byte", "done", "took", "status", "body"},
        {false, true, true, true, true, true, false, false},
        {0},
        true,
    };

    for (int pass = 0; pass < 2; pass++, table.measuring = false) {
        table_row(&table, table.titles);
        for (long i = 0; i < count; i++)
            request_row(&table, &requests[i], zero_ns);
    }
    printf("\n");
}

static void path_row(struct table *table, const char *path, struct summary sum)
{
    char requests[CELL], failed[CELL], shortest[CELL], median[CELL], longest[CELL];
    const char *cells[COLUMNS] = {
        path,
        requests,
        failed,
        span(sum.shortest_ns, sum.ok > 0, shortest),
        span(sum.median_ns, sum.ok > 0, median),
        span(sum.longest_ns, sum.ok > 0, longest),
    };

    snprintf(requests, sizeof requests, "%ld", sum.count);
    snprintf(failed, sizeof failed, "%ld", sum.count - sum.ok);
    table_row(table, cells);
}

/* Print a line for each path, in the order in which the command line names them. */
static void print_table_summary(const struct request *requests, long count,
                                const struct shot *shots, int shot_count)
{
    struct table table = {
        {"path", "requests", "failed", "shortest", "median", "longest"},
        {false, true, true, true, true, true},
        {0},
        true,
    };

    for (int pass = 0; pass < 2; pass++, table.measuring = false) {
        table_row(&table, table.titles);
        for (int i = 0, named; i < shot_count; i++) {
            for (named = 0; strcmp(shots[named].path, shots[i].path) != 0;)
                named++;
            if (named == i)
                path_row(&table, shots[i].path, sum_up(requests, count, shots[i].path));
        }
    }
}

/* ---- the command line */

static const char url_wanted[] = "want http://HOST[:PORT], without a path";

/* Split HOST[:PORT], in place. *port is NULL if there is none. Return whether HOST is an IPv6
 * address in brackets, which are removed. */
static bool split_authority(const char *url, char *authority, char **name, char **port)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    bool in_brackets = *authority == '[';
    char *end;

    *name = in_brackets ? authority + 1 : authority;
    end = *name + (in_brackets ? strcspn(*name, "]") : strspn(*name, letters));
    if (end == *name || (in_brackets && *end == '\0'))
        errx(2, "%s: %s", url, url_wanted);
    if (in_brackets)
        *end++ = '\0';
    if (*end != '\0' && *end != ':')
        errx(2, "%s: %s", url, url_wanted);
    *port = *end == ':' ? end + 1 : NULL;
    *end = '\0';
    if (*port != NULL && whole_number(*port, 1, 65535) < 0)
        errx(2, "%s: want a port from 1 to 65535 after the colon", url);
    return in_brackets;
}

/* Return the addresses that a URL stands for, and in *host the value for the Host field. */
static struct addrinfo *parse_url(const char *url, char **host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *addresses;
    char *copy, *name, *port;

    if (strncasecmp(url, "http://", 7) != 0)
        errx(2, "%s: %s", url, url_wanted);
    const char *authority = url + 7;
    size_t length = strcspn(authority, "/");
    if (strcmp(authority + length, "") != 0 && strcmp(authority + length, "/") != 0)
        errx(2, "%s: %s", url, url_wanted);
    copy = strndup(authority, length);
    *host = strndup(authority, length);
    if (copy == NULL || *host == NULL)
        err(1, "strndup");

    bool in_brackets = split_authority(url, copy, &name, &port);
    if (in_brackets)
        hints.ai_flags |= AI_NUMERICHOST;
    if (options.sources > 0)
        hints.ai_family = AF_INET;
    else if (in_brackets)
        hints.ai_family = AF_INET6;
    int error = getaddrinfo(name, port == NULL ? "80" : port, &hints, &addresses);
    if (error != 0) /* an address will not become right later; a name may */
        errx(in_brackets ? 2 : 1, "%s: %s", url, gai_strerror(error));
    free(copy);
    const struct sockaddr_in *target = (const struct sockaddr_in *)(void *)addresses->ai_addr;
    if (options.sources > 0 && ntohl(target->sin_addr.s_addr) >> 24 != 127)
        errx(2, "%s: --sources wants a destination in 127.0.0.0/8", url);
    return addresses;
}

static struct shot parse_shot(const char *argument, const char *host)
{
    char *copy = strdup(argument);
    struct shot shot = {.count = 1};

    if (copy == NULL)
        err(1, "strdup");
    char *moment = copy, *colon = strchr(copy, ':');
    if (colon == NULL)
        errx(2, "%s: want [COUNTx]MS:PATH, such as 0:/slow or 5x100:/fast", argument);
    *colon = '\0';
    char *times = strchr(copy, 'x');
    if (times != NULL) {
        *times = '\0';
        moment = times + 1;
        shot.count = whole_number(copy, 1, MOST);
        if (shot.count < 0)
            errx(2, "%s: want a COUNT from 1 to 1000000 before the x", argument);
    }
    double moment_ms = number(moment);
    if (moment_ms < 0 || moment_ms > 86400e3)
        errx(2, "%s: want a moment in milliseconds, from 0 to 86400000, before the colon",
             argument);
    shot.moment_ns = (int64_t)(moment_ms * NS_PER_MS);

    const char *method = argument + (colon + 1 - copy);
    size_t letters = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    shot.path = method;
    free(copy);
    if (letters > 0 && method[letters] == ' ')
        shot.path = method + letters + 1;
    else
        method = "GET", letters = 3;
    if (shot.path[0] != '/')
        errx(2, "%s: want a path that begins with / after the colon, or METHOD /path", argument);
    for (const char *c = shot.path; *c != '\0'; c++)
        if (!isgraph((unsigned char)*c))
            errx(2, "%s: want a path without blanks, control characters or bytes above 0x7E",
                 argument);
    const char *body = letters == 3 && strncmp(method, "GET", 3) == 0 ? "" : options.data;
    char length_field[40] = "";
    if (body[0] != '\0')
        snprintf(length_field, sizeof length_field, "Content-Length: %zu\r\n", strlen(body));
    int length =
        asprintf(&shot.text, "%.*s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s",
                 (int)letters, method, shot.path, host, options.headers, length_field, body);
    if (length < 0)
        err(1, "asprintf");
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
        err(1, "getrlimit");
    if (limit.rlim_cur >= (rlim_t)count + 8)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
}

static const char usage[] =
    "usage: %s [OPTION]... URL [COUNTx]MS:[METHOD ]PATH...\n"
    "Send requests, each on a connection of its own, and report how each one ended.\n"
    "URL is http://HOST[:PORT]. MS is when to send, in milliseconds from the start:\n"
    "5x100:/fast asks for /fast five times, 100 ms after the start. The METHOD is GET.\n\n"
    "  --timeout SECONDS  how long a request may take, such as 0.5 (30)\n"
    "  --sources N        connect from 127.0.0.1 to 127.0.0.N in turn, since an address has\n"
    "                     about 28000 ports; for a URL in 127.0.0.0/8\n"
    "  --summary          print only the summary: a line for each path\n"
    "  --tsv              print tab-separated values, for programs: times are in ms, and the\n"
    "                     summary is one line for all paths\n"
    "  --ports            with --tsv: also print the local port of each request, and when it\n"
    "                     started, in seconds since 1970\n"
    "  --header LINE      send this field line, such as \"Cookie: a=b\", too; may be repeated\n"
    "  --data TEXT        send this body with each request whose method is not GET\n"
    "  --help             print this text\n\n"
    "The summary tells how long the requests with status 200 took, each from its own start.\n"
    "Exit status: 0 if every answer had status 200, 1 if not, 2 for a bad command line.\n";

/* Add a field line to all requests. */
static void add_header(const char *line)
{
    char *all;

    if (strchr(line, ':') == NULL || line[0] == ':')
        errx(2, "--header %s: want NAME: VALUE", line);
    for (const char *c = line; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c))
            errx(2, "--header %s: want no control characters", line);
    if (asprintf(&all, "%s%s\r\n", options.headers, line) < 0)
        err(1, "asprintf");
    options.headers = all;
}

/* Read the options. The rest of the command line begins at optind. */
static void parse_options(int argc, char **argv)
{
    enum { TIMEOUT, SOURCES, SUMMARY, TSV, PORTS, HEADER, DATA, HELP };
    static const struct option known[] = {
        {"timeout", required_argument, NULL, TIMEOUT},
        {"sources", required_argument, NULL, SOURCES},
        {"summary", no_argument, NULL, SUMMARY},
        {"tsv", no_argument, NULL, TSV},
        {"ports", no_argument, NULL, PORTS},
        {"header", required_argument, NULL, HEADER},
        {"data", required_argument, NULL, DATA},
        {"help", no_argument, NULL, HELP},
        {0},
    };

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case TIMEOUT:
            if (number(optarg) < 0.001 || number(optarg) > 86400)
                errx(2, "--timeout %s: want seconds, from 0.001 to 86400", optarg);
            options.timeout_ns = (int64_t)(number(optarg) * NS_PER_S);
            break;
        case SOURCES:
            if (whole_number(optarg, 1, 254) < 0)
                errx(2, "--sources %s: want a number of addresses, from 1 to 254", optarg);
            options.sources = (unsigned)whole_number(optarg, 1, 254);
            break;
        case SUMMARY:
            options.summary = true;
            break;
        case TSV:
            options.tsv = true;
            break;
        case PORTS:
            options.ports = true;
            break;
        case HEADER:
            add_header(optarg);
            break;
        case DATA:
            options.data = optarg;
            break;
        case HELP:
            printf(usage, program_invocation_short_name);
            exit(fflush(stdout) == 0 ? 0 : 1);
        default: /* getopt_long has named the option */
            exit(2);
        }
    if (options.ports && (!options.tsv || options.summary))
        errx(2, "--ports: wants --tsv, and no --summary");
    if (argc - optind < 2)
        errx(2, "want a URL and at least one MS:PATH; see --help");
}

/* Return the requests of all shots, in the order of the command line. */
static struct request *make_requests(const struct shot *shots, long count)
{
    struct request *requests = calloc((size_t)count, sizeof *requests);

    if (requests == NULL)
        err(1, "calloc");
    for (long i = 0, of_shot = 0; i < count; i++, of_shot++) {
        if (of_shot == shots->count) {
            shots++;
            of_shot = 0;
        }
        requests[i].shot = shots;
        requests[i].fd = -1;
    }
    return requests;
}

/* Return pointers to the requests, in the order of their moments. */
static struct request **sort_by_moment(struct request *requests, long count)
{
    struct request **order = calloc((size_t)count, sizeof(*order));

    if (order == NULL)
        err(1, "calloc");
    for (long i = 0; i < count; i++)
        order[i] = &requests[i];
    qsort(order, (size_t)count, sizeof(*order), by_moment);
    return order;
}

/* Return the time in nanoseconds since 1970. */
static int64_t epoch_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int main(int argc, char **argv)
{
    char *host;

    parse_options(argc, argv);
    const char *url = argv[optind++];
    struct addrinfo *addresses = parse_url(url, &host);
    int shot_count = argc - optind;
    struct shot *shots = calloc((size_t)shot_count, sizeof *shots);
    long count = 0, ok = 0;
    if (shots == NULL)
        err(1, "calloc");
    for (int i = 0; i < shot_count; i++) {
        shots[i] = parse_shot(argv[optind + i], host);
        count += shots[i].count;
        if (count > MOST)
            errx(2, "%s: more than 1000000 requests in all", argv[optind + i]);
    }
    assert(count > 0); /* there is a shot, and each has a count of at least 1 */
    struct request *requests = make_requests(shots, count);
    struct request **order = sort_by_moment(requests, count);

    want_descriptors(count);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        err(1, "epoll_create1");
    int64_t zero_ns = clock_now_ns(), epoch_ns = epoch_now_ns();
    run(order, count, addresses, zero_ns);

    if (options.summary)
        print_reasons(requests, count);
    else if (options.tsv)
        print_tsv(requests, count, zero_ns, epoch_ns);
    else
        print_table(requests, count, zero_ns);
    if (!options.tsv)
        print_table_summary(requests, count, shots, shot_count);
    else if (options.summary)
        print_tsv_summary(requests, count);
    if (fflush(stdout) != 0 || ferror(stdout))
        err(1, "write to stdout");

    for (long i = 0; i < count; i++)
        ok += succeeded(&requests[i]);
    for (int i = 0; i < shot_count; i++)
        free(shots[i].text);
    free(shots);
    free(requests);
    free(order);
    free(host);
    freeaddrinfo(addresses);
    return ok == count ? 0 : 1;
}
