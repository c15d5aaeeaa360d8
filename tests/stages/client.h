/* A client of the server under test: connect, say something, expect a response. All waiting is
 * bounded by PATIENCE_S, and each failure names the stage and the problem. */
#ifndef TESTS_STAGES_CLIENT_H
#define TESTS_STAGES_CLIENT_H

#include "tests/stages/server.h"

#include <stdbool.h>
#include <stddef.h>

#define REQUEST(method, path, fields)                                                              \
    method " " path " HTTP/1.1\r\nHost: example.org\r\n" fields "\r\n"
#define GET_FAST       REQUEST("GET", "/fast", "")
#define GET_SLOW       REQUEST("GET", "/slow", "")
#define GET_FAST_CLOSE REQUEST("GET", "/fast", "Connection: close\r\n")
#define GET_SLOW_CLOSE REQUEST("GET", "/slow", "Connection: close\r\n")

/* Return a connection, or -1 with errno; a receive_buffer of 0 is the kernel's choice. */
int try_dial(int receive_buffer);
int dial(void);

void say_bytes(int fd, const char *bytes, size_t length);
void say(int fd, const char *text);
int dial_and_say(const char *text);

/* For a server whose --timeout is short: if this client was too slow, try again with another
 * connection. */
int dial_and_say_in_time(const char *text);

/* Return a text: front, followed by length more bytes. Valid until the next call. */
const char *padded(const char *front, size_t length);

void half_close(int fd);
void reset(int fd);

/* Wait until the kernel of the server has received all that was said. */
void expect_received(int fd);

/* Is there nothing to read yet, neither a response nor the end? */
bool silent(int fd);

/* Expect that the server has closed the connection, and close it here. */
void expect_end(int fd);

struct response {
    int status;
    bool closes, stays; /* Connection says close, or keep-alive */
    bool allows;        /* Allow says GET, HEAD */
    char head[1024], body[256];
};

bool has_line(const struct response *r, const char *name, const char *value);

/* Read one response and not a byte more. Check the header fields that every response has. */
struct response read_response(int fd, bool with_body);

struct response expect_ok(int fd, const char *body);
struct response expect_fast(int fd);
struct response expect_slow(int fd);
struct response expect_status(int fd, int status);

/* Expect that the response says close, and that the connection then ends. */
void expect_close(int fd, struct response r);

/* Send a request that must get this error. Then the connection goes on or ends, as the response
 * says. */
void expect_error(const char *request, int status, bool closes);

/* Expect that a new client is served. */
void expect_served(void);

/* Wait until the server no longer listens. */
void expect_refusal(void);

/* Serve one client, so that the server has opened all that it opens for itself; return the number
 * of its descriptors. */
int descriptors_at_rest(void);

#endif
