/* HTTP/1.1, as much as two routes need: bytes <-> meaning (RFC 9110, RFC 9112).
 * Pure functions of their arguments: no I/O, no clock, no allocation, so they are
 * the same for every I/O model, and can be tested without one. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum {
    HTTP_HEAD_MAX = 8192,    /* bytes of a request head, the empty lines before it included */
    HTTP_DATE_SIZE = 30,     /* "Sun, 06 Nov 1994 08:49:37 GMT" and its terminator */
    HTTP_RESPONSE_MAX = 512, /* bytes that http_respond writes at most */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_PATCH,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_CONNECT,
    HTTP_OTHER, /* a token that this server does not know */
};

enum http_route { HTTP_FAST, HTTP_SLOW, HTTP_NOWHERE };

/* A request, and how far its head has been parsed. Set it to zero before each head. */
struct http_request {
    /* The meaning, complete when http_parse has returned true. */
    int status;              /* what to answer: 200, or the error that the request has earned */
    enum http_method method; /* HTTP_HEAD: answer without the content */
    enum http_route route;   /* HTTP_SLOW with status 200: wait before the answer */
    bool keep_alive;         /* the client, and what it sent, allow a next request */
    bool has_body;           /* bytes follow that are no request, and that nobody here reads */
    size_t start;            /* offset of the request line, behind empty lines */
    size_t length;           /* bytes up to the end of the head: what follows is not its own */

    /* The parser's own: facts gathered line by line, judged at the end of the head. */
    size_t line;          /* offset of the line that is not complete yet */
    int lines;            /* complete lines, the empty ones before the request not counted */
    int empty_lines;      /* before the request line */
    int major, minor;     /* HTTP version */
    int hosts, lengths;   /* lines of Host, of Content-Length */
    int codings, chunked; /* lines of Transfer-Encoding, times that they say "chunked" */
    bool bad_host, bad_length, other_coding; /* what those lines are worth */
    bool close_listed, keep_alive_listed;    /* in Connection */
};

/* Parses the bytes of one head, as many as have arrived: bytes[0 .. length), always from the
 * first byte of the head, of which earlier calls have seen a prefix. Goes on where the last call
 * ended, looks at no byte behind length, and comes to the same result however the bytes were split.
 * Returns true as soon as the answer is known: the head is complete, or is wrong, or is longer
 * than HTTP_HEAD_MAX. Then request->status says what to answer. */
bool http_parse(struct http_request *request, const char *bytes, size_t length);

/* Has a request begun in what was parsed? Empty lines before it do not count (RFC 9112 §2.2). */
bool http_begun(const struct http_request *request);

/* The time to send the head is over: makes 408 the answer. */
void http_time_out(struct http_request *request);

/* Writes an IMF-fixdate (RFC 9110 §5.6.7), terminated. */
void http_date(char out[HTTP_DATE_SIZE], time_t date);

/* Writes the answer to a request whose status is known: the head, and the content if it has one.
 * server, 64 bytes at most, and date are the values of those lines; keep_alive says whether the
 * connection stays open. Returns the length in bytes; there is no terminator. */
size_t http_respond(char out[HTTP_RESPONSE_MAX], const struct http_request *request,
                    const char *server, const char *date, bool keep_alive);

#endif
