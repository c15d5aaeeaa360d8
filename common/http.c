#include "common/http.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { EMPTY_LINES_MAX = 4 };

static const struct {
    const char *path, *content;
} routes[] = {
    [HTTP_FAST] = {"/fast", "That was fast!"},
    [HTTP_SLOW] = {"/slow", "That was slow!"},
};

/* The status line ends where the colon stands; the whole is the content, for people to read. */
static const struct {
    int status;
    const char *text;
} answers[] = {
    {200, "200 OK"},
    {400, "400 Bad Request: this is not HTTP/1.1 as in RFC 9112\n"},
    {404, "404 Not Found: this server has /slow and /fast\n"},
    {405, "405 Method Not Allowed: /slow and /fast take GET and HEAD\n"},
    {408, "408 Request Timeout: the request took too long to arrive\n"},
    {414, "414 URI Too Long: the request line is over 8 KiB\n"},
    {431, "431 Request Header Fields Too Large: the request head is over 8 KiB\n"},
    {501, "501 Not Implemented: this method or transfer coding is not known here\n"},
    {505, "505 HTTP Version Not Supported: this server speaks HTTP/1.1\n"},
};

/* A piece of the input. Its bytes are not terminated. */
struct span {
    const char *at;
    size_t length;
};

static bool is(struct span s, const char *text)
{
    return s.length == strlen(text) && memcmp(s.at, text, s.length) == 0;
}

static bool is_ignoring_case(struct span s, const char *text)
{
    return s.length == strlen(text) && strncasecmp(s.at, text, s.length) == 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_control(char c, bool but_tab)
{
    return ((unsigned char)c < ' ' && !(but_tab && c == '\t')) || c == '\x7f';
}

/* Sets of bytes: of a token (RFC 9110 §5.6.2), of a host (reg-name, RFC 3986 §3.2.2), and of an
 * address in brackets. */
static const bool token_bytes[256] = {
    ['!'] = 1,         ['#' ... '\''] = 1, ['*'] = 1,         ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1,  ['^' ... 'z'] = 1, ['|'] = 1, ['~'] = 1};
static const bool host_bytes[256] = {
    ['!'] = 1,         ['$' ... '.'] = 1, ['0' ... '9'] = 1, [';'] = 1, ['='] = 1,
    ['A' ... 'Z'] = 1, ['_'] = 1,         ['a' ... 'z'] = 1, ['~'] = 1};
static const bool address_bytes[256] = {
    ['.'] = 1, ['0' ... ':'] = 1, ['A' ... 'F'] = 1, ['a' ... 'f'] = 1};

static bool all_in(const bool set[256], struct span s)
{
    for (size_t i = 0; i < s.length; i++)
        if (!set[(unsigned char)s.at[i]])
            return false;
    return s.length > 0;
}

/* Takes what stands before the first delimiter off the front of s, the delimiter too. Returns it;
 * the whole of s if there is none, which *found tells. */
static struct span take(struct span *s, char delimiter, bool *found)
{
    const char *end = memchr(s->at, delimiter, s->length);
    struct span taken = {s->at, end ? (size_t)(end - s->at) : s->length};
    size_t past = taken.length + (end != NULL);

    *found = end != NULL;
    s->at += past;
    s->length -= past;
    return taken;
}

static struct span trim(struct span s)
{
    while (s.length > 0 && is_blank(s.at[0]))
        s.at++, s.length--;
    while (s.length > 0 && is_blank(s.at[s.length - 1]))
        s.length--;
    return s;
}

/* Does it look like uri-host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2)? An empty host, which
 * the general grammar allows, no http URI has (RFC 9110 §4.2.1). */
static bool is_host(struct span s)
{
    bool found;

    if (s.length > 0 && s.at[0] == '[') {
        struct span address = take(&s, ']', &found);
        if (!found || !all_in(address_bytes, (struct span){address.at + 1, address.length - 1}) ||
            (s.length > 0 && s.at[0] != ':'))
            return false;
        take(&s, ':', &found);
    } else if (!all_in(host_bytes, take(&s, ':', &found))) {
        return false;
    }
    while (s.length > 0 && is_digit(s.at[s.length - 1]))
        s.length--;
    return s.length == 0;
}

static enum http_method method_of(struct span s)
{
    static const char *const names[] = {"GET",   "HEAD",    "POST",  "PUT",    "DELETE",
                                        "PATCH", "OPTIONS", "TRACE", "CONNECT"};
    int i = 0;

    while (i < HTTP_OTHER && !is(s, names[i]))
        i++;
    return (enum http_method)i;
}

/* The route that a target names. Returns false if it has none of the four forms of RFC 9112 §3.2,
 * or one that the method does not take. */
static bool find_route(struct http_request *r, struct span target)
{
    bool found;

    for (size_t i = 0; i < target.length; i++)
        if (target.at[i] <= ' ' || target.at[i] > '~')
            return false;
    r->route = HTTP_NOWHERE;
    if (is(target, "*"))
        return r->method == HTTP_OPTIONS || r->method == HTTP_OTHER;
    if (target.length >= 7 && strncasecmp(target.at, "http://", 7) == 0) {
        size_t end = 7;
        while (end < target.length && target.at[end] != '/' && target.at[end] != '?')
            end++;
        if (!is_host((struct span){target.at + 7, end - 7}))
            return false;
        target.at += end;
        target.length -= end;
    } else if (target.length == 0 || target.at[0] != '/') {
        return is_host(target) && (r->method == HTTP_CONNECT || r->method == HTTP_OTHER);
    }
    struct span path = take(&target, '?', &found);
    r->route = 0;
    while (r->route < HTTP_NOWHERE && !is(path, routes[r->route].path))
        r->route++;
    return true;
}

static bool parse_request_line(struct http_request *r, struct span line)
{
    bool found; /* a missing space leaves the version empty */
    struct span method = take(&line, ' ', &found);
    struct span target = take(&line, ' ', &found);
    struct span version = line;

    if (!all_in(token_bytes, method))
        return false;
    r->method = method_of(method);
    if (!find_route(r, target))
        return false;
    if (version.length != 8 || memcmp(version.at, "HTTP/", 5) != 0 || !is_digit(version.at[5]) ||
        version.at[6] != '.' || !is_digit(version.at[7]) || version.at[5] == '0')
        return false;
    r->major = version.at[5] - '0';
    r->minor = version.at[7] - '0';
    return true;
}

static void parse_content_length(struct http_request *r, struct span value)
{
    uint64_t length = 0;
    bool valid = value.length > 0;

    for (size_t i = 0; i < value.length; i++)
        valid = valid && is_digit(value.at[i]) && !__builtin_mul_overflow(length, 10u, &length) &&
                !__builtin_add_overflow(length, (uint64_t)(value.at[i] - '0'), &length);
    r->lengths++;
    r->bad_length |= !valid;
    r->has_body |= length > 0;
}

static void parse_list(struct http_request *r, struct span list, bool of_codings)
{
    for (bool more = true; more;) {
        struct span item = trim(take(&list, ',', &more));
        if (item.length == 0)
            continue; /* RFC 9110 §5.6.1.2 */
        if (!of_codings) {
            r->close_listed |= is_ignoring_case(item, "close");
            r->keep_alive_listed |= is_ignoring_case(item, "keep-alive");
        } else if (is_ignoring_case(item, "chunked")) {
            r->chunked++;
        } else {
            r->other_coding = true;
        }
    }
}

static bool parse_field_line(struct http_request *r, struct span line) /* RFC 9112 §5 */
{
    bool colon;
    struct span name = take(&line, ':', &colon);
    struct span value = trim(line);

    if (!colon ||
        !all_in(token_bytes, name)) /* a folded line begins with a space: no token either */
        return false;
    if (is_ignoring_case(name, "host")) {
        r->hosts++;
        r->bad_host |= !is_host(value);
    } else if (is_ignoring_case(name, "content-length")) {
        parse_content_length(r, value);
    } else if (is_ignoring_case(name, "transfer-encoding")) {
        r->codings++;
        r->has_body = true;
        parse_list(r, value, true);
    } else if (is_ignoring_case(name, "connection")) {
        parse_list(r, value, false);
    }
    return true;
}

/* The status of a complete head, whose lines are all well-formed. */
static int judge(const struct http_request *r)
{
    if (r->major != 1)
        return 505;
    if (r->bad_host || r->hosts > 1 || (r->hosts == 0 && r->minor > 0))
        return 400;
    if (r->bad_length || r->lengths > 1)
        return 400;
    if (r->codings > 0 && (r->lengths > 0 || r->minor == 0 || r->chunked > 1 ||
                           (r->chunked == 0 && !r->other_coding)))
        return 400;
    if (r->other_coding || r->method == HTTP_OTHER)
        return 501;
    if (r->route == HTTP_NOWHERE)
        return 404;
    return r->method == HTTP_GET || r->method == HTTP_HEAD ? 200 : 405;
}

/* Takes one complete line, its CRLF cut off. Returns false if it is malformed. */
static bool parse_line(struct http_request *r, struct span line)
{
    if (r->lines == 0 && line.length == 0) {
        r->start = r->length;
        return ++r->empty_lines <= EMPTY_LINES_MAX;
    }
    if (r->lines++ == 0)
        return parse_request_line(r, line);
    if (line.length > 0)
        return parse_field_line(r, line);
    r->status = judge(r);
    r->keep_alive = r->status != 400 && r->status != 505 && !r->has_body && !r->close_listed &&
                    (r->minor > 0 || r->keep_alive_listed);
    return true;
}

bool http_parse(struct http_request *r, const char *bytes, size_t length)
{
    if (length > HTTP_HEAD_MAX)
        length = HTTP_HEAD_MAX;
    while (r->status == 0) {
        size_t end = r->length;
        while (end < length && !is_control(bytes[end], r->lines > 0))
            end++;
        r->length = end;
        bool cr = end < length && bytes[end] == '\r';
        if (end + cr >= length)
            break; /* more must come, behind a CR too */
        r->length += cr ? 2 : 1;
        if (!cr || bytes[end + 1] != '\n' ||
            !parse_line(r, (struct span){bytes + r->line, end - r->line}))
            r->status = 400;
        r->line = r->length;
    }
    if (r->status == 0 && length == HTTP_HEAD_MAX)
        r->status = r->lines == 0 ? 414 : 431;
    return r->status != 0;
}

bool http_begun(const struct http_request *r)
{
    return r->length > r->start;
}

void http_time_out(struct http_request *r)
{
    r->status = 408;
}

static char *append_span(char *at, struct span s)
{
    memcpy(at, s.at, s.length);
    return at + s.length;
}

static char *append(char *at, const char *text)
{
    return append_span(at, (struct span){text, strlen(text)});
}

static char *append_number(char *at, size_t number)
{
    if (number >= 10)
        at = append_number(at, number / 10);
    *at = (char)('0' + number % 10);
    return at + 1;
}

void http_date(char out[HTTP_DATE_SIZE], time_t date)
{
    struct tm t = {.tm_mday = 1};

    gmtime_r(&date, &t);
    strftime(out, HTTP_DATE_SIZE, "%a, %d %b %Y %T GMT", &t); /* names of the "C" locale */
}

size_t http_respond(char out[HTTP_RESPONSE_MAX], const struct http_request *r, const char *server,
                    const char *date, bool keep_alive)
{
    size_t i = 0;

    assert(strlen(server) <= 64);
    for (; answers[i].status != r->status; i++)
        assert(i + 1 < sizeof answers / sizeof *answers);
    const char *text = answers[i].text;
    const char *content = r->status == 200 ? routes[r->route].content : text;

    char *at = append(out, "HTTP/1.1 ");
    at = append_span(at, take(&(struct span){text, strlen(text)}, ':', &(bool){false}));
    at = append(append(at, "\r\nDate: "), date);
    at = append(append(at, "\r\nServer: "), server);
    at = append(at, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ");
    at = append_number(at, strlen(content));
    if (r->status == 405)
        at = append(at, "\r\nAllow: GET, HEAD");
    if (!keep_alive)
        at = append(at, "\r\nConnection: close");
    else if (r->minor == 0)
        at = append(at, "\r\nConnection: keep-alive");
    at = append(at, "\r\n\r\n");
    if (r->method != HTTP_HEAD)
        at = append(at, content);
    assert(at <= out + HTTP_RESPONSE_MAX);
    return (size_t)(at - out);
}
