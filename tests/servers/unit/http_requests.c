/* The parser, rule by rule. Each request is parsed as a whole, cut in two at every byte, byte by
 * byte, and followed by another request. The result must always be the same, must be known at the
 * first possible byte, and must not depend on bytes that have not arrived. */
#include "tests/servers/unit/http.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void check_same(const char *name, const char *how, size_t cut, const struct http_request *r,
                       const struct http_request *whole)
{
    ck_assert_msg(r->status == whole->status && r->method == whole->method &&
                      r->route == whole->route && r->keep_alive == whole->keep_alive &&
                      r->has_body == whole->has_body && r->start == whole->start &&
                      r->length == whole->length,
                  "%s, %s %zu: status %d and length %zu, but whole: %d and %zu", name, how, cut,
                  r->status, r->length, whole->status, whole->length);
}

/* Check that the result is the same in whatever pieces these bytes arrive, and return it. */
static struct http_request parse_every_way(const char *name, const char *bytes, size_t length)
{
    static const char next[] = "\r\nHEAD /slow HTTP/1.0\r\nConnection: close\r\n\r\n";
    struct http_request whole = {0}, bytewise = {0}, followed = {0};
    bool known = parse(&whole, bytes, length);
    size_t arrived = 0;

    /* at every byte; at some only if the input is long, for then most of it is padding */
    for (size_t cut = 0; cut < length; cut += 1 + length / 1000) {
        struct http_request r = {0};
        ck_assert_msg((parse(&r, bytes, cut) || parse(&r, bytes, length)) == known,
                      "%s, cut at %zu: not the same outcome", name, cut);
        check_same(name, "cut at", cut, &r, &whole);
    }
    while (arrived <= length && !parse(&bytewise, bytes, arrived))
        arrived++;
    bool over = whole.status == 414 || whole.status == 431;
    size_t decisive = !known ? length + 1 : over ? HTTP_HEAD_MAX : whole.length;
    ck_assert_msg(arrived == decisive, "%s: known after %zu bytes, expected %zu", name, arrived,
                  decisive);
    check_same(name, "byte by byte", 1, &bytewise, &whole);
    if (known) {
        static char both[ROOM];
        memcpy(both, bytes, length);
        memcpy(both + length, next, sizeof next - 1);
        ck_assert(parse(&followed, both, length + sizeof next - 1));
        check_same(name, "followed by", sizeof next - 1, &followed, &whole);
    }
    return whole;
}

/* A request, up to the byte that decides its status. */
struct example {
    const char *name, *bytes;
    size_t length;
    int status;
    bool keep_alive;
    enum http_route route;
    enum http_method method;
    bool has_body;
};

static void check_example(const struct example *e)
{
    struct http_request r = parse_every_way(e->name, e->bytes, e->length);

    ck_assert_msg(r.status == e->status, "%s: status %d, expected %d", e->name, r.status,
                  e->status);
    ck_assert_msg(r.length == e->length, "%s: %zu bytes, expected %zu", e->name, r.length,
                  e->length);
    ck_assert_msg(r.keep_alive == e->keep_alive, "%s: keep_alive %d", e->name, r.keep_alive);
    ck_assert_msg(r.status == 400 || r.has_body == e->has_body, "%s: has_body", e->name);
    ck_assert_msg(r.status != 200 || r.route == e->route, "%s: route %d", e->name, r.route);
    ck_assert_msg(r.status != 200 || r.method == e->method, "%s: method %d", e->name, r.method);
}

#define KEEP(status)  status, true, HTTP_FAST, HTTP_GET, false
#define CLOSE(status) status, false, HTTP_FAST, HTTP_GET, false
#define BODY(status)  status, false, HTTP_FAST, HTTP_GET, true
#define SLOW          200, true, HTTP_SLOW, HTTP_GET, false

#define B(literal)  literal, sizeof(literal) - 1 /* its length, because it may contain a NUL */
#define POST        "POST /fast HTTP/1.1\r\nHost: a\r\n"
#define HOST(value) START "Host: " value "\r\n\r\n"

/* A request with status 400 ends where the error is known: after the bad byte, or with the line. */
#define BAD_TARGET(t)   "GET " t " HTTP/1.1\r\n"
#define BAD_VERSION(v)  "GET /fast " v "\r\n"
#define BAD_FIELD(line) START "Host: a\r\n" line "\r\n"

/* ---- Methods: GET and HEAD are served, other known methods are not allowed, unknown ones not
 * implemented. */

static const struct example methods[] = {
    {"GET /fast", B(METHOD("GET", "/fast")), KEEP(200)},
    {"GET /slow", B(METHOD("GET", "/slow")), SLOW},
    {"HEAD /fast", B(METHOD("HEAD", "/fast")), 200, true, HTTP_FAST, HTTP_HEAD, false},
    {"HEAD /slow", B(METHOD("HEAD", "/slow")), 200, true, HTTP_SLOW, HTTP_HEAD, false},
    {"POST", B(METHOD("POST", "/fast")), KEEP(405)},
    {"PUT", B(METHOD("PUT", "/slow")), KEEP(405)},
    {"DELETE", B(METHOD("DELETE", "/fast")), KEEP(405)},
    {"PATCH", B(METHOD("PATCH", "/slow")), KEEP(405)},
    {"OPTIONS", B(METHOD("OPTIONS", "/fast")), KEEP(405)},
    {"TRACE", B(METHOD("TRACE", "/slow")), KEEP(405)},
    {"CONNECT", B(METHOD("CONNECT", "/fast")), KEEP(405)},
    {"lower-case method", B(METHOD("get", "/fast")), KEEP(501)},
    {"known method with another letter", B(METHOD("GETS", "/fast")), KEEP(501)},
    {"prefix of a known method", B(METHOD("GE", "/fast")), KEEP(501)},
    {"every kind of token character", B(METHOD("!#$%&'*+-.^_`|~09azAZ", "/fast")), KEEP(501)},
    {"@ in a method", B("G@T /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"( in a method", B("GET( /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"quoted method", B("\"GET\" /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"colon in a method", B("GET: /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"obs-text in a method", B("GE\324 /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"no method", B(" /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"space before the method", B(" GET /fast HTTP/1.1\r\n"), CLOSE(400)},
};

START_TEST(only_get_and_head_are_allowed)
{
    check_example(&methods[_i]);
}
END_TEST

/* ---- Targets: origin-form and absolute-form name a route; the path is compared as it stands. */

static const struct example targets[] = {
    {"query", B(TARGET("/fast?a=b")), KEEP(200)},
    {"empty query", B(TARGET("/slow?")), SLOW},
    {"query with ? and /", B(TARGET("/slow?a?b/fast")), SLOW},
    {"absolute", B(TARGET("http://other/slow")), SLOW},
    {"absolute with port", B(TARGET("http://b:80/fast")), KEEP(200)},
    {"absolute with query", B(TARGET("http://b/fast?x")), KEEP(200)},
    {"absolute, IPv6", B(TARGET("http://[::1]/slow")), SLOW},
    {"absolute, IPv6 and port", B(TARGET("http://[::1]:1/slow")), SLOW},
    {"scheme in capitals", B(TARGET("HtTP://b/fast")), KEEP(200)},
    {"absolute, 405", B(METHOD("POST", "http://b/fast")), KEEP(405)},
    {"absolute, no path", B(TARGET("http://b")), KEEP(404)},
    {"absolute, query, no path", B(TARGET("http://b?/fast")), KEEP(404)},
    {"absolute, unknown path", B(TARGET("http://b/")), KEEP(404)},
    {"absolute, no host", B(BAD_TARGET("http:///fast")), CLOSE(400)},
    {"absolute, nothing after the scheme", B(BAD_TARGET("http://")), CLOSE(400)},
    {"absolute, userinfo", B(BAD_TARGET("http://u@b/fast")), CLOSE(400)},
    {"absolute, bad port", B(BAD_TARGET("http://b:x/fast")), CLOSE(400)},
    {"absolute, bad IPv6", B(BAD_TARGET("http://[::1/fast")), CLOSE(400)},
    {"one slash in the scheme", B(BAD_TARGET("http:/fast")), CLOSE(400)},
    {"*", B(METHOD("OPTIONS", "*")), KEEP(404)},
    {"* with an unknown method", B(METHOD("BREW", "*")), KEEP(501)},
    {"* with GET", B(BAD_TARGET("*")), CLOSE(400)},
    {"**", B("OPTIONS ** HTTP/1.1\r\n"), CLOSE(400)},
    {"authority", B(METHOD("CONNECT", "a:80")), KEEP(404)},
    {"authority, IPv6", B(METHOD("CONNECT", "[::1]:80")), KEEP(404)},
    {"authority with an unknown method", B(METHOD("BREW", "a:80")), KEEP(501)},
    {"authority with GET", B(BAD_TARGET("a:80")), CLOSE(400)},
    {"authority, bad port", B("CONNECT a:b HTTP/1.1\r\n"), CLOSE(400)},
    {"authority, no port", B("CONNECT a HTTP/1.1\r\n"), CLOSE(400)},
    {"authority, empty port", B("CONNECT a: HTTP/1.1\r\n"), CLOSE(400)},
    {"authority, no port, unknown method", B("BREW a HTTP/1.1\r\n"), CLOSE(400)},
    {"path without a slash", B(BAD_TARGET("fast")), CLOSE(400)},
    {"query without a path", B(BAD_TARGET("?fast")), CLOSE(400)},
    {"no target", B("GET  HTTP/1.1\r\n"), CLOSE(400)},
    {"two spaces before the target", B("GET  /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"two spaces after the target", B("GET /fast  HTTP/1.1\r\n"), CLOSE(400)},
    {"space in the target", B(BAD_TARGET("/fast ?")), CLOSE(400)},
    {"0x80 in the target", B(BAD_TARGET("/fast?\200")), CLOSE(400)},
    {"0xFF in the target", B(BAD_TARGET("/fast?\377")), CLOSE(400)},
    {"~ in the target", B(TARGET("/fast?~!")), KEEP(200)},
    {"control character in the target", B("GET /fast?\001"), CLOSE(400)},
    {"DEL in the target", B("GET /fast?\177"), CLOSE(400)},
    {"NUL in the target", B("GET /fast\0"), CLOSE(400)},
    {"fragment", B(TARGET("/fast#top")), KEEP(404)},
    {"percent is not decoded", B(TARGET("/%66ast")), KEEP(404)},
    {"two slashes", B(TARGET("//fast")), KEEP(404)},
    {"slash after the path", B(TARGET("/fast/")), KEEP(404)},
    {"dot segment", B(TARGET("/./fast")), KEEP(404)},
    {"path in capitals", B(TARGET("/FAST")), KEEP(404)},
    {"prefix of a path", B(TARGET("/fas")), KEEP(404)},
    {"path with another character", B(TARGET("/fast1")), KEEP(404)},
    {"path with a parameter", B(TARGET("/fast;a")), KEEP(404)},
    {"/", B(TARGET("/")), KEEP(404)},
    {"unknown path, HEAD", B(METHOD("HEAD", "/x")), KEEP(404)},
    {"unknown path, POST", B(METHOD("POST", "/x")), KEEP(404)},
    {"unknown path, PUT", B(METHOD("PUT", "/x")), KEEP(404)},
    {"unknown path, DELETE", B(METHOD("DELETE", "/x")), KEEP(404)},
    {"unknown path, PATCH", B(METHOD("PATCH", "/x")), KEEP(404)},
    {"unknown path, OPTIONS", B(METHOD("OPTIONS", "/x")), KEEP(404)},
    {"unknown path, TRACE", B(METHOD("TRACE", "/x")), KEEP(404)},
    {"unknown path, CONNECT", B(METHOD("CONNECT", "/x")), KEEP(404)},
};

START_TEST(target_names_a_route_or_is_refused)
{
    check_example(&targets[_i]);
}
END_TEST

/* ---- Versions: HTTP/1.0 and later minor versions are served. */

static const struct example versions[] = {
    {"1.0", B(VERSION("HTTP/1.0")), CLOSE(200)},
    {"1.2", B(VERSION("HTTP/1.2")), KEEP(200)},
    {"1.9", B(VERSION("HTTP/1.9")), KEEP(200)},
    {"2.0", B(VERSION("HTTP/2.0")), CLOSE(505)},
    {"3.1", B(VERSION("HTTP/3.1")), CLOSE(505)},
    {"HTTP/2 preface", B("PRI * HTTP/2.0\r\n\r\n"), CLOSE(505)},
    {"0.9", B(BAD_VERSION("HTTP/0.9")), CLOSE(400)},
    {"HTTP/0.9 request", B("GET /fast\r\n"), CLOSE(400)},
    {"space instead of a version", B("GET /fast \r\n"), CLOSE(400)},
    {"method alone", B("GET\r\n"), CLOSE(400)},
    {"two digits after the dot", B(BAD_VERSION("HTTP/1.10")), CLOSE(400)},
    {"two digits before the dot", B(BAD_VERSION("HTTP/11.1")), CLOSE(400)},
    {"lower-case version", B(BAD_VERSION("http/1.1")), CLOSE(400)},
    {"no dot and no minor version", B(BAD_VERSION("HTTP/1")), CLOSE(400)},
    {"no minor version", B(BAD_VERSION("HTTP/1.")), CLOSE(400)},
    {"comma instead of a dot", B(BAD_VERSION("HTTP/1,1")), CLOSE(400)},
    {"letter as the minor version", B(BAD_VERSION("HTTP/1.x")), CLOSE(400)},
    {"letter as the major version", B(BAD_VERSION("HTTP/x.1")), CLOSE(400)},
    {"another protocol", B(BAD_VERSION("HTTQ/1.1")), CLOSE(400)},
    {"space after the version", B(BAD_VERSION("HTTP/1.1 ")), CLOSE(400)},
    {"word after the version", B(BAD_VERSION("HTTP/1.1 x")), CLOSE(400)},
};

START_TEST(only_http_1_is_served)
{
    check_example(&versions[_i]);
}
END_TEST

/* ---- Line ends and control characters: only CRLF ends a line, and a bad byte is refused before
 * the head is complete. */

static const struct example line_ends[] = {
    {"bare LF after the request line", B("GET /fast HTTP/1.1\n"), CLOSE(400)},
    {"bare LF after a field", B(START "Host: a\n"), CLOSE(400)},
    {"bare LF at the end of the head", B(START "Host: a\r\n\n"), CLOSE(400)},
    {"bare LF before the request", B("\n"), CLOSE(400)},
    {"bare LF after an empty line", B("\r\n\n"), CLOSE(400)},
    {"bare CR in the request line", B("GET /fast\rX"), CLOSE(400)},
    {"bare CR in a value", B(START "X: a\rb"), CLOSE(400)},
    {"bare CR at the end of the head", B(START "Host: a\r\n\rX"), CLOSE(400)},
    {"bare CR before the request", B("\rG"), CLOSE(400)},
    {"CR CR LF", B("GET /fast HTTP/1.1\r\r"), CLOSE(400)},
    {"NUL as the first byte", B("\0"), CLOSE(400)},
    {"NUL in the method", B("G\0"), CLOSE(400)},
    {"NUL in the version", B("GET /fast HTTP/1.1\0"), CLOSE(400)},
    {"NUL in a name", B(START "Ho\0"), CLOSE(400)},
    {"NUL in a value", B(START "Host: a\0"), CLOSE(400)},
    {"NUL after CR", B(START "Host: a\r\0"), CLOSE(400)},
    {"backspace in a value", B(START "X: a\b"), CLOSE(400)},
    {"vertical tab in a value", B(START "X: a\v"), CLOSE(400)},
    {"form feed after the method", B("GET\f"), CLOSE(400)},
    {"escape in a name", B(START "X\033"), CLOSE(400)},
    {"0x1F in a value", B(START "X: \037"), CLOSE(400)},
    {"DEL in a value", B(START "X: a\177"), CLOSE(400)},
    {"DEL in the method", B("GET\177"), CLOSE(400)},
    {"TLS hello", B("\026"), CLOSE(400)},
    {"TAB in a value", B(FIELD("X: a\tb")), KEEP(200)},
    {"TAB around a value", B(START "Host:\ta\t\r\n\r\n"), KEEP(200)},
};

START_TEST(bad_byte_is_refused_immediately)
{
    check_example(&line_ends[_i]);
}
END_TEST

START_TEST(tab_is_allowed_in_values_only)
{
    static const char *const heads[] = {
        "GET\t/fast HTTP/1.1\r\n",     "GET /fast\tHTTP/1.1\r\n",  "GET /fast HTTP/1.1\t\r\n",
        "\tGET /fast HTTP/1.1\r\n",    "GET /fa\tst HTTP/1.1\r\n", "\t\r\n" TARGET("/fast"),
        START "Ho\tst: a\r\n",         START "Host\t: a\r\n",      START "\tHost: a\r\n",
        START "Host: a\r\n\t\r\n\r\n",
    };

    for (size_t i = 0; i < COUNT(heads); i++) {
        ck_assert_int_eq(parse_every_way(heads[i], heads[i], strlen(heads[i])).status, 400);
    }
}
END_TEST

/* ---- Empty lines: a few of them before a request are skipped, and do not begin it. */

static const struct example empty_lines[] = {
    {"1 empty line", B("\r\n" TARGET("/slow")), SLOW},
    {"4 empty lines", B("\r\n\r\n\r\n\r\n" TARGET("/slow")), SLOW},
    {"5 empty lines", B("\r\n\r\n\r\n\r\n\r\n"), CLOSE(400)},
    {"line with a space only", B(" \r\n"), CLOSE(400)},
};

START_TEST(four_empty_lines_are_skipped)
{
    check_example(&empty_lines[_i]);
}
END_TEST

START_TEST(empty_lines_do_not_begin_a_request)
{
    static const struct {
        const char *bytes;
        size_t start;
        bool begun;
    } inputs[] = {
        {"", 0, false},
        {"\r\n", 2, false},
        {"\r\n\r\n\r\n", 6, false},
        {"G", 0, true},
        {"\r\nG", 2, true},
        {"\r\n\r\n\r\n\r\nG", 8, true},
        {"GET /fast HT", 0, true},
        {START, 0, true},
        {"\r\n" START "Host: a\r\n", 2, true},
    };

    for (size_t i = 0; i < COUNT(inputs); i++) {
        const char *bytes = inputs[i].bytes;
        struct http_request r = parse_every_way(bytes, bytes, strlen(bytes));

        ck_assert_int_eq(r.status, 0);
        ck_assert_uint_eq(r.start, inputs[i].start);
        ck_assert(http_begun(&r) == inputs[i].begun);
    }
}
END_TEST

/* ---- Host: HTTP/1.1 requires exactly one, and it must look like a host. */

static const struct example hosts[] = {
    {"no Host", B(START "\r\n"), CLOSE(400)},
    {"no Host in 1.2", B("GET /fast HTTP/1.2\r\n\r\n"), CLOSE(400)},
    {"Host twice", B(START "Host: a\r\nHost: a\r\n\r\n"), CLOSE(400)},
    {"Host twice, another field between", B(START "Host: a\r\nX: y\r\nhOST: b\r\n\r\n"),
     CLOSE(400)},
    {"empty Host", B(HOST("")), CLOSE(400)},
    {"blank Host", B(HOST(" \t ")), CLOSE(400)},
    {"Host in capitals", B(START "HOST: a\r\n\r\n"), KEEP(200)},
    {"no space before Host", B(START "Host:a\r\n\r\n"), KEEP(200)},
    {"spaces around Host", B(HOST("  a  ")), KEEP(200)},
    {"Host with dots", B(HOST("a-b.example.")), KEEP(200)},
    {"Host with an address", B(HOST("127.0.0.1")), KEEP(200)},
    {"Host with port", B(HOST("a:8000")), KEEP(200)},
    {"Host with empty port", B(HOST("a:")), KEEP(200)},
    {"Host with IPv6", B(HOST("[::1]")), KEEP(200)},
    {"Host with IPv6 and port", B(HOST("[::1]:80")), KEEP(200)},
    {"Host with IPv4 in IPv6", B(HOST("[::ffff:1.2.3.4]")), KEEP(200)},
    {"word as the port", B(HOST("a:http")), CLOSE(400)},
    {"port with a sign", B(HOST("a:+80")), CLOSE(400)},
    {"letter after the port", B(HOST("a:80x")), CLOSE(400)},
    {"two ports", B(HOST("a:80:80")), CLOSE(400)},
    {"port without a host", B(HOST(":80")), CLOSE(400)},
    {"space in a port", B(HOST("a: 80")), CLOSE(400)},
    {"space in Host", B(HOST("a b")), CLOSE(400)},
    {"TAB in Host", B(HOST("a\tb")), CLOSE(400)},
    {"list of hosts", B(HOST("a, b")), CLOSE(400)},
    {"userinfo in Host", B(HOST("u@a")), CLOSE(400)},
    {"path in Host", B(HOST("a/fast")), CLOSE(400)},
    {"query in Host", B(HOST("a?b")), CLOSE(400)},
    {"URI in Host", B(HOST("http://a")), CLOSE(400)},
    {"quotes in Host", B(HOST("\"a\"")), CLOSE(400)},
    {"obs-text in Host", B(HOST("\344")), CLOSE(400)},
    {"IPv6 without the closing bracket", B(HOST("[::1")), CLOSE(400)},
    {"IPv6 without brackets", B(HOST("::1")), CLOSE(400)},
    {"digits after IPv6", B(HOST("[::1]80")), CLOSE(400)},
    {"IPv6 with a word as the port", B(HOST("[::1]:x")), CLOSE(400)},
    {"IPv6 with two ports", B(HOST("[::1]:80:80")), CLOSE(400)},
    {"IPv6 with a space", B(HOST("[: :1]")), CLOSE(400)},
    {"IPv6 with a slash", B(HOST("[::1/8]")), CLOSE(400)},
    {"1.0, no Host", B(START_1_0 "\r\n"), CLOSE(200)},
    {"1.0, bad Host", B(FIELD_1_0("Host: a b")), CLOSE(400)},
    {"1.0, Host twice", B(FIELD_1_0("Host: a\r\nHost: a")), CLOSE(400)},
    {"absolute target without Host", B("GET http://a/fast HTTP/1.1\r\n\r\n"), CLOSE(400)},
};

START_TEST(exactly_one_valid_host_is_required)
{
    check_example(&hosts[_i]);
}
END_TEST

/* ---- Field lines: a token, a colon and a value; no folding. */

static const struct example fields[] = {
    {"no colon", B(BAD_FIELD("X")), CLOSE(400)},
    {"no name", B(BAD_FIELD(": x")), CLOSE(400)},
    {"space before the colon", B(BAD_FIELD("X : y")), CLOSE(400)},
    {"space before Host's colon", B(START "Host : a\r\n"), CLOSE(400)},
    {"space in a name", B(BAD_FIELD("X Y: z")), CLOSE(400)},
    {"folded with a space", B(BAD_FIELD("X: a\r\n b: c")), CLOSE(400)},
    {"folded with a TAB", B(BAD_FIELD("X: a\r\n\tb: c")), CLOSE(400)},
    {"folded, with an empty line", B(BAD_FIELD("X: a\r\n ")), CLOSE(400)},
    {"space before the first field", B(START " Host: a\r\n"), CLOSE(400)},
    {"( in a name", B(BAD_FIELD("X(Y: z")), CLOSE(400)},
    {"obs-text in a name", B(BAD_FIELD("X\344: z")), CLOSE(400)},
    {"request line among the fields", B(BAD_FIELD("GET /fast HTTP/1.1")), CLOSE(400)},
    {"name of every kind of token character", B(FIELD("!#$%&'*+-.^_`|~09azAZ: b")), KEEP(200)},
    {"obs-text in a value", B(FIELD("X: \200\344\377")), KEEP(200)},
    {"empty value", B(FIELD("X:")), KEEP(200)},
    {"colons in a value", B(FIELD("X::y:")), KEEP(200)},
    {"name similar to Host", B(FIELD("Hos: a b\r\nHosts: a b")), KEEP(200)},
};

START_TEST(malformed_field_is_refused)
{
    check_example(&fields[_i]);
}
END_TEST

START_TEST(number_of_fields_is_not_limited)
{
    static char head[HTTP_HEAD_MAX + 1] = START "Host: a";
    size_t length = strlen(head);

    while (length < HTTP_HEAD_MAX - 8)
        length += (size_t)snprintf(head + length, sizeof head - length, "\r\na:");
    length += (size_t)snprintf(head + length, sizeof head - length, "\r\n\r\n");
    ck_assert_int_eq(parse_every_way("2000 fields", head, length).status, 200);
}
END_TEST

/* ---- Content-Length: one decimal number that does not overflow. */

static const struct example lengths[] = {
    {"length 0", B(FIELD("Content-Length: 0")), KEEP(200)},
    {"length 5", B(FIELD("Content-Length: 5")), BODY(200)},
    {"length 10", B(FIELD("cONTENT-lENGTH:10\t")), BODY(200)},
    {"length 007", B(FIELD("Content-Length: 007")), BODY(200)},
    {"length 000", B(FIELD("Content-Length: 000")), KEEP(200)},
    {"length 2^64-1", B(FIELD("Content-Length: 18446744073709551615")), BODY(200)},
    {"length 2^64", B(FIELD("Content-Length: 18446744073709551616")), CLOSE(400)},
    {"length 2^65", B(FIELD("Content-Length: 36893488147419103232")), CLOSE(400)},
    {"length of twenty nines", B(FIELD("Content-Length: 99999999999999999999")), CLOSE(400)},
    {"length 10 * 2^64", B(FIELD("Content-Length: 184467440737095516160")), CLOSE(400)},
    {"length with POST", B(POST "Content-Length: 5\r\n\r\n"), BODY(405)},
    {"length with PUT of an unknown path", B("PUT /x HTTP/1.1\r\nContent-Length: 1\r\n" REST),
     BODY(404)},
    {"empty length", B(FIELD("Content-Length:")), CLOSE(400)},
    {"length +5", B(FIELD("Content-Length: +5")), CLOSE(400)},
    {"length -1", B(FIELD("Content-Length: -1")), CLOSE(400)},
    {"length -0", B(FIELD("Content-Length: -0")), CLOSE(400)},
    {"length 5 5", B(FIELD("Content-Length: 5 5")), CLOSE(400)},
    {"list of lengths", B(FIELD("Content-Length: 5, 5")), CLOSE(400)},
    {"list of zeros", B(FIELD("Content-Length: 0,0")), CLOSE(400)},
    {"length twice", B(FIELD("Content-Length: 5\r\nContent-Length: 5")), CLOSE(400)},
    {"zero length twice", B(FIELD("Content-Length: 0\r\nContent-Length: 0")), CLOSE(400)},
    {"two lengths", B(FIELD("Content-Length: 5\r\nContent-Length: 6")), CLOSE(400)},
    {"hexadecimal length", B(FIELD("Content-Length: 0x5")), CLOSE(400)},
    {"length with a fraction", B(FIELD("Content-Length: 5.0")), CLOSE(400)},
    {"word as the length", B(FIELD("Content-Length: five")), CLOSE(400)},
    {"length in 1.0", B(FIELD_1_0("Content-Length: 5\r\nConnection: keep-alive")), BODY(200)},
};

START_TEST(content_length_is_one_number)
{
    check_example(&lengths[_i]);
}
END_TEST

/* ---- Transfer-Encoding: chunked alone is known, and Content-Length must not come with it. */

static const struct example codings[] = {
    {"chunked", B(FIELD("Transfer-Encoding: chunked")), BODY(200)},
    {"CHUNKED", B(FIELD("TRANSFER-ENCODING:CHUNKED")), BODY(200)},
    {"chunked among empty elements", B(FIELD("Transfer-Encoding: , chunked,")), BODY(200)},
    {"chunked POST", B(POST "Transfer-Encoding: chunked\r\n\r\n"), BODY(405)},
    {"gzip", B(FIELD("Transfer-Encoding: gzip")), CLOSE(400)},
    {"chunked, gzip", B(FIELD("Transfer-Encoding: chunked, gzip")), CLOSE(400)},
    {"chunked and gzip, two lines",
     B(FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip")), CLOSE(400)},
    {"gzip, chunked, gzip", B(FIELD("Transfer-Encoding: gzip, chunked, gzip")), CLOSE(400)},
    {"gzip, chunked", B(FIELD("Transfer-Encoding: gzip, chunked")), BODY(501)},
    {"gzip and chunked, two lines",
     B(FIELD("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")), BODY(501)},
    {"identity", B(FIELD("Transfer-Encoding: identity")), CLOSE(400)},
    {"chunked with a parameter", B(FIELD("Transfer-Encoding: chunked;a=b")), CLOSE(400)},
    {"xchunked", B(FIELD("Transfer-Encoding: xchunked")), CLOSE(400)},
    {"chunkedx", B(FIELD("Transfer-Encoding: chunkedx")), CLOSE(400)},
    {"chunked twice", B(FIELD("Transfer-Encoding: chunked, chunked")), CLOSE(400)},
    {"chunked twice, two lines",
     B(FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")), CLOSE(400)},
    {"empty value", B(FIELD("Transfer-Encoding:")), CLOSE(400)},
    {"empty elements only", B(FIELD("Transfer-Encoding: , ,")), CLOSE(400)},
    {"chunked and length", B(FIELD("Transfer-Encoding: chunked\r\nContent-Length: 5")), CLOSE(400)},
    {"length 0 and chunked", B(FIELD("Content-Length: 0\r\nTransfer-Encoding: chunked")),
     CLOSE(400)},
    {"gzip and length", B(FIELD("Transfer-Encoding: gzip\r\nContent-Length: 5")), CLOSE(400)},
    {"chunked in 1.0", B(FIELD_1_0("Transfer-Encoding: chunked")), CLOSE(400)},
    {"gzip in 1.0", B(FIELD_1_0("Transfer-Encoding: gzip")), CLOSE(400)},
};

START_TEST(only_chunked_is_a_known_coding)
{
    check_example(&codings[_i]);
}
END_TEST

/* ---- Connection: a list of tokens, in which close wins. */

static const struct example connections[] = {
    {"close", B(FIELD("Connection: close")), CLOSE(200)},
    {"CLOSE", B(FIELD("CONNECTION:CLOSE")), CLOSE(200)},
    {"close at the end", B(FIELD("Connection: a,b ,\tclose")), CLOSE(200)},
    {"close in the middle", B(FIELD("Connection: a, close, b")), CLOSE(200)},
    {"close in a later line", B(FIELD("Connection: a\r\nX: y\r\nConnection: close")), CLOSE(200)},
    {"close in an earlier line", B(FIELD("Connection: close\r\nConnection: a")), CLOSE(200)},
    {"close before keep-alive", B(FIELD("Connection: close, keep-alive")), CLOSE(200)},
    {"close after keep-alive", B(FIELD("Connection: keep-alive, close")), CLOSE(200)},
    {"close after empty elements", B(FIELD("Connection: ,, close")), CLOSE(200)},
    {"closed", B(FIELD("Connection: closed")), KEEP(200)},
    {"words similar to close", B(FIELD("Connection: xclose, not-close, clos")), KEEP(200)},
    {"close followed by a word", B(FIELD("Connection: close it")), KEEP(200)},
    {"keep-alive in 1.1", B(FIELD("Connection: keep-alive")), KEEP(200)},
    {"empty Connection", B(FIELD("Connection:")), KEEP(200)},
    {"close in Proxy-Connection", B(FIELD("Proxy-Connection: close")), KEEP(200)},
    {"close and 404", B("GET / HTTP/1.1\r\nConnection: close\r\n" REST), CLOSE(404)},
    {"close and 405", B("PUT /fast HTTP/1.1\r\nConnection: close\r\n" REST), CLOSE(405)},
    {"close and 501", B("BREW /fast HTTP/1.1\r\nConnection: close\r\n" REST), CLOSE(501)},
    {"close in 1.2", B("GET /fast HTTP/1.2\r\nConnection: close\r\n" REST), CLOSE(200)},
    {"1.0, keep-alive", B(FIELD_1_0("Connection: keep-alive")), KEEP(200)},
    {"1.0, Keep-Alive in a list", B(FIELD_1_0("Connection: a, Keep-Alive")), KEEP(200)},
    {"1.0, close after keep-alive", B(FIELD_1_0("Connection: keep-alive\r\nConnection: close")),
     CLOSE(200)},
    {"1.0, words similar to keep-alive", B(FIELD_1_0("Connection: keep-alives, xkeep-alive")),
     CLOSE(200)},
    {"1.0, keep-alive and 404", B("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), KEEP(404)},
};

START_TEST(connection_decides_about_keep_alive)
{
    check_example(&connections[_i]);
}
END_TEST

/* ---- The order of the checks: each row violates one rule and all that are checked later. */

static const struct example order[] = {
    {"syntax before version", B("BREW / HTTP/2.0\r\nX\r\n"), CLOSE(400)},
    {"version before Host", B("BREW / HTTP/2.0\r\nHost:\r\nContent-Length: x\r\n\r\n"), CLOSE(505)},
    {"Host before framing", B("BREW / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"), CLOSE(400)},
    {"framing before method", B("BREW / HTTP/1.1\r\nContent-Length: x\r\n" REST), CLOSE(400)},
    {"coding before path", B("GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" REST),
     BODY(501)},
    {"method before path", B(METHOD("BREW", "/")), KEEP(501)},
    {"path before 405", B(METHOD("POST", "/")), KEEP(404)},
};

START_TEST(first_violated_rule_decides_the_status)
{
    check_example(&order[_i]);
}
END_TEST

/* ---- The size of a head: at most 8 KiB, however it is filled. */

START_TEST(head_is_limited_to_8192_bytes)
{
    static const struct {
        const char *begin;
        size_t length;
        const char *end;
        int status;
    } heads[] = {
        {START "X: ", 8191, "\r\n" REST, 200},
        {START "X: ", 8192, "\r\n" REST, 200},
        {START "X: ", 8193, "\r\n" REST, 431},
        {START "X: ", 20000, "\r\n" REST, 431},
        {START, 8193, ": x\r\n" REST, 431},
        {"\r\n\r\n" START "X: ", 8192, "\r\n" REST, 200}, /* empty lines count */
        {"\r\n\r\n" START "X: ", 8193, "\r\n" REST, 431},
        {"GET /fast?", 8192, " HTTP/1.1\r\n" REST, 200},
        {"GET /fast?", 8193, " HTTP/1.1\r\n" REST, 431},
        {"GET /fast?", 8192, " HTTP/1.1\r\n", 431},
        {"GET /fast?", 8193, " HTTP/1.1\r\n", 414},
        {"GET /fast?", 20000, " HTTP/1.1\r\n" REST, 414},
        {"GET", 20000, "", 414},
    };

    for (size_t i = 0; i < COUNT(heads); i++) {
        size_t length = heads[i].length;
        const char *head = fill(heads[i].begin, length, heads[i].end);
        struct http_request r = parse_every_way(heads[i].end, head, length);

        ck_assert_int_eq(r.status, heads[i].status);
        ck_assert_uint_le(r.length, HTTP_HEAD_MAX);
        ck_assert(r.status != 200 || r.length == length);
        ck_assert(r.keep_alive == (r.status == 200));
    }
}
END_TEST

/* ---- Garbage: even meaningless input has one meaning, in whatever pieces it arrives. */

/* xorshift (Marsaglia, 2003) with a fixed seed: each run tries the same inputs. */
static uint32_t next_random(void)
{
    static uint32_t x = 2463534242;

    x ^= x << 13;
    x ^= x >> 17;
    return x ^= x << 5;
}

START_TEST(garbage_parses_the_same_in_any_pieces)
{
    static const char *const pieces[] = {
        "GET ",
        "HEAD ",
        "PUT ",
        "/fast",
        "/slow",
        "?",
        "http://a",
        " HTTP/1.1",
        "HTTP/",
        "1.0",
        "2.",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r",
        "\n",
        START,
        REST,
        "Host:",
        "Content-Length:",
        "9",
        "[::1]",
        "chunked",
        "close",
        "Host: a\r\n",
        "Connection: ",
        "Transfer-Encoding: ",
        "X: ",
        ",",
        " ",
        "\t",
        ":",
    };
    char out[HTTP_RESPONSE_MAX];

    for (int round = 0; round < 5000; round++) {
        char input[512] = "";
        size_t length = 0;

        for (uint32_t count = next_random() % 16; count > 0; count--) {
            const char *piece = pieces[next_random() % COUNT(pieces)];
            memcpy(input + length, piece, strlen(piece));
            length += strlen(piece);
        }
        if (round % 4 == 0)
            for (size_t i = 0; i < length; i += 1 + next_random() % 64)
                input[i] = (char)next_random();
        struct http_request r = parse_every_way("garbage", input, length);
        if (r.status != 0) /* then it also has a response */
            ck_assert_uint_gt(http_respond(out, &r, "", "", r.keep_alive), 0);
    }
}
END_TEST

/* ---- Purity: check_http.c watches this. */

static const struct {
    const struct example *examples;
    size_t count;
} subjects[] = {
    {methods, COUNT(methods)},
    {targets, COUNT(targets)},
    {versions, COUNT(versions)},
    {line_ends, COUNT(line_ends)},
    {empty_lines, COUNT(empty_lines)},
    {hosts, COUNT(hosts)},
    {fields, COUNT(fields)},
    {lengths, COUNT(lengths)},
    {codings, COUNT(codings)},
    {connections, COUNT(connections)},
    {order, COUNT(order)},
};

void answer_examples(void)
{
    char out[HTTP_RESPONSE_MAX], date[HTTP_DATE_SIZE];

    for (size_t i = 0; i < COUNT(subjects); i++)
        for (size_t j = 0; j < subjects[i].count; j++) {
            const struct example *e = &subjects[i].examples[j];
            struct http_request whole = {0}, half = {0};

            http_parse(&whole, e->bytes, e->length);
            if (!http_parse(&half, e->bytes, e->length / 2) && http_begun(&half))
                http_time_out(&half);
            http_date(date, (time_t)(j * 86400 * 31));
            http_respond(out, &whole, "05-epoll", date, whole.keep_alive);
            if (half.status != 0)
                http_respond(out, &half, "05-epoll", date, false);
        }
}

void add_request_tests(Suite *suite)
{
    TCase *tests = http_case(suite, "methods");
    tcase_add_loop_test(tests, only_get_and_head_are_allowed, 0, COUNT(methods));

    tests = http_case(suite, "targets");
    tcase_add_loop_test(tests, target_names_a_route_or_is_refused, 0, COUNT(targets));

    tests = http_case(suite, "versions");
    tcase_add_loop_test(tests, only_http_1_is_served, 0, COUNT(versions));

    tests = http_case(suite, "line ends and control characters");
    tcase_add_loop_test(tests, bad_byte_is_refused_immediately, 0, COUNT(line_ends));
    tcase_add_test(tests, tab_is_allowed_in_values_only);

    tests = http_case(suite, "empty lines");
    tcase_add_loop_test(tests, four_empty_lines_are_skipped, 0, COUNT(empty_lines));
    tcase_add_test(tests, empty_lines_do_not_begin_a_request);

    tests = http_case(suite, "Host");
    tcase_add_loop_test(tests, exactly_one_valid_host_is_required, 0, COUNT(hosts));

    tests = http_case(suite, "field lines");
    tcase_add_loop_test(tests, malformed_field_is_refused, 0, COUNT(fields));
    tcase_add_test(tests, number_of_fields_is_not_limited);

    tests = http_case(suite, "Content-Length");
    tcase_add_loop_test(tests, content_length_is_one_number, 0, COUNT(lengths));

    tests = http_case(suite, "Transfer-Encoding");
    tcase_add_loop_test(tests, only_chunked_is_a_known_coding, 0, COUNT(codings));

    tests = http_case(suite, "Connection");
    tcase_add_loop_test(tests, connection_decides_about_keep_alive, 0, COUNT(connections));

    tests = http_case(suite, "order of the checks");
    tcase_add_loop_test(tests, first_violated_rule_decides_the_status, 0, COUNT(order));

    tests = http_case(suite, "size of a head");
    tcase_add_test(tests, head_is_limited_to_8192_bytes);

    tests = http_case(suite, "garbage");
    tcase_add_test(tests, garbage_parses_the_same_in_any_pieces);
}
