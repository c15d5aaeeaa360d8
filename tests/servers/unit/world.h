/* A world around connections.c that a test controls: a clock that stands still until the test moves
 * it, a watch function that only keeps a list, and a kernel that fails or transfers little when the
 * test wants it to. Nothing in this world waits. The clients are sockets of the same process, so
 * the bytes that a client has sent have also arrived. */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include "common/clock.h"
#include "common/connections.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

enum { DESCRIPTORS = 512, NO_DESCRIPTOR = -1, BLOCKED_REQUESTS = 400 };

/* In nanoseconds. */
#define S       NS_PER_S
#define MS      NS_PER_MS
#define TIMEOUT (10 * S)
#define DELAY   (3 * S)

#define FAST "GET /fast HTTP/1.1\r\nHost: a\r\n\r\n"
#define SLOW "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
#define LAST "GET /fast HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define NONE "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"

extern struct world {
    struct options options; /* restart to apply a change */
    int listener;
    int64_t now_ns;

    enum want watched[DESCRIPTORS];
    int watch_calls;
    int unwatchable; /* watch fails for this descriptor, except to stop watching it */
    int unstoppable; /* watch fails to stop watching this descriptor */

    int accept_errno;     /* accept fails with it, unless it is 0 */
    int descriptor_limit; /* accept fails with EMFILE if no lower number is free */
    size_t send_limit;    /* bytes that one send takes */
    int64_t recv_ns;      /* how long a recv takes */
} world;

/* Add an empty test case to the suite. Each of its tests starts in a new world with one server.
 * After the test the server must end by a graceful shutdown, with no descriptor open or watched. */
TCase *world_case(Suite *suite, const char *name);

/* Start the server anew with world.options, before any client has connected. */
void world_restart(void);

/* SIGTERM has come, and the next turn begins. */
void world_tell_to_stop(void);

/* One turn of a stage's loop. Return how many descriptors were ready. */
int loop_turn(void);

/* Turn until the loop would sleep. Fail if it never would: it spins. */
void loop_settle(void);

/* Set the clock, then settle. */
void loop_settle_at(int64_t moment_ns);

/* Connect a client. Return its socket. The server has not accepted it yet. */
int client_connect(void);

/* Connect a client, send text, and settle. Return its socket, and the server's end in *server
 * unless that is NULL. */
int client_open(const char *text, int *server);

/* Open a client that sends so many requests, FAST and NONE by turns, and reads no response, until
 * the server is blocked in its writing. */
int client_open_blocked(int *server);

/* Open two clients that send FAST, with descriptors for one only. *served is the client that gets
 * the last descriptor. Return the other client, which waits in the backlog. */
int run_out_of_descriptors(int *served);

void client_close(int client);

/* Send text. Return how many bytes the socket took. */
size_t client_send(int client, const char *text);

/* Send text, all of it, and settle. */
void client_ask(int client, const char *text);

/* Return in words what the client has received since the last call: for each response "fast",
 * "slow" or the status of an error, with "-close" if it announces the close; "part" for an
 * incomplete response; at last "EOF" or "RESET" if the connection is over. */
const char *client_words(int client);

/* The same, but continue for as long as reading lets the server send more. */
const char *client_all_words(int client);

#define CHECK_RECEIVED(client, expected) ck_assert_str_eq(client_words(client), expected)

/* Does the server still have this socket? */
bool server_is_open(int server);

/* Return how many bytes the server has not read yet. */
int server_unread(int server);

/* Return the number that the next descriptor gets. */
int next_descriptor(void);

#endif
