/* The HTTP table of the design, rule by rule. Each request is parsed whole, cut in two at every
 * byte, byte by byte, and with a next request behind it: always to the same result, as soon as it
 * can be known, and never with a look behind what has arrived. */
#include "common/http.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum { ROOM = 1 << 16 }; /* of whole pages, whatever their size */

static char *wall; /* who touches this byte crashes */

static void build_wall(void)
{
    char *room = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(room, MAP_FAILED);
    wall = room + ROOM;
    ck_assert_int_eq(mprotect(wall, ROOM, PROT_NONE), 0);
}

static bool parse(struct http_request *r, const char *bytes, size_t arrived)
{
    return http_parse(r, memcpy(wall - arrived, bytes, arrived), arrived);
}

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

/* Returns the one result that all ways to receive these bytes lead to. */
static struct http_request parse_every_way(const char *name, const char *bytes, size_t length)
{
    static const char next[] = "\r\nHEAD /slow HTTP/1.0\r\nConnection: close\r\n\r\n";
    struct http_request whole = {0}, bytewise = {0}, followed = {0};
    bool known = parse(&whole, bytes, length);
    size_t arrived = 0;

    /* at every byte; of what is nearly all padding, at some */
    for (size_t cut = 0; cut < length; cut += 1 + length / 1000) {
        struct http_request r = {0};
        ck_assert_msg((parse(&r, bytes, cut) || parse(&r, bytes, length)) == known,
                      "%s, cut at %zu: not the same end", name, cut);
        check_same(name, "cut at", cut, &r, &whole);
    }
    while (arrived <= length && !parse(&bytewise, bytes, arrived))
        arrived++;
    bool over = whole.status == 414 || whole.status == 431;
    size_t decisive = !known ? length + 1 : over ? HTTP_HEAD_MAX : whole.length;
    ck_assert_msg(arrived == decisive, "%s: known after %zu bytes, want %zu", name, arrived,
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

/* A request, up to the byte that makes the answer known: no byte of it is left over. */
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

    ck_assert_msg(r.status == e->status, "%s: %d, want %d", e->name, r.status, e->status);
    ck_assert_msg(r.length == e->length, "%s: %zu bytes, want %zu", e->name, r.length, e->length);
    ck_assert_msg(r.keep_alive == e->keep_alive, "%s: keep_alive %d", e->name, r.keep_alive);
    ck_assert_msg(r.status == 400 || r.has_body == e->has_body, "%s: has_body", e->name);
    ck_assert_msg(r.status != 200 || r.route == e->route, "%s: route %d", e->name, r.route);
    ck_assert_msg(r.status != 200 || r.method == e->method, "%s: method %d", e->name, r.method);
}

#define KEEP(status)  status, true, HTTP_FAST, HTTP_GET, false
#define CLOSE(status) status, false, HTTP_FAST, HTTP_GET, false
#define BODY(status)  status, false, HTTP_FAST, HTTP_GET, true
#define SLOW          200, true, HTTP_SLOW, HTTP_GET, false

#define B(literal)        literal, sizeof(literal) - 1 /* so that a NUL can stand in it */
#define REST              "Host: a\r\n\r\n"
#define TARGET(t)         "GET " t " HTTP/1.1\r\n" REST
#define METHOD(m, target) m " " target " HTTP/1.1\r\n" REST
#define VERSION(v)        "GET /fast " v "\r\n" REST
#define START             "GET /fast HTTP/1.1\r\n"
#define POST              "POST /fast HTTP/1.1\r\nHost: a\r\n"
#define START_1_0         "GET /fast HTTP/1.0\r\n"
#define FIELD(line)       START "Host: a\r\n" line "\r\n\r\n"
#define FIELD_1_0(line)   START_1_0 line "\r\n\r\n"
#define HOST(value)       START "Host: " value "\r\n\r\n"

/* The rows of 400 end where the mistake is known: behind the byte, or with the line. */
#define BAD_TARGET(t)   "GET " t " HTTP/1.1\r\n"
#define BAD_VERSION(v)  "GET /fast " v "\r\n"
#define BAD_FIELD(line) START "Host: a\r\n" line "\r\n"

static const struct example examples[] = {
    /* methods */
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
    {"longer than a known method", B(METHOD("GETS", "/fast")), KEEP(501)},
    {"begin of a known method", B(METHOD("GE", "/fast")), KEEP(501)},
    {"all token characters", B(METHOD("!#$%&'*+-.^_`|~09azAZ", "/fast")), KEEP(501)},
    {"@ in a method", B("G@T /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"( in a method", B("GET( /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"quoted method", B("\"GET\" /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"colon in a method", B("GET: /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"obs-text in a method", B("GE\324 /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"no method", B(" /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"space before the method", B(" GET /fast HTTP/1.1\r\n"), CLOSE(400)},

    /* targets */
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
    {"absolute, nothing", B(BAD_TARGET("http://")), CLOSE(400)},
    {"absolute, userinfo", B(BAD_TARGET("http://u@b/fast")), CLOSE(400)},
    {"absolute, bad port", B(BAD_TARGET("http://b:x/fast")), CLOSE(400)},
    {"absolute, bad IPv6", B(BAD_TARGET("http://[::1/fast")), CLOSE(400)},
    {"one slash in the scheme", B(BAD_TARGET("http:/fast")), CLOSE(400)},
    {"*", B(METHOD("OPTIONS", "*")), KEEP(404)},
    {"* of an unknown method", B(METHOD("BREW", "*")), KEEP(501)},
    {"* is for OPTIONS", B(BAD_TARGET("*")), CLOSE(400)},
    {"** is no form", B("OPTIONS ** HTTP/1.1\r\n"), CLOSE(400)},
    {"authority", B(METHOD("CONNECT", "a:80")), KEEP(404)},
    {"authority, IPv6", B(METHOD("CONNECT", "[::1]:80")), KEEP(404)},
    {"authority of an unknown method", B(METHOD("BREW", "a:80")), KEEP(501)},
    {"authority is for CONNECT", B(BAD_TARGET("a:80")), CLOSE(400)},
    {"authority, bad port", B("CONNECT a:b HTTP/1.1\r\n"), CLOSE(400)},
    {"no slash", B(BAD_TARGET("fast")), CLOSE(400)},
    {"query alone", B(BAD_TARGET("?fast")), CLOSE(400)},
    {"no target", B("GET  HTTP/1.1\r\n"), CLOSE(400)},
    {"two spaces before the target", B("GET  /fast HTTP/1.1\r\n"), CLOSE(400)},
    {"two spaces behind the target", B("GET /fast  HTTP/1.1\r\n"), CLOSE(400)},
    {"space in the target", B(BAD_TARGET("/fast ?")), CLOSE(400)},
    {"0x80 in the target", B(BAD_TARGET("/fast?\200")), CLOSE(400)},
    {"0xFF in the target", B(BAD_TARGET("/fast?\377")), CLOSE(400)},
    {"~ in the target", B(TARGET("/fast?~!")), KEEP(200)},
    {"control in the target", B("GET /fast?\001"), CLOSE(400)},
    {"DEL in the target", B("GET /fast?\177"), CLOSE(400)},
    {"NUL in the target", B("GET /fast\0"), CLOSE(400)},
    {"fragment", B(TARGET("/fast#top")), KEEP(404)},
    {"percent is not decoded", B(TARGET("/%66ast")), KEEP(404)},
    {"two slashes", B(TARGET("//fast")), KEEP(404)},
    {"slash behind", B(TARGET("/fast/")), KEEP(404)},
    {"dots", B(TARGET("/./fast")), KEEP(404)},
    {"capitals", B(TARGET("/FAST")), KEEP(404)},
    {"begin of a path", B(TARGET("/fas")), KEEP(404)},
    {"longer than a path", B(TARGET("/fast1")), KEEP(404)},
    {"parameter", B(TARGET("/fast;a")), KEEP(404)},
    {"/", B(TARGET("/")), KEEP(404)},
    {"unknown path, HEAD", B(METHOD("HEAD", "/x")), KEEP(404)},
    {"unknown path, POST", B(METHOD("POST", "/x")), KEEP(404)},
    {"unknown path, PUT", B(METHOD("PUT", "/x")), KEEP(404)},
    {"unknown path, DELETE", B(METHOD("DELETE", "/x")), KEEP(404)},
    {"unknown path, PATCH", B(METHOD("PATCH", "/x")), KEEP(404)},
    {"unknown path, OPTIONS", B(METHOD("OPTIONS", "/x")), KEEP(404)},
    {"unknown path, TRACE", B(METHOD("TRACE", "/x")), KEEP(404)},
    {"unknown path, CONNECT", B(METHOD("CONNECT", "/x")), KEEP(404)},

    /* versions */
    {"1.0", B(VERSION("HTTP/1.0")), CLOSE(200)},
    {"1.2", B(VERSION("HTTP/1.2")), KEEP(200)},
    {"1.9", B(VERSION("HTTP/1.9")), KEEP(200)},
    {"2.0", B(VERSION("HTTP/2.0")), CLOSE(505)},
    {"3.1", B(VERSION("HTTP/3.1")), CLOSE(505)},
    {"HTTP/2 preface", B("PRI * HTTP/2.0\r\n\r\n"), CLOSE(505)},
    {"0.9", B(BAD_VERSION("HTTP/0.9")), CLOSE(400)},
    {"HTTP/0.9 request", B("GET /fast\r\n"), CLOSE(400)},
    {"version is a space", B("GET /fast \r\n"), CLOSE(400)},
    {"method alone", B("GET\r\n"), CLOSE(400)},
    {"two digits behind the dot", B(BAD_VERSION("HTTP/1.10")), CLOSE(400)},
    {"two digits before the dot", B(BAD_VERSION("HTTP/11.1")), CLOSE(400)},
    {"lower-case version", B(BAD_VERSION("http/1.1")), CLOSE(400)},
    {"no dot", B(BAD_VERSION("HTTP/1")), CLOSE(400)},
    {"no minor", B(BAD_VERSION("HTTP/1.")), CLOSE(400)},
    {"comma for a dot", B(BAD_VERSION("HTTP/1,1")), CLOSE(400)},
    {"minor is a letter", B(BAD_VERSION("HTTP/1.x")), CLOSE(400)},
    {"major is a letter", B(BAD_VERSION("HTTP/x.1")), CLOSE(400)},
    {"another protocol", B(BAD_VERSION("HTTQ/1.1")), CLOSE(400)},
    {"space behind the version", B(BAD_VERSION("HTTP/1.1 ")), CLOSE(400)},
    {"word behind the version", B(BAD_VERSION("HTTP/1.1 x")), CLOSE(400)},

    /* line ends and controls: at once, long before the head is complete */
    {"bare LF behind the request line", B("GET /fast HTTP/1.1\n"), CLOSE(400)},
    {"bare LF behind a field", B(START "Host: a\n"), CLOSE(400)},
    {"bare LF at the end", B(START "Host: a\r\n\n"), CLOSE(400)},
    {"bare LF before the request", B("\n"), CLOSE(400)},
    {"bare LF behind an empty line", B("\r\n\n"), CLOSE(400)},
    {"bare CR in the request line", B("GET /fast\rX"), CLOSE(400)},
    {"bare CR in a value", B(START "X: a\rb"), CLOSE(400)},
    {"bare CR at the end", B(START "Host: a\r\n\rX"), CLOSE(400)},
    {"bare CR before the request", B("\rG"), CLOSE(400)},
    {"CR CR LF", B("GET /fast HTTP/1.1\r\r"), CLOSE(400)},
    {"NUL first", B("\0"), CLOSE(400)},
    {"NUL in the method", B("G\0"), CLOSE(400)},
    {"NUL in the version", B("GET /fast HTTP/1.1\0"), CLOSE(400)},
    {"NUL in a name", B(START "Ho\0"), CLOSE(400)},
    {"NUL in a value", B(START "Host: a\0"), CLOSE(400)},
    {"NUL behind CR", B(START "Host: a\r\0"), CLOSE(400)},
    {"backspace in a value", B(START "X: a\b"), CLOSE(400)},
    {"vertical tab in a value", B(START "X: a\v"), CLOSE(400)},
    {"form feed behind the method", B("GET\f"), CLOSE(400)},
    {"escape in a name", B(START "X\033"), CLOSE(400)},
    {"0x1F in a value", B(START "X: \037"), CLOSE(400)},
    {"DEL in a value", B(START "X: a\177"), CLOSE(400)},
    {"DEL in the method", B("GET\177"), CLOSE(400)},
    {"TLS hello", B("\026"), CLOSE(400)},
    {"TAB in a value", B(FIELD("X: a\tb")), KEEP(200)},
    {"TAB around a value", B(START "Host:\ta\t\r\n\r\n"), KEEP(200)},

    /* empty lines before the request */
    {"1 empty line", B("\r\n" TARGET("/slow")), SLOW},
    {"4 empty lines", B("\r\n\r\n\r\n\r\n" TARGET("/slow")), SLOW},
    {"5 empty lines", B("\r\n\r\n\r\n\r\n\r\n"), CLOSE(400)},
    {"empty line with a space", B(" \r\n"), CLOSE(400)},

    /* Host */
    {"no Host", B(START "\r\n"), CLOSE(400)},
    {"no Host in 1.2", B("GET /fast HTTP/1.2\r\n\r\n"), CLOSE(400)},
    {"Host twice", B(START "Host: a\r\nHost: a\r\n\r\n"), CLOSE(400)},
    {"Host twice, apart", B(START "Host: a\r\nX: y\r\nhOST: b\r\n\r\n"), CLOSE(400)},
    {"empty Host", B(HOST("")), CLOSE(400)},
    {"blank Host", B(HOST(" \t ")), CLOSE(400)},
    {"Host in capitals", B(START "HOST: a\r\n\r\n"), KEEP(200)},
    {"no space before Host", B(START "Host:a\r\n\r\n"), KEEP(200)},
    {"spaces around Host", B(HOST("  a  ")), KEEP(200)},
    {"Host with dots", B(HOST("a-b.example.")), KEEP(200)},
    {"Host is an address", B(HOST("127.0.0.1")), KEEP(200)},
    {"Host with port", B(HOST("a:8000")), KEEP(200)},
    {"Host with empty port", B(HOST("a:")), KEEP(200)},
    {"Host with IPv6", B(HOST("[::1]")), KEEP(200)},
    {"Host with IPv6 and port", B(HOST("[::1]:80")), KEEP(200)},
    {"Host with IPv4 in IPv6", B(HOST("[::ffff:1.2.3.4]")), KEEP(200)},
    {"port is a word", B(HOST("a:http")), CLOSE(400)},
    {"port with a sign", B(HOST("a:+80")), CLOSE(400)},
    {"port and more", B(HOST("a:80x")), CLOSE(400)},
    {"two ports", B(HOST("a:80:80")), CLOSE(400)},
    {"port alone", B(HOST(":80")), CLOSE(400)},
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
    {"IPv6, not closed", B(HOST("[::1")), CLOSE(400)},
    {"IPv6, no brackets", B(HOST("::1")), CLOSE(400)},
    {"IPv6 and more", B(HOST("[::1]80")), CLOSE(400)},
    {"IPv6, port is a word", B(HOST("[::1]:x")), CLOSE(400)},
    {"IPv6, two ports", B(HOST("[::1]:80:80")), CLOSE(400)},
    {"IPv6 with a space", B(HOST("[: :1]")), CLOSE(400)},
    {"IPv6 with a slash", B(HOST("[::1/8]")), CLOSE(400)},
    {"1.0, no Host", B(START_1_0 "\r\n"), CLOSE(200)},
    {"1.0, bad Host", B(FIELD_1_0("Host: a b")), CLOSE(400)},
    {"1.0, Host twice", B(FIELD_1_0("Host: a\r\nHost: a")), CLOSE(400)},
    {"absolute does not replace Host", B("GET http://a/fast HTTP/1.1\r\n\r\n"), CLOSE(400)},

    /* field lines */
    {"no colon", B(BAD_FIELD("X")), CLOSE(400)},
    {"no name", B(BAD_FIELD(": x")), CLOSE(400)},
    {"space before the colon", B(BAD_FIELD("X : y")), CLOSE(400)},
    {"space before Host's colon", B(START "Host : a\r\n"), CLOSE(400)},
    {"space in a name", B(BAD_FIELD("X Y: z")), CLOSE(400)},
    {"folded by a space", B(BAD_FIELD("X: a\r\n b: c")), CLOSE(400)},
    {"folded by a TAB", B(BAD_FIELD("X: a\r\n\tb: c")), CLOSE(400)},
    {"folded, nothing there", B(BAD_FIELD("X: a\r\n ")), CLOSE(400)},
    {"space before the first field", B(START " Host: a\r\n"), CLOSE(400)},
    {"( in a name", B(BAD_FIELD("X(Y: z")), CLOSE(400)},
    {"obs-text in a name", B(BAD_FIELD("X\344: z")), CLOSE(400)},
    {"request line again", B(BAD_FIELD("GET /fast HTTP/1.1")), CLOSE(400)},
    {"token as a name", B(FIELD("!#$%&'*+-.^_`|~09azAZ: b")), KEEP(200)},
    {"obs-text in a value", B(FIELD("X: \200\344\377")), KEEP(200)},
    {"empty value", B(FIELD("X:")), KEEP(200)},
    {"colons in a value", B(FIELD("X::y:")), KEEP(200)},
    {"name begins like Host", B(FIELD("Hos: a b\r\nHosts: a b")), KEEP(200)},

    /* Content-Length */
    {"length 0", B(FIELD("Content-Length: 0")), KEEP(200)},
    {"length 5", B(FIELD("Content-Length: 5")), BODY(200)},
    {"length 10", B(FIELD("cONTENT-lENGTH:10\t")), BODY(200)},
    {"length 007", B(FIELD("Content-Length: 007")), BODY(200)},
    {"length 000", B(FIELD("Content-Length: 000")), KEEP(200)},
    {"length 2^64-1", B(FIELD("Content-Length: 18446744073709551615")), BODY(200)},
    {"length 2^64", B(FIELD("Content-Length: 18446744073709551616")), CLOSE(400)},
    {"length 2^65", B(FIELD("Content-Length: 36893488147419103232")), CLOSE(400)},
    {"length of twenty digits", B(FIELD("Content-Length: 99999999999999999999")), CLOSE(400)},
    {"length 10 * 2^64", B(FIELD("Content-Length: 184467440737095516160")), CLOSE(400)},
    {"length of POST", B(POST "Content-Length: 5\r\n\r\n"), BODY(405)},
    {"length of PUT /x", B("PUT /x HTTP/1.1\r\nContent-Length: 1\r\n" REST), BODY(404)},
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
    {"fraction of a length", B(FIELD("Content-Length: 5.0")), CLOSE(400)},
    {"length is a word", B(FIELD("Content-Length: five")), CLOSE(400)},
    {"length in 1.0", B(FIELD_1_0("Content-Length: 5\r\nConnection: keep-alive")), BODY(200)},

    /* Transfer-Encoding */
    {"chunked", B(FIELD("Transfer-Encoding: chunked")), BODY(200)},
    {"CHUNKED", B(FIELD("TRANSFER-ENCODING:CHUNKED")), BODY(200)},
    {"empty elements", B(FIELD("Transfer-Encoding: , chunked,")), BODY(200)},
    {"chunked POST", B(POST "Transfer-Encoding: chunked\r\n\r\n"), BODY(405)},
    {"gzip", B(FIELD("Transfer-Encoding: gzip")), BODY(501)},
    {"gzip, chunked", B(FIELD("Transfer-Encoding: gzip, chunked")), BODY(501)},
    {"gzip and chunked, two lines",
     B(FIELD("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")), BODY(501)},
    {"identity", B(FIELD("Transfer-Encoding: identity")), BODY(501)},
    {"chunked with a parameter", B(FIELD("Transfer-Encoding: chunked;a=b")), BODY(501)},
    {"xchunked", B(FIELD("Transfer-Encoding: xchunked")), BODY(501)},
    {"chunkedx", B(FIELD("Transfer-Encoding: chunkedx")), BODY(501)},
    {"chunked twice", B(FIELD("Transfer-Encoding: chunked, chunked")), CLOSE(400)},
    {"chunked twice, two lines",
     B(FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")), CLOSE(400)},
    {"no coding", B(FIELD("Transfer-Encoding:")), CLOSE(400)},
    {"empty elements alone", B(FIELD("Transfer-Encoding: , ,")), CLOSE(400)},
    {"chunked and length", B(FIELD("Transfer-Encoding: chunked\r\nContent-Length: 5")), CLOSE(400)},
    {"length 0 and chunked", B(FIELD("Content-Length: 0\r\nTransfer-Encoding: chunked")),
     CLOSE(400)},
    {"gzip and length", B(FIELD("Transfer-Encoding: gzip\r\nContent-Length: 5")), CLOSE(400)},
    {"chunked in 1.0", B(FIELD_1_0("Transfer-Encoding: chunked")), CLOSE(400)},
    {"gzip in 1.0", B(FIELD_1_0("Transfer-Encoding: gzip")), CLOSE(400)},

    /* Connection */
    {"close", B(FIELD("Connection: close")), CLOSE(200)},
    {"CLOSE", B(FIELD("CONNECTION:CLOSE")), CLOSE(200)},
    {"close at the end", B(FIELD("Connection: a,b ,\tclose")), CLOSE(200)},
    {"close in the middle", B(FIELD("Connection: a, close, b")), CLOSE(200)},
    {"close in a later line", B(FIELD("Connection: a\r\nX: y\r\nConnection: close")), CLOSE(200)},
    {"close in an earlier line", B(FIELD("Connection: close\r\nConnection: a")), CLOSE(200)},
    {"close wins", B(FIELD("Connection: close, keep-alive")), CLOSE(200)},
    {"close wins behind", B(FIELD("Connection: keep-alive, close")), CLOSE(200)},
    {"close behind empty elements", B(FIELD("Connection: ,, close")), CLOSE(200)},
    {"closed", B(FIELD("Connection: closed")), KEEP(200)},
    {"xclose", B(FIELD("Connection: xclose, not-close, clos")), KEEP(200)},
    {"close and a word", B(FIELD("Connection: close it")), KEEP(200)},
    {"keep-alive in 1.1", B(FIELD("Connection: keep-alive")), KEEP(200)},
    {"empty Connection", B(FIELD("Connection:")), KEEP(200)},
    {"close elsewhere", B(FIELD("Proxy-Connection: close")), KEEP(200)},
    {"close and 404", B("GET / HTTP/1.1\r\nConnection: close\r\n" REST), CLOSE(404)},
    {"close and 405", B("PUT /fast HTTP/1.1\r\nConnection: close\r\n" REST), CLOSE(405)},
    {"close and 501", B("BREW /fast HTTP/1.1\r\nConnection: close\r\n" REST), CLOSE(501)},
    {"close in 1.2", B("GET /fast HTTP/1.2\r\nConnection: close\r\n" REST), CLOSE(200)},
    {"1.0, keep-alive", B(FIELD_1_0("Connection: keep-alive")), KEEP(200)},
    {"1.0, Keep-Alive in a list", B(FIELD_1_0("Connection: a, Keep-Alive")), KEEP(200)},
    {"1.0, close wins", B(FIELD_1_0("Connection: keep-alive\r\nConnection: close")), CLOSE(200)},
    {"1.0, keep-alives", B(FIELD_1_0("Connection: keep-alives, xkeep-alive")), CLOSE(200)},
    {"1.0, keep-alive and 404", B("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), KEEP(404)},

    /* the order of the checks: each row breaks a rule, and all that come later */
    {"syntax before version", B("BREW / HTTP/2.0\r\nX\r\n"), CLOSE(400)},
    {"version before Host", B("BREW / HTTP/2.0\r\nHost:\r\nContent-Length: x\r\n\r\n"), CLOSE(505)},
    {"Host before framing", B("BREW / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"), CLOSE(400)},
    {"framing before method", B("BREW / HTTP/1.1\r\nContent-Length: x\r\n" REST), CLOSE(400)},
    {"coding before path", B("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" REST), BODY(501)},
    {"method before path", B(METHOD("BREW", "/")), KEEP(501)},
    {"path before 405", B(METHOD("POST", "/")), KEEP(404)},
};

START_TEST(each_request_means_what_its_row_says)
{
    check_example(&examples[_i]);
}
END_TEST

/* Whether known by the byte itself, or with its line. */
START_TEST(tab_is_for_values_only)
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

/* A head of this many bytes, that begins and ends like this, filled up with a letter. */
static const char *fill(const char *begin, size_t length, const char *end)
{
    static char head[ROOM];

    memset(head, 'a', length);
    memcpy(head, begin, strlen(begin));
    memcpy(head + length - strlen(end), end, strlen(end));
    return head;
}

START_TEST(head_may_have_8192_bytes)
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

START_TEST(fields_are_bounded_by_their_bytes_alone)
{
    static char head[HTTP_HEAD_MAX + 1] = START "Host: a";
    size_t length = strlen(head);

    while (length < HTTP_HEAD_MAX - 8)
        length += (size_t)snprintf(head + length, sizeof head - length, "\r\na:");
    length += (size_t)snprintf(head + length, sizeof head - length, "\r\n\r\n");
    ck_assert_int_eq(parse_every_way("2000 fields", head, length).status, 200);
}
END_TEST

START_TEST(empty_lines_begin_no_request)
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

/* xorshift (Marsaglia, 2003) with a fixed seed: each run tries the same. */
static uint32_t next_random(void)
{
    static uint32_t x = 2463534242;

    x ^= x << 13;
    x ^= x >> 17;
    return x ^= x << 5;
}

START_TEST(garbage_has_one_meaning_too)
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
        if (r.status != 0) /* and there is an answer to it */
            ck_assert_uint_gt(http_respond(out, &r, "", "", r.keep_alive), 0);
    }
}
END_TEST

/* An answer for each status, by the shortest way to it. */
static const struct answer {
    const char *bytes, *status_line, *content;
} answers[] = {
    {TARGET("/fast"), "200 OK", "That was fast!"},
    {TARGET("/slow"), "200 OK", "That was slow!"},
    {TARGET("/"), "404 Not Found", "404 Not Found: this server has /slow and /fast\n"},
    {METHOD("PUT", "/fast"), "405 Method Not Allowed", NULL},
    {METHOD("BREW", "/fast"), "501 Not Implemented", NULL},
    {START "\r\n", "400 Bad Request", NULL},
    {VERSION("HTTP/2.0"), "505 HTTP Version Not Supported", NULL},
    {"414", "414 URI Too Long", NULL},
    {"431", "431 Request Header Fields Too Large", NULL},
    {"408", "408 Request Timeout", NULL},
};

static struct http_request request_of(const struct answer *a)
{
    struct http_request r = {0};

    if (strcmp(a->bytes, "414") == 0)
        parse(&r, fill("GET /", HTTP_HEAD_MAX, ""), HTTP_HEAD_MAX);
    else if (strcmp(a->bytes, "431") == 0)
        parse(&r, fill(START, HTTP_HEAD_MAX, ""), HTTP_HEAD_MAX);
    else if (strcmp(a->bytes, "408") == 0)
        http_time_out(&r);
    else
        ck_assert(parse(&r, a->bytes, strlen(a->bytes)));
    ck_assert_int_eq(r.status, atoi(a->status_line));
    return r;
}

/* Returns the answer, terminated; it was written right before the wall. */
static const char *respond(const struct http_request *r, bool keep_alive)
{
    static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    static char text[HTTP_RESPONSE_MAX + 1];
    char *out = wall - HTTP_RESPONSE_MAX;
    size_t length = http_respond(out, r, "05-epoll", date, keep_alive);

    ck_assert_uint_le(length, HTTP_RESPONSE_MAX);
    memcpy(text, out, length);
    text[length] = '\0';
    ck_assert_uint_eq(strlen(text), length);
    return text;
}

static void check_answer(const struct answer *a, const struct http_request *r, bool keep_alive,
                         const char *connection)
{
    char expected[HTTP_RESPONSE_MAX + 1];
    const char *text = respond(r, keep_alive), *content = strstr(text, "\r\n\r\n");

    ck_assert_ptr_nonnull(content);
    content += 4;
    if (a->content != NULL) {
        ck_assert_str_eq(content, a->content);
    } else { /* one line for people, that begins with the status */
        ck_assert_int_eq(strncmp(content, a->status_line, strlen(a->status_line)), 0);
        ck_assert_ptr_eq(strchr(content, '\n'), content + strlen(content) - 1);
    }
    snprintf(expected, sizeof expected,
             "HTTP/1.1 %s\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: 05-epoll\r\n"
             "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%s%s\r\n%s",
             a->status_line, strlen(content), r->status == 405 ? "Allow: GET, HEAD\r\n" : "",
             connection, content);
    ck_assert_str_eq(text, expected);
}

START_TEST(each_status_has_its_answer)
{
    struct http_request r = request_of(&answers[_i]);

    check_answer(&answers[_i], &r, false, "Connection: close\r\n");
    r.minor = 1; /* whatever was known of a bad request */
    check_answer(&answers[_i], &r, true, "");
}
END_TEST

START_TEST(head_gets_the_same_head_and_no_content)
{
    struct http_request r = request_of(&answers[_i]);
    char expected[HTTP_RESPONSE_MAX + 1];

    r.method = HTTP_GET;
    snprintf(expected, sizeof expected, "%s", respond(&r, _i % 2));
    strstr(expected, "\r\n\r\n")[4] = '\0';
    r.method = HTTP_HEAD;
    ck_assert_str_eq(respond(&r, _i % 2), expected);
}
END_TEST

START_TEST(keep_alive_is_said_to_1_0_only)
{
    static const struct {
        const char *bytes, *connection;
        bool keep_alive;
    } requests[] = {
        {FIELD_1_0("Connection: keep-alive"), "Connection: keep-alive\r\n", true},
        {FIELD_1_0("Connection: keep-alive"), "Connection: close\r\n", false},
        {FIELD("Connection: keep-alive"), "", true},
        {FIELD("Connection: keep-alive"), "Connection: close\r\n", false},
        {VERSION("HTTP/1.9"), "", true},
    };

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct http_request r = {0};

        ck_assert(parse(&r, requests[i].bytes, strlen(requests[i].bytes)));
        check_answer(&answers[0], &r, requests[i].keep_alive, requests[i].connection);
    }
}
END_TEST

START_TEST(time_out_is_408_at_any_point_of_a_head)
{
    static const char *const begins[] = {"G", "GET /slow HT", START, FIELD_1_0("X: y")};

    for (size_t i = 0; i < COUNT(begins); i++) {
        struct http_request r = {0};

        parse(&r, begins[i], strlen(begins[i]) - 1);
        http_time_out(&r);
        ck_assert_int_eq(r.status, 408);
        ck_assert(!r.keep_alive);
        check_answer(&answers[9], &r, false, "Connection: close\r\n");
    }
}
END_TEST

START_TEST(date_is_an_imf_fixdate)
{
    static const struct {
        time_t date;
        const char *text;
    } dates[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 §5.6.7 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
    };

    for (size_t i = 0; i < COUNT(dates); i++) {
        char *out = wall - HTTP_DATE_SIZE;

        ck_assert_int_eq(setenv("TZ", "EAST-5", 1),
                         0); /* the zone of the process does not matter */
        http_date(out, dates[i].date);
        ck_assert_str_eq(out, dates[i].text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http");
    TCase *requests = tcase_create("requests"), *responses = tcase_create("responses");

    tcase_add_checked_fixture(requests, build_wall, NULL);
    tcase_set_timeout(requests, 60);
    tcase_add_loop_test(requests, each_request_means_what_its_row_says, 0, (int)COUNT(examples));
    tcase_add_test(requests, tab_is_for_values_only);
    tcase_add_test(requests, head_may_have_8192_bytes);
    tcase_add_test(requests, fields_are_bounded_by_their_bytes_alone);
    tcase_add_test(requests, empty_lines_begin_no_request);
    tcase_add_test(requests, garbage_has_one_meaning_too);
    suite_add_tcase(suite, requests);

    tcase_add_checked_fixture(responses, build_wall, NULL);
    tcase_add_loop_test(responses, each_status_has_its_answer, 0, (int)COUNT(answers));
    tcase_add_loop_test(responses, head_gets_the_same_head_and_no_content, 0, (int)COUNT(answers));
    tcase_add_test(responses, keep_alive_is_said_to_1_0_only);
    tcase_add_test(responses, time_out_is_408_at_any_point_of_a_head);
    tcase_add_test(responses, date_is_an_imf_fixdate);
    suite_add_tcase(suite, responses);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
