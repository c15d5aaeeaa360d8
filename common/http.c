#include "common/http.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { EMPTY_LINES_MAX = 4 };

/* A piece of the input, or a constant. There is no terminating NUL. */
struct span {
    const char *at;
    size_t length;
};

#define SPAN(text) ((struct span){text, sizeof(text) - 1})

static const struct {
    struct span path, content;
} routes[] = {
    [HTTP_FAST] = {SPAN("/fast"), SPAN("That was fast!")},
    [HTTP_SLOW] = {SPAN("/slow"), SPAN("That was slow!")},
};

/* The text up to the colon goes into the status line; the whole text is the content. */
static const struct {
    int status;
    struct span text;
} answers[] = {
    {200, SPAN("200 OK")},
    {400, SPAN("400 Bad Request: this is not HTTP/1.1 as in RFC 9112\n")},
    {404, SPAN("404 Not Found: this server has /slow and /fast\n")},
    {405, SPAN("405 Method Not Allowed: /slow and /fast take GET and HEAD\n")},
    {408, SPAN("408 Request Timeout: the request took too long to arrive\n")},
    {414, SPAN("414 URI Too Long: the request line is over 8 KiB\n")},
    {431, SPAN("431 Request Header Fields Too Large: the request head is over 8 KiB\n")},
    {501, SPAN("501 Not Implemented: this method or transfer coding is not known here\n")},
    {505, SPAN("505 HTTP Version Not Supported: this server speaks HTTP/1.1\n")},
};

/* The bytes that may appear in a line (no control characters but the tab), in an item of a list, in
 * a request target, in its path, in a token (RFC 9110 §5.6.2), in a host name (reg-name, RFC 3986
 * §3.2.2), in an address in brackets, and in a port. */
static const bool line_bytes[256] = {['\t'] = 1, [' ' ... '~'] = 1, [0x80 ... 0xff] = 1};
static const bool item_bytes[256] = {
    ['\t'] = 1, [' ' ... '+'] = 1, ['-' ... '~'] = 1, [0x80 ... 0xff] = 1};
static const bool target_bytes[256] = {['!' ... '~'] = 1};
static const bool path_bytes[256] = {['!' ... '>'] = 1, ['@' ... '~'] = 1};
static const bool token_bytes[256] = {
    ['!'] = 1,         ['#' ... '\''] = 1, ['*'] = 1,         ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1,  ['^' ... 'z'] = 1, ['|'] = 1, ['~'] = 1};
static const bool host_bytes[256] = {
    ['!'] = 1,         ['$' ... '.'] = 1, ['0' ... '9'] = 1, [';'] = 1, ['='] = 1,
    ['A' ... 'Z'] = 1, ['_'] = 1,         ['a' ... 'z'] = 1, ['~'] = 1};
static const bool address_bytes[256] = {
    ['.'] = 1, ['0' ... ':'] = 1, ['A' ... 'F'] = 1, ['a' ... 'f'] = 1};
static const bool port_bytes[256] = {['0' ... '9'] = 1};

static bool is(struct span s, struct span constant)
{
    return s.length == constant.length && memcmp(s.at, constant.at, s.length) == 0;
}

/* Return true if s, part of a line, is this lower-case text, ignoring case. The bit of the space
 * makes a letter lower-case. It would also turn CR into '-', but a line has no control characters.
 * (strncasecmp would ask the locale, which takes longer than the comparison.) */
static bool is_ignoring_case(struct span s, const char *lower)
{
    size_t i = 0;

    while (i < s.length && (s.at[i] | ' ') == lower[i])
        i++;
    return i == s.length && lower[i] == '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Take the longest prefix of s whose bytes are all in the set, and return it. */
static struct span take(struct span *s, const bool set[256])
{
    const char *at = s->at;
    size_t n = 0;

#pragma GCC unroll 4 /* half the time of a parse is spent here */
    for (; n < s->length; n++)
        if (!set[(unsigned char)at[n]])
            break;
    s->at += n;
    s->length -= n;
    return (struct span){at, n};
}

/* Take this byte off the front of s. Return false if s is empty or begins with another byte. */
static bool take_byte(struct span *s, char byte)
{
    if (s->length == 0 || s->at[0] != byte)
        return false;
    s->at++, s->length--;
    return true;
}

static struct span trim(struct span s)
{
    while (s.length > 0 && is_blank(s.at[0]))
        s.at++, s.length--;
    while (s.length > 0 && is_blank(s.at[s.length - 1]))
        s.length--;
    return s;
}

/* Take uri-host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2). Return false if there is no host:
 * the grammar allows an empty one, but no http URI may have it (RFC 9110 §4.2.1). Set *port to the
 * digits, if there are any. */
static bool take_host(struct span *s, struct span *port)
{
    *port = (struct span){0};
    if (take_byte(s, '[')) {
        if (take(s, address_bytes).length == 0 || !take_byte(s, ']'))
            return false;
    } else if (take(s, host_bytes).length == 0) {
        return false;
    }
    if (take_byte(s, ':'))
        *port = take(s, port_bytes);
    return true;
}

static enum http_method method_of(struct span s)
{
    static const struct span names[] = {
        [HTTP_GET] = SPAN("GET"),         [HTTP_HEAD] = SPAN("HEAD"),
        [HTTP_POST] = SPAN("POST"),       [HTTP_PUT] = SPAN("PUT"),
        [HTTP_DELETE] = SPAN("DELETE"),   [HTTP_PATCH] = SPAN("PATCH"),
        [HTTP_OPTIONS] = SPAN("OPTIONS"), [HTTP_TRACE] = SPAN("TRACE"),
        [HTTP_CONNECT] = SPAN("CONNECT")};
    enum http_method method = 0;

    while (method < HTTP_OTHER && !is(s, names[method]))
        method++;
    return method;
}

/* Take the target, and find the route that it names. Return false if it has none of the four forms
 * of RFC 9112 §3.2, or a form that the method does not allow. */
static bool take_target(struct http_request *r, struct span *s)
{
    bool other = r->method == HTTP_OTHER;
    struct span port;

    r->route = HTTP_NOWHERE;
    if (take_byte(s, '*'))
        return other || r->method == HTTP_OPTIONS;
    if (s->length == 0 || s->at[0] != '/') {
        if (s->length < 7 || !is_ignoring_case((struct span){s->at, 7}, "http://"))
            return take_host(s, &port) && port.length > 0 && /* a tunnel has no default port */
                   (other || r->method == HTTP_CONNECT);
        s->at += 7, s->length -= 7;
        if (!take_host(s, &port))
            return false;
    }
    struct span path = take(s, path_bytes);
    take(s, target_bytes); /* the query */
    r->route = 0;
    while (r->route < HTTP_NOWHERE && !is(path, routes[r->route].path))
        r->route++;
    return path.length == 0 || path.at[0] == '/';
}

static bool parse_request_line(struct http_request *r, struct span line)
{
    struct span method = take(&line, token_bytes);

    if (method.length == 0 || !take_byte(&line, ' '))
        return false;
    r->method = method_of(method);
    if (!take_target(r, &line) || !take_byte(&line, ' '))
        return false;
    const char *version = line.at;
    if (line.length != 8 || memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7]) || version[5] == '0')
        return false;
    r->major = version[5] - '0';
    r->minor = version[7] - '0';
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
    while (list.length > 0) {
        struct span item = trim(take(&list, item_bytes));
        take_byte(&list, ',');
        if (item.length == 0)
            continue; /* RFC 9110 §5.6.1.2 */
        if (!of_codings) {
            r->close_listed |= is_ignoring_case(item, "close");
            r->keep_alive_listed |= is_ignoring_case(item, "keep-alive");
        } else {
            r->chunked_last = is_ignoring_case(item, "chunked");
            r->chunked += r->chunked_last;
            r->other_coding |= !r->chunked_last;
        }
    }
}

static bool parse_field_line(struct http_request *r, struct span line) /* RFC 9112 §5 */
{
    struct span name = take(&line, token_bytes);

    if (name.length == 0 || !take_byte(&line, ':')) /* a folded line begins with a space */
        return false;
    struct span value = trim(line), port;
    if (is_ignoring_case(name, "host")) {
        r->hosts++;
        r->bad_host |= !take_host(&value, &port) || value.length > 0;
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

/* Return the status for a complete head whose lines are all well-formed. */
static int judge(const struct http_request *r)
{
    if (r->major != 1)
        return 505;
    if (r->bad_host || r->hosts > 1 || (r->hosts == 0 && r->minor > 0))
        return 400;
    if (r->bad_length || r->lengths > 1)
        return 400;
    if (r->codings > 0 &&
        (r->lengths > 0 || r->minor == 0 || r->chunked > 1 || !r->chunked_last)) /* §6.3 */
        return 400;
    if (r->other_coding || r->method == HTTP_OTHER)
        return 501;
    if (r->route == HTTP_NOWHERE)
        return 404;
    return r->method == HTTP_GET || r->method == HTTP_HEAD ? 200 : 405;
}

/* Parse one complete line, without its CRLF. Return false if it is malformed. */
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
        struct span rest = {bytes + r->length, length - r->length};
        r->length += take(&rest, line_bytes).length;
        struct span line = {bytes + r->line, r->length - r->line};
        bool cr = take_byte(&rest, '\r');
        if (rest.length == 0)
            break; /* the line is not complete, even if a CR has arrived */
        r->length += cr ? 2 : 1;
        if (!cr || rest.at[0] != '\n' || !parse_line(r, line))
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

size_t http_respond(char out[HTTP_RESPONSE_MAX], const struct http_request *r, const char *server,
                    const char *date, bool keep_alive)
{
    struct span name = {server, strlen(server)};
    size_t i = 0;

    assert(name.length <= 64);
    for (; answers[i].status != r->status; i++)
        assert(i + 1 < sizeof answers / sizeof *answers);
    struct span text = answers[i].text;
    struct span content = r->status == 200 ? routes[r->route].content : text;
    const char *colon = memchr(text.at, ':', text.length);
    if (colon != NULL)
        text.length = (size_t)(colon - text.at);

    char *at = append_span(append(out, "HTTP/1.1 "), text);
    at = append(append(at, "\r\nDate: "), date);
    at = append_span(append(at, "\r\nServer: "), name);
    at = append(at, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ");
    at = append_number(at, content.length);
    if (r->status == 405)
        at = append(at, "\r\nAllow: GET, HEAD");
    if (!keep_alive)
        at = append(at, "\r\nConnection: close");
    else if (r->minor == 0)
        at = append(at, "\r\nConnection: keep-alive");
    at = append(at, "\r\n\r\n");
    if (r->method != HTTP_HEAD)
        at = append_span(at, content);
    assert(at <= out + HTTP_RESPONSE_MAX);
    return (size_t)(at - out);
}
