/* HTTP/1.1 for two routes (RFC 9110, RFC 9112): parse a request head, format the response. Pure
 * functions of their arguments: no I/O, no clock, no allocation. So they are the same for every I/O
 * model, and can be tested without one.
 *
 * Two routes would need less than this checks. But a connection carries many requests, and a server
 * that disagrees with the proxy in front of it about where one of them ends takes bytes of one
 * client for the request of another (RFC 9112 §11.2, request smuggling). So what is ambiguous is
 * refused, and connections that a body or an error has made doubtful are closed. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum {
    HTTP_HEAD_MAX = 8192,    /* bytes of a request head, including empty lines before it */
    HTTP_DATE_SIZE = 30,     /* "Sun, 06 Nov 1994 08:49:37 GMT" and its terminator */
    HTTP_RESPONSE_MAX = 512, /* the longest response, in bytes */
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
    HTTP_OTHER, /* any other token */
};

enum http_route { HTTP_FAST, HTTP_SLOW, HTTP_NOWHERE };

/* A request, and how far its head has been parsed. Zero it before each head. */
struct http_request {
    /* The result, complete once http_parse has returned true. */
    int status;              /* of the response: 200, or an error */
    enum http_method method; /* HTTP_HEAD: respond without the content */
    enum http_route route;   /* HTTP_SLOW with status 200: wait before responding */
    bool keep_alive;         /* the client allows another request on this connection */
    bool has_body;           /* a body follows the head; we never read it */
    size_t start;            /* offset of the request line, after empty lines */
    size_t length;           /* of the head, in bytes; what follows is not part of it */

    /* The parser's own: facts that it gathers line by line and judges at the end of the head. */
    size_t line;          /* offset of the line that is not complete yet */
    int lines;            /* complete lines, not counting empty ones before the request */
    int empty_lines;      /* before the request line */
    int major, minor;     /* HTTP version */
    int hosts, lengths;   /* number of Host and of Content-Length lines */
    int codings, chunked; /* number of Transfer-Encoding lines, and of "chunked" in them */
    bool chunked_last;    /* the last of the codings so far is "chunked" */
    bool bad_host, bad_length, other_coding; /* what is wrong with those lines */
    bool close_listed, keep_alive_listed;    /* in Connection */
};

/* Parse bytes[0 .. length), all bytes of one head that have arrived so far. Each call for a head
 * sees more of it than the last one, and resumes where that one stopped. The result does not depend
 * on how the bytes were split, and no byte at or after length is read. Return true as soon as the
 * status is known: the head is complete, or malformed, or longer than HTTP_HEAD_MAX. */
bool http_parse(struct http_request *request, const char *bytes, size_t length);

/* Return true if the request, which is complete, is for /slow: wait before responding. */
static inline bool http_is_slow(const struct http_request *request)
{
    return request->status == 200 && request->route == HTTP_SLOW;
}

/* Return true if the request has begun. Empty lines before it do not count (RFC 9112 §2.2). */
bool http_begun(const struct http_request *request);

/* Set the status to 408: the head has not arrived in time. */
void http_time_out(struct http_request *request);

/* Write date, from 1970 to 9999, as an IMF-fixdate with a terminating NUL (RFC 9110 §5.6.7). */
void http_date(char out[HTTP_DATE_SIZE], time_t date);

/* Write the response to a request whose status is known: the head, and the content unless the
 * method is HEAD. server (at most 64 bytes) and date are the values of the Server and Date lines;
 * keep_alive says whether the connection stays open. Return the length in bytes; there is no
 * terminating NUL. */
size_t http_respond(char out[HTTP_RESPONSE_MAX], const struct http_request *request,
                    const char *server, const char *date, bool keep_alive);

#endif
